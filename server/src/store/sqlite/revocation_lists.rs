//! Lists of what was withdrawn: numbered and recorded before they are signed, kept after.

use super::super::changes::Notice;
use super::super::ledger::Actor;
use super::super::nodes::NodeNumber;
use super::super::revocations::{
    IssuerKeyId, LIST_SERIALS_MAX, ListDraft, ListValidity, LiveSvid, RevocationList, RevocationReason, Revocations,
    Revoked, ShownSvid, Signer, SvidFilter, SvidPlace, WithdrawnGrants, Withdrew,
};
use super::super::{Held, StoreFault};
use super::revocations::key_id;
use super::token_grants;
use super::writer::{Tx, Verb, fault};
use super::{SqliteStore, live_svids};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use serde_json::json;
use sqlx::sqlite::SqliteConnection;

/// Whose a list is, as its row says in `imported`: an intermediate's of ours. 1 is one that was imported.
const OWN: i64 = 0;
/// Of whoever signs our intermediates, made here.
const UPPER: i64 = 2;

/// Certificates in one answer.
const PAGE: u32 = 1_000;

impl Revocations for SqliteStore {
    fn draft_revocation_list(&self, issuer: IssuerKeyId, validity: ListValidity, at: UnixTime) -> Held<'_, ListDraft> {
        Box::pin(async move {
            let drafted = self.queue.run(Draft { issuer, validity, at, whose: OWN }).await?;
            drafted.ok_or(StoreFault::Corrupt { what: "list of an issuer of ours" })
        })
    }

    fn draft_upper_list(
        &self,
        issuer: IssuerKeyId,
        validity: ListValidity,
        at: UnixTime,
    ) -> Held<'_, Option<ListDraft>> {
        Box::pin(self.queue.run(Draft { issuer, validity, at, whose: UPPER }))
    }

    fn keep_revocation_list(&self, list: RevocationList, at: UnixTime) -> Held<'_, bool> {
        Box::pin(self.queue.run(Keep { list, at, imported: false }))
    }

    fn import_revocation_list(&self, list: RevocationList, at: UnixTime) -> Held<'_, bool> {
        Box::pin(self.queue.run(Keep { list, at, imported: true }))
    }

    fn revocation_lists(&self) -> Held<'_, Vec<RevocationList>> {
        Box::pin(async move { all(&mut *self.reader().await?).await })
    }

    fn withdrawn_grants(&self, after: u64, now: UnixTime) -> Held<'_, WithdrawnGrants> {
        Box::pin(async move { token_grants::withdrawn_after(&mut *self.reader().await?, after, now).await })
    }

    fn live_svids(&self, node: NodeNumber, after: u64, now: UnixTime) -> Held<'_, Vec<LiveSvid>> {
        Box::pin(async move { live_svids::of_node(&mut *self.reporter().await?, (node, after), now, PAGE).await })
    }

    fn svids(&self, filter: SvidFilter, after: SvidPlace, limit: u32, now: UnixTime) -> Held<'_, Vec<ShownSvid>> {
        Box::pin(async move {
            let limit = if limit == 0 { PAGE } else { limit.min(PAGE) };
            live_svids::page(&mut *self.reporter().await?, &filter, after, limit, now).await
        })
    }

    fn revoke_svids(
        &self,
        filter: SvidFilter,
        reason: RevocationReason,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Withdrew> {
        Box::pin(async move {
            let listed = match filter.serial {
                None => Vec::new(),
                // Reads all rows: not by the writer.
                Some(_) => live_svids::page(&mut *self.reporter().await?, &filter, SvidPlace::default(), 1, at).await?,
            };
            self.queue.run(live_svids::RevokeSvids { filter, listed, reason, by, at }).await
        })
    }

    fn revoke_svid(
        &self,
        serial: [u8; 16],
        reason: RevocationReason,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Option<LiveSvid>> {
        Box::pin(async move {
            let found = live_svids::by_serial(&mut *self.reporter().await?, serial, at).await?;
            if let Some(svid) = found {
                self.queue.run(live_svids::RevokeSvid { svid, reason, by, at }).await?;
            }
            Ok(found)
        })
    }
}

struct Draft {
    issuer: IssuerKeyId,
    validity: ListValidity,
    at: UnixTime,
    whose: i64,
}

impl Verb for Draft {
    type Reply = Option<ListDraft>;
    const NAME: &'static str = "draft_revocation_list";

    async fn run(&self, tx: &mut Tx) -> Result<Option<ListDraft>, StoreFault> {
        let ListValidity { this_update, next_update, issuer_ends } = self.validity;
        // Those that end last come first: what has no room ends soonest.
        let rows: Vec<(Vec<u8>, u8, i64)> = sqlx::query_as(
            "SELECT serial, reason, at FROM revocations WHERE issuer = $1 ORDER BY not_after DESC, serial LIMIT $2",
        )
        .bind(self.issuer.0.to_vec())
        .bind(i64::try_from(LIST_SERIALS_MAX).unwrap_or(i64::MAX))
        .fetch_all(&mut tx.connection)
        .await
        .map_err(fault("read what was withdrawn"))?;
        let left_out =
            if rows.len() < LIST_SERIALS_MAX { 0 } else { self.count(tx).await?.saturating_sub(rows.len() as u64) };
        let revoked = rows.into_iter().map(revoked).collect::<Result<Vec<_>, _>>()?;
        let number: Option<i64> = sqlx::query_scalar(
            "INSERT INTO revocation_lists \
             (issuer, number, ends, imported, signed_number, this_update, next_update) VALUES ($1, 1, $2, $5, 0, $3, $4) \
             ON CONFLICT (issuer) DO UPDATE SET number = number + 1, ends = $2 WHERE imported = $5 OR $5 = 0 \
             RETURNING number",
        )
        .bind(self.issuer.0.to_vec())
        .bind(issuer_ends.seconds())
        .bind(this_update.seconds())
        .bind(next_update.seconds())
        .bind(self.whose)
        .fetch_optional(&mut tx.connection)
        .await
        .map_err(fault("number a list"))?;
        let Some(number) = number else { return Ok(None) };
        tx.append(&act(
            "crl.sign",
            self.issuer,
            number,
            self.at,
            &json!({
                "serials": revoked.len(), "left_out": left_out,
                "this_update": this_update.seconds(), "next_update": next_update.seconds(),
            }),
        ));
        Ok(Some(ListDraft {
            issuer: self.issuer,
            number: number.cast_unsigned(),
            validity: self.validity,
            revoked,
            left_out,
        }))
    }
}

impl Draft {
    async fn count(&self, tx: &mut Tx) -> Result<u64, StoreFault> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM revocations WHERE issuer = $1")
            .bind(self.issuer.0.to_vec())
            .fetch_one(&mut tx.connection)
            .await
            .map_err(fault("count what was withdrawn"))?;
        Ok(count.cast_unsigned())
    }
}

