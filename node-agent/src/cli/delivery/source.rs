//! Where the contents come from: the Workload API, followed, and asked again before what it gave ends.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use base64::Engine as _;
use futures_util::future::join_all;
use holdfast_protocol::workload::{JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest};
use tokio::sync::mpsc;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use zeroize::Zeroizing;

use super::super::Outcome;
use super::super::api::client;
use super::super::api::identity::Identities;
use super::contents::Contents;
use super::settings::{Settings, Token};
use crate::backoff::Backoff;

/// Pauses after a failure: an agent restarts in a second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// How long one answer may take where nothing else is to be done.
const ANSWER: Duration = Duration::from_secs(30);
/// The shortest time between two questions for one token, whatever it says of its end.
const TOKEN_PAUSE_MIN: Duration = Duration::from_secs(1);

/// What came.
pub(super) enum News {
    /// All of this process's identities.
    Identities(Identities),
    /// A token, for this file.
    Token(String, Zeroizing<String>),
    /// JSON Web Key Sets by trust domain ID.
    Keys(serde_json::Map<String, serde_json::Value>),
}

type Keys = serde_json::Map<String, serde_json::Value>;

/// Asks for everything once.
///
/// # Errors
/// Where the agent cannot be asked, or its answer is none.
pub(super) async fn once(settings: &Settings, contents: &mut Contents) -> anyhow::Result<Outcome> {
    let mut client = client::connect(&settings.address).await?;
    let identities = within(async {
        let mut stream = client::x509_svids(&mut client).await?;
        stream.message().await?.ok_or_else(|| Status::unavailable("the stream ended"))
    });
    let identities = match identities.await {
        Ok(answer) => Identities::try_from(answer)?,
        Err(status) if status.code() == Code::PermissionDenied => {
            eprintln!("holdfast-agent: {}", told(&status));
            return Ok(Outcome::Refused);
        }
        Err(status) => anyhow::bail!(told(&status)),
    };
    contents.learn(News::Identities(identities));
    let mut outcome = Outcome::Yes;
    for wanted in &settings.jwt_svids {
        match within(token(settings, wanted)).await {
            Ok(token) => contents.learn(News::Token(wanted.jwt_svid_file_name.clone(), token)),
            Err(status) => {
                eprintln!("holdfast-agent: no token for {:?}: {}", wanted.jwt_audience, told(&status));
                outcome = Outcome::Incomplete;
            }
        }
    }
    if settings.jwt_bundle_file_name.is_some() {
        let keys = within(async {
            let mut stream = bundles(settings).await?;
            stream.message().await?.ok_or_else(|| Status::unavailable("the stream ended"))
        });
        match keys.await.and_then(key_sets) {
            Ok(keys) => contents.learn(News::Keys(keys)),
            Err(status) => {
                eprintln!("holdfast-agent: no bundle of keys: {}", told(&status));
                outcome = Outcome::Incomplete;
            }
        }
    }
    Ok(outcome)
}

/// Tells everything that comes, for ever.
pub(super) async fn follow(settings: &Settings, tell: mpsc::Sender<News>) -> Infallible {
    let tokens = join_all(settings.jwt_svids.iter().map(|wanted| follow_token(settings, wanted, &tell)));
    let keys = async {
        if settings.jwt_bundle_file_name.is_some() {
            follow_keys(settings, &tell).await;
        }
    };
    tokio::join!(follow_identities(settings, &tell), tokens, keys);
    // Each of them ends only with the receiver.
    std::future::pending().await
}

async fn follow_identities(settings: &Settings, tell: &mpsc::Sender<News>) {
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    loop {
        let ended = async {
            let mut client = connect(settings).await?;
            let mut stream = client::x509_svids(&mut client).await?;
            while let Some(answer) = stream.message().await? {
                backoff.reset();
                let identities =
                    Identities::try_from(answer).map_err(|error| Status::data_loss(format!("{error:#}")))?;
                if tell.send(News::Identities(identities)).await.is_err() {
                    return Ok(());
                }
            }
            Err::<(), _>(Status::unavailable("the stream ended"))
        };
        let Err(status) = ended.await else { return };
        pause(&mut backoff, "identities", &status).await;
    }
}

