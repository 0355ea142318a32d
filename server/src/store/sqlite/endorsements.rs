//! Endorsements, and the authorities of our own bundle.

use super::super::changes::Notice;
use super::super::endorsements::{
    Authority, BundleState, Endorsement, EndorsementDraft, EndorsementRole, Endorsements,
};
use super::super::ledger::Actor;
use super::super::{Held, Sha256, StoreFault};
use super::SqliteStore;
use super::writer::{Tx, Verb, fault};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnection;

impl Endorsements for SqliteStore {
    fn import_endorsements(&self, drafts: Vec<EndorsementDraft>, by: Actor, at: UnixTime) -> Held<'_, u64> {
        Box::pin(self.queue.run(Import { drafts, by, at }))
    }

    fn withdraw_endorsement(&self, sha256: Sha256, by: Actor, at: UnixTime) -> Held<'_, bool> {
        Box::pin(self.queue.run(Withdraw { sha256, by, at }))
    }

    fn endorsements(&self) -> Held<'_, Vec<Endorsement>> {
        Box::pin(async move {
            let rows: Vec<EndorsementRow> = sqlx::query_as("SELECT * FROM endorsements ORDER BY class, name, sha256")
                .fetch_all(&mut *self.reader().await?)
                .await
                .map_err(fault("read endorsements"))?;
            rows.into_iter().map(EndorsementRow::endorsement).collect()
        })
    }

    fn publish_authority(&self, der: Vec<u8>, by: Actor, at: UnixTime) -> Held<'_, BundleState> {
        Box::pin(self.queue.run(Publish { der, by, at }))
    }

    fn withdraw_authority(&self, sha256: Sha256, by: Actor, at: UnixTime) -> Held<'_, BundleState> {
        Box::pin(self.queue.run(WithdrawAuthority { sha256, by, at }))
    }

    fn bundle(&self) -> Held<'_, BundleState> {
        Box::pin(async move { bundle(&mut *self.snapshot().await?).await })
    }
}

fn act(action: &'static str, subject: &Sha256, by: &Actor, at: UnixTime, detail: &Value) -> Leaf {
    Leaf::Act(json!({
        "at": at.seconds(), "by": by.to_string(), "action": action, "subject": subject.to_string(), "detail": detail,
    }))
}

struct Import {
    drafts: Vec<EndorsementDraft>,
    by: Actor,
    at: UnixTime,
}

impl Verb for Import {
    type Reply = u64;
    const NAME: &'static str = "import_endorsements";

    async fn run(&self, tx: &mut Tx) -> Result<u64, StoreFault> {
        let mut new = 0;
        for draft in &self.drafts {
            let sha256 = Sha256::of(&draft.der);
            let held: Option<String> = sqlx::query_scalar("SELECT role FROM endorsements WHERE sha256 = $1")
                .bind(sha256.0.to_vec())
                .fetch_optional(&mut tx.connection)
                .await
                .map_err(fault("read an endorsement"))?;
            new += u64::from(held.is_none());
            let detail = json!({ "role": draft.role.as_str(), "class": draft.class, "name": draft.name });
            tx.append(&act("endorsement.import", &sha256, &self.by, self.at, &detail));
            sqlx::query(
                "INSERT INTO endorsements (sha256, role, der, class, name, subject, not_after, imported_at, \
                 imported_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (sha256) DO UPDATE SET \
                 role = excluded.role, class = excluded.class, name = excluded.name, \
                 imported_at = excluded.imported_at, imported_by = excluded.imported_by",
            )
            .bind(sha256.0.to_vec())
            .bind(draft.role.as_str())
            .bind(draft.der.clone())
            .bind(draft.class.clone())
            .bind(draft.name.clone())
            .bind(draft.subject.clone())
            .bind(draft.not_after.seconds())
            .bind(self.at.seconds())
            .bind(self.by.to_string())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("import an endorsement"))?;
        }
        if !self.drafts.is_empty() {
            let n = tx.next_n();
            tx.notify(Notice::Endorsements { n });
        }
        Ok(new)
    }
}

struct Withdraw {
    sha256: Sha256,
    by: Actor,
    at: UnixTime,
}

impl Verb for Withdraw {
    type Reply = bool;
    const NAME: &'static str = "withdraw_endorsement";

