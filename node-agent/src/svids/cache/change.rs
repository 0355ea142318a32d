//! What one state of a set of selectors is to the state before it.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Entry, SvidState, X509Svid};

/// What is left of an earlier state while a part of the next one is being made: entry by entry, whatever names they grant.
pub(super) struct Remaining<'a> {
    before: HashMap<&'a str, &'a Arc<X509Svid>>,
    svids: Vec<Arc<X509Svid>>,
}

impl<'a> Remaining<'a> {
    /// Nothing yet, of that state.
    pub(super) fn of(before: &'a SvidState) -> Self {
        let before = if let SvidState::Ready(update) = before { update.svids.as_slice() } else { &[] };
        Self { before: before.iter().map(|svid| (svid.entry_id.as_str(), svid)).collect(), svids: Vec::new() }
    }

    /// An entry that counts now, and its SVID. Where that is being made anew, the former one serves as long as it
    /// `serves`; an entry that the earlier state did not have waits for the others.
    pub(super) fn see(&mut self, entry: &Entry, now: Option<&Arc<X509Svid>>, serves: impl Fn(&X509Svid) -> bool) {
        let Some(former) = self.before.get(entry.id.as_str()).filter(|svid| svid.spiffe_id == entry.spiffe_id) else {
            return;
        };
        self.svids.extend(now.or_else(|| Some(*former).filter(|svid| serves(svid))).cloned());
    }

    /// Those SVIDs.
    pub(super) fn svids(self) -> Vec<Arc<X509Svid>> {
        self.svids
    }
}

/// Whether nobody need be told of it.
pub(super) fn same(before: &SvidState, now: &SvidState) -> bool {
    match (before, now) {
        (SvidState::Starting, SvidState::Starting) | (SvidState::Denied, SvidState::Denied) => true,
        (SvidState::Ready(before), SvidState::Ready(now)) => {
            before.svids.len() == now.svids.len()
                && before.svids.iter().zip(&now.svids).all(|(before, now)| Arc::ptr_eq(before, now))
                && before.bundles == now.bundles
                && before.jwt_bundles == now.jwt_bundles
                && before.crls == now.crls
        }
        _ => false,
    }
}
