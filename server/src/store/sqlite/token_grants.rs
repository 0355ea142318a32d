//! What JWT-SVIDs are given by, and what of it was withdrawn: one name for all tokens of one entry on one node, so that a
//! node that had ever so many of them signed is withdrawn with as many rows as it has entries.

use super::super::StoreFault;
use super::super::changes::Notice;
use super::super::entries::EntryNumber;
use super::super::ledger::Actor;
use super::super::nodes::NodeNumber;
use super::super::revocations::{GRANTS_MAX, GRANTS_OF_NODE_MAX, RevocationReason, WithdrawnGrant, WithdrawnGrants};
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

/// The name of what this node has by this entry, for a token that ends then; `None` where there is none yet, and as many of
/// the node's are withdrawn as may be.
pub(super) async fn name(
    tx: &mut Tx,
    (node, entry): (NodeNumber, EntryNumber),
    ends: UnixTime,
    at: UnixTime,
) -> Result<Option<Grant>, StoreFault> {
    let mut drawn = [0; BYTES];
    SystemRandom::new().fill(&mut drawn).map_err(|_| StoreFault::Unavailable)?;
    let id: Option<Vec<u8>> = sqlx::query_scalar(NAMING)
        .bind(node.0.cast_signed())
        .bind(entry.0.cast_signed())
        .bind(drawn.to_vec())
        .bind(ends.seconds())
        .bind(at.seconds() - END_GRACE)
        .bind(GRANTS_OF_NODE_MAX)
        .fetch_optional(&mut tx.connection)
        .await
        .map_err(fault("name what a token is given by"))?;
    id.map(|id| grant(&id)).transpose()
}

/// What is withdrawn is counted only where there is no name yet: most tokens have one.
const NAMING: &str = "INSERT INTO token_grants (node, entry, id, ends) SELECT $1, $2, $3, $4 \
    WHERE EXISTS (SELECT 1 FROM token_grants WHERE node = $1 AND entry = $2) \
    OR (SELECT COUNT(*) FROM withdrawn_grants WHERE node = $1 AND ends > $5) < $6 \
    ON CONFLICT (node, entry) DO UPDATE SET ends = MAX(ends, excluded.ends) RETURNING id";

/// Entries by which this node's workloads have tokens.
pub(super) async fn entries_of(tx: &mut Tx, node: NodeNumber) -> Result<Vec<i64>, StoreFault> {
    sqlx::query_scalar("SELECT entry FROM token_grants WHERE node = $1")
        .bind(node.0.cast_signed())
        .fetch_all(&mut tx.connection)
        .await
        .map_err(fault("read what a node's tokens are given by"))
}

