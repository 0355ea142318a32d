//! What the server says of withdrawn JWT-SVIDs, read.

use holdfast_identity::UnixTime;
use holdfast_protocol::agent as wire;
use holdfast_svid::Grant;

use crate::svids::Withdrawal;

/// What a change says after one more message of it: a full one leaves nothing of those before. A name that cannot be one is
/// passed over, for no token has it.
pub(super) fn joined(before: Option<Withdrawal>, said: wire::WithdrawnTokens) -> Withdrawal {
    let mut joined = before.filter(|_| !said.full).unwrap_or_default();
    joined.full |= said.full;
    let made_until = (said.made_until > 0).then_some(UnixTime(said.made_until));
    joined.made_until = joined.made_until.max(made_until);
    let grants = said.grants.iter().filter_map(|one| Some((Grant::from_bytes(&one.id)?, UnixTime(one.ends))));
    joined.grants.extend(grants);
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(full: bool, ids: &[&[u8]], made_until: i64) -> wire::WithdrawnTokens {
        let grants = ids.iter().map(|id| wire::WithdrawnGrant { id: id.to_vec(), ends: 5 }).collect();
        wire::WithdrawnTokens { full, grants, made_until }
    }

    #[test]
    fn messages_of_one_change_add_up_and_a_full_one_begins_anew() {
        let first = joined(None, said(true, &[&[1; 12], &[1; 11]], 0));
        assert_eq!(first.grants, [(Grant([1; 12]), UnixTime(5))]);
        assert!(first.full && first.made_until.is_none());
        let more = joined(Some(first), said(false, &[&[2; 12]], 7));
        assert_eq!((more.full, more.grants.len(), more.made_until), (true, 2, Some(UnixTime(7))));
        let anew = joined(Some(more), said(true, &[], -1));
        assert_eq!(anew, Withdrawal { full: true, ..Withdrawal::default() });
    }
}