struct Keep {
    list: RevocationList,
    at: UnixTime,
    imported: bool,
}

impl Verb for Keep {
    type Reply = bool;
    const NAME: &'static str = "keep_revocation_list";

    async fn run(&self, tx: &mut Tx) -> Result<bool, StoreFault> {
        let RevocationList { issuer, number, validity, der, signer: _ } = &self.list;
        // One of ours has its row since it was drafted; one from elsewhere brings it.
        let text = if self.imported {
            // The operator's word goes before what was made here with the same key.
            "INSERT INTO revocation_lists (issuer, number, ends, imported, signed_number, der, this_update, next_update) \
             VALUES ($1, $2, $3, 1, $2, $4, $5, $6) ON CONFLICT (issuer) DO UPDATE SET number = $2, ends = $3, \
             imported = 1, signed_number = $2, der = $4, this_update = $5, next_update = $6 \
             WHERE (imported = 1 AND signed_number < $2) OR imported = 2"
        } else {
            "UPDATE revocation_lists SET ends = $3, signed_number = $2, der = $4, this_update = $5, next_update = $6 \
             WHERE issuer = $1 AND imported <> 1 AND signed_number < $2 AND number >= $2"
        };
        let kept = sqlx::query(text)
            .bind(issuer.0.to_vec())
            .bind(number.cast_signed())
            .bind(validity.issuer_ends.seconds())
            .bind(der.to_vec())
            .bind(validity.this_update.seconds())
            .bind(validity.next_update.seconds())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("keep a list"))?;
        if kept.rows_affected() == 0 {
            return Ok(false);
        }
        if self.imported {
            let detail = json!({ "next_update": validity.next_update.seconds() });
            tx.append(&act("crl.import", *issuer, number.cast_signed(), self.at, &detail));
        }
        // What had ended when this list was made stands on it, and on no other any more (RFC 5280, 3.3).
        sqlx::query("DELETE FROM revocations WHERE issuer = $1 AND not_after < $2")
            .bind(issuer.0.to_vec())
            .bind(validity.this_update.seconds())
            .execute(&mut tx.connection)
            .await
            .map_err(fault("forget what has ended"))?;
        let n = tx.n();
        tx.notify(Notice::RevocationLists { n });
        Ok(true)
    }
}

