//! The recording transaction: challenge, node, verdict, decision and issuance, all of it or nothing.

use super::super::attempts::{
    AWAITS_APPROVAL, Admission, Attempt, AttemptFilter, AttemptId, AttemptRecord, Attempts, Candidate, Outcome,
    Subject, Verdict, Way, WhenBarred,
};
use super::super::bodies::Retention;
use super::super::changes::{NodeEvent, Notice};
use super::super::issuances::Recorded;
use super::super::ledger::Actor;
use super::super::nodes::{Node, NodeNumber, NodeTarget, Remark, Standing};
use super::super::policies::PolicyDigest;
use super::super::revocations::RevocationReason;
use super::super::{Held, Sha256, StoreFault};
use super::judge::{Judged, Judgement, judge};
use super::node_rows::{self, Kept};
use super::revocations::{self, Whose};
use super::writer::{Tx, Verb};
use super::{SqliteStore, attempt_rows, bodies, kept_facts, list_rows, machines, mentions};
use crate::record::{Leaf, issuance_leaf};
use holdfast_identity::{SpiffeId, UnixTime};
use serde_json::json;

impl Attempts for SqliteStore {
    fn record_attempt(&self, attempt: Attempt) -> Held<'_, Outcome> {
        Box::pin(self.queue.run(RecordAttempt { attempt, retention: self.limits.retention }))
    }

    fn attempt(&self, id: AttemptId) -> Held<'_, Option<AttemptRecord>> {
        Box::pin(async move { attempt_rows::one(&mut *self.reader().await?, id).await })
    }

    fn attempts(&self, filter: AttemptFilter) -> Held<'_, Vec<AttemptRecord>> {
        Box::pin(async move { attempt_rows::page(&mut *self.reporter().await?, &filter).await })
    }

    fn firmware_log(&self, digest: Sha256) -> Held<'_, Option<Vec<u8>>> {
        Box::pin(async move { bodies::read(&mut *self.reader().await?, digest).await })
    }

    fn measured_files(&self, node: NodeNumber) -> Held<'_, Option<String>> {
        Box::pin(async move { list_rows::states(&mut *self.reader().await?, node).await })
    }

    fn list_parts(&self, node: NodeNumber) -> Held<'_, Vec<Sha256>> {
        Box::pin(async move { list_rows::parts(&mut *self.reader().await?, node).await })
    }
}

/// Fixed selectors of one node: more than a dozen facts with a handful of values.
const FIXED_MAX: usize = 64;

struct RecordAttempt {
    attempt: Attempt,
    retention: Retention,
}

impl Verb for RecordAttempt {
    type Reply = Outcome;
    const NAME: &'static str = "record_attempt";

    async fn run(&self, tx: &mut Tx) -> Result<Outcome, StoreFault> {
        let attempt = &self.attempt;
        if attempt.policy.is_some() && attempt.policy != enforced(tx, attempt).await? {
            return Ok(Outcome::PolicyMoved);
        }
        if !attempt_rows::take(tx, &attempt.challenge_id, attempt.challenge_expires).await? {
            return Ok(Outcome::ChallengeTaken);
        }
        let found = match &attempt.subject {
            Subject::Known(number) => {
                let found = node_rows::find(&mut tx.connection, &NodeTarget::Number(*number)).await?;
                let Some(kept) = found else { return Ok(Outcome::Refused { code: "node.unknown".to_owned() }) };
                vec![kept]
            }
            Subject::Proven(marks) => {
                machines::known(&mut tx.connection, &marks.proven, ak_name(&attempt.verdict)).await?
            }
        };
        let mut judgement = judge(attempt, machines::together(&found).as_ref());
        if !matches!(judgement.judged, Judged::Refuse { .. }) && said_to_be_banned(tx, attempt, &found).await? {
            judgement.refuse("node.banned");
        }
        if let (Verdict::Admit(admission), Judged::Admit) = (&attempt.verdict, &judgement.judged)
            && let Some(code) = machines::owned_by_another(tx, admission, &found).await?
        {
            judgement.refuse(code);
        }
        if let (WhenBarred::Unwritten, None) = (attempt.when_barred, judgement.alarm)
            && let Some(code) = changes_nothing(&judgement.judged, &found)
        {
            return Ok(Outcome::Unwritten { code: code.to_owned() });
        }
        let mut found = found.into_iter();
        let (mut kept, others) = (found.next(), found.collect::<Vec<_>>());
        match (&mut kept, &judgement.judged) {
            // Nodes that prove to be one machine become one when it is admitted, and at no other time.
            (Some(kept), Judged::Admit) => {
                for other in others {
                    machines::merge(tx, kept, other, attempt.at).await?;
                }
            }
            (Some(_), Judged::AwaitApproval | Judged::Refuse { ends: true, .. }) => {
                machines::end(tx, others, attempt.at).await?
            }
            (_, Judged::Refuse { .. }) => {}
            (None, Judged::Admit | Judged::AwaitApproval) => kept = Some(machines::new(tx, attempt.at).await?),
        }
        write(tx, attempt, kept, judgement, self.retention).await
    }
}

