//! The firmware's event log: parse it, replay it in one bank, and say what its digests prove.
//!
//! A log is a story that a stranger tells about a number that the TPM signed. [`EventLog::parse`] reads it without
//! believing anything, [`EventLog::replay`] computes the registers it would lead to, and only once those equal the
//! quoted ones does [`boot::BootFacts`] say what follows, from digests alone. This module checks no quote: that is
//! `tpm::verify`.
//!
//! ```text
//! bytes ──parse──▶ EventLog ──replay(bank)──▶ Replay ── equals the quote? ──▶ BootFacts::derive(log, bank, proven)
//! ```

pub mod boot;
mod device_path;
mod error;
mod event;
mod guid;
mod parse;
mod proof;
mod render;
mod replay;
pub(crate) mod variable;

pub use boot::{BootFacts, Stage};
pub(crate) use device_path::image_path;
pub use error::{MalformedLog, UnprovenBoot};
pub use event::{Event, EventType};
pub use guid::Guid;
pub use proof::Proof;
pub use render::{EventView, escape};
pub use replay::Replay;

use crate::tpm::Bank;

/// Bytes of a log that are read. The largest of real machines seen has 50 KiB (a server with 159 events), a CCEL area
/// 256 KiB of which most is padding.
pub const EVENT_LOG_BYTES_MAX: usize = 1 << 20;
/// Events of a log that are read. The most seen on a real machine are 159.
pub const EVENTS_MAX: usize = 4096;
/// Digest algorithms a Spec ID event may declare. Seen: 4.
const ALGORITHMS_MAX: usize = 16;

/// A parsed log that borrows its bytes. It has been checked for shape, and for nothing else.
#[derive(Debug)]
pub struct EventLog<'a> {
    events: Vec<Event<'a>>,
    startup_locality: Option<u8>,
    banks: [Option<Bank>; 3],
}

impl<'a> EventLog<'a> {
    /// The events behind the Spec ID event, in order; the first has index 1.
    #[must_use]
    pub fn events(&self) -> &[Event<'a>] {
        &self.events
    }

    /// The value of the `StartupLocality` event (0, 3 or 4), if the log has one.
    #[must_use]
    pub fn startup_locality(&self) -> Option<u8> {
        self.startup_locality
    }

    /// Whether the Spec ID event declares `bank`.
    #[must_use]
    pub fn has_bank(&self, bank: Bank) -> bool {
        self.banks.contains(&Some(bank))
    }

    /// The banks of SHA-256 and above that the Spec ID event declares.
    pub fn banks(&self) -> impl Iterator<Item = Bank> + use<> {
        self.banks.into_iter().flatten()
    }
}
