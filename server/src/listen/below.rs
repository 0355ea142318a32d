//! Below whom a peer's certificate stands, and who counts no more: what was opened below one that is revoked then is ended.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Connection, ConnectionId};
use crate::authority::{Bundle, KeyId, read_list};
use crate::store::RevocationList;

/// The authorities above a certificate, as its chain names them. What a peer adds of its own is counted against it.
#[derive(Debug, Default)]
pub(crate) struct Below {
    /// Key identifiers of the intermediates that were shown, and what each certificate names as its signer's: the root's too.
    keys: Vec<KeyId>,
    /// Name of the issuer and serial number of each intermediate, one behind the other.
    serials: Vec<Vec<u8>>,
}

impl Below {
    /// Of a chain that was verified, leaf first.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Self {
        let mut below = Self::default();
        for (place, der) in chain.iter().enumerate() {
            let Ok((_, certificate)) = X509Certificate::from_der(der) else { continue };
            below.keys.extend(certificate.iter_extensions().find_map(|one| match one.parsed_extension() {
                ParsedExtension::AuthorityKeyIdentifier(id) => KeyId::new(id.key_identifier.as_ref()?.0),
                _ => None,
            }));
            if place > 0 {
                below.keys.extend(KeyId::of(der));
                below.serials.push(listed_as(certificate.issuer().as_raw(), certificate.raw_serial()));
            }
        }
        below
    }
}

fn listed_as(issuer: &[u8], serial: &[u8]) -> Vec<u8> {
    [issuer, serial].concat()
}

/// Who counts at this moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counting {
    /// Intermediates and roots that an operator has revoked.
    revoked: BTreeSet<KeyId>,
    /// What stands on the lists of roots, and of those between them and us.
    listed: HashSet<Vec<u8>>,
}

impl Counting {
    /// By the bundle, what was revoked in it, and the lists of `above`: those who sign intermediates.
    #[must_use]
    pub fn new<'a>(bundle: &Bundle, above: impl Iterator<Item = &'a RevocationList>) -> Self {
        // What the store keeps was read when it came in.
        let lists = above.filter_map(|list| read_list(&list.der).ok());
        let listed = lists.flat_map(|list| {
            let issuer = list.issuer;
            list.revoked.into_iter().map(move |(serial, _)| listed_as(&issuer, &serial))
        });
        Self { revoked: bundle.revoked().iter().cloned().collect(), listed: listed.collect() }
    }

    /// Whether this intermediate, DER, counts no more.
    #[must_use]
    pub fn revokes(&self, intermediate: &[u8]) -> bool {
        let intermediate = CertificateDer::from(intermediate);
        self.is_revoked(&Below::of(&[intermediate.clone(), intermediate]))
    }

    /// Whether an authority above the chain's leaf counts no more.
    pub(super) fn is_revoked(&self, below: &Below) -> bool {
        below.keys.iter().any(|id| self.revoked.contains(id))
            || below.serials.iter().any(|one| self.listed.contains(one))
    }
}

/// The connections of peers that showed a certificate.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenConnections(Arc<Mutex<HashMap<ConnectionId, Weak<Connection>>>>);

impl OpenConnections {
    /// Remembers one until it is left.
    pub(super) fn join(&self, connection: &Arc<Connection>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(connection.id(), Arc::downgrade(connection));
    }

    pub(super) fn leave(&self, connection: &Connection) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&connection.id());
    }

    /// Ends those that stand below whoever counts no more; how many.
    pub(super) fn end(&self, counting: &Counting) -> usize {
        let open: Vec<_> = {
            let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            open.values().filter_map(Weak::upgrade).collect()
        };
        let gone = open.iter().filter(|one| one.below().is_some_and(|below| counting.is_revoked(below)));
        gone.inspect(|one| one.close()).count()
    }
}
