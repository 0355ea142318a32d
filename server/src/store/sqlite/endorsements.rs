//! Endorsements: roots, intermediates, CRLs, VEKs and collateral.

use super::super::changes::Notice;
use super::super::endorsements::{
    BundleState, Endorsement, EndorsementCount, EndorsementDraft, EndorsementRole, EndorsementSource, Endorsements,
    KEPT_VEKS_MAX, Serves, Which,
};
use super::super::ledger::Actor;
use super::super::{Held, Sha256, StoreFault};
use super::SqliteStore;
use super::authorities::{self, Publish, WithdrawAuthority};
use super::writer::{Tx, Verb, fault};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use serde_json::{Value, json};

/// Endorsements in one answer.
const PAGE: u32 = 1000;
/// How long what the server fetched is kept beyond its end, in seconds: 30 days.
const ENDED_KEPT: i64 = 30 * 86_400;
/// Nobody's word: what the server fetched or was shown.
const KEPT: &str = "source IN ('directory', 'service', 'evidence')";

impl Endorsements for SqliteStore {
    fn import_endorsements(&self, drafts: Vec<EndorsementDraft>, by: Actor, at: UnixTime) -> Held<'_, u64> {
        Box::pin(self.queue.run(Import { drafts, by, at }))
    }

    fn keep_endorsements(&self, drafts: Vec<EndorsementDraft>, at: UnixTime) -> Held<'_, ()> {
        Box::pin(self.queue.run(Keep { drafts, at }))
    }

    fn withdraw_endorsement(&self, sha256: Sha256, by: Actor, at: UnixTime) -> Held<'_, bool> {
        Box::pin(self.queue.run(Withdraw { sha256, by, at }))
    }

    fn endorsements(&self, which: Which) -> Held<'_, Vec<Endorsement>> {
        Box::pin(async move {
            let query = match which {
                Which::Trust => sqlx::query_as(
                    "SELECT * FROM endorsements WHERE role IN ('root', 'intermediate', 'crl') \
                     ORDER BY class, name, sha256",
                ),
                Which::Collateral => sqlx::query_as(
                    "SELECT * FROM endorsements WHERE role = 'collateral' ORDER BY about, not_after DESC",
                ),
                Which::About(about) => sqlx::query_as(
                    "SELECT * FROM endorsements WHERE about = $1 AND about <> '' ORDER BY not_after DESC, number DESC",
                )
                .bind(about),
                Which::After { number, limit } => {
                    let limit = if limit == 0 { PAGE } else { limit.min(PAGE) };
                    sqlx::query_as("SELECT * FROM endorsements WHERE number > $1 ORDER BY number LIMIT $2")
                        .bind(number.cast_signed())
                        .bind(limit)
                }
            };
            let rows: Vec<EndorsementRow> =
                query.fetch_all(&mut *self.reader().await?).await.map_err(fault("read endorsements"))?;
            rows.into_iter().map(EndorsementRow::endorsement).collect()
        })
    }

    fn count_endorsements(&self) -> Held<'_, Vec<EndorsementCount>> {
        Box::pin(async move {
            let rows: Vec<(String, i64, i64)> =
                sqlx::query_as("SELECT role, COUNT(*), MIN(not_after) FROM endorsements GROUP BY role ORDER BY role")
                    .fetch_all(&mut *self.reader().await?)
                    .await
                    .map_err(fault("count endorsements"))?;
            let counts = rows.into_iter().map(|(role, count, first_end)| {
                let role = EndorsementRole::parse(&role).ok_or(StoreFault::Corrupt { what: "endorsement role" })?;
                Ok(EndorsementCount { role, count: count.cast_unsigned(), first_end: UnixTime(first_end) })
            });
            counts.collect()
        })
    }

    fn publish_authority(&self, der: Vec<u8>, by: Actor, at: UnixTime) -> Held<'_, BundleState> {
        Box::pin(self.queue.run(Publish { der, by, at }))
    }

    fn withdraw_authority(&self, sha256: Sha256, by: Actor, at: UnixTime) -> Held<'_, BundleState> {
        Box::pin(self.queue.run(WithdrawAuthority { sha256, by, at }))
    }

    fn bundle(&self) -> Held<'_, BundleState> {
        Box::pin(async move { authorities::read(&mut *self.snapshot().await?).await })
    }
}

