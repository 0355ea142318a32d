//! Whom the server believed at one moment for one kind of evidence, as a document: names and digests, the certificates
//! themselves are bodies of their own. Believes nobody itself: whoever reads a proof brings the roots that he trusts.

use holdfast_evidence::TrustClass;
use holdfast_evidence::x509::{Anchor, Roots};
use serde::{Deserialize, Serialize};

use crate::body::{Bodies, Body, BodyKind, BodyMissing};
use crate::bytes::Digest;

/// Certificates and lists of one document.
const ENTRIES_MAX: usize = 4_096;
/// Bytes of all that one document names: every TPM vendor's certificates and lists are a tenth of it.
const NAMED_BYTES_MAX: usize = 64 << 20;

/// The document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustDocument {
    /// Trusted roots, in the order in which they were tried.
    pub roots: Vec<TrustedRoot>,
    /// Intermediates that machines do not bring along.
    pub intermediates: Vec<Digest>,
    /// Revocation lists.
    pub revocation_lists: Vec<Digest>,
}

/// One trusted root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedRoot {
    /// SHA-256 of its certificate, DER.
    pub sha256: Digest,
    /// The name under which it was imported.
    pub name: String,
    /// What stands behind it.
    pub class: String,
}

/// Why a trust document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustUnread {
    /// A body of it is missing.
    #[error(transparent)]
    Missing(#[from] BodyMissing),
    /// It, or a certificate of it, does not parse.
    #[error("trust document does not parse: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
}

impl TrustDocument {
    /// The document about `roots` with all its bodies; the first is the document itself.
    #[must_use]
    pub fn of(roots: &Roots) -> (Digest, Vec<Body>) {
        let mut bodies = Vec::new();
        let mut keep = |kind, der: &[u8]| {
            let body = Body::new(kind, der.to_vec());
            let digest = body.digest;
            bodies.push(body);
            digest
        };
        let document = Self {
            roots: roots
                .anchors()
                .iter()
                .map(|anchor| TrustedRoot {
                    sha256: keep(BodyKind::Authority, anchor.der()),
                    name: anchor.name().to_owned(),
                    class: anchor.class().as_str().to_owned(),
                })
                .collect(),
            intermediates: roots.intermediates().map(|der| keep(BodyKind::Authority, der)).collect(),
            revocation_lists: roots.crls_der().map(|der| keep(BodyKind::RevocationList, der)).collect(),
        };
        let body = Body::new(BodyKind::Trust, serde_json::to_vec(&document).unwrap_or_default());
        let digest = body.digest;
        bodies.insert(0, body);
        (digest, bodies)
    }

    /// Reads the document.
    ///
    /// # Errors
    /// [`TrustUnread`].
    pub fn read(digest: &Digest, bodies: &Bodies) -> Result<Self, TrustUnread> {
        let malformed = |reason: String| TrustUnread::Malformed { reason };
        let document: Self =
            serde_json::from_slice(bodies.need(digest)?).map_err(|error| malformed(error.to_string()))?;
        let entries = document.roots.len() + document.intermediates.len() + document.revocation_lists.len();
        if entries > ENTRIES_MAX {
            return Err(malformed(format!("{entries} entries, limit {ENTRIES_MAX}")));
        }
        Ok(document)
    }

    /// Everything that it names. Its own digest is not among them.
    pub fn names(&self) -> impl Iterator<Item = Digest> {
        let roots = self.roots.iter().map(|root| root.sha256);
        roots.chain(self.intermediates.iter().copied()).chain(self.revocation_lists.iter().copied())
    }

    /// The roots, as evidence was checked against them.
    ///
    /// # Errors
    /// [`TrustUnread`].
    pub fn roots(&self, bodies: &Bodies) -> Result<Roots, TrustUnread> {
        let malformed = |reason: String| TrustUnread::Malformed { reason };
        let mut named = 0_usize;
        for digest in self.names() {
            named = named.saturating_add(bodies.need(&digest)?.len());
        }
        if named > NAMED_BYTES_MAX {
            return Err(malformed(format!("names {named} bytes of certificates and lists, limit {NAMED_BYTES_MAX}")));
        }
        let mut roots = Roots::new();
        for root in &self.roots {
            let class: TrustClass = root.class.parse().map_err(|_| malformed(format!("class {:?}", root.class)))?;
            let anchor = Anchor::new(bodies.need(&root.sha256)?, class).map_err(|bad| malformed(bad.to_string()))?;
            roots.add(anchor.named(root.name.as_str()));
        }
        for digest in &self.intermediates {
            roots.add_intermediate(bodies.need(digest)?).map_err(|bad| malformed(bad.to_string()))?;
        }
        for digest in &self.revocation_lists {
            roots.add_crl(bodies.need(digest)?).map_err(|bad| malformed(bad.to_string()))?;
        }
        Ok(roots)
    }
}
