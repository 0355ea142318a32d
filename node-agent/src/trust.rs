//! Whom the agent believes to be the server: the trust domain's authorities, from the operator's file, then from the
//! server itself; or, where the operator asked for it, from the first connection.

mod revoked;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_identity::{TrustDomain, UnixTime};
use holdfast_protocol::agent::Bundle;
use holdfast_svid::bundle::Bundle as Document;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::Bootstrap;
use crate::state::{StateDir, StateFault};
use crate::svids::JwtBundle;

pub use revoked::Revoked;

/// The file in the state directory.
const FILE: &str = "bundle.json";
/// Bytes of the largest bundle file that is read.
const BUNDLE_BYTES_MAX: u64 = 1 << 20;
/// Authorities in one bundle; a trust domain in the middle of a rotation has two or three.
const AUTHORITIES_MAX: usize = 64;

/// What the state directory remembers, certificates in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Learned {
    trust_domain: String,
    /// SHA-256 of the bundle file it goes back to; "insecure" where there was none.
    origin: String,
    sequence: u64,
    authorities: Vec<String>,
    /// Only seen on a connection that nothing vouched for, and not yet confirmed by a bundle.
    provisional: bool,
    /// Intermediates that count no more.
    #[serde(default, skip_serializing_if = "Revoked::is_empty")]
    revoked: Revoked,
}

/// The authorities of the trust domain as they are known now.
#[derive(Debug)]
pub struct Trust {
    trust_domain: TrustDomain,
    origin: String,
    state: StateDir,
    known: Mutex<Known>,
    /// Exchanged under the lock of what is known.
    revoked: watch::Sender<Revoked>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    authorities: Vec<CertificateDer<'static>>,
    sequence: u64,
    /// The keys for JWT-SVIDs, which are not remembered: nothing is signed for workloads before the server is there.
    jwt: Option<JwtBundle>,
}

/// Why the server's authorities are not known.
#[derive(Debug, thiserror::Error)]
pub enum TrustFault {
    /// The bundle file cannot be read.
    #[error("cannot read trust bundle {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The bundle file, or the server's bundle, is not one.
    #[error("{origin} is no trust bundle: expected 1 to {AUTHORITIES_MAX} certificates, {found}")]
    Form {
        /// Where it came from.
        origin: String,
        /// What is wrong with it.
        found: String,
    },
    /// The server answered with the bundle of another trust domain.
    #[error("server sent the bundle of trust domain {found:?}, this agent belongs to {expected:?}")]
    OtherDomain {
        /// Ours.
        expected: String,
        /// Its.
        found: String,
    },
    /// The state directory could not be used.
    #[error("state directory: {0}")]
    State(#[from] StateFault),
}

impl TrustFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "agent.trust.unreadable",
            Self::Form { .. } => "agent.trust.form",
            Self::OtherDomain { .. } => "agent.trust.other_domain",
            Self::State(_) => "agent.trust.state",
        }
    }
}

impl Trust {
    /// Reads the operator's file and what was learned since. What was learned counts as long as it goes back to the
    /// file as it is now: a changed file begins anew.
    ///
    /// # Errors
    /// [`TrustFault`] where the file is no bundle.
    pub fn load(trust_domain: TrustDomain, bootstrap: &Bootstrap, state: StateDir) -> Result<Self, TrustFault> {
        let mut revoked = Revoked::default();
        let (origin, mut known) = match bootstrap {
            Bootstrap::Insecure => ("insecure".to_owned(), Known::default()),
            Bootstrap::Bundle(path) => {
                let (origin, authorities) = read(&trust_domain, path)?;
                (origin, Known { authorities, ..Known::default() })
            }
        };
        if let Some(learned) = state.read::<Learned>(FILE)?
            && learned.origin == origin
            && learned.trust_domain == trust_domain.as_str()
        {
            let authorities = learned.authorities.iter().map(|text| hex::decode(text).unwrap_or_default());
            known.authorities = checked("bundle.json", authorities)?;
            known.sequence = learned.sequence;
            revoked = learned.revoked;
        }
        Ok(Self { trust_domain, origin, state, known: Mutex::new(known), revoked: watch::Sender::new(revoked) })
    }

