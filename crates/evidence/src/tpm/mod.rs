//! Evidence of kind `tpm`: TPM 2.0 structures, credential activation, quotes, certified keys, firmware event logs.

mod attest;
mod attributes;
pub mod clock;
pub mod endorsement;
pub mod event_log;
mod name;
mod pcr;
mod public;
pub mod secure_boot;
mod signature;

pub use attest::{
    ATTEST_BYTES_MAX, Attest, Body, CertifyInfo, QuoteInfo, TPM_GENERATED, TPM_ST_ATTEST_CERTIFY, TPM_ST_ATTEST_QUOTE,
};
pub use attributes::Attributes;
pub use clock::{ClockInfo, Progress};
pub use name::{Hierarchy, NAME_BYTES_MAX, Name};
pub use pcr::{Bank, PCR_COUNT, PcrIndex, PcrSelection, PcrSet, PcrValues};
pub use public::{PUBLIC_BYTES_MAX, Public, Scheme};
pub use signature::{SIGNATURE_BYTES_MAX, Signature};
