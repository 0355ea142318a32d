//! Issuers of other tokens, and their keys: found by discovery, at a URL or in a file, fetched again as they age or when a
//! token names a key that is not among them. While an issuer does not answer, the last good keys go on, for a day.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use holdfast_evidence::json;
use holdfast_svid::foreign::IssuerKeys;
use holdfast_svid::jwk::JWKS_BYTES_MAX;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use tracing::{error, info};

use crate::http::{Http, Near};

/// How old keys may be before they are fetched again: what issuers let readers keep them for.
pub(super) const FETCHED_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// How old a file's may be: reading it costs nothing.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How often at most keys are fetched, whatever tokens say: strangers write what keys they name.
pub(super) const FETCHES_APART: Duration = Duration::from_secs(30);
/// How old the last good keys may become while the issuer does not answer: then nothing of it is believed.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a discovery document; those of large issuers have two thousand.
const DISCOVERY_BYTES_MAX: usize = 64 << 10;
/// Tokens that wait for the keys of one issuer, in which theirs may be or not. Whoever comes then comes again: strangers
/// write what keys they name, and an issuer may take its time.
pub(super) const WAITING_MAX: usize = 32;

/// One issuer, as the configuration has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// Its name in rules.
    pub name: String,
    /// The claim `iss` of its tokens, byte by byte.
    pub issuer: String,
    /// Where its keys are.
    pub keys: KeySource,
    /// The CAs that speak for its host.
    pub ca_file: PathBuf,
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// Where its discovery document says.
    Discovery,
    /// At a URL.
    Url(String),
    /// In a file that somebody else keeps up to date.
    File(PathBuf),
}

/// When keys are fetched; tests have less patience.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    pub(super) fetched_again_after: Duration,
    pub(super) fetches_apart: Duration,
    pub(super) kept_for: Duration,
}

impl Ages {
    fn of(source: &KeySource) -> Self {
        match source {
            KeySource::File(_) => {
                Self { fetched_again_after: READ_AGAIN_AFTER, fetches_apart: READ_AGAIN_AFTER, kept_for: KEPT_FOR }
            }
            KeySource::Discovery | KeySource::Url(_) => {
                Self { fetched_again_after: FETCHED_AGAIN_AFTER, fetches_apart: FETCHES_APART, kept_for: KEPT_FOR }
            }
        }
    }
}

/// The last good keys.
#[derive(Clone)]
struct Kept {
    keys: Arc<IssuerKeys>,
    at: Instant,
}

/// One issuer with its keys.
pub(super) struct KnownIssuer {
    settings: IssuerSettings,
    ages: Ages,
    http: Http,
    kept: RwLock<Option<Kept>>,
    asking: Arc<Mutex<Asked>>,
    waiting: Semaphore,
}

/// When an issuer was asked last, whatever came of it, and why nothing did. Held while it is asked: one at a time.
type Asked = Option<(Instant, Option<String>)>;

impl KnownIssuer {
    pub(super) fn new(settings: IssuerSettings) -> Self {
        let ages = Ages::of(&settings.keys);
        Self::with_ages(settings, ages)
    }

    pub(super) fn with_ages(settings: IssuerSettings, ages: Ages) -> Self {
        let http = Http::new(&settings.ca_file, ANSWER_WITHIN);
        let (kept, asking, waiting) = (RwLock::default(), Arc::default(), Semaphore::new(WAITING_MAX));
        Self { settings, ages, http, kept, asking, waiting }
    }

