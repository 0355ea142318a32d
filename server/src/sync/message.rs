//! Entries and revisions as messages, in portions.

use holdfast_protocol::agent as wire;
use holdfast_protocol::limits::{SYNC_ENTRIES_BYTES_MAX, SYNC_ENTRIES_MAX};
use prost::Message as _;

use crate::store::{Entry, Revision};

/// A revision as it travels.
pub(super) fn revision(revision: Revision) -> wire::Revision {
    wire::Revision { epoch: revision.epoch.to_vec(), n: revision.n }
}

/// A revision as an agent names it; `None` where it cannot be one of ours.
pub(super) fn held(revision: &wire::Revision) -> Option<Revision> {
    let epoch = revision.epoch.as_slice().try_into().ok()?;
    Some(Revision { epoch, n: revision.n })
}

/// An entry as the agent gets it.
pub(super) fn entry(entry: &Entry) -> wire::Entry {
    let draft = &entry.draft;
    wire::Entry {
        id: draft.id.clone(),
        spiffe_id: draft.spiffe_id.to_string(),
        selectors: draft.selectors.iter().map(ToString::to_string).collect(),
        x509_svid_ttl: draft.x509_svid_ttl,
        dns_names: draft.dns_names.clone(),
        hint: draft.hint.clone(),
        expires_at: draft.expires_at.map_or(0, |end| end.seconds()),
        revision_number: entry.revision_number,
        created_at: entry.created_at.seconds(),
        federates_with: draft.federates_with.iter().map(ToString::to_string).collect(),
    }
}

/// One revision's changes as messages of at most [`SYNC_ENTRIES_MAX`] entries or IDs, and of so many bytes that an agent reads
/// them; at least one message.
pub(super) fn portions(
    at: Revision,
    full: bool,
    mut entries: Vec<wire::Entry>,
    mut removed: Vec<String>,
    bundle: Option<wire::Bundle>,
) -> Vec<wire::SyncResponse> {
    let mut messages = Vec::new();
    let mut bundle = bundle;
    loop {
        let rest = entries.split_off(fitting(&entries));
        let room = SYNC_ENTRIES_MAX - entries.len();
        let rest_removed = removed.split_off(removed.len().min(room));
        let more = !rest.is_empty() || !rest_removed.is_empty();
        messages.push(wire::SyncResponse {
            revision: Some(revision(at)),
            // Only the first portion makes the agent forget; the others add to it.
            full: full && messages.is_empty(),
            entries,
            removed_entry_ids: removed,
            bundle: bundle.take(),
            more,
            ..wire::SyncResponse::default()
        });
        if !more {
            return messages;
        }
        (entries, removed) = (rest, rest_removed);
    }
}

/// How many of the entries one message has room for.
fn fitting(entries: &[wire::Entry]) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&wire::Entry| {
        bytes += entry.encoded_len();
        bytes <= SYNC_ENTRIES_BYTES_MAX
    };
    // One alone is far below what a message may have.
    entries.iter().take(SYNC_ENTRIES_MAX).take_while(fits).count().max(entries.len().min(1))
}

/// A change's last message, and what of foreign bundles has no room in it before it.
pub(super) fn with_foreign(
    last: wire::SyncResponse,
    news: Option<(Vec<wire::ForeignBundles>, wire::ForeignBundles)>,
) -> Vec<wire::SyncResponse> {
    let Some((portions, rest)) = news else { return vec![last] };
    let before = |foreign| wire::SyncResponse {
        revision: last.revision.clone(),
        foreign: Some(foreign),
        more: true,
        ..wire::SyncResponse::default()
    };
    let mut messages: Vec<_> = portions.into_iter().map(before).collect();
    messages.push(wire::SyncResponse { foreign: Some(rest), ..last });
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Revision = Revision { epoch: [1; 16], n: 9 };

    #[test]
    fn a_large_state_comes_in_portions_and_only_the_first_is_full() {
        let entries = vec![wire::Entry::default(); 2 * SYNC_ENTRIES_MAX + 1];
        let messages = portions(AT, true, entries, vec!["gone".to_owned()], Some(wire::Bundle::default()));
        assert_eq!(messages.iter().map(|one| one.entries.len()).collect::<Vec<_>>(), [500, 500, 1]);
        assert_eq!(messages.iter().map(|one| one.full).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(messages.iter().map(|one| one.more).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(messages.iter().map(|one| one.bundle.is_some()).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(messages[2].removed_entry_ids, ["gone"]);
    }

    #[test]
    fn entries_at_their_longest_come_in_messages_that_an_agent_reads() {
        let long = |id: usize| wire::Entry {
            id: id.to_string(),
            selectors: vec!["x".repeat(1_000); 30],
            ..wire::Entry::default()
        };
        let messages = portions(AT, true, (0..SYNC_ENTRIES_MAX).map(long).collect(), Vec::new(), None);
        assert!(messages.iter().all(|one| one.encoded_len() <= SYNC_ENTRIES_BYTES_MAX + 4_096));
        let ids: Vec<_> = messages.iter().flat_map(|one| &one.entries).map(|entry| entry.id.clone()).collect();
        assert_eq!(ids, (0..SYNC_ENTRIES_MAX).map(|id| id.to_string()).collect::<Vec<_>>());
        let more: Vec<_> = messages.iter().map(|one| one.more).collect();
        assert_eq!(more.iter().filter(|more| !**more).count(), 1, "they are one change");
        let beyond = wire::Entry { selectors: vec!["x".repeat(SYNC_ENTRIES_BYTES_MAX)], ..wire::Entry::default() };
        assert_eq!(portions(AT, true, vec![beyond.clone(), beyond], Vec::new(), None).len(), 2, "never none");
    }

    #[test]
    fn nothing_is_one_message() {
        let messages = portions(AT, true, Vec::new(), Vec::new(), None);
        assert_eq!(messages.len(), 1);
        assert!(messages[0].full && !messages[0].more);
    }

    #[test]
    fn a_revision_of_another_shape_is_unknown() {
        assert_eq!(held(&wire::Revision { epoch: vec![1; 15], n: 1 }), None);
        assert_eq!(held(&revision(AT)), Some(AT));
    }
}