async fn follow_token(settings: &Settings, wanted: &Token, tell: &mpsc::Sender<News>) {
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    loop {
        match token(settings, wanted).await {
            Ok(token) => {
                backoff.reset();
                let left = half_left(&token).unwrap_or(PAUSES.1);
                if tell.send(News::Token(wanted.jwt_svid_file_name.clone(), token)).await.is_err() {
                    return;
                }
                tokio::time::sleep(left.max(TOKEN_PAUSE_MIN)).await;
            }
            Err(status) => pause(&mut backoff, "a token", &status).await,
        }
    }
}

async fn follow_keys(settings: &Settings, tell: &mpsc::Sender<News>) {
    let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
    loop {
        let ended = async {
            let mut stream = bundles(settings).await?;
            while let Some(answer) = stream.message().await? {
                backoff.reset();
                if tell.send(News::Keys(key_sets(answer)?)).await.is_err() {
                    return Ok(());
                }
            }
            Err::<(), _>(Status::unavailable("the stream ended"))
        };
        let Err(status) = ended.await else { return };
        pause(&mut backoff, "bundles of keys", &status).await;
    }
}

type Client =
    crate::workload_client_stubs::spiffe_workload_api_client::SpiffeWorkloadApiClient<tonic::transport::Channel>;

async fn connect(settings: &Settings) -> Result<Client, Status> {
    client::connect(&settings.address).await.map_err(|error| Status::unavailable(format!("{error:#}")))
}

async fn token(settings: &Settings, wanted: &Token) -> Result<Zeroizing<String>, Status> {
    let audience = std::iter::once(&wanted.jwt_audience).chain(&wanted.jwt_extra_audiences).cloned().collect();
    let request = asked(JwtsvidRequest { audience, spiffe_id: String::new() });
    let answer = connect(settings).await?.fetch_jwtsvid(request).await?.into_inner();
    let mut svids = answer.svids.into_iter();
    let svid = svids.find(|svid| settings.hint.is_empty() || svid.hint == settings.hint);
    let svid = svid.ok_or_else(|| Status::permission_denied(format!("no token has the hint {:?}", settings.hint)))?;
    Ok(svid.svid.into())
}

async fn bundles(settings: &Settings) -> Result<tonic::Streaming<JwtBundlesResponse>, Status> {
    Ok(connect(settings).await?.fetch_jwt_bundles(asked(JwtBundlesRequest {})).await?.into_inner())
}

fn asked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    request
}

fn key_sets(answer: JwtBundlesResponse) -> Result<Keys, Status> {
    let set = |bytes: &[u8]| serde_json::from_slice(bytes).context("not JSON");
    let sets = answer.bundles.into_iter().map(|(id, bytes)| anyhow::Ok((id, set(&bytes)?)));
    sets.collect::<anyhow::Result<_>>().map_err(|error| Status::data_loss(format!("bundle of keys: {error:#}")))
}

/// Half of the time until a token's `exp`, by this machine's clock.
fn half_left(token: &str) -> Option<Duration> {
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(Duration::from_secs(claims.get("exp")?.as_u64()?.saturating_sub(now) / 2))
}

async fn within<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = || Status::deadline_exceeded(format!("no answer within {} s", ANSWER.as_secs()));
    tokio::time::timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(late()))
}

async fn pause(backoff: &mut Backoff, what: &str, status: &Status) {
    let pause = backoff.pause();
    eprintln!("holdfast-agent: {what}: {}; again in {} ms", told(status), pause.as_millis());
    tokio::time::sleep(pause).await;
}

fn told(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message().escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_again_at_half_of_what_is_left_to_it() {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let token = format!("e30.{}.x", encode(&format!("{{\"exp\":{end}}}")));
        let left = half_left(&token).unwrap().as_secs();
        assert!((298..=300).contains(&left), "{left}");
        assert_eq!(half_left(&format!("e30.{}.x", encode("{\"exp\":1}"))), Some(Duration::ZERO));
        for wrong in ["", "a", "a.b", "a.!.c", &format!("a.{}.c", encode("{}"))] {
            assert_eq!(half_left(wrong), None, "{wrong}");
        }
    }
}
