//! One fetch of a foreign bundle: https alone, known to be the right endpoint at every step, a bounded answer in a bounded
//! time. Keeps nothing.

use std::sync::Arc;

use holdfast_identity::{SpiffeId, TrustDomain};
use holdfast_svid::bundle::{Bundle, DOCUMENT_BYTES_MAX};
use hyper::StatusCode;
use hyper::header::LOCATION;
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;

use super::fault::FetchFault;
use super::settings::FederationSettings;
use super::url::EndpointUrl;
use super::verifier::EndpointVerifier;
use crate::http::{Http, Near, NoAnswer};
use crate::store::BundleDocument;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;

/// By what the endpoint is known.
pub(super) enum KnownBy {
    /// A certificate of public TLS for the URL's host.
    Host,
    /// An SVID with this ID, under these authorities of its trust domain.
    Svid(SpiffeId, Vec<Vec<u8>>),
}

/// What came.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) document: BundleDocument,
    pub(super) bundle: Bundle,
}

/// Fetches the bundle of `trust_domain`.
pub(super) async fn fetch(
    trust_domain: &TrustDomain,
    url: &EndpointUrl,
    known_by: KnownBy,
    settings: &FederationSettings,
) -> Result<Fetched, FetchFault> {
    let http = match known_by {
        KnownBy::Host => Http::new(&settings.ca_file, settings.timeout),
        KnownBy::Svid(id, authorities) => Http::over(spiffe_tls(id, authorities)?, settings.timeout),
    };
    // One time for all of it: each redirect could take as long again.
    let within = timeout(settings.timeout, follow(&http, url, Near::Machine));
    let (from, body) = match within.await {
        Ok(answer) => answer?,
        Err(_) => {
            let why = NoAnswer(format!("no answer within {} s", settings.timeout.as_secs_f32()));
            return Err(FetchFault::no_answer(url.as_str(), why));
        }
    };
    let bundle =
        Bundle::read(trust_domain, &body).map_err(|why| FetchFault::Document { url: from.to_string(), why })?;
    Ok(Fetched { document: BundleDocument { bytes: body, sequence: bundle.sequence }, bundle })
}

/// The answer, and who gave it. The same identity is demanded of everybody on the way. An operator names whatever he will;
/// whoever redirects does not lead nearer to us than he is himself, so that no partner reaches into our network through us.
pub(super) async fn follow(
    http: &Http,
    first: &EndpointUrl,
    mut nearest: Near,
) -> Result<(EndpointUrl, Vec<u8>), FetchFault> {
    let mut url = first.clone();
    for _ in 0..=REDIRECTS_MAX {
        let answer = http
            .get_success(url.as_str(), DOCUMENT_BYTES_MAX, nearest)
            .await
            .map_err(|why| FetchFault::no_answer(url.as_str(), why))?;
        nearest = nearest.min(answer.near);
        match answer.status {
            StatusCode::OK => return Ok((url, answer.body)),
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => {
                let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
                url = url.redirected(location).map_err(|why| FetchFault::Redirect { url: url.to_string(), why })?;
            }
            status => return Err(FetchFault::Status { url: url.to_string(), status: status.as_u16() }),
        }
    }
    Err(FetchFault::Redirects { url: first.to_string(), limit: REDIRECTS_MAX })
}

fn spiffe_tls(expected: SpiffeId, authorities: Vec<Vec<u8>>) -> Result<Arc<ClientConfig>, FetchFault> {
    if authorities.is_empty() {
        return Err(FetchFault::NoAuthority { trust_domain: expected.trust_domain_name().to_owned() });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let authorities = authorities.into_iter().map(CertificateDer::from).collect();
    let verifier = EndpointVerifier { expected, authorities, provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| FetchFault::Tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Arc::new(config))
}
