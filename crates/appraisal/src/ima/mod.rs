//! What a policy says of the files that a kernel measured, and what a replayed list says to it. Replays nothing itself:
//! that is `holdfast_evidence::tpm::ima`.

mod code;
mod digests;
mod judge;
mod look_up;
mod rule;
mod seen;
mod tally;
mod walk;

pub use code::ImaReason;
pub(crate) use code::is_of_an_entry;
pub use digests::{BadDigests, DIGESTS_BYTES_MAX, DIGESTS_MAX, DigestSet};
pub use judge::{ImaUnusable, judge};
#[cfg(test)]
pub(crate) use rule::IMA_KEYS;
pub(crate) use rule::{ImaFiles, ImaRule, files, pcrs};
pub use seen::{ImaSeen, attach, remembered};
pub(crate) use seen::{admits, differences};
pub use tally::{ImaState, RefusedEntry, Tally};
