//! Evidence of kind `tpm`: TPM 2.0 structures, credential activation, quotes, certified keys, firmware event logs.

mod pcr;

pub use pcr::{Bank, PCR_COUNT, PcrIndex, PcrSelection, PcrSet, PcrValues};
