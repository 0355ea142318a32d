//! What an entry may say. Pure; the store asks it on every write, whoever the caller is.

use super::entries::{
    ENTRY_DNS_NAMES_MAX, ENTRY_ID_BYTES_MAX, ENTRY_SELECTORS_MAX, EntryDraft, EntryRefusal, HINT_BYTES_MAX, Parent,
};
use holdfast_identity::{TrustDomain, UnixTime};

/// Longest TTL that an entry may ask for: 7 days. Evidence ends an SVID long before that.
pub const X509_SVID_TTL_MAX: i64 = 7 * 86_400;

/// The last second of the year 9999, the last that a certificate can name: a moment in milliseconds is no moment.
const EXPIRES_AT_MAX: UnixTime = UnixTime(253_402_300_799);

/// Bytes of all texts of an entry together. What the record says of it has them escaped, twice as long at worst.
const ENTRY_BYTES_MAX: usize = 30_000;

/// Below this are the IDs of nodes, and of nothing else.
const NODES: &str = "/holdfast/node/";

/// Longest TTL of a JWT-SVID that an entry may ask for: a day. Whoever holds a token is its subject, and nobody takes it back.
pub const JWT_SVID_TTL_MAX: i64 = 86_400;

/// Checks `draft` as it would be written now.
///
/// # Errors
/// [`EntryRefusal::Invalid`] naming the first field that is not allowed.
pub fn check(draft: &EntryDraft, trust_domain: &TrustDomain, now: UnixTime) -> Result<(), EntryRefusal> {
    check_id(&draft.id)?;
    if !draft.spiffe_id.is_member_of(trust_domain) {
        return invalid(
            "spiffe_id",
            format!("trust domain is {:?}, expected {:?}", draft.spiffe_id.trust_domain_name(), trust_domain.as_str()),
        );
    }
    if draft.spiffe_id.path().is_empty() {
        return invalid("spiffe_id", "has no path: it names the trust domain itself".to_owned());
    }
    if draft.spiffe_id.is_reserved() {
        return invalid("spiffe_id", "/holdfast/ is reserved for the platform itself".to_owned());
    }
    match &draft.parent {
        Parent::Id(id) if !id.is_member_of(trust_domain) => {
            let (found, expected) = (id.trust_domain_name(), trust_domain.as_str());
            return invalid("parent_id", format!("trust domain is {found:?}, expected {expected:?}"));
        }
        Parent::Id(id) if id.path().is_empty() => {
            return invalid("parent_id", "has no path: it names the trust domain itself".to_owned());
        }
        Parent::Id(id) if id.is_reserved() && !id.path().starts_with(NODES) => {
            return invalid("parent_id", format!("/holdfast/ is reserved, and no node: expected an ID below {NODES}"));
        }
        Parent::Id(_) => {}
        Parent::Selectors(selectors) => check_count("node_selectors", selectors.len())?,
    }
    check_count("selectors", draft.selectors.len())?;
    if !(0..=X509_SVID_TTL_MAX).contains(&draft.x509_svid_ttl) {
        let found = draft.x509_svid_ttl;
        return invalid("x509_svid_ttl", format!("is {found} s, expected 0 to {X509_SVID_TTL_MAX}"));
    }
    if !(0..=JWT_SVID_TTL_MAX).contains(&draft.jwt_svid_ttl) {
        let found = draft.jwt_svid_ttl;
        return invalid("jwt_svid_ttl", format!("is {found} s, expected 0 to {JWT_SVID_TTL_MAX}"));
    }
    if draft.dns_names.len() > ENTRY_DNS_NAMES_MAX {
        return invalid("dns_names", format!("{} names, limit {ENTRY_DNS_NAMES_MAX}", draft.dns_names.len()));
    }
    draft.dns_names.iter().try_for_each(|name| check_dns_name(name))?;
    if draft.hint.len() > HINT_BYTES_MAX {
        return invalid("hint", format!("{} bytes, limit {HINT_BYTES_MAX}", draft.hint.len()));
    }
    if draft.hint.chars().any(char::is_control) {
        return invalid("hint", "contains a control character".to_owned());
    }
    match draft.expires_at {
        Some(end) if end <= now => return invalid("expires_at", "is in the past".to_owned()),
        Some(end) if end > EXPIRES_AT_MAX => {
            let end = end.seconds();
            return invalid(
                "expires_at",
                format!("{end} s are beyond the year 9999: expected seconds since the epoch"),
            );
        }
        _ => {}
    }
    match bytes(draft) {
        0..=ENTRY_BYTES_MAX => Ok(()),
        found => invalid("entry", format!("{found} bytes in selectors and names, limit {ENTRY_BYTES_MAX}")),
    }
}