/// Forgets issuers that have ended, with their lists and all that stood on them.
pub(super) async fn prune(tx: &mut Tx, now: UnixTime) -> Result<(), StoreFault> {
    let ended: Vec<Vec<u8>> = sqlx::query_scalar("SELECT issuer FROM revocation_lists WHERE ends < $1")
        .bind(now.seconds())
        .fetch_all(&mut tx.connection)
        .await
        .map_err(fault("look for issuers that have ended"))?;
    for issuer in &ended {
        for text in ["DELETE FROM revocations WHERE issuer = $1", "DELETE FROM revocation_lists WHERE issuer = $1"] {
            let query = sqlx::query(text).bind(issuer.clone());
            query.execute(&mut tx.connection).await.map_err(fault("forget an issuer's lists"))?;
        }
    }
    if !ended.is_empty() {
        let n = tx.n();
        tx.notify(Notice::RevocationLists { n });
    }
    Ok(())
}

type ListRow = (Vec<u8>, i64, i64, i64, Vec<u8>, i64, i64);

async fn all(reader: &mut SqliteConnection) -> Result<Vec<RevocationList>, StoreFault> {
    let rows: Vec<ListRow> = sqlx::query_as(
        "SELECT issuer, imported, signed_number, ends, der, this_update, next_update FROM revocation_lists \
         WHERE der IS NOT NULL ORDER BY issuer",
    )
    .fetch_all(reader)
    .await
    .map_err(fault("read lists"))?;
    let list = |(issuer, whose, number, ends, der, this_update, next_update): ListRow| {
        Ok(RevocationList {
            issuer: key_id(issuer)?,
            signer: if whose == OWN { Signer::Intermediate } else { Signer::Above },
            number: number.cast_unsigned(),
            validity: ListValidity {
                this_update: UnixTime(this_update),
                next_update: UnixTime(next_update),
                issuer_ends: UnixTime(ends),
            },
            der: der.into(),
        })
    };
    rows.into_iter().map(list).collect()
}

fn revoked((serial, reason, at): (Vec<u8>, u8, i64)) -> Result<Revoked, StoreFault> {
    Ok(Revoked {
        serial: serial.try_into().map_err(|_| StoreFault::Corrupt { what: "serial number" })?,
        reason: RevocationReason::from_code(reason).ok_or(StoreFault::Corrupt { what: "reason" })?,
        at: UnixTime(at),
    })
}

fn act(action: &'static str, issuer: IssuerKeyId, number: i64, at: UnixTime, detail: &serde_json::Value) -> Leaf {
    let mut detail = detail.clone();
    if let Some(detail) = detail.as_object_mut() {
        detail.insert("number".to_owned(), json!(number));
    }
    Leaf::Act(json!({
        "at": at.seconds(), "by": Actor::Server.to_string(), "action": action, "subject": issuer.to_string(),
        "detail": detail,
    }))
}