pub(super) fn act(action: &'static str, subject: &Sha256, by: &Actor, at: UnixTime, detail: &Value) -> Leaf {
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
            new += u64::from(!is_held(tx, draft).await?);
            record(tx, draft, &self.by, self.at);
            put(tx, draft, &self.by, self.at).await?;
        }
        if self.drafts.iter().any(|draft| draft.role.is_trust()) {
            let n = tx.next_n();
            tx.notify(Notice::Endorsements { n });
        }
        Ok(new)
    }
}

struct Keep {
    drafts: Vec<EndorsementDraft>,
    at: UnixTime,
}

impl Verb for Keep {
    type Reply = ();
    const NAME: &'static str = "keep_endorsements";

    async fn run(&self, tx: &mut Tx) -> Result<(), StoreFault> {
        let mut told = false;
        for draft in &self.drafts {
            if is_held(tx, draft).await? {
                touch(tx, draft).await?;
                continue;
            }
            if is_outdone(tx, draft).await? {
                continue;
            }
            supersede(tx, draft).await?;
            put(tx, draft, &Actor::Server, self.at).await?;
            // What a stranger can cause is not recorded; a CRL is fetched on the server's own initiative.
            if draft.role == EndorsementRole::Crl {
                record(tx, draft, &Actor::Server, self.at);
                told = true;
            }
        }
        if told {
            let n = tx.next_n();
            tx.notify(Notice::Endorsements { n });
        }
        Ok(())
    }
}

fn record(tx: &mut Tx, draft: &EndorsementDraft, by: &Actor, at: UnixTime) {
    let detail = json!({
        "role": draft.role.as_str(), "serves": draft.serves.as_str(), "class": draft.class, "name": draft.name,
        "about": draft.about, "source": draft.source.as_str(),
    });
    tx.append(&act("endorsement.import", &Sha256::of(&draft.content), by, at, &detail));
}

async fn is_held(tx: &mut Tx, draft: &EndorsementDraft) -> Result<bool, StoreFault> {
    let held: Option<i64> = sqlx::query_scalar("SELECT number FROM endorsements WHERE sha256 = $1 AND serves = $2")
        .bind(Sha256::of(&draft.content).0.to_vec())
        .bind(draft.serves.as_str())
        .fetch_optional(&mut tx.connection)
        .await
        .map_err(fault("read an endorsement"))?;
    Ok(held.is_some())
}

/// The vendor says the same still.
async fn touch(tx: &mut Tx, draft: &EndorsementDraft) -> Result<(), StoreFault> {
    if !matches!(draft.role, EndorsementRole::Crl | EndorsementRole::Collateral) {
        return Ok(());
    }
    sqlx::query("UPDATE endorsements SET fetched_at = $1 WHERE sha256 = $2 AND serves = $3 AND fetched_at < $1")
        .bind(draft.fetched_at.seconds())
        .bind(Sha256::of(&draft.content).0.to_vec())
        .bind(draft.serves.as_str())
        .execute(&mut tx.connection)
        .await
        .map_err(fault("touch an endorsement"))?;
    Ok(())
}

/// Whether a CRL about the same is held that is newer: a service that answers with an old one changes nothing.
async fn is_outdone(tx: &mut Tx, draft: &EndorsementDraft) -> Result<bool, StoreFault> {
    if draft.role != EndorsementRole::Crl {
        return Ok(false);
    }
    let newest: Option<i64> = sqlx::query_scalar(
        "SELECT MAX(not_after) FROM endorsements WHERE role = 'crl' AND serves = $1 AND about = $2 AND about <> ''",
    )
    .bind(draft.serves.as_str())
    .bind(draft.about.clone())
    .fetch_one(&mut tx.connection)
    .await
    .map_err(fault("read an endorsement"))?;
    Ok(newest.is_some_and(|newest| newest > draft.not_after.seconds()))
}

/// Removes what the new one stands in place of.
async fn supersede(tx: &mut Tx, draft: &EndorsementDraft) -> Result<(), StoreFault> {
    if !matches!(draft.role, EndorsementRole::Crl | EndorsementRole::Collateral) {
        return Ok(());
    }
    sqlx::query("DELETE FROM endorsements WHERE role = $1 AND serves = $2 AND about = $3 AND about <> ''")
        .bind(draft.role.as_str())
        .bind(draft.serves.as_str())
        .bind(draft.about.clone())
        .execute(&mut tx.connection)
        .await
        .map_err(fault("replace an endorsement"))?;
    Ok(())
}

