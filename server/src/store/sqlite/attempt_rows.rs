//! Attempts, taken challenges, decisions and firmware logs as rows.

use super::super::attempts::{Attempt, AttemptFilter, AttemptId, AttemptRecord, Verdict};
use super::super::nodes::NodeNumber;
use super::super::{Sha256, StoreFault};
use super::judge::{Judged, Judgement};
use super::node_rows::Kept;
use super::writer::{Tx, fault};
use crate::record::Leaf;
use holdfast_identity::{SpiffeId, UnixTime};
use serde_json::json;
use sqlx::sqlite::SqliteConnection;

/// Attempts in one answer.
const PAGE: u32 = 1000;

/// Waivers that the entry of an attempt names; its decision has all of them.
const WAIVERS_MAX: usize = 64;

/// Takes a challenge; false if it was answered before.
pub(super) async fn take(tx: &mut Tx, id: &[u8; 16], expires: UnixTime) -> Result<bool, StoreFault> {
    let taken = sqlx::query("INSERT INTO challenges (id, expires) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING")
        .bind(id.to_vec())
        .bind(expires.seconds())
        .execute(&mut tx.connection)
        .await
        .map_err(fault("take a challenge"))?;
    Ok(taken.rows_affected() > 0)
}

/// Writes the attempt into the record and its row beside it.
pub(super) async fn insert(
    tx: &mut Tx,
    attempt: &Attempt,
    kept: Option<&Kept>,
    spiffe_id: Option<&SpiffeId>,
    judgement: &Judgement,
) -> Result<(), StoreFault> {
    let (verdict, code) = match &judgement.judged {
        Judged::Admit => ("admitted", ""),
        Judged::AwaitApproval => ("awaits_approval", ""),
        Judged::Refuse { code, .. } => ("refused", code.as_str()),
    };
    let decision = Sha256::of(attempt.decision.as_bytes());
    let node = kept.map(|kept| kept.node.number.0);
    let kinds = attempt.kinds.iter().map(String::as_str).collect::<Vec<_>>().join(",");
    let mut entry = json!({
        "at": attempt.at.seconds(),
        "attempt": attempt.id.to_string(),
        "way": attempt.way.as_str(),
        "kinds": kinds,
        "source": attempt.source,
        "node": node,
        "spiffe_id": spiffe_id.map(ToString::to_string),
        "verdict": verdict,
        "code": code,
        "policy": attempt.policy.map(|digest| digest.to_string()),
        "decision": decision.to_string(),
        "manifest": attempt.evidence.as_ref().map(|evidence| evidence.manifest.to_string()),
    });
    let admission = match (&attempt.verdict, &judgement.judged) {
        (Verdict::Admit(admission), Judged::Admit) => Some(admission),
        _ => None,
    };
    let expires = admission.map(|admission| admission.evidence_expires.seconds());
    if let (Some(admission), Some(entry)) = (admission, entry.as_object_mut()) {
        entry.insert("evidence_expires".to_owned(), json!(expires));
        let named = admission.waivers.iter().take(WAIVERS_MAX).map(|name| name.chars().take(64).collect::<String>());
        let named: Vec<String> = named.collect();
        if !named.is_empty() {
            entry.insert("waivers".to_owned(), json!(named));
        }
    }
    let index = tx.append(&Leaf::Attempt(entry));
    if attempt.evidence.as_ref().is_none_or(|evidence| evidence.keeps_text) {
        keep_text(tx, decision, attempt).await?;
    }
    sqlx::query(
        "INSERT INTO attempts (id, at, way, kinds, source, node, spiffe_id, verdict, code, policy, decision, \
         idx, manifest, evidence_expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(attempt.id.0.to_vec())
    .bind(attempt.at.seconds())
    .bind(attempt.way.as_str())
    .bind(kinds)
    .bind(attempt.source.clone())
    .bind(node.map(u64::cast_signed))
    .bind(spiffe_id.map(ToString::to_string))
    .bind(verdict)
    .bind(code.to_owned())
    .bind(attempt.policy.map(|digest| digest.0.to_vec()))
    .bind(decision.0.to_vec())
    .bind(index.cast_signed())
    .bind(attempt.evidence.as_ref().map(|evidence| evidence.manifest.0.to_vec()))
    .bind(expires)
    .execute(&mut tx.connection)
    .await
    .map_err(fault("write an attempt"))?;
    Ok(())
}

/// Keeps the decision's text: an unchanged one (the rule at renewal after renewal) once.
async fn keep_text(tx: &mut Tx, digest: Sha256, attempt: &Attempt) -> Result<(), StoreFault> {
    sqlx::query(
        "INSERT INTO decisions (digest, body, last_used, day) VALUES ($1, $2, $3, $3 / 86400) \
         ON CONFLICT (digest) DO UPDATE SET last_used = excluded.last_used \
         WHERE decisions.last_used < excluded.last_used - 86400",
    )
    .bind(digest.0.to_vec())
    .bind(attempt.decision.clone())
    .bind(attempt.at.seconds())
    .execute(&mut tx.connection)
    .await
    .map_err(fault("keep a decision"))?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct AttemptRow {
    id: Vec<u8>,
    at: i64,
    way: String,
    kinds: String,
    source: String,
    node: Option<i64>,
    spiffe_id: Option<String>,
    verdict: String,
    code: String,
    policy: Option<Vec<u8>>,
    idx: i64,
    manifest: Option<Vec<u8>>,
    evidence_expires: Option<i64>,
    body: Option<String>,
}

/// One attempt with its decision.
pub(super) async fn one(connection: &mut SqliteConnection, id: AttemptId) -> Result<Option<AttemptRecord>, StoreFault> {
    let row: Option<AttemptRow> = sqlx::query_as(
        "SELECT a.*, d.body FROM attempts a LEFT JOIN decisions d ON d.digest = a.decision WHERE a.id = $1",
    )
    .bind(id.0.to_vec())
    .fetch_optional(connection)
    .await
    .map_err(fault("read an attempt"))?;
    row.map(AttemptRow::record).transpose()
}

/// Attempts, newest first, without their decisions.
pub(super) async fn page(
    connection: &mut SqliteConnection,
    filter: &AttemptFilter,
) -> Result<Vec<AttemptRecord>, StoreFault> {
    let limit = if filter.limit == 0 { 100 } else { filter.limit.min(PAGE) };
    let before = filter.before.map_or([0xff; 16], |id| id.0);
    let (by_node, all) = (
        "SELECT *, NULL AS body FROM attempts WHERE id < $1 AND ($2 IS NULL OR verdict = $2) AND node = $4 \
         ORDER BY id DESC LIMIT $3",
        "SELECT *, NULL AS body FROM attempts WHERE id < $1 AND ($2 IS NULL OR verdict = $2) \
         ORDER BY id DESC LIMIT $3",
    );
    let mut query = sqlx::query_as(if filter.node.is_some() { by_node } else { all })
        .bind(before.to_vec())
        .bind(filter.verdict.clone())
        .bind(limit);
    if let Some(node) = filter.node {
        query = query.bind(node.0.cast_signed());
    }
    let rows: Vec<AttemptRow> = query.fetch_all(connection).await.map_err(fault("read attempts"))?;
    rows.into_iter().map(AttemptRow::record).collect()
}

impl AttemptRow {
    fn record(self) -> Result<AttemptRecord, StoreFault> {
        let corrupt = |what| StoreFault::Corrupt { what };
        Ok(AttemptRecord {
            id: AttemptId(self.id.try_into().map_err(|_| corrupt("attempt ID"))?),
            at: UnixTime(self.at),
            way: self.way,
            kinds: self.kinds.split(',').map(str::to_owned).collect(),
            source: self.source,
            node: self.node.map(|number| NodeNumber(number.cast_unsigned())),
            spiffe_id: self.spiffe_id.map(|id| id.parse().map_err(|_| corrupt("attempt's SPIFFE ID"))).transpose()?,
            verdict: self.verdict,
            code: self.code,
            policy: self.policy.map(Sha256::try_from).transpose()?,
            decision: self.body.unwrap_or_default(),
            evidence_expires: self.evidence_expires.map(UnixTime),
            manifest: self.manifest.map(Sha256::try_from).transpose()?,
            index: self.idx.cast_unsigned(),
        })
    }
}
