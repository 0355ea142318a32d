//! The verdict: appraises what was verified, drafts, records, and signs what was recorded.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_appraisal::ima::ImaSeen;
use holdfast_appraisal::{AppraisedNode, Decision};
use holdfast_evidence::ItemState;
use holdfast_identity::{Selector, UnixTime};
use tracing::{error, info};

use super::complete::Examined;
use super::evidence::{EvidenceRefused, Machine, Root};
use super::freezing::freeze;
use super::measured_files::MeasuredFiles;
use super::rules::{CompiledPolicy, Rules};
use super::whose::{Barring, Owned};
use super::{Admitted, CallerRefused, Completed, Desk, Failure, explain};
use crate::authority::{Draft, Issuer};
use crate::clock;
use crate::fleet::fixed_selectors;
use crate::listen::Connection;
use crate::live::{Arrival, Ending, Quoted};
use crate::store::{
    Admission, Attempt, Node, NodeTarget, Outcome, Ownership, Progress, Recorded, Sha256, Subject, Verdict, Way,
    WhenBarred,
};

/// How often a verdict is reached anew because the policy moved under it.
const APPRAISALS_MAX: usize = 3;

/// The evidence is of another machine than the node whose connection it came on.
const OTHER_MACHINE: &str = "node.other_machine";

/// A node's SVID to be signed, and who shall sign it: the intermediate may be exchanged meanwhile.
type NodeDraft = (Arc<Issuer>, Draft);

/// A verdict that is ready to be recorded.
struct Ready {
    attempt: Attempt,
    /// The node SVID that the record is asked for.
    draft: Option<NodeDraft>,
}

impl Desk {
    pub(super) async fn decide(
        &self,
        connection: &Arc<Connection>,
        examined: Examined,
        drawn_at: UnixTime,
    ) -> Result<Completed, Failure> {
        let examined = match examined {
            Examined { result: Err(refused), .. } if !may_be_recorded(&examined.expected, examined.way, &refused) => {
                return Err(refused.into());
            }
            examined => examined,
        };
        let before = self.store.revision();
        let owned = self.whose(&examined).await?;
        if self.space.is_low() && examined.way == Way::Enrol && owned.held.node.is_none() {
            // Whoever is known goes on; who is not comes back when there is room.
            return Err(Failure::StorageLow);
        }
        let subject = self.subject(&examined, &owned).await?;
        // Only now: whoever merely knows the public keys has not come so far, and cannot use up this budget.
        for mark in owned.marks.proven.iter().take(1) {
            self.machines.take(mark.digest.0, std::time::Instant::now())?;
        }
        for _ in 0..APPRAISALS_MAX {
            let rules = self.rules.get();
            let node = match &subject {
                Subject::Known(number) => Some(*number),
                Subject::Proven(_) => None,
            };
            let enforced = rules.enforced_for(owned.held.node.as_ref());
            let files = self.judge_measured_files(&examined, &rules, node, enforced).await?;
            if files.wants_the_whole_list {
                self.undecided(connection, &examined);
                return Ok(Completed::NeedMore { all_pcr_values: false, firmware_log: false, measured_files: true });
            }
            let ready = self.judge(connection, &examined, subject.clone(), &owned, &rules, &files)?;
            let barring = self.barring(&owned, &ready.attempt);
            match self.store.record_attempt(ready.attempt).await? {
                Outcome::PolicyMoved => self.rules.refresh(self.store.as_ref()).await?,
                Outcome::ChallengeTaken => return Err(Failure::ChallengeTaken),
                Outcome::Unwritten { code } => {
                    barring.iter().for_each(Barring::count);
                    return Err(Failure::Unwritten { code });
                }
                Outcome::Refused { code } => {
                    barring.iter().for_each(Barring::count);
                    info!(attempt = %examined.attempt, code, way = examined.way.as_str(), "node refused");
                    return Err(Failure::Decided { code });
                }
                Outcome::AwaitsApproval { node } => {
                    barring.iter().for_each(Barring::count);
                    info!(attempt = %examined.attempt, node = node.0, "machine awaits approval");
                    return Err(Failure::AwaitsApproval);
                }
                Outcome::Admitted { node, recorded, progress } => {
                    let admitted = self.admitted(&node, ready.draft, recorded)?;
                    self.remember_log(&examined);
                    report(&examined, &node, progress);
                    let drawn_here = connection.has_drawn(&examined.challenge_id);
                    let quoted = Quoted { node: &node, connection, drawn_at, drawn_here, at: clock::now() };
                    self.arrive(&quoted, before.n, &examined, &owned).await?;
                    return Ok(Completed::Admitted(Box::new(admitted)));
                }
            }
        }
        Err(Failure::PolicyMoving)
    }

