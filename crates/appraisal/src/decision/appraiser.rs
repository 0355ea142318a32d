//! The appraiser: joins verified evidence, a policy and the operator's records into a decision.

use std::collections::BTreeSet;

use holdfast_identity::{Selector, SpiffeId, TrustDomain, UnixTime};

use super::Verdict;
use super::code::Reason;
use super::engine::{self, Outcome};
use super::explain;
use super::node::Grant;
use super::ownership::{Approval, Ownership};
use super::rejection::Rejection;
use crate::facts::{FactId, Facts};
use crate::policy::{Alternative, Policy, Rule, Segment};

/// Most selectors of a node; beyond it they are left out, and the grant says so.
const SELECTORS_MAX: usize = 128;

/// Appraises for one trust domain.
#[derive(Clone, Debug)]
pub struct Appraiser {
    trust_domain: TrustDomain,
}

impl Appraiser {
    /// An appraiser that names nodes in `trust_domain`.
    #[must_use]
    pub const fn new(trust_domain: TrustDomain) -> Self {
        Self { trust_domain }
    }

    /// What `facts` would earn. Facts may come from anywhere, so no identity comes of it: cases and `what-if` ask here.
    #[must_use]
    pub fn judge(&self, policy: &Policy, facts: &Facts, ownership: &Ownership, now: UnixTime) -> Verdict {
        if ownership.approval == Approval::Denied {
            return Verdict::Refuse(explain::turned_down(policy));
        }
        match engine::evaluate(policy, facts, ownership, now) {
            Outcome::Satisfied(rule, alternative) => match self.grant(policy, rule, alternative, facts, now) {
                Ok(grant) => Verdict::Admit(grant),
                Err(rejection) => Verdict::Refuse(rejection),
            },
            Outcome::Awaits(rule, alternative) => Verdict::AwaitsApproval(explain::awaited(policy, rule, alternative)),
            Outcome::Denied(deny, decided) => Verdict::Refuse(explain::denial(policy, deny, decided, facts)),
            Outcome::Nothing => Verdict::Refuse(explain::refusal(policy, facts, ownership, now)),
        }
    }

    fn grant(
        &self,
        policy: &Policy,
        rule: &Rule,
        alternative: Option<&Alternative>,
        facts: &Facts,
        now: UnixTime,
    ) -> Result<Grant, Rejection> {
        let spiffe_id = self.node_id(&rule.issue.node_id, facts).map_err(|found| {
            let expected = "a node ID of SPIFFE's characters, from proven facts";
            let mut rejection =
                explain::alone(policy, Reason::NodeId, explain::bare(Reason::NodeId, rule.line, expected, found));
            rejection.rule = Some(rule.name.clone());
            rejection
        })?;
        let (selectors, selectors_left_out) = selectors(rule, facts);
        Ok(Grant {
            policy: policy.version.clone(),
            rule: rule.name.clone(),
            alternative: alternative.map(|alternative| alternative.name.clone()),
            ownership: rule.ownership.iter().map(|factor| factor.as_str()).collect(),
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
