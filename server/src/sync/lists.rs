//! Which revocation lists an agent holds, and what it is to be sent: those of another number, and who has none any more.

use std::collections::BTreeMap;

use holdfast_protocol::agent as wire;
use holdfast_protocol::limits::REVOCATION_LISTS_MAX;

use super::message::revision;
use crate::store::{IssuerKeyId, Revision, RevocationList, Signer};

/// The lists that an agent holds, by number.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<IssuerKeyId, u64>);

impl Told {
    /// As the agent says. What is none of ours it forgets.
    pub(super) fn new(holds: &[wire::RevocationList]) -> Self {
        let held = holds.iter().take(REVOCATION_LISTS_MAX);
        Self(held.filter_map(|list| Some((key_id(&list.issuer)?, list.number))).collect())
    }

    /// Whether there is anything to send.
    pub(super) fn is_behind(&self, lists: &[RevocationList]) -> bool {
        let count = lists.len().min(REVOCATION_LISTS_MAX);
        let holds = |list: &RevocationList| self.0.get(&list.issuer) == Some(&list.number);
        self.0.len() != count || !lists.iter().take(count).all(holds)
    }

    /// The messages that make the agent hold `lists`, one list in each, for it to add to what follows.
    pub(super) fn news(&mut self, lists: &[RevocationList], at: Revision) -> Vec<wire::SyncResponse> {
        let message = || wire::SyncResponse { revision: Some(revision(at)), more: true, ..Default::default() };
        let now: BTreeMap<_, _> =
            lists.iter().take(REVOCATION_LISTS_MAX).map(|list| (list.issuer, list.number)).collect();
        let gone: Vec<_> = self.0.keys().filter(|issuer| !now.contains_key(issuer)).map(|one| one.0.to_vec()).collect();
        let mut messages = Vec::new();
        if !gone.is_empty() {
            messages.push(wire::SyncResponse { removed_revocation_lists: gone, ..message() });
        }
        for list in lists.iter().filter(|list| now.contains_key(&list.issuer)) {
            if self.0.get(&list.issuer) != Some(&list.number) {
                let issuer = list.issuer.0.to_vec();
                let above = list.signer == Signer::Above;
                let list = wire::RevocationList { issuer, number: list.number, der: list.der.to_vec(), above };
                messages.push(wire::SyncResponse { revocation_lists: vec![list], ..message() });
            }
        }
        self.0 = now;
        messages
    }
}

fn key_id(bytes: &[u8]) -> Option<IssuerKeyId> {
    bytes.try_into().ok().map(IssuerKeyId)
}

#[cfg(test)]
mod tests {
    use holdfast_identity::UnixTime;

    use super::*;
    use crate::store::ListValidity;

    const AT: Revision = Revision { epoch: [1; 16], n: 9 };

    fn list(issuer: u8, number: u64) -> RevocationList {
        let at = UnixTime(0);
        let validity = ListValidity { this_update: at, next_update: at, issuer_ends: at };
        let signer = if issuer == 1 { Signer::Above } else { Signer::Intermediate };
        RevocationList { issuer: IssuerKeyId([issuer; 20]), signer, number, validity, der: vec![issuer].into() }
    }

    fn sent(messages: &[wire::SyncResponse]) -> (Vec<u8>, Vec<u8>) {
        let lists = messages.iter().flat_map(|message| &message.revocation_lists).map(|list| list.issuer[0]);
        let gone = messages.iter().flat_map(|message| &message.removed_revocation_lists).map(|issuer| issuer[0]);
        assert!(messages.iter().all(|message| message.more && message.revision.is_some()));
        (lists.collect(), gone.collect())
    }

    #[test]
    fn only_lists_of_another_number_are_sent() {
        let mut told = Told::default();
        let lists = [list(1, 1), list(2, 5)];
        assert!(told.is_behind(&lists));
        let messages = told.news(&lists, AT);
        assert_eq!(sent(&messages), (vec![1, 2], vec![]));
        let above = messages.iter().flat_map(|message| &message.revocation_lists).map(|list| list.above);
        assert_eq!(above.collect::<Vec<_>>(), [true, false]);
        assert!(!told.is_behind(&lists));
        let lists = [list(1, 1), list(2, 6)];
        assert!(told.is_behind(&lists));
        assert_eq!(sent(&told.news(&lists, AT)), (vec![2], vec![]));
        assert_eq!(sent(&told.news(&lists[1..], AT)), (vec![], vec![1]));
    }

    #[test]
    fn what_an_agent_brings_along_is_not_sent_again() {
        let held = |issuer: Vec<u8>, number| wire::RevocationList { issuer, number, ..Default::default() };
        let mut told = Told::new(&[held(vec![1; 20], 1), held(vec![9; 20], 4), held(vec![2; 19], 5)]);
        let lists = [list(1, 1), list(2, 5)];
        assert_eq!(sent(&told.news(&lists, AT)), (vec![2], vec![9]));
    }
}
