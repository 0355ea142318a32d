//! What JWT-SVIDs are given by, and what of it was withdrawn: one name for all tokens of one entry on one node, so that a
//! node that had ever so many of them signed is withdrawn with as many rows as it has entries.

use super::super::StoreFault;
use super::super::changes::Notice;
use super::super::entries::EntryNumber;
use super::super::ledger::Actor;
use super::super::nodes::NodeNumber;
use super::super::revocations::{GRANTS_MAX, RevocationReason, WithdrawnGrant, WithdrawnGrants};
use super::revocations::{SERIALS_IN_AN_ACT, Whose};
use super::writer::{Tx, fault};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use holdfast_svid::Grant;
use holdfast_svid::grant::BYTES;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

/// Ended rows that one call forgets.
const ENDED_AT_ONCE: u32 = 5_000;
/// How long after the last token's end a row stays: those who verify allow a minute, and clocks may be late.
const END_GRACE: i64 = 300;

/// The name of what this node has by this entry, for a token that ends then.
pub(super) async fn name(
    tx: &mut Tx,
    (node, entry): (NodeNumber, EntryNumber),
    ends: UnixTime,
) -> Result<Grant, StoreFault> {
    let mut drawn = [0; BYTES];
    SystemRandom::new().fill(&mut drawn).map_err(|_| StoreFault::Unavailable)?;
    let id: Vec<u8> = sqlx::query_scalar(
        "INSERT INTO token_grants (node, entry, id, ends) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (node, entry) DO UPDATE SET ends = MAX(ends, excluded.ends) RETURNING id",
    )
    .bind(node.0.cast_signed())
    .bind(entry.0.cast_signed())
    .bind(drawn.to_vec())
    .bind(ends.seconds())
    .fetch_one(&mut tx.connection)
    .await
    .map_err(fault("name what a token is given by"))?;
    grant(&id)
}

/// Entries by which this node's workloads have tokens.
pub(super) async fn entries_of(tx: &mut Tx, node: NodeNumber) -> Result<Vec<i64>, StoreFault> {
    sqlx::query_scalar("SELECT entry FROM token_grants WHERE node = $1")
        .bind(node.0.cast_signed())
        .fetch_all(&mut tx.connection)
        .await
        .map_err(fault("read what a node's tokens are given by"))
}

/// Withdraws all tokens of these, says so in the record, and tells whoever tells the agents. `None` of a single
/// certificate and of the node's own: no token hangs on them.
pub(super) async fn withdraw(
    tx: &mut Tx,
    whose: Whose,
    reason: RevocationReason,
    by: &Actor,
    at: UnixTime,
) -> Result<(), StoreFault> {
    let (rows, first, second) = match whose {
        Whose::Node(node) => ("node = $1 AND $2 = 0", node.0, 0),
        Whose::Entry(entry) => ("entry = $1 AND $2 = 0", entry.0, 0),
        Whose::EntryOn(node, entry) => ("node = $1 AND entry = $2", node.0, entry.0),
        Whose::Own(_) | Whose::One(_) => return Ok(()),
    };
    let gone: Vec<(Vec<u8>, i64)> =
        sqlx::query_as(AssertSqlSafe(format!("DELETE FROM token_grants WHERE {rows} RETURNING id, ends")))
            .bind(first.cast_signed())
            .bind(second.cast_signed())
            .fetch_all(&mut tx.connection)
            .await
            .map_err(fault("withdraw tokens"))?;
    // What has ended needs nobody's word; where clocks differ it may not have ended everywhere.
    let living: Vec<&(Vec<u8>, i64)> = gone.iter().filter(|(_, ends)| ends + END_GRACE > at.seconds()).collect();
    for (id, ends) in &living {
        sqlx::query("INSERT INTO withdrawn_grants (id, ends, at) VALUES ($1, $2, $3)")
            .bind(id.clone())
            .bind(ends)
            .bind(at.seconds())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("withdraw tokens"))?;
    }
    for part in living.chunks(SERIALS_IN_AN_ACT) {
        let grants: Vec<String> =
            part.iter().map(|(id, _)| grant(id).map(|id| id.to_string())).collect::<Result<_, _>>()?;
        tx.append(&Leaf::Act(json!({
            "at": at.seconds(), "by": by.to_string(), "action": "jwt_svid.revoke", "subject": whose.subject(),
            "detail": { "reason": reason.as_str(), "grants": grants },
        })));
    }
    if !living.is_empty() {
        metrics::counter!("holdfast_jwt_grants_revoked_total", "reason" => reason.as_str())
            .increment(living.len() as u64);
        let n = tx.n();
        tx.notify(Notice::TokensWithdrawn { n });
    }
    Ok(())
}

/// What was withdrawn after one place and has not ended: the last of them, as many as agents have room for.
pub(super) async fn withdrawn_after(
    reader: &mut SqliteConnection,
    after: u64,
    now: UnixTime,
) -> Result<WithdrawnGrants, StoreFault> {
    let ended = now.seconds() - END_GRACE;
    let rows: Vec<(i64, Vec<u8>, i64, i64)> = sqlx::query_as(
        "SELECT place, id, ends, at FROM withdrawn_grants WHERE place > $1 AND ends > $2 ORDER BY place DESC LIMIT $3",
    )
    .bind(after.cast_signed())
    .bind(ended)
    .bind(i64::try_from(GRANTS_MAX).unwrap_or(i64::MAX))
    .fetch_all(&mut *reader)
    .await
    .map_err(fault("read withdrawn tokens"))?;
    let first = rows.last().map(|(place, ..)| *place).filter(|_| rows.len() >= GRANTS_MAX);
    let left_out: Option<i64> = match first {
        None => None,
        Some(first) => {
            sqlx::query_scalar("SELECT MAX(at) FROM withdrawn_grants WHERE place > $1 AND place < $2 AND ends > $3")
                .bind(after.cast_signed())
                .bind(first)
                .bind(ended)
                .fetch_one(reader)
                .await
                .map_err(fault("read withdrawn tokens"))?
        }
    };
    let read = |(place, id, ends, at): (i64, Vec<u8>, i64, i64)| {
        Ok(WithdrawnGrant { place: place.cast_unsigned(), grant: grant(&id)?, ends: UnixTime(ends), at: UnixTime(at) })
    };
    let grants = rows.into_iter().rev().map(read).collect::<Result<_, StoreFault>>()?;
    Ok(WithdrawnGrants { grants, left_out: left_out.map(UnixTime) })
}

/// What forgets ended tokens, and withdrawn ones that have ended.
pub(super) const PRUNING: [&str; 2] = [
    "DELETE FROM token_grants WHERE (node, entry) IN \
     (SELECT node, entry FROM token_grants WHERE ends < $1 ORDER BY ends LIMIT $2)",
    "DELETE FROM withdrawn_grants WHERE place IN \
     (SELECT place FROM withdrawn_grants WHERE ends < $1 ORDER BY ends LIMIT $2)",
];

/// Forgets what has ended.
pub(super) async fn prune(tx: &mut Tx, now: UnixTime) -> Result<(), StoreFault> {
    for text in PRUNING {
        sqlx::query(text)
            .bind(now.seconds() - END_GRACE)
            .bind(ENDED_AT_ONCE)
            .execute(&mut tx.connection)
            .await
            .map_err(fault("forget ended tokens"))?;
    }
    Ok(())
}

fn grant(id: &[u8]) -> Result<Grant, StoreFault> {
    Grant::from_bytes(id).ok_or(StoreFault::Corrupt { what: "name of what a token is given by" })
}
