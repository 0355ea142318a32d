//! Intermediates and marks as rows.

use super::super::changes::Notice;
use super::super::ledger::Actor;
use super::super::x509_authorities::{AuthorityMark, ServerId, X509Authorities, X509Authority, X509Change, X509State};
use super::super::{Held, StoreFault};
use super::SqliteStore;
use super::authorities::{publish, withdraw};
use super::writer::{Tx, Verb, fault};
use crate::authority::KeyId;
use crate::authority::life::{Life, Stage};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use serde_json::json;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row};

impl X509Authorities for SqliteStore {
    fn x509_authorities(&self) -> Held<'_, X509State> {
        Box::pin(async move { read(&mut *self.snapshot().await?).await })
    }

    fn change_x509(&self, change: X509Change, by: Actor, at: UnixTime) -> Held<'_, bool> {
        Box::pin(self.queue.run(Change { change, by, at }))
    }
}

struct Change {
    change: X509Change,
    by: Actor,
    at: UnixTime,
}

impl Verb for Change {
    type Reply = bool;
    const NAME: &'static str = "change_x509";

    async fn run(&self, tx: &mut Tx) -> Result<bool, StoreFault> {
        let X509Change { action, subject, detail, put, gone, mark, list, forget, publish: roots, withdraw: out } =
            &self.change;
        let before = put.iter().map(|(stage, one)| (*stage, &one.key_id));
        for (stage, key_id) in before.chain(gone.iter().map(|(stage, key_id)| (Some(*stage), key_id))) {
            if stage_of(&mut tx.connection, key_id).await? != stage {
                return Ok(false);
            }
        }
        tx.append(&Leaf::Act(json!({
            "at": self.at.seconds(), "by": self.by.to_string(), "action": action, "subject": subject, "detail": detail,
        })));
        for (_, one) in put {
            write(&mut tx.connection, one).await?;
        }
        for (_, key_id) in gone {
            delete(&mut tx.connection, "DELETE FROM x509_authorities WHERE key_id = $1", key_id).await?;
        }
        for one in mark {
            write_mark(&mut tx.connection, one).await?;
        }
        for one in list {
            super::revocations::list_authority(tx, one, self.at).await?;
        }
        for key_id in forget {
            delete(&mut tx.connection, "DELETE FROM x509_marks WHERE key_id = $1", key_id).await?;
        }
        for der in roots {
            publish(tx, der, &self.by, self.at).await?;
        }
        for sha256 in out {
            withdraw(tx, sha256, &self.by, self.at).await?;
        }
        if !mark.is_empty() || !forget.is_empty() {
            // Not of the bundle's content, but told with it.
            let n = tx.next_n();
            tx.notify(Notice::Bundle { n });
        }
        Ok(true)
    }
}

async fn stage_of(connection: &mut SqliteConnection, key_id: &KeyId) -> Result<Option<Stage>, StoreFault> {
    let stage: Option<String> = sqlx::query_scalar("SELECT stage FROM x509_authorities WHERE key_id = $1")
        .bind(key_id.as_bytes())
        .fetch_optional(connection)
        .await
        .map_err(fault("read an authority"))?;
    stage.map(|stage| Stage::parse(&stage).ok_or(StoreFault::Corrupt { what: "stage of an authority" })).transpose()
}

async fn write(connection: &mut SqliteConnection, one: &X509Authority) -> Result<(), StoreFault> {
    sqlx::query(
        "INSERT OR REPLACE INTO x509_authorities \
         (key_id, der, root, server, stage, prepared_at, activated_at, ends, used_until) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(one.key_id.as_bytes())
    .bind(&one.der)
    .bind(one.root.as_bytes())
    .bind(&one.server.0[..])
    .bind(one.life.stage.as_str())
    .bind(one.life.prepared_at.seconds())
    .bind(one.life.activated_at.map(UnixTime::seconds))
    .bind(one.life.ends.seconds())
    .bind(one.life.used_until.seconds())
    .execute(connection)
    .await
    .map(|_| ())
    .map_err(fault("write an authority"))
}

async fn write_mark(connection: &mut SqliteConnection, one: &AuthorityMark) -> Result<(), StoreFault> {
    sqlx::query("INSERT OR REPLACE INTO x509_marks (key_id, is_root, revoked, at, until) VALUES ($1, $2, $3, $4, $5)")
        .bind(one.key_id.as_bytes())
        .bind(one.is_root)
        .bind(one.revoked)
        .bind(one.at.seconds())
        .bind(one.until.seconds())
        .execute(connection)
        .await
        .map(|_| ())
        .map_err(fault("mark an authority"))
}

async fn delete(connection: &mut SqliteConnection, statement: &'static str, key_id: &KeyId) -> Result<(), StoreFault> {
    let deleted = sqlx::query(statement).bind(key_id.as_bytes()).execute(connection).await;
    deleted.map(|_| ()).map_err(fault("forget an authority"))
}

async fn read(connection: &mut SqliteConnection) -> Result<X509State, StoreFault> {
    let authorities: Vec<AuthorityRow> = sqlx::query_as("SELECT * FROM x509_authorities ORDER BY prepared_at, key_id")
        .fetch_all(&mut *connection)
        .await
        .map_err(fault("read authorities"))?;
    let marks: Vec<MarkRow> = sqlx::query_as("SELECT * FROM x509_marks ORDER BY at, key_id")
        .fetch_all(connection)
        .await
        .map_err(fault("read authorities"))?;
    Ok(X509State {
        authorities: authorities.into_iter().map(|row| row.0).collect::<Result<_, _>>()?,
        marks: marks.into_iter().map(|row| row.0).collect::<Result<_, _>>()?,
    })
}

struct AuthorityRow(Result<X509Authority, StoreFault>);

impl FromRow<'_, SqliteRow> for AuthorityRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let (key_id, root): (Vec<u8>, Vec<u8>) = (row.try_get("key_id")?, row.try_get("root")?);
        let (server, stage): (Vec<u8>, String) = (row.try_get("server")?, row.try_get("stage")?);
        let der = row.try_get("der")?;
        let time = |column: &str| row.try_get(column).map(UnixTime);
        let (prepared_at, ends, used_until) = (time("prepared_at")?, time("ends")?, time("used_until")?);
        let activated_at: Option<i64> = row.try_get("activated_at")?;
        let corrupt = StoreFault::Corrupt { what: "authority" };
        let parsed = || {
            let key_id = KeyId::new(&key_id)?;
            let life = Life {
                stage: Stage::parse(&stage)?,
                prepared_at,
                activated_at: activated_at.map(UnixTime),
                ends,
                used_until,
            };
            let (root, server) = (KeyId::new(&root)?, ServerId(server.try_into().ok()?));
            Some(X509Authority { id: key_id.to_string(), key_id, der, root, server, life })
        };
        Ok(Self(parsed().ok_or(corrupt)))
    }
}

struct MarkRow(Result<AuthorityMark, StoreFault>);

impl FromRow<'_, SqliteRow> for MarkRow {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let key_id: Vec<u8> = row.try_get("key_id")?;
        let (is_root, revoked) = (row.try_get("is_root")?, row.try_get("revoked")?);
        let (at, until) = (UnixTime(row.try_get("at")?), UnixTime(row.try_get("until")?));
        let mark = KeyId::new(&key_id).map(|key_id| AuthorityMark { key_id, is_root, revoked, at, until });
        Ok(Self(mark.ok_or(StoreFault::Corrupt { what: "mark of an authority" })))
    }
}