/// The code of a verdict by which nobody's standing ends or begins, and nobody begins to wait.
fn changes_nothing<'j>(judged: &'j Judged, found: &[Kept]) -> Option<&'j str> {
    let stands = found.iter().any(|kept| kept.node.standing == Standing::Admitted);
    let waits = found.first().is_some_and(|kept| kept.node.standing == Standing::Pending);
    match judged {
        Judged::Refuse { code, ends } => (!ends || !stands).then_some(code.as_str()),
        Judged::AwaitApproval => (waits && !stands).then_some(AWAITS_APPROVAL),
        Judged::Admit => None,
    }
}

/// The version that decides about the machine: by what is on record of it in this very transaction.
async fn enforced(tx: &mut Tx, attempt: &Attempt) -> Result<Option<PolicyDigest>, StoreFault> {
    if tx.rollout().scopes.is_empty() {
        return Ok(tx.rollout().enforced);
    }
    let node = match &attempt.subject {
        Subject::Known(number) => node_rows::find(&mut tx.connection, &NodeTarget::Number(*number)).await?,
        Subject::Proven(marks) => {
            machines::known(&mut tx.connection, &marks.proven, ak_name(&attempt.verdict)).await?.into_iter().next()
        }
    };
    Ok(tx.rollout().version_for(node.as_ref().map(|kept| &kept.node.fixed)))
}

/// Whether what its maker says of the machine is banned.
async fn said_to_be_banned(tx: &mut Tx, attempt: &Attempt, found: &[Kept]) -> Result<bool, StoreFault> {
    match (&attempt.subject, found) {
        (Subject::Proven(marks), _) => {
            let itself: Vec<NodeNumber> = found.iter().map(|kept| kept.node.number).collect();
            mentions::are_banned(tx, &itself, &marks.mentioned).await
        }
        (Subject::Known(_), [kept, ..]) => mentions::of_node_are_banned(tx, &kept.node).await,
        (Subject::Known(_), []) => Ok(false),
    }
}

fn ak_name(verdict: &Verdict) -> &[u8] {
    match verdict {
        Verdict::Admit(admission) => &admission.candidate.ak_name,
        Verdict::AwaitApproval(candidate) => &candidate.ak_name,
        Verdict::Refuse { .. } => &[],
    }
}

