//! Evidence of kind `snp`: attestation reports of AMD SEV-SNP guests, the keys that sign them, and AMD's certificates.

mod bits;
mod certificate;
mod chain;
pub mod checks;
mod claims;
mod der;
mod error;
mod evidence;
mod item;
pub mod kds;
mod product;
mod report;
mod table;
mod tcb;
mod verify;

pub use bits::{GuestPolicy, KeyInfo, PlatformInfo, VekKind};
pub use certificate::{CERTIFICATE_BYTES_MAX, Vek};
pub use chain::{VerifiedVek, verify_chain};
pub use claims::SnpClaims;
pub use error::Unverified;
pub use evidence::SnpEvidence;
pub use item::SnpItem;
pub use kds::SnpWants;
pub use product::{Product, TcbLayout};
pub use report::{FirmwareVersion, REPORT_BYTES, Report, TcbOf};
pub use table::{CertificateTable, TABLE_BYTES_MAX, bundle, pem_begins, salvage};
pub use tcb::Tcb;
pub use verify::{SnpEndorsements, VerifiedReport, verify_report};