    /// The trust domain that the server must speak for.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The authorities; empty only before the first connection of an insecure bootstrap.
    #[must_use]
    pub fn authorities(&self) -> Vec<CertificateDer<'static>> {
        self.lock().authorities.clone()
    }

    /// The keys that verify JWT-SVIDs; none before the server told.
    #[must_use]
    pub fn jwt_bundle(&self) -> Option<JwtBundle> {
        self.lock().jwt.clone()
    }

    /// Whether a chain (DER, leaf first) leads to one of the authorities, whatever the time.
    #[must_use]
    pub fn vouches_for(&self, chain: &[Vec<u8>]) -> bool {
        let Some((leaf, intermediates)) = chain.split_first() else { return false };
        let Ok((_, parsed)) = X509Certificate::from_der(leaf) else { return false };
        let made = u64::try_from(parsed.validity().not_before.timestamp()).unwrap_or_default();
        let (leaf, authorities) = (CertificateDer::from(leaf.as_slice()), self.authorities());
        let intermediates: Vec<_> = intermediates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let anchors: Vec<_> =
            authorities.iter().filter_map(|authority| webpki::anchor_from_trusted_cert(authority).ok()).collect();
        let Ok(leaf) = webpki::EndEntityCert::try_from(&leaf) else { return false };
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &intermediates,
            rustls_pki_types::UnixTime::since_unix_epoch(Duration::from_secs(made)),
            webpki::KeyUsage::client_auth(),
            None,
            None,
        )
        .is_ok()
    }

    /// A time that has certainly come: the newest authority was made before now.
    #[must_use]
    pub fn time(&self) -> UnixTime {
        let known = self.lock();
        let made = known
            .authorities
            .iter()
            .filter_map(|der| X509Certificate::from_der(der).ok())
            .map(|(_, authority)| UnixTime(authority.validity().not_before.timestamp()));
        made.max().unwrap_or_default()
    }

    /// Pins what an insecure first connection showed: its topmost certificate, until a bundle confirms it.
    ///
    /// # Errors
    /// [`TrustFault::State`] where it cannot be written down.
    pub fn pin(&self, seen: &CertificateDer<'_>) -> Result<(), TrustFault> {
        let mut known = self.lock();
        if !known.authorities.is_empty() {
            return Ok(());
        }
        known.authorities = vec![seen.clone().into_owned()];
        self.write(&known, true)
    }

    /// Takes the bundle from an answer of the authenticated server. Says whether it was a new one.
    ///
    /// # Errors
    /// [`TrustFault`] if it is not a bundle of our trust domain; the former one stays.
    pub fn learn(&self, bundle: &Bundle) -> Result<bool, TrustFault> {
        if bundle.trust_domain != self.trust_domain.as_str() {
            return Err(TrustFault::OtherDomain {
                expected: self.trust_domain.to_string(),
                found: bundle.trust_domain.chars().filter(|c| !c.is_control()).take(255).collect(),
            });
        }
        let authorities = checked("server's answer", bundle.x509_authorities.iter().cloned())?;
        let jwt = JwtBundle::of(&self.trust_domain, bundle);
        let mut known = self.lock();
        let is_new = known.jwt != jwt;
        known.jwt = jwt;
        let revoked = self.revoked.borrow().with_key_ids(&bundle.revoked_key_ids);
        let is_revoking = self.revoke(revoked);
        if known.authorities == authorities && known.sequence == bundle.sequence {
            if is_revoking {
                self.write(&known, false)?;
            }
            return Ok(is_new);
        }
        known.authorities = authorities;
        known.sequence = bundle.sequence;
        self.write(&known, false)?;
        Ok(true)
    }

    /// Takes the revocation lists that the server sent: those of the authorities, and those `above` intermediates of servers
    /// by its word, say which of them count no more.
    ///
    /// # Errors
    /// [`TrustFault::State`] where it cannot be written down; it counts all the same.
    pub fn learn_lists<'a>(
        &self,
        above: impl Iterator<Item = &'a [u8]>,
        lists: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), TrustFault> {
        let known = self.lock();
        let revoked = self.revoked.borrow().with_lists(known.authorities.iter().map(|der| &**der), above, lists);
        if self.revoke(revoked) { self.write(&known, false) } else { Ok(()) }
    }

    /// Intermediates that count no more, as they change.
    #[must_use]
    pub fn revoked(&self) -> watch::Receiver<Revoked> {
        self.revoked.subscribe()
    }

    /// Whether that is news.
    fn revoke(&self, revoked: Revoked) -> bool {
        self.revoked.send_if_modified(|now| {
            let is_news = *now != revoked;
            *now = revoked;
            is_news
        })
    }

    fn write(&self, known: &Known, provisional: bool) -> Result<(), TrustFault> {
        let learned = Learned {
            trust_domain: self.trust_domain.to_string(),
            origin: self.origin.clone(),
            sequence: known.sequence,
            authorities: known.authorities.iter().map(hex::encode).collect(),
            provisional,
            revoked: self.revoked.borrow().clone(),
        };
        Ok(self.state.write(FILE, &learned)?)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(trust_domain: &TrustDomain, path: &Path) -> Result<(String, Vec<CertificateDer<'static>>), TrustFault> {
    let unreadable = |source| TrustFault::Unreadable { path: path.display().to_string(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > BUNDLE_BYTES_MAX {
        return Err(unreadable(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "file is larger than 1 MiB")));
    }
    let pem = std::fs::read(path).map_err(unreadable)?;
    let form = |found: String| TrustFault::Form { origin: path.display().to_string(), found };
    let certificates = if pem.trim_ascii_start().starts_with(b"{") {
        Document::read(trust_domain, &pem).map_err(|bad| form(bad.to_string()))?.x509_authorities
    } else {
        CertificateDer::pem_slice_iter(&pem)
            .map(|certificate| certificate.map(|der| der.as_ref().to_vec()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| form(error.to_string()))?
    };
    let authorities = checked(&path.display().to_string(), certificates)?;
    Ok((hex::encode(ring::digest::digest(&ring::digest::SHA256, &pem)), authorities))
}

fn checked(
    origin: &str,
    certificates: impl IntoIterator<Item = Vec<u8>>,
) -> Result<Vec<CertificateDer<'static>>, TrustFault> {
    let form = |found: String| TrustFault::Form { origin: origin.to_owned(), found };
    let authorities: Vec<_> = certificates.into_iter().take(AUTHORITIES_MAX + 1).map(CertificateDer::from).collect();
    if authorities.is_empty() || authorities.len() > AUTHORITIES_MAX {
        return Err(form(format!("found {}", if authorities.is_empty() { "none" } else { "more" })));
    }
    for (number, authority) in authorities.iter().enumerate() {
        webpki::anchor_from_trusted_cert(authority)
            .map_err(|error| form(format!("certificate {} cannot be used: {error}", number + 1)))?;
    }
    Ok(authorities)
}

#[cfg(test)]
mod tests;
