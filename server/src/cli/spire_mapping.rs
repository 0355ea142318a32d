//! From SPIRE's registration entries to ours: what carries over as it is, what needs to be told where it belongs, and
//! what has no meaning here. Asks no server.

use std::collections::{BTreeMap, HashMap};

use holdfast_protocol::admin;
use serde::Serialize;

use super::entry_file::not_here;
use super::spire_entries::{SpireEntry, SpireId};

/// Path of the parent of those entries of SPIRE's that stand for nodes.
const SPIRE_SERVER: &str = "/spire/server";
/// Below this are the IDs of SPIRE's agents.
const SPIRE_AGENTS: &str = "/spire/agent/";
/// Below this are the IDs of our nodes.
const NODES: &str = "/holdfast/node/";

/// Names of the selectors that attestors of `holdfast-agent` make, by type.
const SELECTORS: [(&str, &[&str]); 4] = [
    ("unix", &["uid", "gid", "user", "group", "supplementary_gid", "supplementary_group", "path", "sha256"]),
    ("docker", &["label", "env", "image_id", "image_config_digest"]),
    (
        "k8s",
        &[
            "ns",
            "sa",
            "node-name",
            "pod-name",
            "pod-uid",
            "pod-label",
            "pod-owner",
            "pod-owner-uid",
            "pod-image",
            "pod-image-count",
            "pod-init-image",
            "pod-init-image-count",
            "container-name",
            "container-image",
        ],
    ),
    ("systemd", &["id", "fragment_path"]),
];

/// Which nodes stand in the place of a parent of SPIRE's: `FROM=TO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParentPair {
    from: String,
    to: String,
}

/// Reads `FROM=TO`.
///
/// # Errors
/// What was expected.
pub(super) fn read_pair(text: &str) -> Result<ParentPair, String> {
    let expected = "expected FROM=TO: a parent in SPIRE (or a beginning of parents, with /* behind it), and a node's \
                    SPIFFE ID or a node selector type:value";
    let (from, to) = text.split_once('=').ok_or(expected)?;
    if !from.starts_with("spiffe://") || !to.contains(':') {
        return Err(expected.to_owned());
    }
    Ok(ParentPair { from: from.to_owned(), to: to.to_owned() })
}

/// Where entries go, by their parents in SPIRE.
#[derive(Debug, Default)]
pub(super) struct Parents {
    whole: BTreeMap<String, Parent>,
    /// By what they begin with, the slash included.
    below: BTreeMap<String, Parent>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Parent {
    Id(String),
    Selectors(Vec<String>),
}

impl Parents {
    /// The map of these pairs; pairs of one parent with selectors mean nodes that have all of them.
    ///
    /// # Errors
    /// If a parent is mapped twice.
    pub(super) fn new(pairs: Vec<ParentPair>) -> Result<Self, String> {
        let mut parents = Self::default();
        for ParentPair { from, to } in pairs {
            let (map, key) = match from.strip_suffix('*') {
                Some(beginning) if beginning.ends_with('/') => (&mut parents.below, beginning.to_owned()),
                _ => (&mut parents.whole, from.clone()),
            };
            let is_id = to.starts_with("spiffe://");
            match map.get_mut(&key) {
                Some(Parent::Selectors(selectors)) if !is_id => selectors.push(to),
                Some(_) => return Err(format!("--parent-map says twice where {from} goes")),
                None if is_id => drop(map.insert(key, Parent::Id(to))),
                None => drop(map.insert(key, Parent::Selectors(vec![to]))),
            }
        }
        Ok(parents)
    }

    /// The whole name before any beginning, the longer beginning before the shorter.
    fn of(&self, parent: &str) -> Option<&Parent> {
        let below = || self.below.iter().rev().find(|(beginning, _)| parent.starts_with(beginning.as_str()));
        self.whole.get(parent).or_else(|| below().map(|(_, parent)| parent))
    }
}

/// What became of one entry.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is an entry here.
    Carried(Box<admin::Entry>),
    /// There is nothing to create: something else says it already.
    Covered(Remark),
    /// It is not an entry here.
    Left(Remark),
}

/// Why an entry of SPIRE's is none here, or needs to be none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Remark {
    /// Its ID in SPIRE.
    pub(super) id: String,
    pub(super) spiffe_id: String,
    pub(super) reasons: Vec<String>,
}

/// What the other entries of the same output say.
struct Others<'a> {
    /// Selectors of the nodes that a name stands for.
    aliases: HashMap<&'a SpireId, &'a SpireEntry>,
    workloads: HashMap<&'a SpireId, &'a SpireEntry>,
}

/// Maps all entries, oldest first: with one hint, the oldest entry wins, here as there.
pub(super) fn map(mut entries: Vec<SpireEntry>, parents: &Parents) -> Vec<Fate> {
    entries.sort_by_key(|entry| entry.created_at);
    let is_alias = |entry: &&SpireEntry| entry.parent_id.path() == SPIRE_SERVER;
    let others = Others {
        aliases: entries.iter().filter(is_alias).map(|entry| (&entry.spiffe_id, entry)).collect(),
        workloads: entries.iter().filter(|entry| !is_alias(entry)).map(|entry| (&entry.spiffe_id, entry)).collect(),
    };
    let mut granted: HashMap<Vec<u8>, admin::Entry> = HashMap::new();
    entries.iter().map(|entry| fold(fate(entry, parents, &others), entry, &mut granted)).collect()
}