    /// The verdict by these rules, and the draft if it is an admission.
    fn judge(
        &self,
        connection: &Connection,
        examined: &Examined,
        subject: Subject,
        owned: &Owned,
        rules: &Rules,
        files: &MeasuredFiles,
    ) -> Result<Ready, Failure> {
        let mut ready = self.reach(connection, examined, subject, &owned.held, rules, files)?;
        self.check_unlisted(owned, &ready.attempt)?;
        if let Some(barring) = self.barring(owned, &ready.attempt) {
            ready.attempt.when_barred = barring.when_barred();
        }
        ready.attempt.evidence = Some(self.keep_evidence(examined, &ready.attempt, owned, rules, files));
        Ok(ready)
    }

    fn reach(
        &self,
        connection: &Connection,
        examined: &Examined,
        subject: Subject,
        held: &Ownership,
        rules: &Rules,
        files: &MeasuredFiles,
    ) -> Result<Ready, Failure> {
        let now = clock::now();
        let enforced = rules.enforced_for(held.node.as_ref()).ok_or(CallerRefused::NoPolicy)?;
        let kinds = || examined.expected.iter().map(ItemState::kind);
        let mut attempt = Attempt {
            id: examined.attempt,
            at: now,
            way: examined.way,
            kinds: examined.expected.iter().map(|state| state.kind().as_str().to_owned()).collect(),
            source: connection.remote().ip().to_string(),
            challenge_id: examined.challenge_id,
            challenge_expires: examined.challenge_expires,
            subject,
            clock: None,
            policy: None,
            verdict: Verdict::Refuse { code: String::new(), genuine: false },
            when_barred: WhenBarred::Written,
            decision: String::new(),
            evidence: None,
            facts: None,
            measured_files: files.kept.clone(),
        };
        let machine = match &examined.result {
            Ok(machine) => machine,
            Err(refused) => {
                attempt.verdict = Verdict::Refuse { code: refused.code().to_owned(), genuine: refused.is_genuine() };
                attempt.decision = explain::unverified(refused, kinds(), now);
                return Ok(Ready { attempt, draft: None });
            }
        };
        attempt.clock = machine.clock();
        if let Some(Root { serves, name, .. }) =
            machine.roots().into_iter().find(|root| !rules.trusts(root.serves, &root.sha256))
        {
            let withdrawn = EvidenceRefused::RootWithdrawn { serves, root: name };
            attempt.verdict = Verdict::Refuse { code: withdrawn.code().to_owned(), genuine: withdrawn.is_genuine() };
            attempt.decision = explain::unverified(&withdrawn, kinds(), now);
            return Ok(Ready { attempt, draft: None });
        }
        // A report is of this very launch; on the connection of another node it proves nothing for that one.
        let tpm = examined.expected.iter().any(|state| state.tpm().is_some());
        if let (Subject::Known(number), false) = (&attempt.subject, tpm)
            && held.node.as_ref().map(|node| node.number) != Some(*number)
        {
            attempt.verdict = Verdict::Refuse { code: OTHER_MACHINE.to_owned(), genuine: true };
            attempt.decision = serde_json::json!({ "verdict": "refused", "code": OTHER_MACHINE }).to_string();
            return Ok(Ready { attempt, draft: None });
        }
        attempt.policy = Some(enforced.digest);
        let ownership = Machine::ownership(held);
        let items = machine.items();
        let facts = self.appraiser.held(&items, &ownership);
        let fixed = facts.as_ref().map(|held| fixed_selectors(&held.facts)).unwrap_or_default();
        attempt.facts = facts.and_then(|held| self.kept_logs.kept(&held));
        let appraise = |policy: &CompiledPolicy, seen: &Option<ImaSeen>| {
            self.appraiser.appraise_explained(&policy.policy, &items, seen.as_ref(), &ownership, now)
        };
        let decided = appraise(enforced, &files.enforced);
        let observed = rules.observed().map(|observed| appraise(observed, &files.observed));
        let results = self.appraiser.results(&enforced.policy, &items, files.enforced.as_ref(), &ownership, &decided.0);
        attempt.decision = explain::decision(&decided, observed.as_ref(), machine, &results);
        let (decision, _) = decided;
        let draft;
        (attempt.verdict, draft) = match decision {
            Decision::Admitted(appraised) => {
                let (admission, draft) = self.admission((&appraised, fixed), machine, examined, held, now)?;
                (Verdict::Admit(Box::new(admission)), draft)
            }
            Decision::AwaitsApproval(_) => {
                (Verdict::AwaitApproval(Box::new(machine.candidate(held.node.as_ref()))), None)
            }
            Decision::Refused(rejection) => (Verdict::Refuse { code: rejection.code.to_owned(), genuine: true }, None),
        };
        Ok(Ready { attempt, draft })
    }

