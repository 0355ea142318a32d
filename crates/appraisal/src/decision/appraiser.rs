//! The appraiser: joins verified evidence, a policy and the operator's records into a decision.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_evidence::tpm::PcrSelection;
use holdfast_identity::{Selector, SpiffeId, TrustDomain, UnixTime};

use super::code::Reason;
use super::engine::{self, Outcome};
use super::explain;

use super::item::{self, KeptLogs, VerifiedItem};
use super::node::{AppraisedNode, Grant};
use super::ownership::{Approval, Ownership};
use super::rejection::Rejection;
use super::{Decision, Verdict};
use crate::facts::{FactId, Facts};
use crate::policy::{Alternative, Policy, Rule, Segment};

/// Most selectors of a node; beyond it they are left out, and the grant says so.
const SELECTORS_MAX: usize = 128;

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
        let facts = match self.joined(policy, items, ownership) {
            Ok(facts) => facts,
            Err(rejection) => return Decision::Refused(*rejection),
        };
        let node_key_spki = items.first().map(|item| item.node_key_spki().to_vec()).unwrap_or_default();
        match self.judge(policy, &facts, ownership, now) {
            Verdict::Admit(mut grant) => {
                // What vouches for the evidence may end before the evidence is old.
                let ends = items.iter().filter_map(VerifiedItem::not_after);
                grant.evidence_expires = ends.fold(grant.evidence_expires, UnixTime::min);
                Decision::Admitted(AppraisedNode { grant, node_key_spki })
            }
            Verdict::AwaitsApproval(rejection) => Decision::AwaitsApproval(rejection),
            Verdict::Refuse(rejection) => Decision::Refused(rejection),
        }
    }

    /// The facts of all items, if one binding joined them and they show what the policy asks for.
    fn joined(
        &self,
        policy: &Policy,
        items: &[VerifiedItem<'_>],
        ownership: &Ownership,
    ) -> Result<Facts, Box<Rejection>> {
        let refused = |reason: Reason, expected: &str, found: &str| {
            Box::new(explain::alone(policy, reason, explain::bare(reason, 0, expected, found)))
        };
        let Some((first, others)) = items.split_first() else {
            return Err(refused(Reason::NoEvidence, "verified evidence", "none"));
        };
        let mut facts = first.facts(ownership, &self.logs);
        let mut words = first.words();
        for item in others {
            if item.challenge_id() != first.challenge_id() || item.node_key_spki() != first.node_key_spki() {
                let expected = "items that answer one challenge with one key";
                return Err(refused(Reason::EvidenceOfTwoBindings, expected, "items of different answers"));
            }
            if item.words().iter().any(|word| words.contains(word)) {
                return Err(refused(Reason::EvidenceTwice, "one item that says each thing", item.kind().as_str()));
            }
            words.extend(item.words());
            facts.join(item.facts(ownership, &self.logs));
        }
        match items.iter().find_map(|item| item.lacks(policy)) {
            Some((expected, found)) => Err(refused(Reason::EvidenceNotAsked, &expected, &found)),
            None => Ok(facts),
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
        Ok(Grant {
            policy: policy.version.clone(),
            rule: rule.name.clone(),
            alternative: alternative.map(|alternative| alternative.name.clone()),
            ownership: rule.ownership.iter().map(|factor| factor.as_str()).collect(),
            owned_by: Vec::new(),
            ownership_reason: rule.ownership_reason.clone(),
            spiffe_id,
            selectors,
            selectors_left_out,
            svid_ttl: rule.issue.svid_ttl,
            evidence_expires: now.plus(i64::from(rule.issue.max_evidence_age)),
        })
    }

    /// Fills the template. A value with a character that SPIFFE does not have is refused, never rewritten.
    fn node_id(&self, template: &[Segment], facts: &Facts) -> Result<SpiffeId, String> {
        let mut path = String::from("/holdfast/node");
        for segment in template {
            path.push('/');
            match segment {
                Segment::Literal(text) => path.push_str(text),
                Segment::Fact(id) => match facts.get(*id).map(|fact| fact.values.as_slice()) {
                    Some([value]) => {
                        let text = value.to_string();
                        if text.contains('/') {
                            return Err(format!("{id} is {text:?}, which is not one segment"));
                        }
                        path.push_str(&text);
                    }
                    Some(_) => return Err(format!("{id} does not have one value")),
                    None => return Err(format!("{id} is not proven")),
                },
            }
        }
        self.trust_domain.with_path(&path).map_err(|error| error.to_string())
    }
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
