//! Evidence of kind `gcp`: quotes of Google Cloud's virtual TPM, by an attestation key that Google certified for one
//! instance. Google's hypervisor vouches for all of it: the provenance level is `provider`, whatever the processor.

pub mod checks;
mod claims;
mod error;
mod instance;
mod item;
mod verify;

pub use claims::GcpClaims;
pub use error::Unverified;
pub use instance::{Instance, SecurityProperties};
pub use item::{AK_CERTIFICATES_MAX, GcpItem};
pub use verify::{GcpEndorsements, GcpEvidence, GcpWants};
