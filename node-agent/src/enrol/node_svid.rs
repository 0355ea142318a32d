//! The node's own SVID: for the node key, which is in the TPM or in memory and never beside it, so it may be kept in the
//! state directory. It opens connections and earns nothing by itself.

use holdfast_identity::{SpiffeId, UnixTime};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::state::{StateDir, StateFault};

/// The file in the state directory.
const FILE: &str = "node-svid.json";

/// The node's SVID as it is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSvid {
    /// Who the node is.
    pub spiffe_id: SpiffeId,
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// End of the leaf.
    pub not_after: UnixTime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    spiffe_id: String,
    /// DER in hexadecimal, leaf first.
    chain: Vec<String>,
    not_after: i64,
}

impl NodeSvid {
    /// What the state directory remembers, if it is for the key with this DER SubjectPublicKeyInfo. A file that cannot
    /// be read is as good as none: a new enrolment writes another.
    #[must_use]
    pub fn load(state: &StateDir, spki: &[u8]) -> Option<Self> {
        let kept = state.read::<Kept>(FILE).unwrap_or_else(|fault| {
            tracing::warn!(code = fault.code(), error = %fault, "node SVID not read");
            None
        })?;
        let chain: Vec<Vec<u8>> = kept.chain.iter().map(hex::decode).collect::<Result<_, _>>().ok()?;
        let svid = Self { spiffe_id: kept.spiffe_id.parse().ok()?, chain, not_after: UnixTime(kept.not_after) };
        svid.is_for(spki).then_some(svid)
    }

    /// Whether it is for the key with this DER SubjectPublicKeyInfo.
    #[must_use]
    pub fn is_for(&self, spki: &[u8]) -> bool {
        self.chain
            .first()
            .and_then(|leaf| X509Certificate::from_der(leaf).ok())
            .is_some_and(|(_, leaf)| leaf.tbs_certificate.subject_pki.raw == spki)
    }

    /// Writes it to the state directory.
    ///
    /// # Errors
    /// [`StateFault`] where it cannot be written.
    pub fn keep(&self, state: &StateDir) -> Result<(), StateFault> {
        let kept = Kept {
            spiffe_id: self.spiffe_id.to_string(),
            chain: self.chain.iter().map(hex::encode).collect(),
            not_after: self.not_after.seconds(),
        };
        state.write(FILE, &kept)
    }

    /// Forgets what the state directory remembers.
    ///
    /// # Errors
    /// [`StateFault`] where it cannot be removed.
    pub fn forget(state: &StateDir) -> Result<(), StateFault> {
        state.remove(FILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_svid_for_another_key_is_not_ours() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDir::open(place.path()).unwrap();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
        let svid = NodeSvid {
            spiffe_id: "spiffe://td/holdfast/node/tpm/ab".parse().unwrap(),
            chain: vec![certificate.der().to_vec()],
            not_after: UnixTime(9),
        };
        assert_eq!(NodeSvid::load(&state, parsed.tbs_certificate.subject_pki.raw), None);
        svid.keep(&state).unwrap();
        assert_eq!(NodeSvid::load(&state, parsed.tbs_certificate.subject_pki.raw), Some(svid));
        assert_eq!(NodeSvid::load(&state, b"another"), None);
        std::fs::write(state.file(FILE), "{").unwrap();
        assert_eq!(NodeSvid::load(&state, parsed.tbs_certificate.subject_pki.raw), None);
        NodeSvid::forget(&state).unwrap();
        assert_eq!(NodeSvid::load(&state, parsed.tbs_certificate.subject_pki.raw), None);
    }
}
