//! What the site answers: the two documents, whether it is there and ready, and exchanges where there are rules.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Incoming;
use tracing::error;

use super::Issuer;
use super::documents::{self, DISCOVERY_PATH, KEYS_PATH, TOKEN_PATH};
use crate::exchange::Exchange;
use crate::store::{Revision, Sha256, Store, StoreFault};
use crate::web::{Answers, Asker};

/// How long the documents are kept, while the store's revision is the same, before it is asked again.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// How long readers may keep the keys: a new key is published long before it signs.
const KEYS_CACHE: &str = "public, max-age=60";
/// How long readers may keep the other document, which hardly ever changes.
const DISCOVERY_CACHE: &str = "public, max-age=300";
const NO_CACHE: &str = "no-store";

/// The site.
pub struct OidcSite {
    store: Arc<dyn Store>,
    issuer: Issuer,
    jwks_uri: Option<String>,
    exchange: Option<Arc<Exchange>>,
    kept: Mutex<Option<Kept>>,
}

#[derive(Clone)]
struct Kept {
    asked: Instant,
    at: Revision,
    published: Arc<Published>,
}

/// The documents of one moment.
#[derive(Debug)]
pub struct Published {
    /// What the issuer says of itself.
    pub discovery: Vec<u8>,
    /// The keys.
    pub keys: Vec<u8>,
    /// Whether there is a key at all.
    pub ready: bool,
}

impl OidcSite {
    /// The site of `issuer`.
    pub fn new(
        store: Arc<dyn Store>,
        issuer: Issuer,
        jwks_uri: Option<String>,
        exchange: Option<Arc<Exchange>>,
    ) -> Self {
        Self { store, issuer, jwks_uri, exchange, kept: Mutex::new(None) }
    }

    /// The documents of this moment: a key is here before anything that it signs, even where an operator has it sign at
    /// once. Readers who miss a key may not look again for long.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn published(&self) -> Result<Arc<Published>, StoreFault> {
        let (asked, at) = (Instant::now(), self.store.revision());
        let is_fresh = |kept: &Kept| kept.at == at && kept.asked.elapsed() < KEPT_FOR;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(kept) = kept.filter(is_fresh) {
            return Ok(kept.published);
        }
        let authorities = self.store.jwt_authorities().await?;
        let keys: Vec<_> = authorities
            .into_iter()
            .map(|authority| documents::ordinary(&authority.authority_id, authority.key))
            .collect();
        let published = Arc::new(Published {
            discovery: documents::discovery(&self.issuer, self.jwks_uri.as_deref(), &keys, self.exchange.is_some()),
            keys: documents::key_set(&keys),
            ready: !keys.is_empty(),
        });
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Kept { asked, at, published: published.clone() });
        Ok(published)
    }

    async fn document(&self, request: &Request<Incoming>, which: Document) -> Response<Body> {
        let published = match self.published().await {
            Ok(published) => published,
            Err(fault) => {
                error!(code = fault.code(), %fault, "the keys cannot be read");
                return plain(StatusCode::SERVICE_UNAVAILABLE);
            }
        };
        match which {
            Document::Discovery => found(request.headers(), &published.discovery, DISCOVERY_CACHE),
            // An empty set would be believed, and kept: readers come again for what is not there.
            Document::Keys if !published.ready => plain(StatusCode::SERVICE_UNAVAILABLE),
            Document::Keys => found(request.headers(), &published.keys, KEYS_CACHE),
            Document::Ready if published.ready => plain(StatusCode::OK),
            Document::Ready => plain(StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

#[derive(Clone, Copy)]
enum Document {
    Discovery,
    Keys,
    Ready,
}

impl Answers for OidcSite {
    async fn answer(&self, request: Request<Incoming>, from: Asker) -> Response<Body> {
        let path = request.uri().path();
        // Below the issuer's own path, and at the root, where a proxy in front has taken that away.
        let below = path.strip_prefix(self.issuer.path()).filter(|rest| rest.starts_with('/')).unwrap_or(path);
        let document = match below {
            DISCOVERY_PATH => Document::Discovery,
            KEYS_PATH => Document::Keys,
            "/ready" => Document::Ready,
            "/live" => return plain(StatusCode::OK),
            TOKEN_PATH => match &self.exchange {
                Some(exchange) => return exchange.answer(request, from).await,
                None => return plain(StatusCode::NOT_FOUND),
            },
            _ => return plain(StatusCode::NOT_FOUND),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED);
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        self.document(&request, document).await
    }
}

fn found(asked: &HeaderMap, document: &[u8], cache: &'static str) -> Response<Body> {
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::of(document).0));
    let same = asked.get(IF_NONE_MATCH).is_some_and(|held| held.as_bytes() == tag.as_bytes());
    let mut response = if same { plain(StatusCode::NOT_MODIFIED) } else { Response::new(document.to_vec().into()) };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// An answer without a body that nobody may keep.
pub(super) fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(NO_CACHE));
    response
}
