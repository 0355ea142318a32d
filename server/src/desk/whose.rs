//! Whose machine it is, as far as the store knows: by what it is recognised, who listed it, and whether its attempts may fill
//! the record. Judges no evidence.

use std::collections::BTreeSet;

use holdfast_evidence::ItemState;
use holdfast_identity::UnixTime;

use super::allowance::{Unlisted, Whose};
use super::complete::Examined;
use super::evidence::tpm;
use super::{CallerRefused, Desk, Failure};
use crate::store::{Attempt, Marks, NodeTarget, Ownership, Sha256, Standing, Subject, Verdict, Way, WhenBarred};

/// Whose machine it is.
pub(super) struct Owned {
    pub(super) marks: Marks,
    pub(super) held: Ownership,
    /// Whether an operator listed anything that it proved, or offered where it proved nothing more.
    is_listed: bool,
    /// Whether it speaks on a node's own connection.
    is_renewal: bool,
}

impl Owned {
    /// Ours is what an operator listed or approved, or what was a node of ours before; nothing that is banned or turned down.
    pub(super) fn whose(&self) -> Whose {
        let was_admitted = self.held.node.as_ref().is_some_and(|node| node.spiffe_id.is_some());
        if (self.is_listed || self.held.approved || was_admitted || self.is_renewal) && !self.is_barred() {
            Whose::Ours
        } else {
            Whose::Strange
        }
    }

    /// By which mark its attempts are counted.
    fn counted_as(&self, attempt: &Attempt) -> Sha256 {
        self.marks.proven.first().map_or_else(|| Sha256::of(attempt.source.as_bytes()), |mark| mark.digest)
    }

    fn is_barred(&self) -> bool {
        self.held.node.as_ref().is_some_and(|node| node.ban.is_some() || node.standing == Standing::Denied)
    }
}

impl Desk {
    /// By what the machine is recognised, and what the store says about it.
    pub(super) async fn whose(&self, examined: &Examined) -> Result<Owned, Failure> {
        let is_renewal = examined.way == Way::Renew;
        let Ok(machine) = &examined.result else {
            // Refused: only a TPM's keys were proven before the evidence was.
            let expected = examined.expected.iter().find_map(ItemState::tpm);
            let marks = expected.map(|expected| tpm::marks(expected.eks())).unwrap_or_default();
            let held = self.store.ownership(marks.clone(), Vec::new()).await?;
            let listed = self.store.listed(marks.iter().map(|mark| mark.digest).collect()).await?;
            return Ok(Owned { is_listed: !listed.is_empty(), is_renewal, marks: marks.into(), held });
        };
        let listable = machine.listable();
        let mut listed = BTreeSet::new();
        if machine.may_be_a_launch() {
            let held = self.store.ownership(Vec::new(), listable.clone()).await?;
            listed.extend(held.inventory.iter().map(|entry| entry.digest));
        }
        let marks = machine.marks(&listed);
        let held = self.store.ownership(marks.proven.clone(), listable).await?;
        Ok(Owned { is_listed: !held.inventory.is_empty(), is_renewal, marks, held })
    }

    /// Whose attempt it is. Who comes back is the node of its attestation key; who renews, that of its connection.
    pub(super) async fn subject(&self, examined: &Examined, owned: &Owned) -> Result<Subject, Failure> {
        let tpm = examined.expected.iter().find_map(ItemState::tpm);
        match (examined.way, tpm, &examined.renewing) {
            (Way::Enrol, ..) => Ok(Subject::Proven(owned.marks.clone())),
            (Way::Return | Way::Renew, Some(expected), _) => {
                let known = owned.held.node.as_ref().filter(|node| node.ak_name == expected.ak().name().to_vec());
                Ok(Subject::Known(known.ok_or(CallerRefused::UnknownKey)?.number))
            }
            (Way::Return | Way::Renew, None, Some(node)) => {
                let node = self.store.node(NodeTarget::SpiffeId(node.clone())).await?;
                Ok(Subject::Known(node.ok_or(CallerRefused::NotANode)?.number))
            }
            (Way::Return | Way::Renew, None, None) => Err(CallerRefused::NotANode.into()),
        }
    }

    /// Whoever owns a genuine chip can be refused without end: beyond a bound a day this is counted, and not written.
    pub(super) fn check_unlisted(&self, owned: &Owned, attempt: &Attempt) -> Result<(), Failure> {
        let code = match &attempt.verdict {
            // Whether the store bars it, nobody knows yet: see `barring`.
            Verdict::Admit(_) => return Ok(()),
            Verdict::AwaitApproval(_) => Failure::AwaitsApproval.code(),
            Verdict::Refuse { code, .. } => code,
        };
        // What a node shows on its own connection ends its standing, and is written whatever else is.
        if owned.is_renewal || owned.whose() == Whose::Ours {
            return Ok(());
        }
        let mark = owned.counted_as(attempt);
        if self.unlisted.take(mark, attempt.at) { Ok(()) } else { Err(Failure::Unwritten { code: code.to_owned() }) }
    }

    /// Where an attempt counts if it comes to nothing: whoever is frozen, bears another's name, waits, or is refused, can come
    /// again without end, whoever listed it. `None` for one that counts already.
    pub(super) fn barring(&self, owned: &Owned, attempt: &Attempt) -> Option<Barring<'_>> {
        let strange = owned.whose() == Whose::Strange;
        let (counts, of_ours) = match attempt.verdict {
            Verdict::Admit(_) => (true, &self.barred),
            Verdict::AwaitApproval(_) => (owned.is_renewal || !strange, &self.barred),
            Verdict::Refuse { .. } => (owned.is_renewal || !strange, &self.refused),
        };
        let table = if strange { &self.unlisted } else { of_ours };
        counts.then(|| Barring { table, mark: owned.counted_as(attempt), at: attempt.at })
    }
}

/// See [`Desk::barring`].
pub(super) struct Barring<'d> {
    table: &'d Unlisted,
    mark: Sha256,
    at: UnixTime,
}

impl Barring<'_> {
    /// Whether the record has room for it today.
    pub(super) fn when_barred(&self) -> WhenBarred {
        if self.table.has_room(self.mark, self.at) { WhenBarred::Written } else { WhenBarred::Unwritten }
    }

    /// It came to nothing.
    pub(super) fn count(&self) {
        self.table.take(self.mark, self.at);
    }
}
