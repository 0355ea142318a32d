//! Has the JWT-SVIDs signed that somebody waits for, in batches.

use std::time::{Duration, Instant};

use holdfast_identity::UnixTime;
use holdfast_protocol::agent::jwt_svid_result::Outcome;
use holdfast_protocol::agent::{JwtSvid as Signed, JwtSvidRequest, SignJwtSvidsRequest};
use holdfast_svid::jwt::Unverified;
use tonic::{Code, Status};

use super::cache::SvidCache;
use super::maker::millis;
use super::portion::Portion;
use super::tokens::{JwtToken, NoToken, Wanted};
use crate::backoff::{Backoff, retry_after};
use crate::clock::{CHECK_EVERY, ServerClock};
use crate::connection::Connection;

/// How long the server may take to sign a batch.
const SIGN: Duration = Duration::from_secs(30);
/// Bytes of the longest key id.
const AUTHORITY_ID_BYTES_MAX: usize = 256;

/// Has tokens signed over `connection` until the server says no: then returns what it said. Where it says that it is too much
/// now, those that are held serve meanwhile, whatever their age.
pub(super) async fn make(connection: &Connection, cache: &SvidCache, clock: &ServerClock) -> Box<Status> {
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(15));
    let mut portion = Portion::whole();
    loop {
        let due = cache.tokens().due(portion.get());
        if due.is_empty() {
            let _ = tokio::time::timeout(CHECK_EVERY, cache.tokens().work()).await;
            continue;
        }
        // Whatever ends this function, nothing stays under way.
        let asked = UnderWay { cache, due };
        match batch(connection, cache, clock, &asked.due).await {
            Ok(()) => {
                backoff.reset();
                portion.answered();
            }
            Err(status) if status.code() == Code::PermissionDenied => return status,
            Err(status) => {
                drop(asked);
                let pause = retry_after(&status).unwrap_or_else(|| backoff.pause());
                if portion.refused(&status) {
                    cache.tokens().rest(pause);
                }
                tracing::warn!(status = ?status.code(), pause_ms = millis(pause), "JWT-SVIDs not signed");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

struct UnderWay<'a> {
    cache: &'a SvidCache,
    due: Vec<Wanted>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.cache.tokens().give_back(&self.due);
    }
}

async fn batch(
    connection: &Connection,
    cache: &SvidCache,
    clock: &ServerClock,
    due: &[Wanted],
) -> Result<(), Box<Status>> {
    let requests = due
        .iter()
        .map(|(entry_id, audience)| JwtSvidRequest { entry_id: entry_id.clone(), audience: audience.names().to_vec() })
        .collect();
    let started = Instant::now();
    let answer = tokio::time::timeout(SIGN, connection.node().sign_jwt_svids(SignJwtSvidsRequest { requests }))
        .await
        .map_err(|_| Box::new(Status::deadline_exceeded("no answer to a signing request")))?
        .map_err(Box::new)?
        .into_inner();
    metrics::histogram!("holdfast_agent_jwt_sign_seconds").record(started.elapsed().as_secs_f64());
    if answer.results.len() != due.len() {
        return Err(Box::new(Status::internal("server answered another number of requests")));
    }
    for (wanted, result) in due.iter().zip(answer.results) {
        let answer = match result.outcome {
            Some(Outcome::Svid(svid)) => accepted(svid).map_err(|problem| {
                tracing::error!(entry = wanted.0, problem, "signed JWT-SVID cannot be used");
                NoToken::Unsigned
            }),
            Some(Outcome::Refused(word)) => {
                tracing::warn!(entry = wanted.0, reason = %word.escape_debug(), "JWT-SVID refused");
                Err(NoToken::Gone)
            }
            None => Err(NoToken::Unsigned),
        };
        let answer = answer.map(|token| {
            let renew_at = renewal(clock.now(), token.expires);
            (token, renew_at)
        });
        cache.take_token(wanted, answer);
    }
    Ok(())
}

/// The token, if it says what the answer says of it.
fn accepted(signed: Signed) -> Result<JwtToken, &'static str> {
    let read = Unverified::parse(&signed.token).map_err(|_| "it is no JWT-SVID")?;
    if read.claimed_subject().as_str() != signed.spiffe_id {
        return Err("it names somebody else");
    }
    if signed.authority_id.len() > AUTHORITY_ID_BYTES_MAX {
        return Err("its key's ID is too long");
    }
    Ok(JwtToken {
        spiffe_id: read.claimed_subject().clone(),
        issued: UnixTime(signed.issued_at),
        grant: read.claimed_grant(),
        expires: UnixTime(signed.expires_at),
        authority_id: signed.authority_id,
        token: signed.token,
    })
}

/// When a token that lives from now until `expires` is to be replaced: after half of that.
fn renewal(now: UnixTime, expires: UnixTime) -> UnixTime {
    now.plus(expires.since(now).max(0) / 2)
}
