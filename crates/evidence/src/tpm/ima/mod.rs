//! The list of the kernel's Integrity Measurement Architecture (IMA): read, and replayed to exactly the PCR 10 that a
//! quote proves. Says what was measured and by which proof; judges no file: that is `holdfast-appraisal`.

mod aggregate;
mod attribute;
mod entry;
mod keys;
mod measured;
mod refused;
mod replay;
mod resume;
mod verified;

pub use aggregate::{AggregateOf, AggregateRefused, BOOT_AGGREGATE};
pub use entry::{Entries, Entry, TEMPLATE_DATA_BYTES_MAX, TEMPLATE_NAME_BYTES_MAX, Template};
pub use keys::{IMA_KEYS_MAX, ImaKeys, SigningKey, keys_of_pem, pem_of_der};
pub use measured::{DigestOf, FileDigest, Measured};
pub use refused::{Counters, ImaRefused};
pub use replay::{LOG_BYTES_MAX, Listener, Quoted, Replayed, leads_to, replay, replay_to};
pub use resume::{Hashing, Resume};
pub use verified::{FAILURES_MAX, SignatureBudget, SignatureRefused};

use super::pcr::PcrIndex;

/// The PCR that IMA extends.
pub const PCR: PcrIndex = PcrIndex::IMA;
