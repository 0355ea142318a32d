//! X.509 as vendors of hardware write it: roots with their classes, CRLs, and a path builder of our own.
//!
//! Neither webpki nor strict DER readers take what is in the field: critical certificate policies, unsorted names,
//! several issuers of one name. What a leaf must be is for each kind of evidence to say.

mod crl;
mod error;
pub(crate) mod issuer;
mod kept;
pub mod manifest;
mod path;
mod roots;
mod signer;

pub use crl::Crl;
pub(crate) use crl::{ListDates, Verdict};
pub(crate) use error::Date;
pub use error::{BadEndorsement, PathRefused};
pub use kept::{VerifiedPath, path_id, verify_path};
pub use path::{Path, find_path};
pub use roots::{Anchor, RootIdentity, Roots, Sha1Signatures, SoftwareTpms};
pub(crate) use signer::{SignedByName, find_signer};

/// Whether issuers may have expired. An EK certificate outlives many intermediates: TPMs are not re-issued. The leaf's
/// own dates always count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiredIssuers {
    /// Every certificate of the path must be valid now.
    #[default]
    Refused,
    /// Intermediates and roots may have expired.
    Accepted,
}
