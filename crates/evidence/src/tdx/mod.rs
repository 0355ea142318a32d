//! Evidence of kind `tdx`: DCAP quotes of Intel TDX, version 4 and 5, verified over their raw bytes with collateral that
//! comes in as a value. Fetches nothing, and does not decide which TCB is good enough.
//!
//! ```text
//! bytes ─Quote::parse─▶ Quote ─pck_chain─▶ VerifiedPck ─▶ (fetch collateral for its kind) ─verify_quote─▶ VerifiedQuote
//! ```

mod attributes;
mod boot;
mod ccel;
pub mod checks;
mod claims;
mod collateral;
mod dcap;
mod error;
mod evidence;
mod item;
mod pck;
mod pki;
mod quote;
mod report;
mod signatures;
mod tcb;
mod verify;

pub use attributes::TdAttributes;
pub use boot::{TdBoot, TdEvent, TdText};
pub use claims::TdxClaims;
pub use collateral::{COLLATERAL_BYTES_MAX, CheckedCollateral, Collateral, CollateralParts};
pub use error::{Document, Unverified};
pub use evidence::{TdxEvidence, TdxWants};
pub use item::TdxItem;
pub use pck::{PckCa, PlatformIdentity, PlatformKind, VerifiedPck, certificates, claimed_platform, pck_chain};
pub use pki::BadCertificate;
pub use quote::{QUOTE_AREA_BYTES_MAX, QUOTE_BYTES_MAX, QeReport, Quote};
pub use report::{Measurement, TdReport, TdReport15, TdReport15Ex};
pub use tcb::{Tcb, TcbStatus};
pub use verify::{KnownCollateral, TdxEndorsements, VerifiedQuote, verify_quote};
