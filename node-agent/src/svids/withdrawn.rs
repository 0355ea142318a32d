//! JWT-SVIDs that were withdrawn before their end, as the server pushes them: by the grant that they name, or all that were
//! made until some moment. Forgotten when they have ended.

use std::collections::HashMap;

use holdfast_identity::{SpiffeId, UnixTime};
use holdfast_svid::Grant;

/// Grants that are remembered: the server has room for fewer. Beyond that everything that was made until then is refused.
const GRANTS_MAX: usize = 50_000;
/// Seconds after the end of its last token that a grant is remembered: more than any leeway.
const END_GRACE: i64 = 300;

/// What the server says at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawal {
    /// There is nothing else.
    pub full: bool,
    /// Grants, each with the end of its last token.
    pub grants: Vec<(Grant, UnixTime)>,
    /// All that were made until then are withdrawn.
    pub made_until: Option<UnixTime>,
}

/// All that is withdrawn.
#[derive(Debug, Default)]
pub(super) struct Withdrawn {
    trust_domain: String,
    grants: HashMap<Grant, UnixTime>,
    made_until: Option<UnixTime>,
}

impl Withdrawn {
    /// Takes what the server of `trust_domain` says.
    pub(super) fn learn(&mut self, trust_domain: &str, said: &Withdrawal, now: UnixTime) {
        if said.full {
            (self.grants, self.made_until) = (HashMap::new(), None);
        }
        trust_domain.clone_into(&mut self.trust_domain);
        self.grants.retain(|_, ends| ends.plus(END_GRACE) > now);
        self.made_until = self.made_until.max(said.made_until);
        for (grant, ends) in &said.grants {
            if self.grants.len() >= GRANTS_MAX && !self.grants.contains_key(grant) {
                tracing::error!(
                    code = "agent.jwt.withdrawn_full",
                    "too many JWT-SVIDs are withdrawn: all of now are refused"
                );
                (self.grants, self.made_until) = (HashMap::new(), Some(now));
            }
            self.grants.insert(*grant, *ends);
        }
    }

    /// Whether a token of `subject` is among them. Without a time at which it was made it is, wherever time decides.
    pub(super) fn has(&self, subject: &SpiffeId, grant: Option<Grant>, issued: Option<UnixTime>) -> bool {
        grant.is_some_and(|grant| self.grants.contains_key(&grant)) || self.has_all_until(subject, issued)
    }

    /// Whether it is by the time at which it was made.
    pub(super) fn has_all_until(&self, subject: &SpiffeId, issued: Option<UnixTime>) -> bool {
        let is_ours = || subject.trust_domain_name() == self.trust_domain;
        self.made_until.is_some_and(|until| issued.is_none_or(|issued| issued <= until) && is_ours())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_000_000);

    fn said(full: bool, grants: &[u32], made_until: Option<i64>) -> Withdrawal {
        let grants = grants.iter().map(|n| (grant(*n), NOW.plus(300))).collect();
        Withdrawal { full, grants, made_until: made_until.map(UnixTime) }
    }

    fn grant(n: u32) -> Grant {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        Grant(bytes)
    }

    fn has(withdrawn: &Withdrawn, n: u32, issued: i64) -> bool {
        withdrawn.has(&"spiffe://td/a".parse().unwrap(), Some(grant(n)), Some(UnixTime(issued)))
    }

    #[test]
    fn more_is_added_and_a_full_list_forgets_the_others() {
        let mut withdrawn = Withdrawn::default();
        withdrawn.learn("td", &said(true, &[1], None), NOW);
        withdrawn.learn("td", &said(false, &[2], None), NOW);
        assert!(has(&withdrawn, 1, 0) && has(&withdrawn, 2, 0) && !has(&withdrawn, 3, 0));
        withdrawn.learn("td", &said(true, &[3], None), NOW);
        assert!(!has(&withdrawn, 1, 0) && has(&withdrawn, 3, 0));
        assert!(!withdrawn.has(&"spiffe://td/a".parse().unwrap(), None, None), "a token without a name");
    }

    #[test]
    fn what_has_ended_is_forgotten_when_its_leeway_is_over() {
        let mut withdrawn = Withdrawn::default();
        withdrawn.learn("td", &said(true, &[1], None), NOW);
        withdrawn.learn("td", &said(false, &[], None), NOW.plus(599));
        assert!(has(&withdrawn, 1, 0));
        withdrawn.learn("td", &said(false, &[], None), NOW.plus(600));
        assert!(withdrawn.grants.is_empty());
    }

    #[test]
    fn what_was_made_until_then_is_withdrawn_in_the_own_trust_domain_alone() {
        let mut withdrawn = Withdrawn::default();
        withdrawn.learn("td", &said(true, &[], Some(500)), NOW);
        assert!(has(&withdrawn, 1, 500) && !has(&withdrawn, 1, 501));
        let judge = |id: &str, issued| withdrawn.has(&id.parse().unwrap(), None, issued);
        assert!(judge("spiffe://td/a", None), "one that does not say when");
        assert!(!judge("spiffe://other/a", Some(UnixTime(1))) && !judge("spiffe://other/a", None));
        withdrawn.learn("td", &said(false, &[], Some(400)), NOW);
        assert!(has(&withdrawn, 1, 500), "it only rises");
    }

    #[test]
    fn more_than_there_is_room_for_withdraws_everything_of_now() {
        let mut withdrawn = Withdrawn::default();
        let many: Vec<u32> = (0..=u32::try_from(GRANTS_MAX).unwrap()).collect();
        withdrawn.learn("td", &said(true, &many, None), NOW);
        assert!(withdrawn.grants.len() <= GRANTS_MAX);
        assert!(has(&withdrawn, 0, NOW.seconds()) && has(&withdrawn, 999_999, NOW.seconds()));
        assert!(!has(&withdrawn, 999_999, NOW.seconds() + 1));
    }
}