/// Writes what was judged: first the record, then what follows from it.
async fn write(
    tx: &mut Tx,
    attempt: &Attempt,
    mut kept: Option<Kept>,
    judgement: Judgement,
    retention: Retention,
) -> Result<Outcome, StoreFault> {
    if let Some(evidence) = &attempt.evidence {
        let is_renewal = attempt.way == Way::Renew && matches!(judgement.judged, Judged::Admit);
        let kept = if is_renewal { retention.renewals } else { retention.evidence };
        bodies::keep(tx, evidence, attempt.at, attempt.at.plus(kept).seconds()).await?;
    }
    let spiffe_id = name(attempt, kept.as_ref());
    attempt_rows::insert(tx, attempt, kept.as_ref(), spiffe_id.as_ref(), &judgement).await?;
    if let Some(alarm) = judgement.alarm {
        raise(tx, alarm, attempt, kept.as_ref());
    }
    let mut recorded = None;
    if let Some(kept) = &mut kept {
        let node = &mut kept.node;
        match (&attempt.subject, &judgement.judged) {
            (Subject::Proven(marks), Judged::Admit) => {
                node_rows::add_marks(&mut tx.connection, node, &marks.proven).await?;
                mentions::add(&mut tx.connection, node, &marks.mentioned).await?;
            }
            (Subject::Proven(marks), Judged::AwaitApproval) => {
                node_rows::add_marks(&mut tx.connection, node, &marks.proven).await?;
            }
            (Subject::Proven(_), Judged::Refuse { .. }) | (Subject::Known(_), _) => {}
        }
        let before = node.spiffe_id.clone();
        let event = match (&judgement.judged, &attempt.verdict) {
            (Judged::Admit, Verdict::Admit(admission)) => {
                recorded = admission.issuance.clone().map(|issuance| {
                    let index = tx.append(&issuance_leaf(&issuance, attempt.at));
                    Recorded::new(issuance, index)
                });
                match (&attempt.measured_files, attempt.way) {
                    // Who enrols begins anew: its TPM may have been cleared.
                    (Some(_), _) | (None, Way::Enrol) => {
                        list_rows::keep(tx, kept.node.number, attempt).await?;
                    }
                    (None, Way::Return | Way::Renew) => {}
                }
                admit(tx, kept, attempt, admission).await?
            }
            (Judged::Refuse { ends: true, .. }, _) if node.standing == Standing::Admitted => {
                node.standing = Standing::Refused;
                Some(NodeEvent::Refused)
            }
            (Judged::AwaitApproval, Verdict::Admit(admission)) => await_approval(kept, &admission.candidate),
            (Judged::AwaitApproval, Verdict::AwaitApproval(candidate)) => await_approval(kept, candidate),
            (Judged::Refuse { .. } | Judged::Admit | Judged::AwaitApproval, _) => None,
        };
        follow(kept, attempt, &judgement);
        if let Some(event) = event {
            let n = tx.next_n();
            kept.changed_n = n;
            let (node, spiffe_id) = (kept.node.number, kept.node.spiffe_id.clone());
            tx.notify(Notice::Node { n, node, spiffe_id, event });
        }
        node_rows::save(&mut tx.connection, kept).await?;
        withdraw(tx, &kept.node, (before, event), attempt.at).await?;
        if let Some(recorded) = &recorded {
            tx.remember(recorded.index(), kept.node.number, recorded.issuance());
        }
        kept_facts::keep(tx, attempt, kept.node.number).await?;
    }
    let unknown = || StoreFault::Corrupt { what: "admission without a node" };
    Ok(match judgement.judged {
        Judged::Admit => {
            Outcome::Admitted { node: Box::new(kept.ok_or_else(unknown)?.node), recorded, progress: judgement.progress }
        }
        Judged::AwaitApproval => Outcome::AwaitsApproval { node: kept.ok_or_else(unknown)?.node.number },
        Judged::Refuse { code, .. } => Outcome::Refused { code },
    })
}

/// Withdraws what an event takes from a node: everything, or what came by a name and selectors that it has no longer.
async fn withdraw(
    tx: &mut Tx,
    node: &Node,
    (before, event): (Option<SpiffeId>, Option<NodeEvent>),
    at: UnixTime,
) -> Result<(), StoreFault> {
    let Some(event) = event else { return Ok(()) };
    if let Some(reason) = revocations::reason_of(event) {
        return revocations::revoke(tx, Whose::Node(node.number), reason, &Actor::Server, at).await.map(|_| ());
    }
    if before.is_some() && before != node.spiffe_id {
        let whose = Whose::Own(node.number);
        revocations::revoke(tx, whose, RevocationReason::Superseded, &Actor::Server, at).await?;
    }
    revocations::revoke_strays(tx, node, at).await
}

/// Under which name it stands in the record.
fn name(attempt: &Attempt, kept: Option<&Kept>) -> Option<SpiffeId> {
    match &attempt.verdict {
        Verdict::Admit(admission) => Some(admission.spiffe_id.clone()),
        Verdict::AwaitApproval(_) | Verdict::Refuse { .. } => kept.and_then(|kept| kept.node.spiffe_id.clone()),
    }
}

