//! What the desk must know of each kind of evidence: how its verification gets what it needs, by what a machine is
//! recognised, what the record keeps. Verifies nothing itself: that is `holdfast-evidence`.

mod chains;
mod claimed;
mod machine;
mod refused;
pub(super) mod tpm;
mod verify;

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_appraisal::decision::{InventoryAnswer, Listing, VerifiedItem};
use holdfast_appraisal::facts::{FactId, Shape, SnpFact, Subject, TdxFact, owner_digest, owner_marks};
use holdfast_appraisal::{Facts, Ownership};
use holdfast_evidence::azure::{AzureClaims, AzureMachine, VerifiedHardware};
use holdfast_evidence::gcp::GcpClaims;
use holdfast_evidence::nitro::NitroClaims;
use holdfast_evidence::nitrotpm::NitroTpmClaims;
use holdfast_evidence::snp::SnpClaims;
use holdfast_evidence::tdx::TdxClaims;
use holdfast_evidence::tpm::{ReplayedLog, TpmClaims};
use holdfast_evidence::x509::RootIdentity;
use holdfast_evidence::{EvidenceKind, TrustClass, Verified};
use serde_json::{Map, Value, json};

pub(super) use chains::KeptChains;
pub(super) use machine::Machine;
pub use refused::EvidenceRefused;
pub(super) use verify::{Asking, look_at};

use crate::store::{ClockReading, Mark, Marks, Serves, Sha256};

/// Facts that time changes, and no machine: they are no part of who it is, or every decision would differ from
/// yesterday's.
const OF_THE_MOMENT: [FactId; 3] =
    [FactId::Tdx(TdxFact::TcbAge), FactId::Snp(SnpFact::CrlChecked), FactId::Snp(SnpFact::CrlAge)];

/// One verified item of an attestation.
#[derive(Debug)]
pub(super) enum VerifiedEvidence {
    Tpm(Box<Verified<TpmClaims>>),
    Snp(Box<Verified<SnpClaims>>),
    Tdx(Box<Verified<TdxClaims>>),
    Nitro(Box<Verified<NitroClaims>>),
    NitroTpm(Box<Verified<NitroTpmClaims>>),
    Gcp(Box<Verified<GcpClaims>>),
    Azure(Box<Verified<AzureClaims>>),
}

/// The root that vouches for an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) serves: Serves,
    pub(super) sha256: [u8; 32],
    pub(super) name: String,
}

impl VerifiedEvidence {
    pub(super) const fn kind(&self) -> EvidenceKind {
        match self {
            Self::Tpm(_) => EvidenceKind::Tpm,
            Self::Snp(_) => EvidenceKind::Snp,
            Self::Tdx(_) => EvidenceKind::Tdx,
            Self::Nitro(_) => EvidenceKind::Nitro,
            Self::NitroTpm(_) => EvidenceKind::NitroTpm,
            Self::Gcp(_) => EvidenceKind::Gcp,
            Self::Azure(_) => EvidenceKind::Azure,
        }
    }