fn bytes(draft: &EntryDraft) -> usize {
    let parents = match &draft.parent {
        Parent::Id(id) => id.as_str().len(),
        Parent::Selectors(selectors) => selectors.iter().map(|selector| selector.to_string().len()).sum(),
    };
    let selectors: usize = draft.selectors.iter().map(|selector| selector.to_string().len()).sum();
    let names: usize = draft.dns_names.iter().map(String::len).sum();
    let foreign: usize = draft.federates_with.iter().map(|name| name.as_str().len()).sum();
    parents + selectors + names + foreign + draft.hint.len() + draft.spiffe_id.as_str().len()
}

fn invalid(field: &'static str, reason: String) -> Result<(), EntryRefusal> {
    Err(EntryRefusal::Invalid { field, reason })
}

fn check_count(field: &'static str, count: usize) -> Result<(), EntryRefusal> {
    match count {
        0 => invalid(field, "is empty: it would match everything".to_owned()),
        1..=ENTRY_SELECTORS_MAX => Ok(()),
        _ => invalid(field, format!("{count} selectors, limit {ENTRY_SELECTORS_MAX}")),
    }
}

fn check_id(id: &str) -> Result<(), EntryRefusal> {
    if id.len() > ENTRY_ID_BYTES_MAX {
        return invalid("id", format!("{} bytes, limit {ENTRY_ID_BYTES_MAX}", id.len()));
    }
    match id.chars().find(|c| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_')) {
        Some(found) => invalid("id", format!("contains {found:?}, only a-z, A-Z, 0-9, '.', '-' and '_' are allowed")),
        None => Ok(()),
    }
}

