//! What the desk must know of each kind of evidence: one file a kind, and here what they have in common. Verifies
//! nothing itself: that is `holdfast-evidence`.

mod machine;
mod refused;
pub(super) mod tpm;

use std::collections::BTreeSet;

use holdfast_appraisal::decision::VerifiedItem;
use holdfast_evidence::tpm::{ReplayedLog, TpmClaims};
use holdfast_evidence::{EvidenceKind, TrustClass, Verified};
use serde_json::Value;

pub(super) use machine::Machine;
pub use refused::EvidenceRefused;

use crate::store::{ClockReading, Mark, Sha256};

/// One verified item of an attestation.
#[derive(Debug)]
pub(super) enum VerifiedEvidence {
    Tpm(Box<Verified<TpmClaims>>),
}

/// The root that vouches for an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) kind: EvidenceKind,
    pub(super) sha256: [u8; 32],
    pub(super) name: String,
}

impl VerifiedEvidence {
    pub(super) const fn kind(&self) -> EvidenceKind {
        match self {
            Self::Tpm(_) => EvidenceKind::Tpm,
        }
    }

    /// As the appraiser takes it.
    pub(super) fn item(&self) -> VerifiedItem<'_> {
        match self {
            Self::Tpm(verified) => VerifiedItem::Tpm(verified),
        }
    }

    /// By what the machine is recognised. `listed` are those of its [`listable`](Self::listable) digests that the
    /// operator listed.
    fn marks(&self, _listed: &BTreeSet<Sha256>) -> Vec<Mark> {
        match self {
            Self::Tpm(verified) => tpm::marks(&verified.claims().eks),
        }
    }

    /// What the operator may have listed to make the machine ours.
    fn listable(&self) -> Vec<Sha256> {
        match self {
            Self::Tpm(verified) => tpm::marks(&verified.claims().eks).iter().map(|mark| mark.digest).collect(),
        }
    }

    /// The roots that vouch for it.
    fn roots(&self) -> Vec<Root> {
        match self {
            Self::Tpm(verified) => {
                let eks = verified.claims().eks.iter();
                eks.map(|ek| Root { kind: self.kind(), sha256: ek.root_sha256, name: ek.root_name.clone() }).collect()
            }
        }
    }

    /// The least trusted class among its roots.
    fn class(&self) -> Option<TrustClass> {
        match self {
            Self::Tpm(verified) => verified.claims().class(),
        }
    }

    /// Maker, model and the like; attacker-written.
    fn description(&self) -> String {
        match self {
            Self::Tpm(verified) => tpm::description(verified.claims()),
        }
    }

    /// The clock of a quote, to be compared with the last one.
    fn clock(&self) -> Option<ClockReading> {
        match self {
            Self::Tpm(verified) => Some(tpm::clock(verified.claims())),
        }
    }

    /// A firmware log that is worth keeping for the next attestation.
    fn log(&self) -> Option<&std::sync::Arc<ReplayedLog>> {
        match self {
            Self::Tpm(verified) => verified.claims().log.as_ref(),
        }
    }

    /// Who it is, for the operator.
    fn explain(&self) -> Vec<Value> {
        match self {
            Self::Tpm(verified) => tpm::explain(verified.claims()),
        }
    }
}