async fn put(tx: &mut Tx, draft: &EndorsementDraft, by: &Actor, at: UnixTime) -> Result<(), StoreFault> {
    sqlx::query(
        "INSERT INTO endorsements (sha256, role, serves, about, content, class, name, subject, not_after, source, \
         fetched_at, imported_at, imported_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (sha256, serves) DO UPDATE SET role = excluded.role, about = excluded.about, \
         class = excluded.class, name = excluded.name, source = excluded.source, \
         imported_at = excluded.imported_at, imported_by = excluded.imported_by",
    )
    .bind(Sha256::of(&draft.content).0.to_vec())
    .bind(draft.role.as_str())
    .bind(draft.serves.as_str())
    .bind(draft.about.clone())
    .bind(draft.content.clone())
    .bind(draft.class.clone())
    .bind(draft.name.clone())
    .bind(draft.subject.clone())
    .bind(draft.not_after.seconds())
    .bind(draft.source.as_str())
    .bind(draft.fetched_at.seconds())
    .bind(at.seconds())
    .bind(by.to_string())
    .execute(&mut tx.connection)
    .await
    .map_err(fault("keep an endorsement"))?;
    Ok(())
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
        let roles: Vec<String> = sqlx::query_scalar("DELETE FROM endorsements WHERE sha256 = $1 RETURNING role")
            .bind(self.sha256.0.to_vec())
            .fetch_all(&mut tx.connection)
            .await
            .map_err(fault("withdraw an endorsement"))?;
        if roles.is_empty() {
            return Ok(false);
        }
        tx.append(&act("endorsement.withdraw", &self.sha256, &self.by, self.at, &Value::Null));
        let n = tx.next_n();
        tx.notify(Notice::Endorsements { n });
        Ok(true)
    }
}

/// The statements of [`prune`].
pub(super) fn pruning() -> [String; 2] {
    [
        format!("DELETE FROM endorsements WHERE {KEPT} AND not_after < $1"),
        format!(
            "DELETE FROM endorsements WHERE number IN (SELECT number FROM endorsements WHERE role = 'vek' AND {KEPT} \
             ORDER BY fetched_at DESC, number DESC LIMIT -1 OFFSET $1)"
        ),
    ]
}

/// Removes what the server kept by itself: long after its end, and VEKs beyond their bound.
pub(super) async fn prune(tx: &mut Tx, now: UnixTime) -> Result<(), StoreFault> {
    let [ended, beyond] = pruning();
    for (text, bound) in [(ended, now.seconds() - ENDED_KEPT), (beyond, KEPT_VEKS_MAX.cast_signed())] {
        let query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(bound);
        query.execute(&mut tx.connection).await.map_err(fault("prune endorsements"))?;
    }
    Ok(())
}

#[derive(sqlx::FromRow)]
struct EndorsementRow {
    number: i64,
    sha256: Vec<u8>,
    role: String,
    serves: String,
    about: String,
    content: Vec<u8>,
    class: String,
    name: String,
    subject: String,
    not_after: i64,
    source: String,
    fetched_at: i64,
    imported_at: i64,
    imported_by: String,
}

impl EndorsementRow {
    fn endorsement(self) -> Result<Endorsement, StoreFault> {
        let corrupt = |what| StoreFault::Corrupt { what };
        Ok(Endorsement {
            number: self.number.cast_unsigned(),
            sha256: self.sha256.try_into()?,
            draft: EndorsementDraft {
                role: EndorsementRole::parse(&self.role).ok_or(corrupt("endorsement role"))?,
                serves: Serves::parse(&self.serves).ok_or_else(|| corrupt("endorsement kind"))?,
                content: self.content,
                class: self.class,
                name: self.name,
                subject: self.subject,
                about: self.about,
                not_after: UnixTime(self.not_after),
                source: EndorsementSource::parse(&self.source).ok_or(corrupt("endorsement source"))?,
                fetched_at: UnixTime(self.fetched_at),
            },
            imported_at: UnixTime(self.imported_at),
            imported_by: self.imported_by,
        })
    }
}
