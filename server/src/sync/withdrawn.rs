//! Which withdrawn JWT-SVIDs an agent has heard of, and what it is to hear: all when its stream begins, then what is new.

use holdfast_identity::UnixTime;
use holdfast_protocol::agent as wire;

use crate::revocation::Withdrawn;

/// What one stream has said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The place of the last one; `None` before the first message.
    place: Option<u64>,
    made_until: Option<UnixTime>,
}

impl Heard {
    /// What makes the agent know of all that is withdrawn, if it does not.
    pub(super) fn news(&mut self, now: &Withdrawn) -> Option<wire::WithdrawnTokens> {
        let last = now.grants.last().map_or(0, |one| one.place);
        let is_behind = self.place.is_none_or(|place| place < last) || self.made_until < now.made_until;
        if !is_behind {
            return None;
        }
        let grants = now.grants.iter().filter(|one| self.place.is_none_or(|place| place < one.place));
        let grants = grants.map(|one| wire::WithdrawnGrant { id: one.grant.0.to_vec(), ends: one.ends.seconds() });
        let withdrawn = wire::WithdrawnTokens {
            full: self.place.is_none(),
            grants: grants.collect(),
            made_until: now.made_until.map_or(0, UnixTime::seconds),
        };
        (self.place, self.made_until) = (self.place.max(Some(last)), now.made_until);
        Some(withdrawn)
    }
}

#[cfg(test)]
mod tests {
    use holdfast_svid::Grant;

    use super::*;
    use crate::store::WithdrawnGrant;

    fn withdrawn(places: &[u64], made_until: Option<i64>) -> Withdrawn {
        let grant = |place: &u64| WithdrawnGrant {
            place: *place,
            grant: Grant([u8::try_from(*place).unwrap(); 12]),
            ends: UnixTime(100),
            at: UnixTime(1),
        };
        Withdrawn { grants: places.iter().map(grant).collect(), made_until: made_until.map(UnixTime) }
    }

    fn told(heard: &mut Heard, now: &Withdrawn) -> Option<(bool, Vec<u8>, i64)> {
        let said = heard.news(now)?;
        Some((said.full, said.grants.iter().map(|one| one.id[0]).collect(), said.made_until))
    }

    #[test]
    fn a_stream_begins_with_all_of_it_and_goes_on_with_what_is_new() {
        let mut heard = Heard::default();
        assert_eq!(told(&mut heard, &withdrawn(&[], None)), Some((true, vec![], 0)), "the agent forgets the others");
        assert_eq!(told(&mut heard, &withdrawn(&[], None)), None);
        assert_eq!(told(&mut heard, &withdrawn(&[1, 2], None)), Some((false, vec![1, 2], 0)));
        assert_eq!(told(&mut heard, &withdrawn(&[2, 5], None)), Some((false, vec![5], 0)));
        assert_eq!(told(&mut heard, &withdrawn(&[], None)), None, "what has ended is forgotten by itself");
        assert_eq!(told(&mut heard, &withdrawn(&[7], Some(50))), Some((false, vec![7], 50)));
        assert_eq!(told(&mut Heard::default(), &withdrawn(&[7], Some(50))), Some((true, vec![7], 50)));
    }
}
