//! The kernel's list of measured files: whether it is wanted and from where, and what comes of it under the policies in
//! force. What was found goes into the record with the verdict, and is where the next attestation goes on.

use std::sync::Arc;

use holdfast_appraisal::ima::{ImaSeen, ImaState, ImaUnusable, judge};
use holdfast_evidence::tpm::PcrValues;
use holdfast_evidence::tpm::ima::Quoted;
use holdfast_evidence::{ItemState, Purpose};

use super::complete::Examined;
use super::rules::{CompiledPolicy, Rules};
use super::{Desk, Failure};
use crate::store::{JudgedFiles, NodeNumber, NodeTarget, Way};

/// A list above this is judged on a thread of its own: some thousand entries.
const INLINE_BYTES_MAX: usize = 256 << 10;

/// The states that are kept of one node: one a policy that judged its list.
#[derive(Debug, Default)]
pub(super) struct HeldStates(Vec<ImaState>);

/// What came of a list.
#[derive(Debug, Default)]
pub(super) struct MeasuredFiles {
    /// Under the policy that decides.
    pub(super) enforced: Option<ImaSeen>,
    /// Under the one that is observed.
    pub(super) observed: Option<ImaSeen>,
    /// What the record keeps.
    pub(super) kept: Option<JudgedFiles>,
    /// From what it went on: what the record had kept.
    pub(super) before: Vec<String>,
    /// Nothing can be said without the list from its first entry.
    pub(super) wants_the_whole_list: bool,
}

impl HeldStates {
    fn of(&self, policy: &CompiledPolicy) -> Option<&ImaState> {
        self.0.iter().find(|state| state.policy == policy.policy.version().digest)
    }

    /// Where all these policies can go on together: the first entry if one of them cannot.
    fn offset(&self, policies: &[&Arc<CompiledPolicy>]) -> u64 {
        let mut offsets = policies.iter().map(|policy| self.of(policy).map_or(0, |state| state.resume.offset));
        let first = offsets.next().unwrap_or(0);
        if offsets.all(|offset| offset == first) { first } else { 0 }
    }
}

/// The policies that rest on the list, of the one that decides about a machine and the one observed. What other machines
/// are judged by neither asks this one for its list nor makes it begin anew.
fn wanting<'r>(rules: &'r Rules, enforced: Option<&'r Arc<CompiledPolicy>>) -> Vec<&'r Arc<CompiledPolicy>> {
    enforced.into_iter().chain(rules.observed()).filter(|one| one.policy.needs_ima()).collect()
}

impl Desk {
    /// From which byte on the list is wanted of whoever is challenged so; `None` if no policy asks for it.
    pub(super) async fn measured_files_wanted(
        &self,
        purpose: &Purpose,
        states: &[ItemState],
    ) -> Result<Option<u64>, Failure> {
        let rules = self.rules.get();
        let any = rules.versions().any(|one| one.policy.needs_ima());
        let Some(tpm) = states.iter().find_map(ItemState::tpm).filter(|_| any) else {
            return Ok(None);
        };
        // Who enrols may be on record already, and then is judged by any of the versions.
        let target = match purpose {
            Purpose::Enrol => return Ok(Some(0)),
            Purpose::Return => NodeTarget::AkName(tpm.ak().name().to_vec()),
            Purpose::Renew { node, .. } => NodeTarget::SpiffeId(node.clone()),
        };
        let Some(node) = self.store.node(target).await? else { return Ok(Some(0)) };
        match wanting(&rules, rules.enforced_for(Some(&node))).as_slice() {
            [] => Ok(None),
            policies => Ok(Some(self.held_states(node.number).await?.offset(policies))),
        }
    }

    async fn held_states(&self, node: NodeNumber) -> Result<HeldStates, Failure> {
        let text = self.store.measured_files(node).await?;
        Ok(HeldStates(text.as_deref().map(ImaState::parse_all).unwrap_or_default()))
    }

