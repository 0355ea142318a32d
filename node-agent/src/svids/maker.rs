//! Makes SVIDs: keys here, signatures by the server, in batches, before the old ones end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_identity::UnixTime;
use holdfast_protocol::agent::svid_result::Outcome;
use holdfast_protocol::agent::{SignX509SvidsRequest, SvidRequest, X509Svid as Signed};
use tonic::{Code, Status};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::cache::SvidCache;
use super::key::WorkloadKey;
use super::portion::Portion;
use super::{X509Svid, token_maker};
use crate::backoff::{Backoff, fraction, retry_after};
use crate::clock::{CHECK_EVERY, ServerClock};
use crate::connection::Connection;
use crate::sync::Entry;

/// How long the server may take to sign a batch.
const SIGN: Duration = Duration::from_secs(30);
/// The part of its life after which an SVID is replaced: somewhere in this range, so that a thousand workloads of one
/// deployment do not come at once.
const ROTATE_AT: (f64, f64) = (0.4, 0.5);

/// Seconds that an SVID is kept at least. Those that are made shortly before the evidence ends all end with it: half of
/// what is left, and half of that, would be a request without a pause at last.
const ROTATE_AFTER_MIN: i64 = 1;

/// Keeps the cache's SVIDs fresh over `connection` until the server says no: then returns what it said. A fault is
/// waited out, and so is being over a budget of the server's: what is held serves until its end. The connection's own end is
/// for the caller to see.
pub async fn make(connection: &Connection, cache: &SvidCache, clock: &ServerClock) -> Box<Status> {
    tokio::select! {
        status = make_certificates(connection, cache, clock) => status,
        status = token_maker::make(connection, cache, clock) => status,
    }
}

async fn make_certificates(connection: &Connection, cache: &SvidCache, clock: &ServerClock) -> Box<Status> {
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
    let mut portion = Portion::whole();
    cache.keys().start();
    loop {
        let due = cache.due(portion.get());
        if due.is_empty() {
            // Timers sleep through a suspend: look now and then.
            let left =
                cache.next_rotation().map(|at| at.since(clock.now()).max(1)).and_then(|left| left.try_into().ok());
            let pause = left.map_or(CHECK_EVERY, Duration::from_secs).min(CHECK_EVERY);
            let _ = tokio::time::timeout(pause, cache.work()).await;
            continue;
        }
        match batch(connection, cache, clock, due).await {
            Ok(()) => {
                backoff.reset();
                portion.answered();
            }
            Err(status) if status.code() == Code::PermissionDenied => return status,
            Err(status) => {
                portion.refused(&status);
                let pause = retry_after(&status).unwrap_or_else(|| backoff.pause());
                tracing::warn!(status = ?status.code(), pause_ms = millis(pause), "SVIDs not signed");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn batch(
    connection: &Connection,
    cache: &SvidCache,
    clock: &ServerClock,
    due: Vec<Arc<Entry>>,
) -> Result<(), Box<Status>> {
    // Those that are due first get the keys that lie ready; the others come with the next batch.
    let keys = cache.keys().take(due.len()).await.map_err(|fault| Box::new(Status::internal(fault.to_string())))?;
    let asked: Vec<_> = due.into_iter().zip(keys).collect();
    let requests = asked
        .iter()
        .map(|(entry, key)| SvidRequest { entry_id: entry.id.clone(), csr: key.request().to_vec() })
        .collect();
    let started = Instant::now();
    let answer = tokio::time::timeout(SIGN, connection.node().sign_x509_svids(SignX509SvidsRequest { requests }))
        .await
        .map_err(|_| Box::new(Status::deadline_exceeded("no answer to a signing request")))?
        .map_err(Box::new)?
        .into_inner();
    metrics::histogram!("holdfast_agent_svid_sign_seconds").record(started.elapsed().as_secs_f64());
    if answer.results.len() != asked.len() {
        return Err(Box::new(Status::internal("server answered another number of requests")));
    }
    let mut signed = Vec::new();
    for ((entry, key), result) in asked.into_iter().zip(answer.results) {
        match result.outcome {
            Some(Outcome::Svid(svid)) => match accepted(&entry, key, svid, clock.now()) {
                Ok((svid, rotate_at)) => signed.push((entry, svid, rotate_at)),
                Err(problem) => {
                    tracing::error!(entry = entry.id, problem, "signed SVID cannot be used");
                    cache.leave(&entry);
                }
            },
            Some(Outcome::Refused(word)) => {
                tracing::warn!(entry = entry.id, reason = %word.escape_debug(), "SVID refused");
                cache.leave(&entry);
            }
            None => cache.leave(&entry),
        }
    }
    cache.store(signed);
    Ok(())
}

/// The signed SVID with its key, if it is what was asked for.
fn accepted(
    entry: &Entry,
    key: WorkloadKey,
    signed: Signed,
    now: UnixTime,
) -> Result<(X509Svid, UnixTime), &'static str> {
    let leaf = signed.certificate_chain.first().ok_or("it has no certificate")?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| "its certificate cannot be read")?;
    if leaf.tbs_certificate.subject_pki.raw != key.spki() {
        return Err("it is for another key");
    }
    let names = leaf.subject_alternative_name().ok().flatten().ok_or("it names nobody")?;
    let named = names
        .value
        .general_names
        .iter()
        .any(|name| matches!(name, GeneralName::URI(uri) if *uri == entry.spiffe_id.as_str()));
    if !named || signed.spiffe_id != entry.spiffe_id.as_str() {
        return Err("it names somebody else");
    }
    let not_after = UnixTime(signed.not_after);
    let svid = X509Svid {
        spiffe_id: entry.spiffe_id.clone(),
        chain: signed.certificate_chain,
        key_pkcs8: key.into_pkcs8(),
        hint: entry.hint.clone(),
        entry_id: entry.id.clone(),
        not_after,
    };
    Ok((svid, rotation(now, not_after)))
}

/// When an SVID that lives from now until `not_after` is to be replaced.
fn rotation(now: UnixTime, not_after: UnixTime) -> UnixTime {
    now.plus(fraction(not_after.since(now).max(0), ROTATE_AT).max(ROTATE_AFTER_MIN))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_svid_is_replaced_before_half_of_its_life_is_over() {
        let now = UnixTime(1_000_000);
        for _ in 0..100 {
            let at = rotation(now, now.plus(3_600)).since(now);
            assert!((1_440..=1_800).contains(&at), "{at}");
        }
        for left in [-5, 0, 1, 2] {
            assert_eq!(rotation(now, now.plus(left)), now.plus(1), "{left}");
        }
    }
}
