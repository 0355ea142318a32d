//! Policy versions.

use super::super::changes::Notice;
use super::super::ledger::Actor;
use super::super::policies::{Document, Mode, Policies, PolicyDigest, PolicyDraft, PolicyVersion};
use super::super::{Held, StoreFault};
use super::SqliteStore;
use super::writer::{Tx, Verb, fault};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use serde_json::json;

impl Policies for SqliteStore {
    fn apply_policy(&self, draft: PolicyDraft, by: Actor, at: UnixTime) -> Held<'_, PolicyVersion> {
        Box::pin(self.queue.run(Apply { draft, by, at }))
    }

    fn policy_in(&self, mode: Mode) -> Held<'_, Option<PolicyVersion>> {
        Box::pin(async move {
            let row: Option<PolicyRow> =
                sqlx::query_as("SELECT * FROM policies WHERE mode = $1 ORDER BY applied_at DESC LIMIT 1")
                    .bind(mode.as_str())
                    .fetch_optional(&mut *self.reader().await?)
                    .await
                    .map_err(fault("read a policy"))?;
            row.map(PolicyRow::version).transpose()
        })
    }

    fn policy(&self, digest: PolicyDigest) -> Held<'_, Option<PolicyVersion>> {
        Box::pin(async move {
            let row: Option<PolicyRow> = sqlx::query_as("SELECT * FROM policies WHERE digest = $1")
                .bind(digest.0.to_vec())
                .fetch_optional(&mut *self.reader().await?)
                .await
                .map_err(fault("read a policy"))?;
            row.map(PolicyRow::version).transpose()
        })
    }

    fn policies(&self) -> Held<'_, Vec<PolicyVersion>> {
        Box::pin(async move {
            let rows: Vec<PolicyRow> = sqlx::query_as(
                "SELECT number, digest, name, '[]' AS documents, mode, message, author, applied_at FROM policies \
                 ORDER BY number DESC",
            )
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(fault("read policies"))?;
            rows.into_iter().map(PolicyRow::version).collect()
        })
    }
}

struct Apply {
    draft: PolicyDraft,
    by: Actor,
    at: UnixTime,
}

impl Verb for Apply {
    type Reply = PolicyVersion;
    const NAME: &'static str = "apply_policy";

    async fn run(&self, tx: &mut Tx) -> Result<PolicyVersion, StoreFault> {
        let (draft, digest, author) = (&self.draft, self.draft.digest(), self.by.to_string());
        tx.append(&Leaf::Act(json!({
            "at": self.at.seconds(), "by": author, "action": "policy.apply", "subject": digest.to_string(),
            "detail": { "name": draft.name, "mode": draft.mode.as_str(), "message": draft.message },
        })));
        sqlx::query("UPDATE policies SET mode = 'retired' WHERE mode = $1")
            .bind(draft.mode.as_str())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("retire a policy"))?;
        let documents: Vec<(&str, &str)> =
            draft.documents.iter().map(|document| (document.name.as_str(), document.text.as_str())).collect();
        let number: i64 = sqlx::query_scalar(
            "INSERT INTO policies (digest, name, documents, mode, message, author, applied_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (digest) DO UPDATE SET mode = excluded.mode, \
             message = excluded.message, author = excluded.author, applied_at = excluded.applied_at RETURNING number",
        )
        .bind(digest.0.to_vec())
        .bind(draft.name.clone())
        .bind(json!(documents).to_string())
        .bind(draft.mode.as_str())
        .bind(draft.message.clone())
        .bind(author.clone())
        .bind(self.at.seconds())
        .fetch_one(&mut tx.connection)
        .await
        .map_err(fault("apply a policy"))?;
        match draft.mode {
            Mode::Enforce => tx.enforce(Some(digest)),
            // The one in force may have been told to observe instead.
            Mode::Observe | Mode::Retired if tx.enforced() == Some(digest) => tx.enforce(None),
            Mode::Observe | Mode::Retired => {}
        }
        let n = tx.next_n();
        tx.notify(Notice::Policy { n });
        Ok(PolicyVersion {
            number: number.cast_unsigned(),
            digest,
            name: draft.name.clone(),
            documents: draft.documents.clone(),
            mode: draft.mode,
            message: draft.message.clone(),
            author,
            applied_at: self.at,
        })
    }
}

#[derive(sqlx::FromRow)]
struct PolicyRow {
    number: i64,
    digest: Vec<u8>,
    name: String,
    documents: String,
    mode: String,
    message: String,
    author: String,
    applied_at: i64,
}

impl PolicyRow {
    fn version(self) -> Result<PolicyVersion, StoreFault> {
        let documents: Vec<(String, String)> =
            serde_json::from_str(&self.documents).map_err(|_| StoreFault::Corrupt { what: "policy" })?;
        Ok(PolicyVersion {
            number: self.number.cast_unsigned(),
            digest: self.digest.try_into()?,
            name: self.name,
            documents: documents.into_iter().map(|(name, text)| Document { name, text }).collect(),
            mode: match self.mode.as_str() {
                "enforce" => Mode::Enforce,
                "observe" => Mode::Observe,
                "retired" => Mode::Retired,
                _ => return Err(StoreFault::Corrupt { what: "policy mode" }),
            },
            message: self.message,
            author: self.author,
            applied_at: UnixTime(self.applied_at),
        })
    }
}