    /// Its name in rules.
    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }

    /// The claim `iss` of its tokens.
    pub(super) fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// Its keys, for a token that names `key_id`.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) async fn keys(self: &Arc<Self>, key_id: Option<&str>) -> Result<Arc<IssuerKeys>, String> {
        let lacks = |kept: &Kept| key_id.is_some_and(|id| !kept.keys.has(id));
        let kept = self.kept();
        if let Some(kept) = &kept
            && kept.at.elapsed() < self.ages.fetched_again_after
            && !lacks(kept)
        {
            return Ok(kept.keys.clone());
        }
        let waiting = self.waiting.try_acquire();
        // Whoever has keys that may do does not wait behind somebody who asks.
        let asking = match (&kept, &waiting) {
            (Some(kept), _) if !lacks(kept) => Arc::clone(&self.asking).try_lock_owned().ok(),
            (_, Ok(_)) => Some(Arc::clone(&self.asking).lock_owned().await),
            (_, Err(_)) => return Err("too many wait for them".to_owned()),
        };
        let mut problem = None;
        if let Some(asking) = asking {
            let is_due = asking.as_ref().is_none_or(|(at, _)| at.elapsed() >= self.ages.fetches_apart);
            problem = match is_due {
                // Not in the request that it is for: whoever hangs up then would have the issuer asked again by the next one.
                true => tokio::spawn(Arc::clone(self).ask(asking)).await.unwrap_or_default(),
                false => asking.as_ref().and_then(|(_, problem)| problem.clone()),
            };
        }
        drop(waiting);
        match self.kept() {
            Some(kept) if kept.at.elapsed() < self.ages.kept_for => Ok(kept.keys),
            _ => Err(problem.unwrap_or_else(|| "it has not answered for too long".to_owned())),
        }
    }

    /// Asks the issuer; why nothing came.
    async fn ask(self: Arc<Self>, mut asking: OwnedMutexGuard<Asked>) -> Option<String> {
        let fetched = self.fetch().await;
        let problem = fetched.as_ref().err().cloned();
        *asking = Some((Instant::now(), problem.clone()));
        self.take_up(fetched);
        problem
    }

    fn kept(&self) -> Option<Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take_up(&self, fetched: Result<IssuerKeys, String>) {
        let issuer = self.name();
        match fetched {
            Ok(keys) => {
                info!(issuer, keys = keys.len(), "keys of an issuer");
                // Its own word: whoever has no key signs nothing, and nothing that was signed before counts.
                if keys.is_empty() {
                    error!(issuer, alarm = "exchange.no_keys", "an issuer has no key that verifies anything here");
                    metrics::counter!("holdfast_alarms_total", "alarm" => "exchange.no_keys").increment(1);
                }
                let kept = Kept { keys: Arc::new(keys), at: Instant::now() };
                *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(kept);
            }
            Err(problem) => {
                error!(
                    issuer,
                    problem,
                    alarm = "exchange.keys",
                    "keys of an issuer cannot be had, the last ones go on"
                );
                metrics::counter!("holdfast_alarms_total", "alarm" => "exchange.keys").increment(1);
            }
        }
    }

    async fn fetch(&self) -> Result<IssuerKeys, String> {
        let document = match &self.settings.keys {
            KeySource::Discovery => {
                let (url, near) = self.discovered().await?;
                self.get(&url, JWKS_BYTES_MAX, near).await?.0
            }
            KeySource::Url(url) => self.get(url, JWKS_BYTES_MAX, Near::Machine).await?.0,
            KeySource::File(path) => read(path.clone()).await?,
        };
        IssuerKeys::read(self.issuer(), &document).map_err(|bad| format!("keys: {bad}"))
    }

    /// Where the issuer itself says that its keys are, and how near it is itself: an operator names whatever he will, and
    /// what that names is no nearer to us.
    async fn discovered(&self) -> Result<(String, Near), String> {
        let issuer = self.issuer();
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let (document, near) = self.get(&url, DISCOVERY_BYTES_MAX, Near::Machine).await?;
        let document = json::object(&document).map_err(|bad| format!("{url}: {bad}"))?;
        let text = |name: &str| document.get(name).and_then(serde_json::Value::as_str);
        if text("issuer") != Some(issuer) {
            return Err(format!("{url} is about another issuer"));
        }
        let keys = text("jwks_uri").ok_or_else(|| format!("{url} has no jwks_uri"))?;
        if !keys.starts_with("https://") {
            return Err(format!("{url}: expected jwks_uri to begin with https://"));
        }
        Ok((keys.to_owned(), near))
    }

    /// What is there, asked of nobody who is nearer than `nearest`, and where that was.
    async fn get(&self, url: &str, limit: usize, nearest: Near) -> Result<(Vec<u8>, Near), String> {
        let answer = self.http.get_success(url, limit, nearest).await.map_err(|none| format!("{url}: {none}"))?;
        if answer.status != hyper::StatusCode::OK {
            return Err(format!("{url}: status {}", answer.status.as_u16()));
        }
        Ok((answer.body, answer.near))
    }
}

/// A file's bytes, if they are not too many.
async fn read(path: PathBuf) -> Result<Vec<u8>, String> {
    let shown = path.display().to_string();
    let reading = tokio::task::spawn_blocking(move || {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        let limit = JWKS_BYTES_MAX as u64 + 1;
        std::fs::File::open(&path)?.take(limit).read_to_end(&mut bytes).map(|_| bytes)
    });
    match reading.await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(problem)) => Err(format!("{shown}: {problem}")),
        Err(_) => Err(format!("{shown} cannot be read")),
    }
}
