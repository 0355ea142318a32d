//! States of the rollout as rows.

use super::super::StoreFault;
use super::super::policies::PolicyDigest;
use super::super::rollouts::{Rollout, RolloutState, Scope};
use super::writer::{Tx, fault};
use holdfast_identity::UnixTime;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeSet;

/// States in one answer.
const PAGE: u32 = 1000;

/// A scope in its column.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScopeColumn {
    selectors: Vec<String>,
    policy: String,
}

#[derive(sqlx::FromRow)]
struct RolloutRow {
    number: i64,
    at: i64,
    author: String,
    approver: String,
    action: String,
    message: String,
    enforced: Option<Vec<u8>>,
    scopes: String,
    observed: Option<Vec<u8>>,
    restored: Option<i64>,
    refused: i64,
}

/// The present state; one without versions if there never was any.
pub(super) async fn present(connection: &mut SqliteConnection) -> Result<Rollout, StoreFault> {
    let row: Option<RolloutRow> = sqlx::query_as("SELECT * FROM rollouts ORDER BY number DESC LIMIT 1")
        .fetch_optional(connection)
        .await
        .map_err(fault("read the rollout"))?;
    row.map_or_else(|| Ok(none()), RolloutRow::rollout)
}

/// States before `before`, newest first.
pub(super) async fn page(
    connection: &mut SqliteConnection,
    before: u64,
    limit: u32,
) -> Result<Vec<Rollout>, StoreFault> {
    let before = if before == 0 { i64::MAX } else { i64::try_from(before).unwrap_or(i64::MAX) };
    let limit = if limit == 0 { 100 } else { limit.min(PAGE) };
    let rows: Vec<RolloutRow> =
        sqlx::query_as("SELECT * FROM rollouts WHERE number < $1 ORDER BY number DESC LIMIT $2")
            .bind(before)
            .bind(limit)
            .fetch_all(connection)
            .await
            .map_err(fault("read the rollout's history"))?;
    rows.into_iter().map(RolloutRow::rollout).collect()
}

/// Writes a state; its number comes back in it.
pub(super) async fn insert(tx: &mut Tx, mut rollout: Rollout) -> Result<Rollout, StoreFault> {
    let scopes = rollout.state.scopes.iter().map(|scope| ScopeColumn {
        selectors: scope.selectors.iter().map(ToString::to_string).collect(),
        policy: scope.policy.to_string(),
    });
    let scopes = serde_json::to_string(&scopes.collect::<Vec<_>>());
    let digest = |digest: Option<PolicyDigest>| digest.map(|digest| digest.0.to_vec());
    let number: i64 = sqlx::query_scalar(
        "INSERT INTO rollouts (at, author, approver, action, message, enforced, scopes, observed, restored, refused) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING number",
    )
    .bind(rollout.at.seconds())
    .bind(rollout.author.clone())
    .bind(rollout.approver.clone())
    .bind(rollout.action.clone())
    .bind(rollout.message.clone())
    .bind(digest(rollout.state.enforced))
    .bind(scopes.map_err(|_| StoreFault::Corrupt { what: "scope" })?)
    .bind(digest(rollout.state.observed))
    .bind(rollout.restored.map(u64::cast_signed))
    .bind(rollout.refused.cast_signed())
    .fetch_one(&mut tx.connection)
    .await
    .map_err(fault("write the rollout"))?;
    rollout.state.number = number.cast_unsigned();
    Ok(rollout)
}

fn none() -> Rollout {
    Rollout {
        state: RolloutState::default(),
        at: UnixTime(0),
        author: String::new(),
        approver: String::new(),
        action: String::new(),
        message: String::new(),
        restored: None,
        refused: 0,
    }
}

impl RolloutRow {
    fn rollout(self) -> Result<Rollout, StoreFault> {
        let corrupt = || StoreFault::Corrupt { what: "rollout" };
        let columns: Vec<ScopeColumn> = serde_json::from_str(&self.scopes).map_err(|_| corrupt())?;
        let scopes = columns.into_iter().map(|column| {
            let selectors: Result<BTreeSet<_>, _> = column.selectors.iter().map(|text| text.parse()).collect();
            let selectors = selectors.map_err(|_| corrupt())?;
            // A scope without selectors would be one for everybody.
            let policy = PolicyDigest::from_hex(&column.policy).filter(|_| !selectors.is_empty());
            Ok(Scope { selectors, policy: policy.ok_or_else(corrupt)? })
        });
        let state = RolloutState {
            number: self.number.cast_unsigned(),
            enforced: self.enforced.map(TryInto::try_into).transpose()?,
            scopes: scopes.collect::<Result<_, StoreFault>>()?,
            observed: self.observed.map(TryInto::try_into).transpose()?,
        };
        Ok(Rollout {
            state,
            at: UnixTime(self.at),
            author: self.author,
            approver: self.approver,
            action: self.action,
            message: self.message,
            restored: self.restored.map(i64::cast_unsigned),
            refused: self.refused.cast_unsigned(),
        })
    }
}
