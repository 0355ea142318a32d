//! The appraiser: joins verified evidence, a policy and the operator's records into a decision.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_evidence::tpm::PcrSelection;
use holdfast_identity::{Selector, SpiffeId, TrustDomain, UnixTime};

use super::code::Reason;
use super::engine::{self, Outcome};
use super::explain;
use super::explanation::Explanation;
use super::item::{self, KeptLogs, ReplayedItem, Said, VerifiedItem};
use super::node::{AppraisedNode, Grant};
use super::ownership::{Approval, Ownership};
use super::rejection::Rejection;
use super::retraced::RetracedDecision;
use super::tree::{self, Asked};
use super::waived;
use super::{Decision, Verdict};
use crate::ear::{self, ItemResult, Judged};
use crate::facts::{FactId, Facts, HeldFacts};
use crate::ima::{self, ImaSeen};
use crate::policy::{Alternative, Policy, Rule, Segment};

/// Most selectors of a node; beyond it they are left out, and the grant says so.
const SELECTORS_MAX: usize = 128;

/// Why items are not of one machine: reason, what was expected, what was found.
type Unbound = (Reason, &'static str, &'static str);

/// Appraises for one trust domain. Clones share what they keep.
#[derive(Clone, Debug)]
pub struct Appraiser {
    trust_domain: TrustDomain,
    logs: Arc<KeptLogs>,
}

impl Appraiser {
    /// An appraiser that names nodes in `trust_domain`.
    #[must_use]
    pub fn new(trust_domain: TrustDomain) -> Self {
        Self { trust_domain, logs: Arc::default() }
    }

