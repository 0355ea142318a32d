//! Policy versions.

use super::super::ledger::Actor;
use super::super::policies::{Document, Mode, Policies, PolicyDigest, PolicyDraft, PolicyVersion};
use super::super::rollouts::{AnnouncedWaiver, PolicySignature, Rollout, RolloutState};
use super::super::{Held, StoreFault};
use super::writer::{Tx, Verb, fault};
use super::{SqliteStore, rollout_rows, rollouts};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use serde_json::json;
use sqlx::sqlite::SqliteConnection;
use std::collections::BTreeSet;

/// Waivers that one entry names; it says how many there are in all.
const WAIVERS_MAX: usize = 64;
/// Characters of a waiver's name or owner in the record: with [`WAIVERS_MAX`] of them an entry stays below its limit.
const WAIVER_TEXT_MAX: usize = 64;

impl Policies for SqliteStore {
    fn apply_policy(&self, draft: PolicyDraft, by: Actor, at: UnixTime) -> Held<'_, PolicyVersion> {
        Box::pin(self.queue.run(Apply { draft, by, at }))
    }

    fn policy_in(&self, mode: Mode) -> Held<'_, Option<PolicyVersion>> {
        Box::pin(async move {
            let mut reader = self.snapshot().await?;
            let state = rollout_rows::present(&mut reader).await?.state;
            let digest = match mode {
                Mode::Enforce => state.enforced,
                Mode::Observe => state.observed,
                Mode::Retired => None,
            };
            match digest {
                Some(digest) => version(&mut reader, digest, &state).await,
                None => Ok(None),
            }
        })
    }

    fn policy(&self, digest: PolicyDigest) -> Held<'_, Option<PolicyVersion>> {
        Box::pin(async move {
            let mut reader = self.snapshot().await?;
            let state = rollout_rows::present(&mut reader).await?.state;
            version(&mut reader, digest, &state).await
        })
    }

    fn policies(&self) -> Held<'_, Vec<PolicyVersion>> {
        Box::pin(async move {
            let mut reader = self.report_snapshot().await?;
            let state = rollout_rows::present(&mut reader).await?.state;
            let rows: Vec<PolicyRow> = sqlx::query_as(
                "SELECT number, digest, name, '[]' AS documents, message, author, applied_at, signing_key, \
                 x'' AS signature FROM policies ORDER BY number DESC",
            )
            .fetch_all(&mut *reader)
            .await
            .map_err(fault("read policies"))?;
            rows.into_iter().map(|row| row.version(&state)).collect()
        })
    }
}

async fn version(
    connection: &mut SqliteConnection,
    digest: PolicyDigest,
    state: &RolloutState,
) -> Result<Option<PolicyVersion>, StoreFault> {
    let row: Option<PolicyRow> = sqlx::query_as(
        "SELECT number, digest, name, documents, message, author, applied_at, signing_key, signature FROM policies \
         WHERE digest = $1",
    )
    .bind(digest.0.to_vec())
    .fetch_optional(connection)
    .await
    .map_err(fault("read a policy"))?;
    row.map(|row| row.version(state)).transpose()
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
        let number = keep(tx, draft, None, &[], &author, self.at).await?;
        let (state, action) = match draft.mode {
            Mode::Enforce => (tx.rollout().enforce(digest, BTreeSet::new()), "policy.enforce"),
            Mode::Observe | Mode::Retired => (tx.rollout().observe(digest), "policy.observe"),
        };
        let rollout = Rollout {
            state,
            at: self.at,
            author: author.clone(),
            approver: String::new(),
            action: action.to_owned(),
            message: draft.message.clone(),
            restored: None,
            refused: 0,
        };
        rollouts::write(tx, rollout).await?;
        Ok(PolicyVersion {
            number,
            digest,
            name: draft.name.clone(),
            documents: draft.documents.clone(),
            mode: draft.mode,
            message: draft.message.clone(),
            author,
            applied_at: self.at,
            signing_key: String::new(),
            signature: Vec::new(),
        })
    }
}

/// Keeps a version, and says so in the record; returns its number. The same content again is the same version.
pub(super) async fn keep(
    tx: &mut Tx,
    draft: &PolicyDraft,
    signature: Option<&PolicySignature>,
    waivers: &[AnnouncedWaiver],
    author: &str,
    at: UnixTime,
) -> Result<u64, StoreFault> {
    let digest = draft.digest();
    let (key, bytes) = signature.map(|one| (one.key.clone(), one.bytes.clone())).unwrap_or_default();
    let named: Vec<_> = waivers.iter().take(WAIVERS_MAX).map(announced).collect();
    tx.append(&Leaf::Act(json!({
        "at": at.seconds(), "by": author, "action": "policy.apply", "subject": digest.to_string(),
        "detail": {
            "name": draft.name, "mode": draft.mode.as_str(), "message": draft.message,
            "signing_key": key, "signature": hex::encode(&bytes),
            "waivers": named, "waivers_in_all": waivers.len(),
        },
    })));
    let documents: Vec<(&str, &str)> =
        draft.documents.iter().map(|document| (document.name.as_str(), document.text.as_str())).collect();
    let number: i64 = sqlx::query_scalar(
        "INSERT INTO policies (digest, name, documents, message, author, applied_at, signing_key, signature) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (digest) DO UPDATE SET message = excluded.message, \
         author = excluded.author, applied_at = excluded.applied_at, signing_key = excluded.signing_key, \
         signature = excluded.signature RETURNING number",
    )
    .bind(digest.0.to_vec())
    .bind(draft.name.clone())
    .bind(json!(documents).to_string())
    .bind(draft.message.clone())
    .bind(author.to_owned())
    .bind(at.seconds())
    .bind(key)
    .bind(bytes)
    .fetch_one(&mut tx.connection)
    .await
    .map_err(fault("keep a policy"))?;
    Ok(number.cast_unsigned())
}

fn announced(waiver: &AnnouncedWaiver) -> serde_json::Value {
    let short = |text: &str| text.chars().take(WAIVER_TEXT_MAX).collect::<String>();
    json!({
        "kind": waiver.kind, "name": short(&waiver.name), "owner": short(&waiver.owner),
        "valid_until": waiver.valid_until.seconds(),
    })
}

#[derive(sqlx::FromRow)]
struct PolicyRow {
    number: i64,
    digest: Vec<u8>,
    name: String,
    documents: String,
    message: String,
    author: String,
    applied_at: i64,
    signing_key: String,
    signature: Vec<u8>,
}

impl PolicyRow {
    fn version(self, state: &RolloutState) -> Result<PolicyVersion, StoreFault> {
        let documents: Vec<(String, String)> =
            serde_json::from_str(&self.documents).map_err(|_| StoreFault::Corrupt { what: "policy" })?;
        let digest = self.digest.try_into()?;
        Ok(PolicyVersion {
            number: self.number.cast_unsigned(),
            digest,
            name: self.name,
            documents: documents.into_iter().map(|(name, text)| Document { name, text }).collect(),
            mode: state.mode_of(digest),
            message: self.message,
            author: self.author,
            applied_at: UnixTime(self.applied_at),
            signing_key: self.signing_key,
            signature: self.signature,
        })
    }
}
