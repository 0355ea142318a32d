//! The authorities of our own bundle.

use super::super::changes::Notice;
use super::super::endorsements::{Authority, BundleState};
use super::super::ledger::Actor;
use super::super::{Sha256, StoreFault};
use super::writer::{Tx, Verb, fault};
use holdfast_identity::UnixTime;
use serde_json::Value;
use sqlx::sqlite::SqliteConnection;

pub(super) struct Publish {
    pub(super) der: Vec<u8>,
    pub(super) by: Actor,
    pub(super) at: UnixTime,
}

impl Verb for Publish {
    type Reply = BundleState;
    const NAME: &'static str = "publish_authority";

    async fn run(&self, tx: &mut Tx) -> Result<BundleState, StoreFault> {
        publish(tx, &self.der, &self.by, self.at).await?;
        read(&mut tx.connection).await
    }
}

/// Puts a root into the bundle, if it is not there.
pub(super) async fn publish(tx: &mut Tx, der: &[u8], by: &Actor, at: UnixTime) -> Result<(), StoreFault> {
    let sha256 = Sha256::of(der);
    let new = sqlx::query(
        "INSERT INTO authorities (sha256, der, published_at, place) \
         VALUES ($1, $2, $3, (SELECT COALESCE(MAX(place), 0) + 1 FROM authorities)) \
         ON CONFLICT (sha256) DO NOTHING",
    )
    .bind(sha256.0.to_vec())
    .bind(der)
    .bind(at.seconds())
    .execute(&mut tx.connection)
    .await
    .map_err(fault("publish an authority"))?
    .rows_affected()
        > 0;
    if new { bundle_changed(tx, "bundle.publish", &sha256, by, at).await } else { Ok(()) }
}

pub(super) struct WithdrawAuthority {
    pub(super) sha256: Sha256,
    pub(super) by: Actor,
    pub(super) at: UnixTime,
}

impl Verb for WithdrawAuthority {
    type Reply = BundleState;
    const NAME: &'static str = "withdraw_authority";

    async fn run(&self, tx: &mut Tx) -> Result<BundleState, StoreFault> {
        withdraw(tx, &self.sha256, &self.by, self.at).await?;
        read(&mut tx.connection).await
    }
}

/// Takes a root out of the bundle, if it is there.
pub(super) async fn withdraw(tx: &mut Tx, sha256: &Sha256, by: &Actor, at: UnixTime) -> Result<(), StoreFault> {
    let gone = sqlx::query("DELETE FROM authorities WHERE sha256 = $1")
        .bind(sha256.0.to_vec())
        .execute(&mut tx.connection)
        .await
        .map_err(fault("withdraw an authority"))?
        .rows_affected()
        > 0;
    if gone { bundle_changed(tx, "bundle.withdraw", sha256, by, at).await } else { Ok(()) }
}

async fn bundle_changed(
    tx: &mut Tx,
    action: &'static str,
    sha256: &Sha256,
    by: &Actor,
    at: UnixTime,
) -> Result<(), StoreFault> {
    tx.append(&super::endorsements::act(action, sha256, by, at, &Value::Null));
    sqlx::query("UPDATE history SET bundle_sequence = bundle_sequence + 1 WHERE only_row = 1")
        .execute(&mut tx.connection)
        .await
        .map_err(fault("number the bundle"))?;
    let n = tx.next_n();
    tx.notify(Notice::Bundle { n });
    Ok(())
}

pub(super) async fn read(connection: &mut SqliteConnection) -> Result<BundleState, StoreFault> {
    let sequence: i64 = sqlx::query_scalar("SELECT bundle_sequence FROM history WHERE only_row = 1")
        .fetch_one(&mut *connection)
        .await
        .map_err(fault("read the bundle"))?;
    let rows: Vec<(Vec<u8>, Vec<u8>, i64)> =
        sqlx::query_as("SELECT sha256, der, published_at FROM authorities ORDER BY place")
            .fetch_all(&mut *connection)
            .await
            .map_err(fault("read the bundle"))?;
    let authorities = rows
        .into_iter()
        .map(|(sha256, der, at)| Ok(Authority { sha256: sha256.try_into()?, der, published_at: UnixTime(at) }))
        .collect::<Result<_, StoreFault>>()?;
    let jwt_authorities = super::jwt_authorities::read(connection).await?;
    Ok(BundleState { authorities, jwt_authorities, sequence: sequence.cast_unsigned() })
}