    fn admission(
        &self,
        (appraised, fixed): (&AppraisedNode, BTreeSet<Selector>),
        machine: &Machine,
        examined: &Examined,
        held: &Ownership,
        now: UnixTime,
    ) -> Result<(Admission, Option<NodeDraft>), Failure> {
        let serves = examined.way == Way::Renew
            && held
                .node
                .as_ref()
                .filter(|node| node.attested_at > self.authority.tainted_at())
                .is_some_and(|node| still_serves(node, appraised, self.settings.node_svid_ttl_max, now));
        let draft = if serves {
            None
        } else {
            let issuer = self.authority.issuer();
            let draft = issuer.draft_node(appraised, examined.attempt, self.settings.node_svid_ttl_max, now)?;
            Some((issuer, draft))
        };
        let admission = Admission {
            candidate: machine.candidate(held.node.as_ref()),
            spiffe_id: appraised.spiffe_id().clone(),
            node_key_spki: appraised.node_key_spki().to_vec(),
            selectors: appraised.selectors().clone(),
            fixed,
            rule: appraised.grant().rule.clone(),
            waivers: appraised.grant().waivers.iter().map(|waiver| waiver.name.clone()).collect(),
            evidence_expires: appraised.evidence_expires(),
            firmware_log: machine.log().map(|log| Sha256(*log.digest())),
            issuance: draft.as_ref().map(|(_, draft)| draft.issuance()),
        };
        Ok((admission, draft))
    }

    fn admitted(&self, node: &Node, draft: Option<NodeDraft>, recorded: Option<Recorded>) -> Result<Admitted, Failure> {
        let svid = match (draft, recorded) {
            (Some((issuer, draft)), Some(recorded)) => {
                metrics::counter!("holdfast_svids_issued_total", "kind" => "node").increment(1);
                Some(issuer.sign(&draft, recorded)?)
            }
            (Some(_), None) | (None, _) => None,
        };
        let spiffe_id = node.spiffe_id.clone().ok_or(CallerRefused::NotANode)?;
        Ok(Admitted {
            spiffe_id,
            svid_not_after: svid.as_ref().map_or(node.svid_not_after, |svid| svid.not_after),
            svid,
            evidence_expires: node.evidence_expires,
            bundle: self.authority.bundle().get(),
        })
    }

    /// The quote's connection, and whether another one speaks as this node.
    async fn arrive(
        &self,
        quoted: &Quoted<'_>,
        before: u64,
        examined: &Examined,
        owned: &Owned,
    ) -> Result<(), Failure> {
        let node = quoted.node.number;
        match self.live.quoted(quoted) {
            Arrival::Stands | Arrival::Elsewhere => {}
            Arrival::Supersedes(old) | Arrival::SupersedesElsewhere(old) => {
                let (live, store) = (self.live.clone(), self.store.clone());
                tokio::spawn(async move {
                    if live.outcome_of_watch(node, old).await {
                        freeze(store.as_ref(), node, "an older connection is alive beside a newer one").await;
                    }
                });
            }
            Arrival::TwoAlive => {
                self.live.end(node, Ending::Refused);
                freeze(self.store.as_ref(), node, "an older connection quoted after a newer one").await;
                return Err(Failure::TwoAlive);
            }
            Arrival::Late => return Err(Failure::Superseded),
        }
        if self.store.revision().n != before {
            self.look_again(quoted.node, examined, owned).await?;
        }
        Ok(())
    }

