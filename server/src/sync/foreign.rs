//! Which foreign bundles an agent holds, and which it should: those of every trust domain that its entries name. It is told
//! all of them at once, so that what is gone is absent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_identity::TrustDomain;
use holdfast_protocol::agent as wire;

use crate::federation::CurrentFederations;
use crate::store::Entry;

/// The foreign bundles of one stream.
pub(super) struct Foreign {
    current: CurrentFederations,
    /// By entry, of those that name any.
    named: BTreeMap<String, BTreeSet<TrustDomain>>,
    /// What the agent was told; `None` before the first message.
    told: Option<Vec<Arc<wire::Bundle>>>,
}

impl Foreign {
    pub(super) const fn new(current: CurrentFederations) -> Self {
        Self { current, named: BTreeMap::new(), told: None }
    }

    /// Whether nothing was told yet.
    pub(super) const fn is_new(&self) -> bool {
        self.told.is_none()
    }

    /// The entry is the node's, as it is now.
    pub(super) fn entry(&mut self, entry: &Entry) {
        let named = &entry.draft.federates_with;
        if named.is_empty() {
            self.named.remove(entry.id());
        } else {
            self.named.insert(entry.id().to_owned(), named.clone());
        }
    }

    /// The entry is the node's no longer.
    pub(super) fn removed(&mut self, id: &str) {
        self.named.remove(id);
    }

    /// No entry is the node's but those that follow.
    pub(super) fn forget(&mut self) {
        self.named.clear();
    }

    /// Whether the agent should hold something else than it does.
    pub(super) fn is_behind(&self) -> bool {
        self.told.as_ref() != Some(&self.now())
    }

    /// All that the agent should hold, if that is not what it does.
    pub(super) fn news(&mut self) -> Option<wire::ForeignBundles> {
        let now = self.now();
        if self.told.as_ref() == Some(&now) {
            return None;
        }
        let bundles = now.iter().map(|bundle| bundle.as_ref().clone()).collect();
        self.told = Some(now);
        Some(wire::ForeignBundles { bundles })
    }

    fn now(&self) -> Vec<Arc<wire::Bundle>> {
        if self.named.is_empty() {
            return Vec::new();
        }
        let all = self.current.get();
        let names: BTreeSet<&TrustDomain> = self.named.values().flatten().collect();
        names.into_iter().filter_map(|name| all.get(name)?.message.clone()).collect()
    }
}
