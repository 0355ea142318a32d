//! The file that proves one decision: the entry and its place in the record, the manifest, every body, the policies and
//! the decision. One JSON document that needs nothing beside it but the log's key.

use holdfast_appraisal::policy::{Bundle, at_most};
use holdfast_record::{InclusionProof, SignedCheckpoint};
use serde::{Deserialize, Serialize};

use crate::body::BODY_BYTES_MAX;
use crate::bytes::{Blob, Digest};

/// What such a file is.
pub const PROOF_MEDIA_TYPE: &str = "application/vnd.holdfast.proof.v1+json";
/// Bytes of a file that is read. Two policies of the largest size that a server takes (100 MiB each: a million digests of
/// measured files), each byte escaped by another in JSON, and 112 MiB for everything else: a list of measured files of 32 MiB
/// in base64 is 43 of them.
pub const PROOF_BYTES_MAX: usize = 512 << 20;
/// Bodies of one file.
pub const PROOF_BODIES_MAX: usize = 8_192;
/// Policies of one file: the one that decided, and the one that was observed.
const POLICIES_MAX: usize = 2;

/// The document.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofBundle {
    /// [`PROOF_MEDIA_TYPE`].
    pub media_type: String,
    /// The attempt's entry, byte for byte as it is in the record.
    pub entry: Blob,
    /// That the entry is in the tree of the checkpoint.
    pub inclusion: InclusionProof,
    /// What the log's operator said of the tree, signed.
    pub checkpoint: SignedCheckpoint,
    /// The decision's JSON; absent once its retention has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// The manifest; absent once its retention has passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Blob>,
    /// The policies that the manifest names.
    #[serde(deserialize_with = "at_most::<_, _, { POLICIES_MAX }>")]
    pub policies: Vec<Bundle>,
    /// Every body that the manifest and its trust documents name, as far as they are kept.
    #[serde(deserialize_with = "at_most::<_, _, { PROOF_BODIES_MAX }>")]
    pub bodies: Vec<ProofBody>,
}

/// One body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofBody {
    /// Its name: SHA-256.
    pub sha256: Digest,
    /// Its bytes.
    pub content: Blob,
}

/// Why bytes are no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("file is no proof: {reason}")]
pub struct MalformedProof {
    /// What is wrong.
    pub reason: String,
}

impl MalformedProof {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "proof.form"
    }
}

impl ProofBundle {
    /// Its bytes: JSON without blanks.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads one, within its limits. There is one way to write a proof: bytes that say the same otherwise are none.
    ///
    /// # Errors
    /// [`MalformedProof`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedProof> {
        let malformed = |reason: String| MalformedProof { reason };
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(malformed(format!("{} bytes, limit {PROOF_BYTES_MAX}", bytes.len())));
        }
        let bundle: Self = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if bundle.media_type != PROOF_MEDIA_TYPE {
            return Err(malformed(format!("media type {:?}, this reads {PROOF_MEDIA_TYPE}", bundle.media_type)));
        }
        if let Some(body) = bundle.bodies.iter().find(|body| body.content.0.len() > BODY_BYTES_MAX) {
            let length = body.content.0.len();
            return Err(malformed(format!("body {} has {length} bytes, limit {BODY_BYTES_MAX}", body.sha256)));
        }
        if !bundle.bodies.iter().map(|body| body.sha256).is_sorted_by(|one, next| one < next) {
            return Err(malformed("bodies are not in the order of their digests, or one is there twice".to_owned()));
        }
        if bundle.encode() != bytes {
            return Err(malformed("it is not written as a server writes it: blanks, or another order".to_owned()));
        }
        Ok(bundle)
    }
}
