//! Evidence of kind `azure`: quotes of Azure's virtual TPM. On a confidential VM the TPM is the paravisor's, and an SNP or
//! TDX report says which paravisor runs and which attestation key it made; the provenance level of what the hardware says
//! is `hardware`, of all else `paravisor`. On any other machine (Trusted Launch) Microsoft's certificate stands behind
//! the key, and the level is `provider`.
//!
//! The hardware report is made at boot: what ties it to now is the quote alone.

mod certificate;
pub mod checks;
mod claims;
mod error;
mod hcl;
mod item;
mod runtime;
mod td_report;
mod verify;

pub use certificate::{AkCertificate, verify_ak_certificate, verify_ak_certificate_if_any};
pub use claims::{AzureClaims, AzureMachine, VerifiedHardware};
pub use error::Unverified;
pub use hcl::{HCL_BYTES_MAX, HardwareReport, HclReport, RUNTIME_DATA_BYTES_MAX, TD_REPORT_BYTES};
pub use item::{AK_CERTIFICATES_MAX, AzureHardware, AzureItem};
pub use runtime::{RuntimeData, USER_DATA_BYTES, VmConfiguration};
pub use verify::{AzureEndorsements, AzureEvidence, AzureWants, ClaimedHardware};
