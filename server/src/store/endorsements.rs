//! Endorsements that operators imported (roots, intermediates, CRLs), and the authorities of our own trust bundle.

use super::ledger::Actor;
use super::{Held, Sha256};
use holdfast_identity::UnixTime;

/// Bytes of one certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 16 << 10;
/// Bytes of one CRL; the largest of the field's TPM vendors is some 100 KiB.
pub const CRL_BYTES_MAX: usize = 4 << 20;

/// Verbs about endorsements and the bundle.
pub trait Endorsements: Send + Sync {
    /// Keeps each; a known one gets the new class and name. Returns how many were new.
    fn import_endorsements(&self, drafts: Vec<EndorsementDraft>, by: Actor, at: UnixTime) -> Held<'_, u64>;
    /// Forgets one; whether it was there.
    fn withdraw_endorsement(&self, sha256: Sha256, by: Actor, at: UnixTime) -> Held<'_, bool>;
    /// All of them.
    fn endorsements(&self) -> Held<'_, Vec<Endorsement>>;
    /// Puts an authority into our own bundle; a known one changes nothing.
    fn publish_authority(&self, der: Vec<u8>, by: Actor, at: UnixTime) -> Held<'_, BundleState>;
    /// Takes an authority out of our own bundle.
    fn withdraw_authority(&self, sha256: Sha256, by: Actor, at: UnixTime) -> Held<'_, BundleState>;
    /// Our own trust bundle.
    fn bundle(&self) -> Held<'_, BundleState>;
}

/// What an endorsement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndorsementRole {
    /// Trusted by itself.
    Root,
    /// Helps a chain up to a root.
    Intermediate,
    /// Says which certificates are revoked.
    Crl,
}

impl EndorsementRole {
    /// As commands print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Intermediate => "intermediate",
            Self::Crl => "crl",
        }
    }
}

/// What an operator imports. The caller has parsed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndorsementDraft {
    /// What it is for.
    pub role: EndorsementRole,
    /// DER.
    pub der: Vec<u8>,
    /// Trust class in lower case; empty for a CRL.
    pub class: String,
    /// The operator's name for it.
    pub name: String,
    /// The subject (a CRL's issuer) as text.
    pub subject: String,
    /// End of validity; a CRL's next update.
    pub not_after: UnixTime,
}

/// An endorsement that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// SHA-256 of its DER.
    pub sha256: Sha256,
    /// What was imported.
    pub draft: EndorsementDraft,
    /// When.
    pub imported_at: UnixTime,
    /// By whom.
    pub imported_by: String,
}

/// One authority of our own bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// SHA-256 of its DER.
    pub sha256: Sha256,
    /// The certificate.
    pub der: Vec<u8>,
    /// When it was published.
    pub published_at: UnixTime,
}

/// Our own trust bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleState {
    /// In order of publication.
    pub authorities: Vec<Authority>,
    /// Rises with every change of content.
    pub sequence: u64,
}