/// Lets the node in; says so where anybody could notice.
async fn admit(
    tx: &mut Tx,
    kept: &mut Kept,
    attempt: &Attempt,
    admission: &Admission,
) -> Result<Option<NodeEvent>, StoreFault> {
    let node = &mut kept.node;
    let noticeable = node.standing != Standing::Admitted
        || node.spiffe_id.as_ref() != Some(&admission.spiffe_id)
        || node.selectors != admission.selectors;
    if node.spiffe_id.as_ref() != Some(&admission.spiffe_id) {
        machines::own(tx, node.number, &admission.spiffe_id).await?;
    }
    describe(node, &admission.candidate);
    node.standing = Standing::Admitted;
    node.spiffe_id = Some(admission.spiffe_id.clone());
    node.kinds.extend(attempt.kinds.iter().cloned());
    node.node_key_spki.clone_from(&admission.node_key_spki);
    node.selectors.clone_from(&admission.selectors);
    for fixed in &admission.fixed {
        // What it leaves out now it once proved all the same.
        if node.fixed.len() < FIXED_MAX {
            node.fixed.insert(fixed.clone());
        }
    }
    node.firmware_log = admission.firmware_log;
    node.policy = attempt.policy;
    node.rule.clone_from(&admission.rule);
    node.attested_at = attempt.at;
    node.evidence_expires = admission.evidence_expires;
    if let Some(issuance) = &admission.issuance {
        node.svid_serial = Some(issuance.serial);
        node.svid_not_after = issuance.not_after;
    }
    Ok(noticeable.then_some(NodeEvent::Admitted))
}

fn await_approval(kept: &mut Kept, candidate: &Candidate) -> Option<NodeEvent> {
    describe(&mut kept.node, candidate);
    let before = std::mem::replace(&mut kept.node.standing, Standing::Pending);
    // A machine that asks again while it waits changes nothing.
    (before != Standing::Pending || kept.changed_n == 0).then_some(NodeEvent::AwaitsApproval)
}

fn describe(node: &mut Node, candidate: &Candidate) {
    node.trust_class.clone_from(&candidate.trust_class);
    node.copyable = candidate.copyable;
    node.ak_name.clone_from(&candidate.ak_name);
    node.known.clone_from(&candidate.known);
    node.description.clone_from(&candidate.description);
}

/// What follows for the node's pins.
fn follow(kept: &mut Kept, attempt: &Attempt, judgement: &Judgement) {
    let node = &mut kept.node;
    let stands = node.standing == Standing::Admitted && node.ban.is_none() && node.freeze.is_none();
    // The last attempt says why the node is what it is, and reports rest on it: junk by which it goes on standing hides nothing.
    if !(stands && matches!(judgement.judged, Judged::Refuse { ends: false, .. })) {
        node.last_attempt = Some(attempt.id);
    }
    let stated = matches!(judgement.judged, Judged::Admit | Judged::AwaitApproval | Judged::Refuse { ends: true, .. });
    if stated && attempt.clock.is_some() {
        node.clock = attempt.clock;
    }
    if judgement.hold {
        node.approval = None;
        node.hold = Some(Remark {
            at: attempt.at,
            by: Actor::Server.to_string(),
            reason: "resetCount fell: cleared, resold or rolled back".to_owned(),
        });
    }
    if judgement.forget_keys {
        forget_keys(node);
    }
}

/// Forgets what lets a node come back by a shorter way than enrolment.
pub(super) fn forget_keys(node: &mut Node) {
    node.ak_name.clear();
    node.known.clear();
    node.node_key_spki.clear();
}

fn raise(tx: &mut Tx, alarm: &'static str, attempt: &Attempt, kept: Option<&Kept>) {
    let node = kept.map(|kept| kept.node.number.0);
    tx.append(&Leaf::Act(json!({
        "at": attempt.at.seconds(), "by": Actor::Server.to_string(), "action": alarm,
        "subject": node.map(|number| number.to_string()).unwrap_or_default(),
        "detail": { "attempt": attempt.id.to_string() },
    })));
    metrics::counter!("holdfast_alarms_total", "alarm" => alarm).increment(1);
    tracing::warn!(alarm, node, attempt = %attempt.id, "alarm");
}
