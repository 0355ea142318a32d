//! `Entries.Match`: what a workload with these selectors gets, which entries come near, and what it lacks of them.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_identity::{Nearness, Selector};
use holdfast_protocol::admin;

use super::entries::{message, selectors, spiffe_id};
use super::refusal::Refusal;
use crate::clock;
use crate::store::{Entry, EntryFilter, EntryNumber, Node, NodeTarget, SelectorMatch, Store};

/// Near misses in one answer.
const NEAR_MAX: usize = 20;
/// Entries that are looked at for each reason to look at them.
const MATCH_MAX: u32 = 1000;

/// Answers the question.
pub(super) async fn answer(
    store: &dyn Store,
    request: admin::MatchEntriesRequest,
) -> Result<admin::MatchEntriesResponse, Refusal> {
    let given = selectors("selectors", &request.selectors)?;
    let node = match spiffe_id("node_spiffe_id", &request.node_spiffe_id)? {
        None => None,
        Some(id) => {
            let found = store.node(NodeTarget::SpiffeId(id)).await?;
            Some(found.ok_or(Refusal::NotFound { what: "node" })?)
        }
    };
    let mut found = admin::MatchEntriesResponse::default();
    let mut near = Vec::new();
    for entry in candidates(store, &given, node.as_ref()).await? {
        let nearness = Nearness::of(&entry.draft.selectors, &given);
        let is_parent =
            |node: &Node| node.spiffe_id.as_ref().is_some_and(|id| entry.draft.parent.is(id, &node.selectors));
        let other_node = node.as_ref().is_some_and(|node| !is_parent(node));
        if nearness.is_match() && !other_node {
            found.entries.push(message(&entry));
        } else if nearness.met > 0 || nearness.lacking.iter().any(|lacking| !lacking.instead.is_empty()) {
            near.push((nearness.lacking.len() + usize::from(other_node), nearness, other_node, entry));
        }
    }
    near.sort_by_key(|(lacks, nearness, _, entry)| (*lacks, nearness.order(), entry.number));
    found.near = near
        .into_iter()
        .take(NEAR_MAX)
        .map(|(_, nearness, other_node, entry)| miss(nearness, other_node, &entry))
        .collect();
    Ok(found)
}

/// Entries that share a selector with the workload, those of its node, and as many others: one that wants another user
/// than the workload's shares nothing with it, and is what its operator looks for.
async fn candidates(
    store: &dyn Store,
    given: &BTreeSet<Selector>,
    node: Option<&Node>,
) -> Result<impl Iterator<Item = Entry>, Refusal> {
    let touching = Some((given.clone(), SelectorMatch::Any));
    let filter = |selectors| EntryFilter { selectors, limit: MATCH_MAX, ..EntryFilter::default() };
    let mut found: BTreeMap<EntryNumber, Entry> = BTreeMap::new();
    let of_node = match node {
        Some(node) => store.entries_for_node(node.number, clock::now()).await?.1,
        None => Vec::new(),
    };
    for entries in [store.entries(filter(touching)).await?, of_node, store.entries(filter(None)).await?] {
        found.extend(entries.into_iter().map(|entry| (entry.number, entry)));
    }
    Ok(found.into_values())
}

fn miss(nearness: Nearness, other_node: bool, entry: &Entry) -> admin::NearMiss {
    let texts = |selectors: &[Selector]| selectors.iter().map(ToString::to_string).collect();
    let lacking: Vec<admin::MissingSelector> = nearness
        .lacking
        .iter()
        .map(|lacking| admin::MissingSelector {
            selector: lacking.selector.to_string(),
            instead: texts(&lacking.instead),
        })
        .collect();
    let missing = lacking.iter().map(|lacking| lacking.selector.clone()).collect();
    admin::NearMiss { entry: Some(message(entry)), missing, other_node, lacking }
}
