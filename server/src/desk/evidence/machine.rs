//! The machine behind all items of one attestation: by what it is recognised, who vouches for it, what the record keeps.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_appraisal::decision::{Approval, InventoryAnswer, Listing, MachineRecord, VerifiedItem};
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tpm::{ReplayedLog, TpmClaims};
use serde_json::Value;

use super::{Root, VerifiedEvidence, tpm};
use crate::store::{Candidate, ClockReading, InventoryEntry, Marks, Node, Ownership, Sha256, Standing};

/// All verified items of one attestation; at least one, each of another kind.
#[derive(Debug)]
pub(in crate::desk) struct Machine(Vec<VerifiedEvidence>);

impl Machine {
    pub(in crate::desk) const fn new(items: Vec<VerifiedEvidence>) -> Self {
        Self(items)
    }

    /// As the appraiser takes them.
    pub(in crate::desk) fn items(&self) -> Vec<VerifiedItem<'_>> {
        self.0.iter().map(VerifiedEvidence::item).collect()
    }

    /// By what the machine is recognised, and what is said of it, given what of it the operator listed.
    pub(in crate::desk) fn marks(&self, listed: &BTreeSet<Sha256>) -> Marks {
        let all = self.0.iter().map(|item| item.marks(listed));
        all.fold(Marks::default(), |mut found, marks| {
            found.proven.extend(marks.proven);
            found.mentioned.extend(marks.mentioned);
            found
        })
    }

    /// Whether its name depends on what the operator listed: a registered launch gives it one.
    pub(in crate::desk) fn may_be_a_launch(&self) -> bool {
        self.0.iter().any(|item| item.kind() == EvidenceKind::Tdx)
    }

    /// What the operator may have listed to make it ours.
    pub(in crate::desk) fn listable(&self) -> Vec<Sha256> {
        self.0.iter().flat_map(VerifiedEvidence::listable).collect()
    }

    /// The roots that vouch for it.
    pub(in crate::desk) fn roots(&self) -> Vec<Root> {
        self.0.iter().flat_map(VerifiedEvidence::roots).collect()
    }

    /// The clock of its TPM, if it has one.
    pub(in crate::desk) fn clock(&self) -> Option<ClockReading> {
        self.0.iter().find_map(VerifiedEvidence::clock)
    }

    /// Its firmware log, if it brought one.
    pub(in crate::desk) fn log(&self) -> Option<&Arc<ReplayedLog>> {
        self.0.iter().find_map(VerifiedEvidence::log)
    }

    /// What its own TPM proved, if it has one.
    pub(in crate::desk) fn tpm(&self) -> Option<&TpmClaims> {
        self.0.iter().find_map(|item| match item {
            VerifiedEvidence::Tpm(verified) => Some(verified.claims()),
            VerifiedEvidence::Snp(_)
            | VerifiedEvidence::Tdx(_)
            | VerifiedEvidence::Nitro(_)
            | VerifiedEvidence::NitroTpm(_)
            | VerifiedEvidence::Gcp(_)
            | VerifiedEvidence::Azure(_) => None,
        })
    }

    /// Who it is, for the operator.
    pub(in crate::desk) fn explain(&self) -> Value {
        self.0.iter().flat_map(VerifiedEvidence::explain).collect()
    }

    /// What the record keeps of it.
    pub(in crate::desk) fn candidate(&self, node: Option<&Node>) -> Candidate {
        let classes: Vec<_> = self.0.iter().map(VerifiedEvidence::class).collect();
        // A machine is what its weakest root is; one without a class is treated as one that can be copied.
        let class = if classes.contains(&None) { None } else { classes.into_iter().flatten().max() };
        let tpm = self.tpm();
        Candidate {
            trust_class: class.map(|class| class.to_string()).unwrap_or_default(),
            copyable: class.is_none_or(|class| class.is_copyable()),
            ak_name: tpm.map(|claims| claims.ak_name.to_vec()).unwrap_or_default(),
            known: tpm.map(|claims| tpm::known(claims, node)).unwrap_or_default(),
            description: self.0.iter().map(VerifiedEvidence::description).collect::<Vec<_>>().join("; "),
        }
    }

    /// What the store says about it, in the words of the appraiser.
    pub(in crate::desk) fn ownership(held: &Ownership) -> holdfast_appraisal::Ownership {
        let listing = |entry: &InventoryEntry| if entry.bare { Listing::ListedBare } else { Listing::Listed };
        let answer = |entry: &InventoryEntry| InventoryAnswer { digest: entry.digest.0, listing: listing(entry) };
        let inventory = held.inventory.iter().map(answer);
        let denied = held.node.as_ref().is_some_and(|node| node.standing == Standing::Denied);
        let approval = match (denied, held.approved) {
            (true, _) => Approval::Denied,
            (false, true) => Approval::Given,
            (false, false) => Approval::NotGiven,
        };
        let machine = held
            .node
            .as_ref()
            .and_then(tpm::machine_identity)
            .map_or(MachineRecord::New, |identity| MachineRecord::Known { identity });
        holdfast_appraisal::Ownership { inventory: inventory.collect(), approval, machine }
    }
}