    async fn run(&self, tx: &mut Tx) -> Result<bool, StoreFault> {
        let gone = sqlx::query("DELETE FROM endorsements WHERE sha256 = $1")
            .bind(self.sha256.0.to_vec())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("withdraw an endorsement"))?
            .rows_affected()
            > 0;
        if gone {
            tx.append(&act("endorsement.withdraw", &self.sha256, &self.by, self.at, &Value::Null));
            let n = tx.next_n();
            tx.notify(Notice::Endorsements { n });
        }
        Ok(gone)
    }
}

struct Publish {
    der: Vec<u8>,
    by: Actor,
    at: UnixTime,
}

impl Verb for Publish {
    type Reply = BundleState;
    const NAME: &'static str = "publish_authority";

    async fn run(&self, tx: &mut Tx) -> Result<BundleState, StoreFault> {
        let sha256 = Sha256::of(&self.der);
        let new = sqlx::query(
            "INSERT INTO authorities (sha256, der, published_at, place) \
             VALUES ($1, $2, $3, (SELECT COALESCE(MAX(place), 0) + 1 FROM authorities)) \
             ON CONFLICT (sha256) DO NOTHING",
        )
        .bind(sha256.0.to_vec())
        .bind(self.der.clone())
        .bind(self.at.seconds())
        .execute(&mut tx.connection)
        .await
        .map_err(fault("publish an authority"))?
        .rows_affected()
            > 0;
        if new {
            bundle_changed(tx, "bundle.publish", &sha256, &self.by, self.at).await?;
        }
        bundle(&mut tx.connection).await
    }
}

struct WithdrawAuthority {
    sha256: Sha256,
    by: Actor,
    at: UnixTime,
}

impl Verb for WithdrawAuthority {
    type Reply = BundleState;
    const NAME: &'static str = "withdraw_authority";

    async fn run(&self, tx: &mut Tx) -> Result<BundleState, StoreFault> {
        let gone = sqlx::query("DELETE FROM authorities WHERE sha256 = $1")
            .bind(self.sha256.0.to_vec())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("withdraw an authority"))?
            .rows_affected()
            > 0;
        if gone {
            bundle_changed(tx, "bundle.withdraw", &self.sha256, &self.by, self.at).await?;
        }
        bundle(&mut tx.connection).await
    }
}

async fn bundle_changed(
    tx: &mut Tx,
    action: &'static str,
    sha256: &Sha256,
    by: &Actor,
    at: UnixTime,
) -> Result<(), StoreFault> {
    tx.append(&act(action, sha256, by, at, &Value::Null));
    sqlx::query("UPDATE history SET bundle_sequence = bundle_sequence + 1 WHERE only_row = 1")
        .execute(&mut tx.connection)
        .await
        .map_err(fault("number the bundle"))?;
    let n = tx.next_n();
    tx.notify(Notice::Bundle { n });
    Ok(())
}

async fn bundle(connection: &mut SqliteConnection) -> Result<BundleState, StoreFault> {
    let sequence: i64 = sqlx::query_scalar("SELECT bundle_sequence FROM history WHERE only_row = 1")
        .fetch_one(&mut *connection)
        .await
        .map_err(fault("read the bundle"))?;
    let rows: Vec<(Vec<u8>, Vec<u8>, i64)> =
        sqlx::query_as("SELECT sha256, der, published_at FROM authorities ORDER BY place")
            .fetch_all(connection)
            .await
            .map_err(fault("read the bundle"))?;
    let authorities = rows
        .into_iter()
        .map(|(sha256, der, at)| Ok(Authority { sha256: sha256.try_into()?, der, published_at: UnixTime(at) }))
        .collect::<Result<_, StoreFault>>()?;
    Ok(BundleState { authorities, sequence: sequence.cast_unsigned() })
}

#[derive(sqlx::FromRow)]
struct EndorsementRow {
    sha256: Vec<u8>,
    role: String,
    der: Vec<u8>,
    class: String,
    name: String,
    subject: String,
    not_after: i64,
    imported_at: i64,
    imported_by: String,
}

impl EndorsementRow {
    fn endorsement(self) -> Result<Endorsement, StoreFault> {
        Ok(Endorsement {
            sha256: self.sha256.try_into()?,
            draft: EndorsementDraft {
                role: match self.role.as_str() {
                    "root" => EndorsementRole::Root,
                    "intermediate" => EndorsementRole::Intermediate,
                    "crl" => EndorsementRole::Crl,
                    _ => return Err(StoreFault::Corrupt { what: "endorsement role" }),
                },
                der: self.der,
                class: self.class,
                name: self.name,
                subject: self.subject,
                not_after: UnixTime(self.not_after),
            },
            imported_at: UnixTime(self.imported_at),
            imported_by: self.imported_by,
        })
    }
}