    /// Decides about the machine whose evidence was verified: all items of one attestation, at least one.
    ///
    /// `ownership` are the records about the verified EKs; `now` is the moment of the verification, from which the
    /// evidence ages.
    #[must_use]
    pub fn appraise(
        &self,
        policy: &Policy,
        items: &[VerifiedItem<'_>],
        ownership: &Ownership,
        now: UnixTime,
    ) -> Decision {
        self.appraise_measured(policy, items, None, ownership, now)
    }

    /// As [`appraise`](Self::appraise), with what came of the machine's list of measured files; it counts if it is of the
    /// PCR 10 that the evidence proves, and was judged by this very policy.
    #[must_use]
    pub fn appraise_measured(
        &self,
        policy: &Policy,
        items: &[VerifiedItem<'_>],
        seen: Option<&ImaSeen>,
        ownership: &Ownership,
        now: UnixTime,
    ) -> Decision {
        let said: Vec<Said<'_>> = items.iter().map(VerifiedItem::said).collect();
        match self.shown(policy, &said, seen, ownership) {
            Ok(facts) => Self::decided(&said, self.judged(policy, &said, &facts, ownership, now)),
            Err(rejection) => Decision::Refused(*rejection),
        }
    }

    /// As [`appraise_measured`](Self::appraise_measured), with the explanation of the decision.
    #[must_use]
    pub fn appraise_explained(
        &self,
        policy: &Policy,
        items: &[VerifiedItem<'_>],
        seen: Option<&ImaSeen>,
        ownership: &Ownership,
        now: UnixTime,
    ) -> (Decision, Explanation) {
        let said: Vec<Said<'_>> = items.iter().map(VerifiedItem::said).collect();
        let (verdict, explanation) = self.decide(policy, &said, seen, ownership, now);
        (Self::decided(&said, verdict), explanation)
    }

    /// Why `verdict` is what [`Appraiser::judge`] says of these facts.
    #[must_use]
    pub fn explain(
        policy: &Policy,
        facts: &Facts,
        ownership: &Ownership,
        now: UnixTime,
        verdict: &Verdict,
    ) -> Explanation {
        tree::explanation(Asked { policy, facts, ownership, now }, verdict)
    }

    /// Decides again about evidence whose checks were made again from a record: with the ownership of then, at the moment
    /// of then. The same rules, and no node comes of it.
    #[must_use]
    pub fn retrace(
        &self,
        policy: &Policy,
        items: &[ReplayedItem<'_>],
        seen: Option<&ImaSeen>,
        ownership: &Ownership,
        then: UnixTime,
    ) -> (RetracedDecision, Explanation) {
        let said: Vec<Said<'_>> = items.iter().map(ReplayedItem::said).collect();
        let (verdict, explanation) = self.decide(policy, &said, seen, ownership, then);
        (RetracedDecision::new(verdict, node_key_spki(&said)), explanation)
    }

    /// What could be told relying parties of each item then: see [`Self::results`].
    #[must_use]
    pub fn retraced_results(
        &self,
        policy: &Policy,
        items: &[ReplayedItem<'_>],
        seen: Option<&ImaSeen>,
        ownership: &Ownership,
        decision: &RetracedDecision,
    ) -> Vec<ItemResult> {
        let said: Vec<Said<'_>> = items.iter().map(ReplayedItem::said).collect();
        self.told(policy, &said, seen, ownership, decision.into())
    }

    fn decide(
        &self,
        policy: &Policy,
        said: &[Said<'_>],
        seen: Option<&ImaSeen>,
        ownership: &Ownership,
        now: UnixTime,
    ) -> (Verdict, Explanation) {
        match self.shown(policy, said, seen, ownership) {
            Ok(facts) => {
                let verdict = self.judged(policy, said, &facts, ownership, now);
                let explanation = tree::explanation(Asked { policy, facts: &facts, ownership, now }, &verdict);
                (verdict, explanation)
            }
            Err(rejection) => {
                let explanation = Explanation::of_evidence(policy, &rejection, now);
                (Verdict::Refuse(*rejection), explanation)
            }
        }
    }

    /// The facts of all items, and those of the list of measured files.
    fn shown(
        &self,
        policy: &Policy,
        said: &[Said<'_>],
        seen: Option<&ImaSeen>,
        ownership: &Ownership,
    ) -> Result<Facts, Box<Rejection>> {
        let mut facts = self.joined(policy, said, ownership)?;
        ima::attach(&mut facts, policy, seen);
        Ok(facts)
    }

    fn judged(
        &self,
        policy: &Policy,
        said: &[Said<'_>],
        facts: &Facts,
        ownership: &Ownership,
        now: UnixTime,
    ) -> Verdict {
        let mut verdict = self.judge(policy, facts, ownership, now);
        if let Verdict::Admit(grant) = &mut verdict {
            // What vouches for the evidence may end before the evidence is old.
            let ends = said.iter().filter_map(Said::not_after);
            grant.evidence_expires = ends.fold(grant.evidence_expires, UnixTime::min);
        }
        verdict
    }

    fn decided(said: &[Said<'_>], verdict: Verdict) -> Decision {
        match verdict {
            Verdict::Admit(grant) => Decision::Admitted(AppraisedNode { grant, node_key_spki: node_key_spki(said) }),
            Verdict::AwaitsApproval(rejection) => Decision::AwaitsApproval(rejection),
            Verdict::Refuse(rejection) => Decision::Refused(rejection),
        }
    }

    /// What can be told relying parties of each item: see [`crate::ear`]. `decision` is what
    /// [`Self::appraise_measured`] made of the same arguments.
    #[must_use]
    pub fn results(
        &self,
        policy: &Policy,
        items: &[VerifiedItem<'_>],
        seen: Option<&ImaSeen>,
        ownership: &Ownership,
        decision: &Decision,
    ) -> Vec<ItemResult> {
        let said: Vec<Said<'_>> = items.iter().map(VerifiedItem::said).collect();
        self.told(policy, &said, seen, ownership, decision.into())
    }

    fn told(
        &self,
        policy: &Policy,
        said: &[Said<'_>],
        seen: Option<&ImaSeen>,
        ownership: &Ownership,
        judged: Judged<'_>,
    ) -> Vec<ItemResult> {
        match self.shown(policy, said, seen, ownership) {
            Ok(facts) => ear::appraised(policy, &facts, judged),
            // Nobody knows what items say of a machine that do not belong together.
            Err(_) => said.iter().map(|item| ear::unverified(item.kind(), true)).collect(),
        }
    }

    /// The facts of all items, if one binding joined them and they show what the policy asks for.
    fn joined(&self, policy: &Policy, items: &[Said<'_>], ownership: &Ownership) -> Result<Facts, Box<Rejection>> {
        let refused = |reason: Reason, expected: &str, found: &str| {
            Box::new(explain::alone(policy, reason, explain::bare(reason, 0, expected, found)))
        };
        let facts =
            self.bound(items, ownership).map_err(|(reason, expected, found)| refused(reason, expected, found))?;
        match items.iter().find_map(|item| item.lacks(policy)) {
            Some((expected, found)) => Err(refused(Reason::EvidenceNotAsked, &expected, &found)),
            // What was quoted for another policy, observed beside this one, says nothing against the machine here.
            None => Ok(facts.asked(policy.required_pcrs())),
        }
    }

    /// The facts of all items, if one binding joined them.
    fn bound(&self, items: &[Said<'_>], ownership: &Ownership) -> Result<Facts, Unbound> {
        let Some((first, others)) = items.split_first() else {
            return Err((Reason::NoEvidence, "verified evidence", "none"));
        };
        let mut facts = first.facts(ownership, &self.logs);
        let mut words = first.words();
        for item in others {
            if item.challenge_id() != first.challenge_id() || item.node_key_spki() != first.node_key_spki() {
                let expected = "items that answer one challenge with one key";
                return Err((Reason::EvidenceOfTwoBindings, expected, "items of different answers"));
            }
            if item.words().iter().any(|word| words.contains(word)) {
                return Err((Reason::EvidenceTwice, "one item that says each thing", item.kind().as_str()));
            }
            words.extend(item.words());
            facts.join(item.facts(ownership, &self.logs));
        }
        Ok(facts)
    }

    /// What the evidence says, as it is kept to ask other policies about it later; nothing if no binding joins it.
    #[must_use]
    pub fn held(&self, items: &[VerifiedItem<'_>], ownership: &Ownership) -> Option<HeldFacts> {
        let said: Vec<Said<'_>> = items.iter().map(VerifiedItem::said).collect();
        let bank = said.iter().find_map(Said::selection).map(|selection| selection.bank);
        self.bound(&said, ownership).ok().map(|facts| HeldFacts { facts, bank })
    }

    /// What facts that were kept would earn if their machine showed the same again. A policy that needs PCRs, or a bank,
    /// that were not quoted at the time refuses with `policy.evidence.not_quoted`: nobody can know.
    #[must_use]
    pub fn judge_held(&self, policy: &Policy, held: &HeldFacts, ownership: &Ownership, now: UnixTime) -> Verdict {
        match held.quoted() {
            Some(quoted) => self.judge_quote(policy, &held.facts, &quoted, ownership, now),
            None => self.judge(policy, &held.facts, ownership, now),
        }
    }

    /// What `facts` would earn. Facts may come from anywhere, so no identity comes of it: cases and `what-if` ask here.
    #[must_use]
    pub fn judge(&self, policy: &Policy, facts: &Facts, ownership: &Ownership, now: UnixTime) -> Verdict {
        if ownership.approval == Approval::Denied {
            return Verdict::Refuse(explain::turned_down(policy));
        }
        match engine::evaluate(policy, facts, ownership, now) {
            Outcome::Satisfied(rule, alternative) => match self.grant(policy, rule, alternative, facts, now) {
                Ok(grant) => Verdict::Admit(Grant { owned_by: engine::owned_by(rule, facts, ownership), ..grant }),
                Err(rejection) => Verdict::Refuse(*rejection),
            },
            Outcome::Waived(rule, way) => match self.grant(policy, rule, way.alternative, facts, now) {
                Ok(mut grant) => {
                    // No waiver loosens whose machine it is: it is ours by the same facts as without.
                    grant.owned_by = engine::owned_by(rule, facts, ownership);
                    grant.waivers = way.used();
                    // What holds by a waiver holds no longer than the waiver.
                    grant.evidence_expires = way.ends().map_or(now, |ends| ends.min(grant.evidence_expires));
                    Verdict::Admit(grant)
                }
                Err(rejection) => Verdict::Refuse(*rejection),
            },
            Outcome::Awaits(rule, alternative) => Verdict::AwaitsApproval(explain::awaited(policy, rule, alternative)),
            Outcome::Denied(deny, decided) => Verdict::Refuse(explain::denial(policy, deny, decided, facts)),
            Outcome::Nothing => Verdict::Refuse(explain::refusal(policy, facts, ownership, now)),
        }
    }

    /// What `facts` would earn that come from a quote of at least what the policy asks for. Other tools quote every PCR:
    /// those that the policy does not ask for say nothing against the machine, as the service would not have had them
    /// quoted.
    #[must_use]
    pub fn judge_quote(
        &self,
        policy: &Policy,
        facts: &Facts,
        quoted: &PcrSelection,
        ownership: &Ownership,
        now: UnixTime,
    ) -> Verdict {
        if let Some((expected, found)) = item::lacks(policy, quoted) {
            let reason = Reason::EvidenceNotAsked;
            return Verdict::Refuse(explain::alone(policy, reason, explain::bare(reason, 0, &expected, &found)));
        }
        self.judge(policy, &facts.asked(policy.required_pcrs()), ownership, now)
    }

    fn grant(
        &self,
        policy: &Policy,
        rule: &Rule,
        alternative: Option<&Alternative>,
        facts: &Facts,
        now: UnixTime,
    ) -> Result<Grant, Box<Rejection>> {
        let spiffe_id = self.node_id(&rule.issue.node_id, facts).map_err(|found| {
            let expected = "a node ID of SPIFFE's characters, from proven facts";
            let mut rejection =
                explain::alone(policy, Reason::NodeId, explain::bare(Reason::NodeId, rule.line, expected, found));
            rejection.rule = Some(rule.name.clone());
            Box::new(rejection)
        })?;
        let (selectors, selectors_left_out) = selectors(rule, facts);
        let ages = now.plus(i64::from(rule.issue.max_evidence_age));
        // No identity outlives the date until which what it rests on is good.
        let good_until = alternative.and_then(|alternative| alternative.valid_until);
        Ok(Grant {
            policy: policy.version.clone(),
            rule: rule.name.clone(),
            alternative: alternative.map(|alternative| alternative.name.clone()),
            ownership: rule.ownership.iter().map(|factor| factor.as_str()).collect(),
            owned_by: Vec::new(),
            ownership_reason: rule.ownership_reason.clone(),
            waivers: Vec::new(),
            spiffe_id,
            selectors,
            selectors_left_out,
            svid_ttl: rule.issue.svid_ttl,
            evidence_expires: good_until.map_or(ages, |until| until.min(ages)),
        })
    }

    /// Fills the template. A value with a character that SPIFFE does not have is refused, never rewritten.
    fn node_id(&self, template: &[Segment], facts: &Facts) -> Result<SpiffeId, String> {
        let path = waived::node_path(template, facts)?;
        self.trust_domain.with_path(&path).map_err(|error| error.to_string())
    }
}

/// The key that every item was proven with.
fn node_key_spki(said: &[Said<'_>]) -> Vec<u8> {
    said.first().map(|item| item.node_key_spki().to_vec()).unwrap_or_default()
}

fn selectors(rule: &Rule, facts: &Facts) -> (BTreeSet<Selector>, Vec<String>) {
    let (mut selectors, mut left_out) = (BTreeSet::new(), Vec::new());
    for id in &rule.issue.selectors {
        let Some(fact) = facts.get(*id) else {
            left_out.push(format!("{id}: not proven"));
            continue;
        };
        // A command line of which only the digest is known is none: somebody's text could spell the digest.
        let value_type = id.definition().value_type;
        for value in fact.values.iter().filter(|value| value.value_type() == value_type) {
            match selector(*id, &value.to_string()) {
                Ok(_) if selectors.len() >= SELECTORS_MAX => {
                    left_out.push(format!("{id}: over {SELECTORS_MAX} selectors"))
                }
                Ok(selector) => {
                    selectors.insert(selector);
                }
                Err(problem) => left_out.push(format!("{id}: {problem}")),
            }
        }
    }
    left_out.truncate(SELECTORS_MAX);
    (selectors, left_out)
}

fn selector(id: FactId, value: &str) -> Result<Selector, String> {
    let prefix = id.selector().ok_or_else(|| "no selector".to_owned())?;
    format!("{prefix}:{value}").parse().map_err(|error: holdfast_identity::InvalidSelector| error.to_string())
}