    /// Judges the list that came, by each policy that asks for it. `node` is whose list it was before.
    pub(super) async fn judge_measured_files(
        &self,
        examined: &Examined,
        rules: &Rules,
        node: Option<NodeNumber>,
        enforced: Option<&Arc<CompiledPolicy>>,
    ) -> Result<MeasuredFiles, Failure> {
        let (Ok(machine), Some((offset, list))) = (&examined.result, &examined.measured_files) else {
            return Ok(MeasuredFiles::default());
        };
        let Some(claims) = machine.tpm().filter(|_| !wanting(rules, enforced).is_empty()) else {
            return Ok(MeasuredFiles::default());
        };
        let quoted = Quoted::of(&claims.selection, &claims.pcrs, &claims.clock);
        // Who enrols may have been cleared: nothing of an earlier life counts.
        let held = match (node, examined.way) {
            (Some(node), Way::Return | Way::Renew) if *offset > 0 => self.held_states(node).await?,
            _ => HeldStates::default(),
        };
        let before: Vec<String> = held.0.iter().map(ImaState::encode).collect();
        let (offset, list, pcrs) = (*offset, list.clone(), claims.pcrs.clone());
        let (enforced, observed) = (enforced.cloned(), rules.observed().cloned());
        // A signature takes as long as some hundred entries.
        let signatures = || [&enforced, &observed].into_iter().flatten().any(|one| one.policy.verifies_signed_files());
        let large = list.len() > INLINE_BYTES_MAX || signatures();
        self.compute(large, move || {
            let seen = |policy: Option<Arc<CompiledPolicy>>| {
                let policy = policy.filter(|policy| policy.policy.needs_ima())?;
                Some(seen(&policy, &list, offset, &held, quoted.clone(), &pcrs))
            };
            let (enforced, observed) = (seen(enforced), seen(observed));
            let (mut states, mut wants_the_whole_list) = (Vec::new(), false);
            for seen in [&enforced, &observed].into_iter().flatten() {
                match seen {
                    ImaSeen::Judged(state) => states.push(state.encode()),
                    ImaSeen::Unusable(unusable) => {
                        wants_the_whole_list |= offset > 0 && unusable.wants_the_whole_list();
                    }
                }
            }
            let length = list.len() as u64;
            let states = (!states.is_empty()).then(|| serde_json::json!(states).to_string());
            let kept = states.map(|states| JudgedFiles { states, offset, length });
            Ok(MeasuredFiles { enforced, observed, kept, before, wants_the_whole_list })
        })
        .await
    }
}

fn seen(
    policy: &CompiledPolicy,
    list: &[u8],
    offset: u64,
    held: &HeldStates,
    quoted: Result<Quoted, holdfast_evidence::tpm::ima::ImaRefused>,
    pcrs: &PcrValues,
) -> ImaSeen {
    let before = match offset {
        0 => Ok(None),
        // A place that is not ours: what was kept was replaced meanwhile, or the agent chose another.
        _ => match held.of(policy).filter(|state| state.resume.offset == offset) {
            Some(state) => Ok(Some(state)),
            None => Err(ImaUnusable::OtherPolicy),
        },
    };
    let judged = before.and_then(|before| judge(&policy.policy, list, before, &quoted?, pcrs));
    judged.map_or_else(ImaSeen::Unusable, ImaSeen::Judged)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use holdfast_appraisal::{Document, Policy};

    use super::*;
    use crate::store::{PolicyDigest, RolloutState, Sha256};

    fn compiled(name: &str, ima: &str) -> (PolicyDigest, Arc<CompiledPolicy>) {
        let text = format!(
            "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"{name}\"\n[issue]\nnode_id = \
             \"/holdfast/node/tpm/{{tpm.machine}}\"\n[[rule]]\nname = \"rack\"\nownership = \"inventory\"\n\
             trust_classes = [\"discrete\"]\n[rule.require]\ntpm.manufacturer = {{ subset_of = [\"id:MAKER\"] }}\n{ima}"
        );
        let policy = Policy::parse(Document { name: "rack.toml", text: &text }, &[]).unwrap();
        let digest = Sha256::of(name.as_bytes());
        (digest, Arc::new(CompiledPolicy { digest, policy }))
    }

    #[test]
    fn only_the_version_of_a_node_and_the_observed_one_ask_it_for_its_list() {
        let plain = compiled("plain", "");
        let files = compiled("files", "tpm.ima.violations = { equals = 0 }\n");
        let other = compiled("other", "tpm.ima.violations = { at_most = 1 }\n");
        let maker = BTreeSet::from(["tpm:manufacturer:id:MAKER".parse().unwrap()]);
        let state = RolloutState::default().enforce(plain.0, BTreeSet::new()).enforce(files.0, maker);
        let names = |rules: &Rules, enforced: &Arc<CompiledPolicy>| -> Vec<String> {
            wanting(rules, Some(enforced)).iter().map(|one| one.policy.version().name.clone()).collect()
        };
        let all = || [plain.clone(), files.clone(), other.clone()];
        let rules = Rules::of(state.clone(), all());
        assert_eq!(names(&rules, &plain.1), [""; 0], "it is not of that maker");
        assert_eq!(names(&rules, &files.1), ["files"]);
        let rules = Rules::of(state.observe(other.0), all());
        assert_eq!(names(&rules, &plain.1), ["other"]);
        assert_eq!(names(&rules, &files.1), ["files", "other"]);
    }
}
