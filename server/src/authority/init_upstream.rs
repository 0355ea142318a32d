//! `holdfast-server init` where an upstream authority signs: this server's first intermediate, or the next one while the
//! server is down. No root key comes near this machine unless the operator has put it here.

use std::path::PathBuf;
use std::sync::Arc;

use holdfast_identity::{TrustDomain, UnixTime};
use rustls_pki_types::CertificateDer;

use super::files::{exists, replace};
use super::init::read_bundle;
use super::request::NewKey;
use super::upstream::{Request, Upstream, UpstreamFault, mint};
use super::{AuthorityFault, AuthorityFiles, Bundle};

/// What is asked for.
#[derive(Clone)]
pub struct UpstreamInit {
    /// The trust domain to found or to join.
    pub trust_domain: TrustDomain,
    /// The server's data directory; `authority/` is made below it.
    pub data_dir: PathBuf,
    /// Who signs.
    pub upstream: Arc<dyn Upstream>,
    /// Seconds that the intermediate should live.
    pub ttl: i64,
    /// The present.
    pub now: UnixTime,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamReport {
    /// Whether an intermediate was there before and has been replaced.
    pub intermediate_renewed: bool,
    /// SHA-256 of the root certificate's DER, hex.
    pub root_sha256: String,
    /// End of the intermediate and of all above it.
    pub intermediate_not_after: UnixTime,
    /// The bundle as PEM, which agents need as `trust_bundle`.
    pub bundle_pem: PathBuf,
}

/// What stops it.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamInitFault {
    /// Our own files.
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
    /// The upstream authority, or what it answered.
    #[error(transparent)]
    Upstream(#[from] UpstreamFault),
}

/// Asks the upstream authority for an intermediate, checks it in full, and puts it in place.
///
/// # Errors
/// [`UpstreamInitFault`]; [`AuthorityFault::UnpublishedRoot`] where the bundle that is there does not have the root.
/// Nothing was changed then.
pub async fn init_upstream(init: &UpstreamInit) -> Result<UpstreamReport, UpstreamInitFault> {
    let files = AuthorityFiles::below(&init.data_dir);
    let known = if exists(&files.bundle())? { Some(read_bundle(&init.trust_domain, &files)?) } else { None };
    let key = NewKey::generate(&init.trust_domain)?;
    let request =
        Request { csr: key.request.clone(), trust_domain: init.trust_domain.clone(), ttl: init.ttl, now: init.now };
    let roots = known.as_ref().map(Bundle::authorities).unwrap_or_default();
    let minted = mint(init.upstream.as_ref(), request, &key.spki(), roots).await?;
    if let Some(bundle) = &known
        && !bundle.authorities().contains(&minted.path.root)
    {
        let (trust_domain, found) = (init.trust_domain.to_string(), minted.path.root_id.to_string());
        return Err(AuthorityFault::UnpublishedRoot { trust_domain, found }.into());
    }
    let bundle = known.unwrap_or_else(|| Bundle::new(init.trust_domain.clone(), minted.roots, 1));
    files.create_directory()?;
    let intermediate_renewed = exists(&files.intermediate())?;
    let chain: Vec<CertificateDer<'_>> = minted.chain.iter().map(|der| der.as_slice().into()).collect();
    replace(&files.bundle_pem(), bundle.to_pem(), 0o644)?;
    replace(&files.bundle(), bundle.to_json(), 0o644)?;
    replace(&files.intermediate(), key.with_chain(&chain), 0o600)?;
    Ok(UpstreamReport {
        intermediate_renewed,
        root_sha256: hex::encode(ring::digest::digest(&ring::digest::SHA256, &minted.path.root)),
        intermediate_not_after: minted.path.not_after,
        bundle_pem: files.bundle_pem(),
    })
}
