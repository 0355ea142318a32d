//! Upstream authorities: whoever signs this server's intermediates, one file a kind.
//!
//! An upstream authority gets a request and answers with certificates. Nothing that it says is believed: [`Upstream`]
//! is called by [`mint`] alone, which checks the whole answer before anybody sees it.

mod command;
mod error;
mod files;
mod local;
mod pkcs11;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use holdfast_identity::{TrustDomain, UnixTime};

use super::chain::{self, CHAIN_MAX, ROOTS_MAX};
use crate::store::ListDraft;
pub use error::UpstreamFault;

/// What is asked of an upstream authority.
#[derive(Clone, Debug)]
pub struct Request {
    /// PKCS#10, DER: for `spiffe://td`, signed by the new key.
    pub csr: Vec<u8>,
    /// For which trust domain.
    pub trust_domain: TrustDomain,
    /// Seconds that the intermediate should live.
    pub ttl: i64,
    /// The present.
    pub now: UnixTime,
}

/// What it answers, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// DER: the new intermediate, then those above it; without roots.
    pub chain: Vec<Vec<u8>>,
    /// DER: the roots that the trust domain's bundle shall have for it. May be empty where they did not change.
    pub roots: Vec<Vec<u8>>,
}

/// Signs intermediates. One folder of plugs; a new one is a file here, a variant of [`UpstreamSettings`] and its keys in
/// the configuration.
pub trait Upstream: Send + Sync {
    /// Its name in the configuration.
    fn kind(&self) -> &'static str;
    /// Signs, or says why not. Bounded in time and size by itself.
    fn sign(&self, request: Request) -> BoxFuture<'_, Result<Answer, UpstreamFault>>;
    /// DER of the certificate whose key signs intermediates, and the list of those that are revoked; `None` where that list
    /// is somebody else's to give.
    ///
    /// # Errors
    /// [`UpstreamFault`] where it cannot be read.
    fn list_signer(&self) -> Result<Option<Vec<u8>>, UpstreamFault> {
        Ok(None)
    }
    /// Signs the list of intermediates that are revoked, DER: it is drafted and recorded. Bounded as [`Self::sign`] is.
    fn sign_list(&self, _draft: ListDraft) -> BoxFuture<'_, Result<Vec<u8>, UpstreamFault>> {
        Box::pin(std::future::ready(Err(UpstreamFault::Request)))
    }
}

/// Which upstream authority there is, and how to reach it.
#[derive(Clone, PartialEq, Eq)]
pub enum UpstreamSettings {
    /// A key and its certificate in files.
    Files {
        /// PEM: the signing certificate first, then those above it where it is not itself a root.
        cert_file: PathBuf,
        /// PKCS#8 PEM, 0600 or 0640.
        key_file: PathBuf,
        /// PEM: the roots, where `cert_file` does not end in one.
        bundle_file: Option<PathBuf>,
    },
    /// A program of the operator's.
    Command {
        /// The program and its arguments; the program is an absolute path. No shell reads them.
        command: Vec<String>,
        /// How long it may take.
        timeout: Duration,
    },
    /// A key in a PKCS#11 token.
    Pkcs11 {
        /// The token's library.
        module: PathBuf,
        /// The token's label.
        token: String,
        /// The label of the private key.
        key: String,
        /// File of the user's PIN, 0600 or 0640.
        pin_file: PathBuf,
        /// PEM, as with files.
        cert_file: PathBuf,
        /// PEM, as with files.
        bundle_file: Option<PathBuf>,
        /// How long the token may take.
        timeout: Duration,
    },
}

impl fmt::Debug for UpstreamSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl UpstreamSettings {
    /// Its name in the configuration.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Files { .. } => files::KIND,
            Self::Command { .. } => command::KIND,
            Self::Pkcs11 { .. } => pkcs11::KIND,
        }
    }

    /// The authority that these name. Nothing is opened yet.
    #[must_use]
    pub fn authority(&self) -> Arc<dyn Upstream> {
        match self.clone() {
            Self::Files { cert_file, key_file, bundle_file } => {
                Arc::new(files::Files { certificates: local::Certificates { cert_file, bundle_file }, key_file })
            }
            Self::Command { command, timeout } => Arc::new(command::Command { command, timeout }),
            Self::Pkcs11 { module, token, key, pin_file, cert_file, bundle_file, timeout } => {
                let certificates = local::Certificates { cert_file, bundle_file };
                Arc::new(pkcs11::Pkcs11::new((module, token, key), pin_file, certificates, timeout))
            }
        }
    }
}

/// An answer that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minted {
    /// DER: the new intermediate, then those above it; without the root.
    pub chain: Vec<Vec<u8>>,
    /// Every root of the answer; the one that the chain ends in among them.
    pub roots: Vec<Vec<u8>>,
    /// The path from the intermediate to its root.
    pub path: chain::Path,
}

/// Asks `upstream` and checks its answer in full: that the certificate is for the key with `spki`, that the chain leads to
/// one of the answer's roots (or of `known`, where it names none), and that all of them may stand where they stand.
///
/// # Errors
/// [`UpstreamFault`]; nothing of the answer is used then.
pub async fn mint(
    upstream: &dyn Upstream,
    request: Request,
    spki: &[u8],
    known: &[Vec<u8>],
) -> Result<Minted, UpstreamFault> {
    let (trust_domain, now) = (request.trust_domain.clone(), request.now);
    let answer = upstream.sign(request).await?;
    if answer.chain.len() > CHAIN_MAX || answer.roots.len() > ROOTS_MAX {
        let (chain, roots) = (answer.chain.len(), answer.roots.len());
        return Err(UpstreamFault::Answer { found: format!("{chain} certificates of a chain and {roots} roots") });
    }
    let roots = if answer.roots.is_empty() { known.to_vec() } else { answer.roots };
    let path = chain::check(&trust_domain, &answer.chain, &roots, now)?;
    if let Some(intermediate) = answer.chain.first() {
        chain::check_key(intermediate, spki)?;
    }
    for root in &roots {
        // One that has ended is no fault of the others: it is not published.
        if *root != path.root {
            chain::check_root(&trust_domain, root, now)?;
        }
    }
    Ok(Minted { chain: answer.chain, roots, path })
}