    /// Something changed while this attempt was recorded: a ban, a root withdrawn or a key
    /// disallowed may have been heard of before the node stood.
    async fn look_again(&self, node: &Node, examined: &Examined, owned: &Owned) -> Result<(), Failure> {
        let now = self.store.node(NodeTarget::Number(node.number)).await?;
        if !now.as_ref().is_some_and(|node| node.stands(clock::now())) {
            self.live.end(node.number, Ending::Refused);
        }
        let listed = |held: &Ownership| held.inventory.iter().map(|entry| entry.digest).collect::<Vec<_>>();
        let Ok(machine) = &examined.result else { return Ok(()) };
        let held = self.store.ownership(owned.marks.proven.clone(), machine.listable()).await?;
        let same_listing = listed(&held) == listed(&owned.held);
        let rules = self.rules.get();
        let trusted = machine.roots().iter().all(|root| rules.trusts(root.serves, &root.sha256));
        let enforced = rules.enforced_for(now.as_ref()).map(|policy| policy.digest);
        if enforced != node.policy || !same_listing || !trusted {
            self.live.end(node.number, Ending::AttestAgain);
        }
        Ok(())
    }

    /// Nothing was decided; but a node that shows another state than before does not stand on its former quote.
    pub(super) fn undecided(&self, connection: &Connection, examined: &Examined) {
        if let Some(node) = connection.node()
            && examined.way == Way::Renew
            && examined.result.as_ref().is_err_and(EvidenceRefused::is_genuine)
        {
            self.live.end(node, Ending::AttestAgain);
        }
    }

    fn remember_log(&self, examined: &Examined) {
        if let Ok(machine) = &examined.result
            && let Some(log) = machine.log()
        {
            self.logs.keep(log);
        }
    }
}

/// Strangers do not write to the record: only attempts past credential activation, or with a hardware signature, or of
/// a known node on its own connection.
fn may_be_recorded(expected: &[ItemState], way: Way, refused: &EvidenceRefused) -> bool {
    // On a TPM's enrolment the secrets were compared before the first byte of the log was taken in. A report has no such
    // secret: only what its hardware signed counts.
    let has_tpm = expected.iter().any(|state| state.tpm().is_some());
    way == Way::Renew || (way == Way::Enrol && has_tpm) || refused.is_genuine()
}

/// Whether the SVID that the node has is good for two thirds of a new one's life, and says the same.
fn still_serves(node: &Node, appraised: &AppraisedNode, ttl_max: i64, now: UnixTime) -> bool {
    let same =
        node.spiffe_id.as_ref() == Some(appraised.spiffe_id()) && node.node_key_spki == appraised.node_key_spki();
    let left = node.svid_not_after.since(now);
    let whole = i64::from(appraised.svid_ttl()).min(ttl_max);
    same && left > whole * 2 / 3 && node.svid_not_after <= appraised.evidence_expires()
}

fn report(examined: &Examined, node: &Node, progress: Progress) {
    let name = node.spiffe_id.as_ref().map(ToString::to_string).unwrap_or_default();
    let (attempt, way) = (examined.attempt, examined.way.as_str());
    info!(%attempt, node = name, way, rule = node.rule, "node admitted");
    if progress == Progress::Fell {
        error!(%attempt, node = name, "alarm: resetCount fell, the TPM was cleared or this is a rolled-back copy");
    }
    metrics::counter!("holdfast_attempts_total", "way" => way, "outcome" => "admitted", "code" => "").increment(1);
    metrics::histogram!("holdfast_attestation_seconds", "way" => way).record(examined.began.elapsed().as_secs_f64());
}
