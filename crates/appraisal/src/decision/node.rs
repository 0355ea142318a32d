//! What a satisfied policy grants, and the node that an appraisal of verified evidence made of it.

use std::collections::BTreeSet;

use holdfast_identity::{Selector, SpiffeId, UnixTime};
use serde::{Serialize, Serializer};

use super::PolicyVersion;
use super::waived::WaiverUsed;

/// What a policy grants to facts that satisfy it. Facts may come from anywhere: a grant is no proof, and nothing is
/// issued for it; see [`AppraisedNode`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Name and digest of the policy.
    pub policy: PolicyVersion,
    /// The rule that was satisfied.
    pub rule: String,
    /// The alternative of the rule, where it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alternative: Option<String>,
    /// The ownership factors that held, in the words of the policy.
    pub ownership: Vec<&'static str>,
    /// The facts whose values the operator listed or registered, where that is what made the machine ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owned_by: Vec<String>,
    /// The reason that the policy gives for admitting any genuine device; stands in every such decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ownership_reason: Option<String>,
    /// The waivers and change windows without which the machine would not have been admitted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waivers: Vec<WaiverUsed>,
    /// The node's identity, below `/holdfast/node/`.
    #[serde(serialize_with = "as_text")]
    pub spiffe_id: SpiffeId,
    /// The node's selectors.
    #[serde(serialize_with = "each_as_text")]
    pub selectors: BTreeSet<Selector>,
    /// Facts that the policy wants as selectors and that could not be one: not proven, or not spelt as a selector.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selectors_left_out: Vec<String>,
    /// Longest life of the node's SVID in seconds.
    pub svid_ttl: u32,
    /// When the evidence stops counting; no SVID outlives it.
    #[serde(serialize_with = "as_seconds")]
    pub evidence_expires: UnixTime,
}

/// A node that verified evidence and the policy in force admit. Only [`super::Appraiser::appraise`] makes one; the
/// issuer drafts from nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppraisedNode {
    #[serde(flatten)]
    pub(super) grant: Grant,
    #[serde(serialize_with = "as_hex")]
    pub(super) node_key_spki: Vec<u8>,
}

impl AppraisedNode {
    /// The policy, rule, identity, selectors and times.
    #[must_use]
    pub const fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The node's identity, below `/holdfast/node/`.
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.grant.spiffe_id
    }

    /// The node's selectors.
    #[must_use]
    pub const fn selectors(&self) -> &BTreeSet<Selector> {
        &self.grant.selectors
    }

    /// Longest life of the node's SVID in seconds.
    #[must_use]
    pub const fn svid_ttl(&self) -> u32 {
        self.grant.svid_ttl
    }

    /// When the evidence stops counting; no SVID outlives it.
    #[must_use]
    pub const fn evidence_expires(&self) -> UnixTime {
        self.grant.evidence_expires
    }

    /// DER of the SubjectPublicKeyInfo of the node key that was proven with the evidence.
    #[must_use]
    pub fn node_key_spki(&self) -> &[u8] {
        &self.node_key_spki
    }
}

fn as_text<S: Serializer>(value: &impl ToString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_string())
}

fn each_as_text<S: Serializer>(values: &BTreeSet<Selector>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

pub(super) fn as_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}

fn as_seconds<S: Serializer>(time: &UnixTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(time.seconds())
}
