//! The list of the kernel's Integrity Measurement Architecture (IMA): read, and replayed to exactly the PCR 10 that a
//! quote proves. Says what was measured and by which proof; judges no file: that is `holdfast-appraisal`.

mod aggregate;
mod entry;
mod measured;
mod refused;
mod replay;
mod resume;
mod signature;

pub use aggregate::{AggregateOf, AggregateRefused, BOOT_AGGREGATE};
pub use entry::{Entries, Entry, TEMPLATE_DATA_BYTES_MAX, TEMPLATE_NAME_BYTES_MAX, Template};
pub use measured::{FileDigest, Measured};
pub use refused::{Counters, ImaRefused};
pub use replay::{LOG_BYTES_MAX, Quoted, Replayed, replay};
pub use resume::{Hashing, Resume};
pub use signature::{ImaKeys, SIGNATURE_HEADER_BYTES, SignatureRefused, keys_of_pem};

use super::pcr::PcrIndex;

/// The PCR that IMA extends.
pub const PCR: PcrIndex = PcrIndex::IMA;
