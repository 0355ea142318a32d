//! `Fleets.Report`: the fleet as it is, and what happened to it in a period.

use std::collections::BTreeMap;

use holdfast_identity::UnixTime;
use holdfast_protocol::admin;

use super::refusal::{Refusal, argument};
use super::{Admin, proposals, rollouts};
use crate::clock;
use crate::store::{Actor, Node, NodeFilter, NodeState};

/// Nodes that are read at a time.
const PAGE: u32 = 1000;
/// Nodes in each list; more are counted and said to be left out.
const LISTED_MAX: usize = 500;
/// States of the rollout in one report.
const CHANGES_MAX: u32 = 1000;

/// What is counted and listed of the nodes.
#[derive(Default)]
struct Nodes {
    states: BTreeMap<String, u64>,
    kinds: BTreeMap<String, u64>,
    classes: BTreeMap<String, u64>,
    policies: BTreeMap<String, u64>,
    not_admitted: Listed,
    stale: Listed,
}

/// The first nodes of a list, and how many there are.
#[derive(Default)]
struct Listed {
    nodes: Vec<Node>,
    found: usize,
}

impl Listed {
    fn push(&mut self, node: Node) {
        self.found += 1;
        if self.nodes.len() < LISTED_MAX {
            self.nodes.push(node);
        }
    }

    fn left_out(&self, what: &str) -> Option<String> {
        let hidden = self.found - self.nodes.len();
        (hidden > 0).then(|| format!("{hidden} more {what}"))
    }
}

impl Admin {
    pub(super) async fn fleet_report(
        &self,
        request: admin::FleetReportRequest,
        by: Actor,
    ) -> Result<admin::FleetReport, Refusal> {
        let now = clock::now();
        let from = UnixTime(request.from);
        // Without an end the second of the question belongs to the period: what just happened is in it.
        let to = if request.to == 0 { now.plus(1) } else { UnixTime(request.to) };
        if to <= from {
            return Err(argument("to", "is not after from"));
        }
        let versions = self.versions().await?;
        let nodes = self.report_nodes(now, &versions).await?;
        let activity = self.store.activity(from, to, now).await?;
        let rollout = self.store.rollout().await?;
        let waivers = self.report_waivers(&rollout.state, &versions, activity.waivers, now).await?;
        let mut changes = self.store.rollouts(0, CHANGES_MAX).await?;
        changes.retain(|change| change.at >= from && change.at < to);
        changes.reverse();
        let touched = |at: UnixTime| at >= from && at < to;
        let mut waiting = self.store.proposals().await?;
        waiting.retain(|one| touched(one.made_at) || one.closed_at.is_some_and(touched) || one.check_open(now).is_ok());
        let head = self.store.head().await?;
        let left_out = [
            nodes.not_admitted.left_out("nodes that are not admitted"),
            nodes.stale.left_out("nodes with stale evidence"),
        ];
        Ok(admin::FleetReport {
            trust_domain: self.trust_domain.to_string(),
            from: from.seconds(),
            to: to.seconds(),
            made_at: now.seconds(),
            made_by: by.to_string(),
            states: counted(nodes.states),
            kinds: counted(nodes.kinds),
            classes: counted(nodes.classes),
            policies: counted(nodes.policies),
            outcomes: listed(activity.outcomes),
            refusals: listed(activity.refusals),
            observed_refusals: listed(activity.observed),
            rules: listed(activity.rules),
            not_admitted: self.report_list(nodes.not_admitted.nodes, now).await?,
            stale: self.report_list(nodes.stale.nodes, now).await?,
            waivers,
            rollout: Some(rollouts::message(rollout, &versions)),
            changes: changes.into_iter().map(|change| rollouts::message(change, &versions)).collect(),
            proposals: waiting.into_iter().map(|one| proposals::message(one, now)).collect(),
            record_size: head.size,
            record_hash: head.root.0.to_vec(),
            left_out: left_out.into_iter().flatten().collect(),
        })
    }

    async fn report_nodes(&self, now: UnixTime, versions: &rollouts::Versions) -> Result<Nodes, Refusal> {
        let mut nodes = Nodes::default();
        let mut after = None;
        loop {
            let page = self.store.nodes(NodeFilter { state: None, after, limit: PAGE }, now).await?;
            let Some(last) = page.last() else { return Ok(nodes) };
            after = Some(last.number);
            for node in page {
                let state = node.state(now);
                *nodes.states.entry(state.as_str().to_owned()).or_default() += 1;
                match state {
                    NodeState::Admitted | NodeState::Expired => {
                        let kinds = node.kinds.iter().map(String::as_str).collect::<Vec<_>>().join("+");
                        *nodes.kinds.entry(kinds).or_default() += 1;
                        *nodes.classes.entry(node.trust_class.clone()).or_default() += 1;
                        let policy = node.policy.and_then(|digest| versions.get(&digest));
                        let policy = policy.map(|one| format!("{} (version {})", one.name, one.number));
                        *nodes.policies.entry(policy.unwrap_or_else(|| "none on record".to_owned())).or_default() += 1;
                    }
                    _ => {}
                }
                match state {
                    NodeState::Admitted => {}
                    NodeState::Expired => nodes.stale.push(node),
                    NodeState::Pending
                    | NodeState::Refused
                    | NodeState::Denied
                    | NodeState::Evicted
                    | NodeState::Frozen
                    | NodeState::Banned => nodes.not_admitted.push(node),
                }
            }
        }
    }

    async fn report_list(&self, nodes: Vec<Node>, now: UnixTime) -> Result<Vec<admin::ReportNode>, Refusal> {
        let mut list = Vec::with_capacity(nodes.len());
        for node in nodes {
            let attempt = match node.last_attempt {
                Some(id) => self.store.attempt(id).await?,
                None => None,
            };
            list.push(admin::ReportNode {
                node: node.number.0,
                spiffe_id: node.spiffe_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                state: node.state(now).as_str().to_owned(),
                code: attempt.as_ref().map(|attempt| attempt.code.clone()).unwrap_or_default(),
                at: attempt.as_ref().map_or(node.attested_at, |attempt| attempt.at).seconds(),
                kinds: node.kinds.iter().map(String::as_str).collect::<Vec<_>>().join("+"),
                attempt: node.last_attempt.map(|id| id.to_string()).unwrap_or_default(),
                rule: node.rule,
                description: node.description,
            });
        }
        Ok(list)
    }
}

fn counted(counts: BTreeMap<String, u64>) -> Vec<admin::ReportCount> {
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    listed(counts)
}

fn listed(counts: Vec<(String, u64)>) -> Vec<admin::ReportCount> {
    counts.into_iter().map(|(what, count)| admin::ReportCount { what, count }).collect()
}
