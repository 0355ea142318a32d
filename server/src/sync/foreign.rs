//! Which foreign bundles an agent holds, and which it should: those of every trust domain that its entries name. It is told
//! all of them in one change, so that what is gone is absent, and in messages of bounded size, so that no trust domain can
//! make one that is too long to be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_identity::TrustDomain;
use holdfast_protocol::agent as wire;
use holdfast_protocol::limits::FOREIGN_BUNDLES_BYTES_MAX;
use prost::Message as _;

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
        !self.knows(&self.now())
    }

    /// All that the agent should hold, if that is not what it does, in portions for one message each: the last one stands
    /// apart, and is there even where the agent should hold nothing.
    pub(super) fn news(&mut self) -> Option<(Vec<wire::ForeignBundles>, wire::ForeignBundles)> {
        let now = self.now();
        if self.knows(&now) {
            return None;
        }
        let (mut portions, mut last, mut bytes) = (Vec::new(), wire::ForeignBundles::default(), 0);
        for bundle in &now {
            let length = bundle.encoded_len();
            if bytes + length > FOREIGN_BUNDLES_BYTES_MAX && bytes > 0 {
                portions.push(std::mem::take(&mut last));
                bytes = 0;
            }
            last.bundles.push(bundle.as_ref().clone());
            bytes += length;
        }
        self.told = Some(now);
        Some((portions, last))
    }

    fn knows(&self, now: &[Arc<wire::Bundle>]) -> bool {
        let same = |(a, b): (&Arc<wire::Bundle>, &Arc<wire::Bundle>)| Arc::ptr_eq(a, b) || a == b;
        self.told.as_ref().is_some_and(|told| told.len() == now.len() && told.iter().zip(now).all(same))
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
