//! Evidence of kind `tpm`: TPM 2.0 structures, credential activation, quotes, certified keys, firmware event logs.

pub mod event_log;
mod pcr;
pub mod secure_boot;

pub use pcr::{Bank, PCR_COUNT, PcrIndex, PcrSelection, PcrSet, PcrValues};