fn fate(entry: &SpireEntry, parents: &Parents, others: &Others<'_>) -> Fate {
    let spiffe_id = entry.spiffe_id.to_string();
    let remark = |reasons| Remark { id: entry.id.clone(), spiffe_id: spiffe_id.clone(), reasons };
    if entry.parent_id.path() == SPIRE_SERVER && parents.of(&spiffe_id).is_some() {
        return Fate::Covered(remark(vec!["stands for nodes, which the map of parents names".to_owned()]));
    }
    let mut reasons = unsupported(entry);
    let parent = parent(entry, parents, others).map_err(|reason| reasons.push(reason)).ok();
    let Some(parent) = parent.filter(|_| reasons.is_empty()) else { return Fate::Left(remark(reasons)) };
    let (parent_id, node_selectors) = match parent {
        Parent::Id(id) => (id, Vec::new()),
        Parent::Selectors(selectors) => (String::new(), selectors),
    };
    Fate::Carried(Box::new(admin::Entry {
        id: entry.id.clone(),
        spiffe_id,
        parent_id,
        node_selectors,
        selectors: entry.selectors.iter().map(ToString::to_string).collect(),
        x509_svid_ttl: entry.x509_svid_ttl,
        jwt_svid_ttl: entry.jwt_svid_ttl,
        dns_names: entry.dns_names.clone(),
        federates_with: entry.federates_with.clone(),
        hint: entry.hint.clone(),
        expires_at: entry.expires_at,
        ..admin::Entry::default()
    }))
}

/// What it says that nothing here could do.
fn unsupported(entry: &SpireEntry) -> Vec<String> {
    let mut reasons: Vec<String> = not_here(entry.admin, entry.downstream, entry.store_svid)
        .into_iter()
        .map(|(field, reason)| format!("{field}: {reason}"))
        .collect();
    if entry.additional_attributes.jwt_svid_include_jti {
        reasons.push("additional_attributes.jwt_svid_include_jti: cannot be asked for by an entry".to_owned());
    }
    reasons.extend(entry.unheard_of().map(|field| format!("{field}: this version knows no such field of SPIRE's")));
    let made = |kind: &str, value: &str| {
        let name = value.split(':').next().unwrap_or_default();
        SELECTORS.iter().any(|(known, names)| *known == kind && names.contains(&name))
    };
    if entry.parent_id.path() != SPIRE_SERVER {
        let unmade = entry.selectors.iter().filter(|selector| !made(&selector.kind, &selector.value));
        reasons.extend(unmade.map(|selector| format!("selectors: no attestor of holdfast-agent makes {selector}")));
    }
    reasons
}

fn parent(entry: &SpireEntry, parents: &Parents, others: &Others<'_>) -> Result<Parent, String> {
    let id = entry.parent_id.to_string();
    if let Some(parent) = parents.of(&id) {
        return Ok(parent.clone());
    }
    let path = entry.parent_id.path();
    if path.starts_with(NODES) {
        return Ok(Parent::Id(id));
    }
    if path == SPIRE_SERVER {
        let texts: Vec<String> = entry.selectors.iter().map(ToString::to_string).collect();
        let (own, selectors) = (&entry.spiffe_id, texts.join(", "));
        return Err(format!(
            "parent_id: it stands for nodes with {selectors}: say which these are here, --parent-map {own}=TYPE:VALUE"
        ));
    }
    if path.starts_with(SPIRE_AGENTS) {
        return Err(format!(
            "parent_id: {id} is an agent of SPIRE's: say which node it is here, --parent-map {id}=NODE"
        ));
    }
    if let Some(alias) = others.aliases.get(&entry.parent_id) {
        let alias = &alias.id;
        return Err(format!(
            "parent_id: {id} stands for nodes (entry {alias}): say which these are here, --parent-map {id}=TYPE:VALUE"
        ));
    }
    if let Some(workload) = others.workloads.get(&entry.parent_id) {
        let workload = &workload.id;
        return Err(format!(
            "parent_id: {id} is a workload's (entry {workload}), and only nodes are parents here: say on which nodes it is \
             good, --parent-map {id}=NODE"
        ));
    }
    Err(format!("parent_id: {id} is nothing that the other entries explain: --parent-map {id}=NODE or TYPE:VALUE"))
}

/// Two parents of SPIRE's may be the same nodes here: then two entries may be one.
fn fold(fate: Fate, of: &SpireEntry, granted: &mut HashMap<Vec<u8>, admin::Entry>) -> Fate {
    let Fate::Carried(entry) = fate else { return fate };
    let sorted = |texts: &[String]| {
        let mut texts = texts.to_vec();
        texts.sort();
        texts.dedup();
        texts
    };
    let (nodes, selectors) = (sorted(&entry.node_selectors), sorted(&entry.selectors));
    let key = serde_json::json!([entry.spiffe_id, entry.parent_id, nodes, selectors]).to_string().into_bytes();
    let Some(first) = granted.get(&key) else {
        granted.insert(key, (*entry).clone());
        return Fate::Carried(entry);
    };
    let other =
        |reason: String| Remark { id: of.id.clone(), spiffe_id: entry.spiffe_id.clone(), reasons: vec![reason] };
    // All but the ID and the order of what was compared above.
    let content = |entry: &admin::Entry| admin::Entry {
        id: String::new(),
        selectors: Vec::new(),
        node_selectors: Vec::new(),
        ..entry.clone()
    };
    if content(first) == content(&entry) {
        return Fate::Covered(other(format!(
            "says the same as entry {}, on the nodes that its parent is here",
            first.id
        )));
    }
    let reason = "grants the same to the same on the nodes that its parent is here, with other TTL, names, hint or end, as entry";
    Fate::Left(other(format!("{reason} {}", first.id)))
}

#[cfg(test)]
mod tests;
