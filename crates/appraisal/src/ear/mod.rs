//! Attestation results for relying parties: a decision and its facts as an AR4SI trustworthiness vector
//! (draft-ietf-rats-ar4si), carried by an EAT Attestation Result (draft-ietf-rats-ear-04).
//!
//! `rules` says which fact earns which claim, and `token` writes and reads the tokens. Signs nothing, and nothing that is
//! made here earns an identity.

mod claims;
mod rules;
mod token;
mod vector;

use holdfast_evidence::EvidenceKind;
use serde_json::{Value, json};

pub use claims::{AttestationResult, NONCE_BYTES, PROFILE, VerifierId};
pub use rules::{Judged, appraised, unverified};
pub use token::{BadToken, Format, Prepared, TOKEN_BYTES_MAX, Token, key_id};
pub use vector::{Claim, SIMULATED, Tier, TrustVector};

use std::collections::BTreeMap;

/// What can be told of one item of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemResult {
    /// The label of its submodule: the kind of evidence.
    pub label: String,
    /// At most what the worst claim allows.
    pub status: Tier,
    /// Claim by claim.
    pub vector: TrustVector,
    /// Why each claim has its value, for operators; not part of the token.
    pub because: BTreeMap<Claim, String>,
}

impl ItemResult {
    fn new(kind: EvidenceKind, status: Tier, claims: BTreeMap<Claim, (i8, String)>) -> Self {
        let vector: TrustVector = claims.iter().map(|(claim, (value, _))| (*claim, *value)).collect();
        let because = claims.into_iter().map(|(claim, (_, why))| (claim, why)).collect();
        Self { label: kind.as_str().to_owned(), status: status.max(vector.worst()), vector, because }
    }

    /// The same of a machine that is not trusted any more, whatever its evidence said.
    #[must_use]
    pub fn contraindicated(mut self, why: &str) -> Self {
        self.vector.set(Claim::InstanceIdentity, 96);
        self.because.insert(Claim::InstanceIdentity, why.to_owned());
        self.status = Tier::Contraindicated;
        self
    }

    /// As decisions keep it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let because: BTreeMap<&str, &String> = self.because.iter().map(|(claim, why)| (claim.as_str(), why)).collect();
        json!({
            "label": self.label, "status": self.status.as_str(), "vector": self.vector.to_json(), "because": because,
        })
    }

    /// As a decision kept it; `None` for anything else.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let because = value.get("because").and_then(Value::as_object);
        let because = because.into_iter().flatten().filter_map(|(name, why)| {
            Some((Claim::ALL.into_iter().find(|claim| claim.as_str() == name)?, why.as_str()?.to_owned()))
        });
        let vector = TrustVector::from_json(value.get("vector")?)?;
        let status = Tier::from_name(value.get("status")?.as_str()?)?;
        Some(Self {
            label: value.get("label")?.as_str()?.to_owned(),
            status: status.max(vector.worst()),
            because: because.collect(),
            vector,
        })
    }
}