/// A host name of RFC 1123; its first label may be `*`.
fn check_dns_name(name: &str) -> Result<(), EntryRefusal> {
    if name.is_empty() || name.len() > 253 {
        return invalid("dns_names", format!("{} bytes, expected 1 to 253", name.len()));
    }
    let labels = name.strip_prefix("*.").unwrap_or(name).split('.');
    for label in labels {
        let inner = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if label.is_empty() || label.len() > 63 || !inner || label.starts_with('-') || label.ends_with('-') {
            return invalid("dns_names", format!("label {label:?} is not a host name's"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_identity::Selector;
    use std::collections::BTreeSet;

    fn draft() -> EntryDraft {
        EntryDraft {
            id: String::new(),
            spiffe_id: "spiffe://td/a".parse().unwrap(),
            parent: Parent::Id("spiffe://td/holdfast/node/tpm/00".parse().unwrap()),
            selectors: BTreeSet::from(["unix:uid:1".parse::<Selector>().unwrap()]),
            x509_svid_ttl: 0,
            jwt_svid_ttl: 0,
            dns_names: vec!["a.example.org".to_owned(), "*.b".to_owned()],
            hint: String::new(),
            expires_at: None,
            federates_with: BTreeSet::new(),
        }
    }

    fn refused(change: impl FnOnce(&mut EntryDraft)) -> &'static str {
        let mut draft = draft();
        change(&mut draft);
        match check(&draft, &"td".parse().unwrap(), UnixTime(100)) {
            Err(EntryRefusal::Invalid { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_plain_entry_is_allowed() {
        assert_eq!(check(&draft(), &"td".parse().unwrap(), UnixTime(100)), Ok(()));
    }

    #[test]
    fn the_platforms_own_names_are_refused_as_identity_and_allowed_as_parent() {
        assert_eq!(refused(|draft| draft.spiffe_id = "spiffe://td/holdfast/server".parse().unwrap()), "spiffe_id");
        assert_eq!(refused(|draft| draft.spiffe_id = "spiffe://td/holdfast".parse().unwrap()), "spiffe_id");
        assert_eq!(refused(|draft| draft.spiffe_id = "spiffe://td/holdfast/node/a".parse().unwrap()), "spiffe_id");
    }

    #[test]
    fn a_parent_below_the_platforms_own_names_is_a_node() {
        for parent in ["/holdfast", "/holdfast/server", "/holdfast/node", "/holdfast/nodes/a"] {
            let parent = format!("spiffe://td{parent}").parse().unwrap();
            assert_eq!(refused(|draft| draft.parent = Parent::Id(parent)), "parent_id");
        }
    }

    #[test]
    fn each_field_is_bounded() {
        assert_eq!(refused(|draft| draft.spiffe_id = "spiffe://other/a".parse().unwrap()), "spiffe_id");
        assert_eq!(refused(|draft| draft.spiffe_id = "spiffe://td".parse().unwrap()), "spiffe_id");
        assert_eq!(refused(|draft| draft.parent = Parent::Id("spiffe://other/a".parse().unwrap())), "parent_id");
        assert_eq!(refused(|draft| draft.parent = Parent::Id("spiffe://td".parse().unwrap())), "parent_id");
        assert_eq!(refused(|draft| draft.parent = Parent::Selectors(BTreeSet::new())), "node_selectors");
        assert_eq!(refused(|draft| draft.selectors.clear()), "selectors");
        assert_eq!(
            refused(|draft| draft.selectors =
                (0..65).map(|i| Selector::new("unix", &format!("uid:{i}")).unwrap()).collect()),
            "selectors"
        );
        assert_eq!(refused(|draft| draft.jwt_svid_ttl = -1), "jwt_svid_ttl");
        assert_eq!(refused(|draft| draft.jwt_svid_ttl = JWT_SVID_TTL_MAX + 1), "jwt_svid_ttl");
        assert_eq!(refused(|draft| draft.x509_svid_ttl = -1), "x509_svid_ttl");
        assert_eq!(refused(|draft| draft.x509_svid_ttl = X509_SVID_TTL_MAX + 1), "x509_svid_ttl");
        assert_eq!(refused(|draft| draft.dns_names = vec!["a_b".to_owned()]), "dns_names");
        assert_eq!(refused(|draft| draft.dns_names = vec!["a..b".to_owned()]), "dns_names");
        assert_eq!(refused(|draft| draft.dns_names = vec!["a".to_owned(); 33]), "dns_names");
        assert_eq!(refused(|draft| draft.hint = "a\u{1b}[31m".to_owned()), "hint");
        assert_eq!(refused(|draft| draft.hint = "a".repeat(HINT_BYTES_MAX + 1)), "hint");
        assert_eq!(refused(|draft| draft.expires_at = Some(UnixTime(100))), "expires_at");
        assert_eq!(refused(|draft| draft.expires_at = Some(UnixTime(1_900_000_000_000))), "expires_at");
        let long = |n: u8| format!("a:{n:02}{}", "\"".repeat(500)).parse().unwrap();
        assert_eq!(refused(|draft| draft.selectors = (0..64).map(long).collect()), "entry");
        assert_eq!(refused(|draft| draft.id = "a b".to_owned()), "id");
        assert_eq!(refused(|draft| draft.id = "a".repeat(256)), "id");
    }
}
