//! Paths that were verified, kept for the next evidence with the same certificates: signatures and constraints of a path
//! are the same every time. Its dates, and whether roots and revocation lists are still those of then, are asked at every
//! use. What the leaf must be is asked by its kind of evidence, every time.

use std::sync::Arc;

use holdfast_identity::UnixTime;
use x509_parser::certificate::X509Certificate;

use super::{ExpiredIssuers, PathRefused, RootIdentity, Roots, find_path};
use crate::crypto::{HashAlg, Hasher};

/// A path whose every signature and constraint was checked; no issuer of it may have expired. Only [`verify_path`] makes
/// it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedPath {
    id: [u8; 32],
    roots: [u8; 32],
    root: RootIdentity,
    not_before: UnixTime,
    not_after: UnixTime,
}

impl VerifiedPath {
    /// [`path_id`] of its certificates.
    #[must_use]
    pub const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// The root.
    #[must_use]
    pub const fn root(&self) -> &RootIdentity {
        &self.root
    }

    /// The earliest end of any certificate of the path, the leaf included.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Whether the verification still counts: within the dates of every certificate, under the very roots, intermediates
    /// and revocation lists of then.
    #[must_use]
    pub fn holds(&self, roots: &Roots, now: UnixTime) -> bool {
        (self.not_before..=self.not_after).contains(&now) && self.roots == roots.digest()
    }
}

/// What names a path before it is verified: SHA-256 over the certificates that came along, DER, each behind its length,
/// the leaf first.
#[must_use]
pub fn path_id(certificates: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Hasher::new(HashAlg::Sha256);
    for der in certificates {
        // Nothing that is read from a peer comes near 4 GiB.
        hasher.update(&u32::try_from(der.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(der);
    }
    hasher.finish().as_bytes().first_chunk().copied().unwrap_or_default()
}

/// [`find_path`] from `leaf`, the first of `certificates` as it was read; one of `verified` with exactly these
/// certificates that [`holds`](VerifiedPath::holds) is taken in place of its signatures. The dates of the leaf are for the
/// caller to ask.
///
/// # Errors
/// [`PathRefused`].
pub fn verify_path(
    leaf: &X509Certificate<'_>,
    certificates: &[&[u8]],
    roots: &Roots,
    verified: &[Arc<VerifiedPath>],
    now: UnixTime,
) -> Result<Arc<VerifiedPath>, PathRefused> {
    let id = path_id(certificates);
    if let Some(known) = verified.iter().find(|known| known.id == id && known.holds(roots, now)) {
        return Ok(Arc::clone(known));
    }
    let offered = certificates.get(1..).unwrap_or_default();
    let path = find_path(leaf, offered, roots, ExpiredIssuers::Refused, now)?;
    Ok(Arc::new(VerifiedPath {
        id,
        roots: roots.digest(),
        root: path.anchor.identity(),
        not_before: UnixTime(path.not_before),
        not_after: UnixTime(path.not_after),
    }))
}
