//! What PCR 7 proves: whether Secure Boot was on, under which keys, and what vouched for the images that were started.
//!
//! PCR 7 is read as a grammar, because the types of its events are not bound by their digests: `SecureBoot`, `PK`,
//! `KEK`, `db`, `dbx`, then optionally `dbt` and `dbr`, a separator, and authorities. Anything unknown, doubled or out
//! of order is a refusal. All data in PCR 7 is bound by its digest, or the log is refused before it gets here.

mod authority;
mod grammar;
mod signature_list;

pub use authority::Authority;
pub(crate) use grammar::Grammar;
pub use signature_list::{SignatureEntry, SignatureKind};

/// The facts of PCR 7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecureBoot {
    /// Whether the firmware checked signatures of what it started: variable `SecureBoot` is 1. A firmware without the
    /// variable, or with 0, does not.
    pub enabled: bool,
    /// Number of the event that proves [`SecureBoot::enabled`].
    pub enabled_event: u32,
    /// Platform key. Empty in setup mode.
    pub pk: SignatureDatabase,
    /// Key exchange keys.
    pub kek: SignatureDatabase,
    /// What may be started.
    pub db: SignatureDatabase,
    /// What must not be started.
    pub dbx: SignatureDatabase,
    /// Time-stamping keys, on the few machines that have any.
    pub dbt: Option<SignatureDatabase>,
    /// Recovery keys, on the few machines that have any.
    pub dbr: Option<SignatureDatabase>,
    /// What vouched for each image, and what shim trusts, in the order of the log. Holds every entry of PCR 7 behind the
    /// variables, so that "every entry is allowed" is sound.
    pub authorities: Vec<Authority>,
    /// Number of the event by which the firmware says that DMA protection is off, if it says so.
    pub dma_protection_disabled: Option<u32>,
}

impl SecureBoot {
    /// The text of shim's `SbatLevel` variable and its event, the last one if there are several.
    #[must_use]
    pub fn sbat_level(&self) -> Option<(u32, &str)> {
        self.authorities.iter().rev().find_map(|authority| Some((authority.event, authority.sbat_level.as_deref()?)))
    }
}

/// The contents of one signature variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureDatabase {
    /// Number of the event that proves them.
    pub event: u32,
    /// The entries in order; empty if the variable is.
    pub entries: Vec<SignatureEntry>,
}
