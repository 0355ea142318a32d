//! The registration entries that the agent holds, and the revision up to which it knows their changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_identity::{Selector, SpiffeId, TrustDomain, UnixTime};
use holdfast_protocol::agent as wire;
use rustls_pki_types::CertificateDer;

/// Entries in one book. A node with more has been given somebody else's.
const ENTRIES_MAX: usize = 100_000;
/// Foreign trust domains of one entry.
const FEDERATIONS_MAX: usize = 32;
/// Foreign trust domains of all entries together.
const FOREIGN_MAX: usize = 1_000;
/// Authorities of one of them.
const AUTHORITIES_MAX: usize = 64;

/// One registration entry, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the server.
    pub id: String,
    /// Who a workload that matches is.
    pub spiffe_id: SpiffeId,
    /// A workload must have them all; never empty.
    pub selectors: BTreeSet<Selector>,
    /// The operator's word for which SVID this is; may be empty.
    pub hint: String,
    /// Rises with every change of the entry: an SVID of an older number is made anew.
    pub revision_number: u64,
    /// The oldest entry wins a duplicate hint, and comes first.
    pub created_at: UnixTime,
    /// After this moment the entry is no longer there; `None` for never.
    pub expires_at: Option<UnixTime>,
    /// Names of foreign trust domains whose bundles its workloads get.
    pub federates_with: BTreeSet<String>,
}

/// A whole change, after its last message.
#[derive(Debug, Default)]
pub struct Change {
    /// The bundle, where it changed.
    pub bundle: Option<wire::Bundle>,
    /// Whether the entries changed (or came for the first time).
    pub entries: bool,
    /// The X.509 authorities of all foreign trust domains that entries name, where they changed.
    pub foreign: Option<ForeignBundles>,
}

/// X.509 authorities (DER, one certificate each) by the name of the trust domain.
type ForeignBundles = BTreeMap<String, Vec<Vec<u8>>>;

/// The entries and what is under way to them.
#[derive(Debug, Default)]
pub struct Book {
    entries: BTreeMap<String, Arc<Entry>>,
    revision: Option<wire::Revision>,
    /// Messages of a change whose last one has not come yet.
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    entries: BTreeMap<String, Arc<Entry>>,
    bundle: Option<wire::Bundle>,
    foreign: Option<wire::ForeignBundles>,
}

impl Book {
    /// The entries by ID.
    #[must_use]
    pub const fn entries(&self) -> &BTreeMap<String, Arc<Entry>> {
        &self.entries
    }

    /// What to tell the server that we hold.
    #[must_use]
    pub fn revision(&self) -> Option<wire::Revision> {
        self.revision.clone()
    }

    /// Forgets messages of a change that will not be completed: its stream has ended.
    pub fn abandon(&mut self) {
        self.pending = None;
    }

    /// Takes one message; answers with the change once it is complete.
    pub fn apply(&mut self, message: wire::SyncResponse) -> Option<Change> {
        let mut pending = self.pending.take().unwrap_or_else(|| Pending {
            entries: self.entries.clone(),
            bundle: None,
            foreign: None,
        });
        if message.full {
            pending.entries.clear();
        }
        for id in &message.removed_entry_ids {
            pending.entries.remove(id);
        }
        for entry in message.entries {
            let id = entry.id.clone();
            match parsed(entry) {
                Ok(entry) if pending.entries.len() < ENTRIES_MAX => {
                    pending.entries.insert(id, Arc::new(entry));
                }
                Ok(_) => tracing::warn!(limit = ENTRIES_MAX, "entry passed over: too many"),
                Err(problem) => {
                    pending.entries.remove(&id);
                    tracing::warn!(problem, "entry passed over: not one that this agent understands");
                }
            }
        }
        pending.bundle = message.bundle.or(pending.bundle);
        pending.foreign = message.foreign.or(pending.foreign);
        if message.more {
            self.pending = Some(pending);
            return None;
        }
        let first = self.revision.is_none();
        let entries = first || pending.entries != self.entries;
        self.entries = pending.entries;
        self.revision = message.revision;
        Some(Change { bundle: pending.bundle, entries, foreign: pending.foreign.map(foreign) })
    }
}

fn parsed(entry: wire::Entry) -> Result<Entry, &'static str> {
    let spiffe_id: SpiffeId = entry.spiffe_id.parse().map_err(|_| "SPIFFE ID")?;
    let selectors: BTreeSet<Selector> =
        entry.selectors.iter().map(|text| text.parse()).collect::<Result<_, _>>().map_err(|_| "selector")?;
    if selectors.is_empty() {
        return Err("no selector: it would match every workload");
    }
    Ok(Entry {
        id: entry.id,
        spiffe_id,
        selectors,
        hint: entry.hint,
        revision_number: entry.revision_number,
        created_at: UnixTime(entry.created_at),
        expires_at: (entry.expires_at != 0).then_some(UnixTime(entry.expires_at)),
        federates_with: federates_with(&entry.federates_with)?,
    })
}

fn federates_with(names: &[String]) -> Result<BTreeSet<String>, &'static str> {
    if names.len() > FEDERATIONS_MAX || names.iter().any(|name| name.parse::<TrustDomain>().is_err()) {
        return Err("foreign trust domain");
    }
    Ok(names.iter().cloned().collect())
}

