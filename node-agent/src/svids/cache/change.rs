//! What one state of a set of selectors is to the state before it, and the order in which entries stand in one.

use std::sync::Arc;

use super::{Entry, SvidState, WorkloadUpdate, X509Svid};

/// The oldest first; the ID decides between twins, so that the order never changes.
pub(super) fn by_age<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>) -> Vec<&'a Arc<Entry>> {
    let mut entries: Vec<_> = entries.collect();
    entries.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    entries
}

/// Whether everything in an earlier update is still held: nothing of it was taken back.
pub(super) fn still_stands(update: &WorkloadUpdate, held: &[Arc<X509Svid>]) -> bool {
    update.svids.iter().all(|svid| held.iter().any(|held| held.spiffe_id == svid.spiffe_id))
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