/// Withdraws all tokens of these, says so in the record, and tells whoever tells the agents; how many names that are. None
/// for a single certificate and for the node's own: no token hangs on them.
pub(super) async fn withdraw(
    tx: &mut Tx,
    whose: Whose,
    reason: RevocationReason,
    by: &Actor,
    at: UnixTime,
) -> Result<u64, StoreFault> {
    let (rows, first, second) = match whose {
        Whose::Node(node) => ("node = $1 AND $2 = 0", node.0, 0),
        Whose::Entry(entry) => ("entry = $1 AND $2 = 0", entry.0, 0),
        Whose::EntryOn(node, entry) => ("node = $1 AND entry = $2", node.0, entry.0),
        Whose::Own(_) | Whose::One(_) => return Ok(0),
    };
    let gone: Vec<(Vec<u8>, i64, i64)> =
        sqlx::query_as(AssertSqlSafe(format!("DELETE FROM token_grants WHERE {rows} RETURNING id, ends, node")))
            .bind(first.cast_signed())
            .bind(second.cast_signed())
            .fetch_all(&mut tx.connection)
            .await
            .map_err(fault("withdraw tokens"))?;
    // What has ended needs nobody's word; where clocks differ it may not have ended everywhere.
    let living: Vec<_> = gone.iter().filter(|(_, ends, _)| ends + END_GRACE > at.seconds()).collect();
    for (id, ends, node) in &living {
        sqlx::query("INSERT INTO withdrawn_grants (id, ends, at, node) VALUES ($1, $2, $3, $4)")
            .bind(id.clone())
            .bind(ends)
            .bind(at.seconds())
            .bind(node)
            .execute(&mut tx.connection)
            .await
            .map_err(fault("withdraw tokens"))?;
    }
    for part in living.chunks(SERIALS_IN_AN_ACT) {
        let grants: Vec<String> =
            part.iter().map(|(id, ..)| grant(id).map(|id| id.to_string())).collect::<Result<_, _>>()?;
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
    Ok(living.len() as u64)
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

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{Connection as _, Row as _};

    use super::super::super::issuances::NotRecorded;
    use super::*;
    use crate::authority::{AuthorityFiles, TokenAuthority};
    use crate::store::conformance::{enrolment, open};
    use crate::store::{EntryNumber, Outcome, Sha256, TokenIssuance};

    #[tokio::test]
    async fn what_counts_withdrawn_names_reads_no_whole_table() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        super::super::open::migrate_to(&mut connection, i64::MAX).await;
        let plan = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {NAMING}")));
        let steps: Vec<String> =
            plan.fetch_all(&mut connection).await.unwrap().iter().map(|row| row.get("detail")).collect();
        assert!(!steps.iter().any(|step| step.starts_with("SCAN") && step.contains("grants")), "{steps:#?}");
    }

    #[tokio::test]
    async fn one_node_gets_no_new_names_while_too_many_of_its_own_are_withdrawn() {
        let (directory, store) = open().await;
        let now = UnixTime(1_700_000_000);
        let Outcome::Admitted { node, .. } = store.record_attempt(enrolment(1)).await.unwrap() else { panic!() };
        let keys = AuthorityFiles::below(&directory.path().join("state"));
        let authority = TokenAuthority::open(keys, Default::default(), store.as_ref(), now).await.unwrap();
        let key = authority.signing().unwrap().authority_id().to_owned();
        let name = async |entry: u64, at: UnixTime| {
            let issuance = TokenIssuance {
                spiffe_id: "spiffe://td/a".parse().unwrap(),
                audience_sha256: Sha256([5; 32]),
                expires: at.plus(60),
                node: node.number,
                entry: EntryNumber(entry),
                revision: 0,
            };
            let mut answers = store.record_tokens(key.clone(), vec![issuance], store.revision().n, at).await.unwrap();
            answers.remove(0).map(|recorded| recorded.redeem().2)
        };
        let held = name(1, now).await.unwrap();
        let options = SqliteConnectOptions::new().filename(directory.path().join("store.sqlite"));
        let mut beside = SqliteConnection::connect_with(&options).await.unwrap();
        let mut withdraw = async |node: u64, count: u32| {
            sqlx::query(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < $1) \
                 INSERT INTO withdrawn_grants (id, ends, at, node) SELECT randomblob(12), $2, $3, $4 FROM n",
            )
            .bind(count)
            .bind(now.plus(60).seconds())
            .bind(now.seconds())
            .bind(node.cast_signed())
            .execute(&mut beside)
            .await
            .unwrap();
        };
        withdraw(node.number.0 + 1, GRANTS_OF_NODE_MAX).await;
        withdraw(node.number.0, GRANTS_OF_NODE_MAX - 1).await;
        let before = store.head().await.unwrap().size;
        assert!(name(2, now).await.is_ok(), "another's are another's");
        withdraw(node.number.0, 1).await;
        assert_eq!(name(3, now).await.unwrap_err(), NotRecorded::TooMuchWithdrawn);
        assert_eq!(store.head().await.unwrap().size, before + 1, "what is refused stands in no record");
        assert_eq!(name(1, now).await.unwrap(), held, "what it has goes on");
        assert!(name(3, now.plus(60 + END_GRACE)).await.is_ok(), "until some have ended");
    }
}