/// The X.509 authorities of foreign trust domains by name. What cannot be one is passed over: its domain trusts nobody.
fn foreign(message: wire::ForeignBundles) -> ForeignBundles {
    let bundles = message.bundles.into_iter().take(FOREIGN_MAX);
    let checked = bundles.filter(|bundle| {
        let named = bundle.trust_domain.parse::<TrustDomain>().is_ok();
        let few = bundle.x509_authorities.len() <= AUTHORITIES_MAX;
        let usable = |der: &Vec<u8>| webpki::anchor_from_trusted_cert(&CertificateDer::from(der.as_slice())).is_ok();
        let sound = named && few && bundle.x509_authorities.iter().all(usable);
        if !sound {
            tracing::warn!(trust_domain = %bundle.trust_domain.escape_debug(), "foreign bundle passed over");
        }
        sound
    });
    checked.map(|bundle| (bundle.trust_domain, bundle.x509_authorities)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, selector: &str) -> wire::Entry {
        wire::Entry {
            id: id.to_owned(),
            spiffe_id: "spiffe://td/a".to_owned(),
            selectors: vec![selector.to_owned()],
            ..wire::Entry::default()
        }
    }

    fn message(n: u64, full: bool, more: bool, entries: &[wire::Entry]) -> wire::SyncResponse {
        wire::SyncResponse {
            revision: Some(wire::Revision { epoch: vec![1], n }),
            full,
            more,
            entries: entries.to_vec(),
            ..wire::SyncResponse::default()
        }
    }

    fn ids(book: &Book) -> Vec<&str> {
        book.entries().keys().map(String::as_str).collect()
    }

    #[test]
    fn a_change_counts_only_once_its_last_message_is_there() {
        let mut book = Book::default();
        assert!(book.apply(message(1, true, false, &[entry("a", "unix:uid:1")])).unwrap().entries);
        assert!(book.apply(message(2, true, true, &[entry("b", "unix:uid:2")])).is_none());
        assert_eq!((ids(&book), book.revision().unwrap().n), (vec!["a"], 1));
        assert!(book.apply(message(2, false, false, &[entry("c", "unix:uid:3")])).unwrap().entries);
        assert_eq!((ids(&book), book.revision().unwrap().n), (vec!["b", "c"], 2));
    }

    #[test]
    fn a_change_that_broke_off_leaves_no_trace() {
        let mut book = Book::default();
        book.apply(message(1, true, false, &[entry("a", "unix:uid:1")]));
        book.apply(message(2, true, true, &[entry("b", "unix:uid:2")]));
        book.abandon();
        assert!(!book.apply(message(1, false, false, &[])).unwrap().entries);
        assert_eq!(ids(&book), ["a"]);
    }

    #[test]
    fn removals_and_updates_apply_in_one_change() {
        let mut book = Book::default();
        book.apply(message(1, true, false, &[entry("a", "unix:uid:1"), entry("b", "unix:uid:2")]));
        let mut change = message(2, false, false, &[entry("b", "unix:uid:9")]);
        change.removed_entry_ids = vec!["a".to_owned()];
        book.apply(change);
        assert_eq!(ids(&book), ["b"]);
        assert!(book.entries()["b"].selectors.contains(&"unix:uid:9".parse().unwrap()));
    }

    #[test]
    fn an_entry_without_selectors_or_with_a_broken_name_matches_nobody() {
        let mut book = Book::default();
        let mut nobody = entry("a", "unix:uid:1");
        nobody.selectors.clear();
        let mut broken = entry("b", "unix:uid:1");
        broken.spiffe_id = "spiffe://TD/a".to_owned();
        book.apply(message(1, true, false, &[nobody, broken, entry("c", "nonsense")]));
        assert!(ids(&book).is_empty());
    }

    #[test]
    fn foreign_bundles_come_whole_and_what_cannot_be_one_is_passed_over() {
        let authority = {
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.self_signed(&key).unwrap().der().to_vec()
        };
        let bundle = |name: &str, authorities: Vec<Vec<u8>>| wire::Bundle {
            trust_domain: name.to_owned(),
            x509_authorities: authorities,
            ..wire::Bundle::default()
        };
        let bundles = vec![
            bundle("other", vec![authority.clone()]),
            bundle("NOBODY", vec![authority.clone()]),
            bundle("broken", vec![authority.clone(), vec![1]]),
            bundle("many", vec![authority.clone(); AUTHORITIES_MAX + 1]),
        ];
        let mut book = Book::default();
        let mut first = message(1, true, true, &[entry("a", "unix:uid:1")]);
        first.foreign = Some(wire::ForeignBundles { bundles });
        assert!(book.apply(first).is_none(), "with the last message of the change");
        let change = book.apply(message(1, false, false, &[])).unwrap();
        assert_eq!(change.foreign, Some(BTreeMap::from([("other".to_owned(), vec![authority])])));
        assert_eq!(book.apply(message(2, false, false, &[])).unwrap().foreign, None, "nothing new");
    }

    #[test]
    fn an_entry_that_federates_with_what_is_no_trust_domain_matches_nobody() {
        let mut book = Book::default();
        let naming = |name: &str| wire::Entry { federates_with: vec![name.to_owned()], ..entry("a", "unix:uid:1") };
        book.apply(message(1, true, false, &[naming("other.org")]));
        assert_eq!(book.entries()["a"].federates_with, BTreeSet::from(["other.org".to_owned()]));
        book.apply(message(2, true, false, &[naming("spiffe://other.org")]));
        assert!(ids(&book).is_empty());
    }
}