    /// As the appraiser takes it.
    pub(super) fn item(&self) -> VerifiedItem<'_> {
        match self {
            Self::Tpm(verified) => VerifiedItem::Tpm(verified),
            Self::Snp(verified) => VerifiedItem::Snp(verified),
            Self::Tdx(verified) => VerifiedItem::Tdx(verified),
            Self::Nitro(verified) => VerifiedItem::Nitro(verified),
            Self::NitroTpm(verified) => VerifiedItem::NitroTpm(verified),
            Self::Gcp(verified) => VerifiedItem::Gcp(verified),
            Self::Azure(verified) => VerifiedItem::Azure(verified),
        }
    }

    /// What it says, given those of its [`listable`](Self::listable) digests that the operator listed.
    fn facts(&self, listed: &BTreeSet<Sha256>) -> Facts {
        let inventory = listed.iter().map(|digest| InventoryAnswer { digest: digest.0, listing: Listing::Listed });
        self.item().described(&Ownership { inventory: inventory.collect(), ..Ownership::unknown() })
    }

    /// By what the machine is recognised: its endorsement keys, or the facts that name it. What another kind's report
    /// inside the evidence says of itself names nobody: it is made anew at each boot.
    fn marks(&self, listed: &BTreeSet<Sha256>) -> Marks {
        if let Self::Tpm(verified) = self {
            return tpm::machine_marks(verified.claims());
        }
        let facts = self.facts(listed);
        let naming = facts.iter().filter(|(id, _)| {
            let definition = id.definition();
            let is_own = id.kind() == self.kind();
            is_own && definition.subject == Subject::Machine && definition.shape == Shape::One
        });
        let mark = |(id, fact): (FactId, &holdfast_appraisal::Fact)| {
            let value = fact.values.first()?;
            Some(Mark { kind: id.to_string(), digest: Sha256(owner_digest(id, value)) })
        };
        Marks::from(naming.filter_map(mark).collect::<Vec<_>>())
    }

    /// What the operator may have listed to make the machine ours.
    fn listable(&self) -> Vec<Sha256> {
        match self {
            Self::Tpm(verified) => {
                let marks = tpm::machine_marks(verified.claims());
                marks.proven.iter().chain(&marks.mentioned).map(|mark| mark.digest).collect()
            }
            other => owner_marks(&other.facts(&BTreeSet::new())).map(|mark| Sha256(mark.digest)).collect(),
        }
    }

    /// The root above a report or document.
    fn root(&self) -> Option<&RootIdentity> {
        match self {
            Self::Tpm(_) => None,
            Self::Snp(verified) => Some(&verified.claims().root),
            Self::Tdx(verified) => Some(&verified.claims().root),
            Self::Nitro(verified) => Some(&verified.claims().root),
            Self::NitroTpm(verified) => Some(&verified.claims().root),
            Self::Gcp(verified) => Some(&verified.claims().root),
            Self::Azure(verified) => Some(&verified.claims().root),
        }
    }

    /// The roots that vouch for it.
    fn roots(&self) -> Vec<Root> {
        let serves = self.kind().into();
        match self {
            Self::Tpm(verified) => {
                let eks = verified.claims().eks.iter();
                let eks = eks.map(|ek| Root { serves, sha256: ek.root_sha256, name: ek.root_name.clone() });
                let makers = verified.claims().ownership.roots();
                let makers = makers.map(|(factor, root)| Root {
                    serves: tpm::serves(factor),
                    sha256: root.sha256,
                    name: root.name.clone(),
                });
                eks.chain(makers).collect()
            }
            other => other
                .root()
                .map(|root| Root { serves, sha256: root.sha256, name: root.name.clone() })
                .into_iter()
                .collect(),
        }
    }

    /// The least trusted class among its roots.
    fn class(&self) -> Option<TrustClass> {
        match self {
            Self::Tpm(verified) => verified.claims().class(),
            other => other.root().map(|root| root.class),
        }
    }

    /// Maker, model and the like; attacker-written.
    fn description(&self) -> String {
        match self {
            Self::Tpm(verified) => tpm::description(verified.claims()),
            Self::Snp(verified) => format!("SEV-SNP guest on {}", verified.claims().report.product()),
            Self::Tdx(_) => "TDX guest".to_owned(),
            Self::Nitro(verified) => format!("Nitro enclave {}", verified.claims().module_id.as_str()),
            Self::NitroTpm(verified) => format!("NitroTPM of {}", verified.claims().module_id.instance_id()),
            Self::Gcp(verified) => format!("Google Cloud instance {}", verified.claims().instance.instance_name),
            Self::Azure(verified) => azure_description(&verified.claims().machine),
        }
    }

    /// The clock of a quote, to be compared with the last one.
    fn clock(&self) -> Option<ClockReading> {
        match self {
            Self::Tpm(verified) => Some(tpm::clock(verified.claims().clock)),
            Self::Gcp(verified) => Some(tpm::clock(verified.claims().boot.clock)),
            Self::Azure(verified) => Some(tpm::clock(verified.claims().boot.clock)),
            Self::Snp(_) | Self::Tdx(_) | Self::Nitro(_) | Self::NitroTpm(_) => None,
        }
    }

    /// A firmware log that is worth keeping for the next attestation.
    fn log(&self) -> Option<&Arc<ReplayedLog>> {
        match self {
            Self::Tpm(verified) => verified.claims().log.as_ref(),
            Self::Snp(_) | Self::Tdx(_) | Self::Nitro(_) | Self::NitroTpm(_) | Self::Gcp(_) | Self::Azure(_) => None,
        }
    }

    /// Who it is, for the operator: of a TPM its keys; of everything else all that it says, for `fleet tcb` asks a year
    /// later.
    fn explain(&self) -> Vec<Value> {
        if let Self::Tpm(verified) = self {
            return tpm::explain(verified.claims());
        }
        let mut shown = Map::new();
        let facts = self.facts(&BTreeSet::new());
        for (id, fact) in facts.iter().filter(|(id, _)| !OF_THE_MOMENT.contains(id)) {
            let values: Vec<String> = fact.values.iter().map(ToString::to_string).collect();
            shown.insert(id.to_string(), json!({ "values": values, "provenance": fact.provenance.as_str() }));
        }
        let root = self.root().map(|root| json!({ "name": root.name, "sha256": hex::encode(root.sha256) }));
        vec![json!({ "kind": self.kind().as_str(), "root": root, "facts": shown })]
    }
}

fn azure_description(machine: &AzureMachine) -> String {
    let hardware = match machine.hardware() {
        Some(VerifiedHardware::Snp(_)) => "SEV-SNP",
        Some(VerifiedHardware::Tdx(_)) => "TDX",
        None => return "Azure machine with Trusted Launch".to_owned(),
    };
    let id = machine.runtime_data().map(|data| data.configuration.vm_unique_id.as_str()).unwrap_or_default();
    format!("Azure machine {id} on {hardware}")
}

#[cfg(test)]
mod tests {
    use holdfast_appraisal::facts::registry;

    use super::*;

    #[test]
    fn what_time_alone_changes_is_no_part_of_who_a_machine_is() {
        let ages: Vec<FactId> = registry().filter(|fact| fact.name.ends_with("age_days")).map(|fact| fact.id).collect();
        assert!(ages.len() >= 2, "{ages:?}");
        assert!(ages.iter().all(|age| OF_THE_MOMENT.contains(age)), "{ages:?}");
        // a list goes out of its dates without the machine's doing
        assert!(OF_THE_MOMENT.contains(&FactId::Snp(SnpFact::CrlChecked)));
    }
}
