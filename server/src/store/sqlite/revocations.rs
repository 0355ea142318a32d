//! Withdrawing: rows of live certificates become rows of withdrawn ones, within the transaction of what withdraws them.

use super::super::StoreFault;
use super::super::changes::{NodeEvent, Notice};
use super::super::entries::{Entry, EntryNumber, Parent};
use super::super::ledger::Actor;
use super::super::nodes::{Node, NodeNumber, NodeTarget};
use super::super::revocations::{IssuerKeyId, LiveSvid, RevocationReason, Withdrew};
use super::super::x509_authorities::ListedAuthority;
use super::writer::{Tx, fault};
use super::{entry_rows, node_rows, token_grants};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use serde_json::json;
use sqlx::AssertSqlSafe;
use std::collections::BTreeSet;

/// Serials that one act names; 35 bytes each in its JSON.
pub(super) const SERIALS_IN_AN_ACT: usize = 1_000;
/// Ended certificates that one call forgets: more a second than any server signs.
const ENDED_AT_ONCE: u32 = 5_000;
/// How long after its end a certificate is remembered as living: other servers' clocks may be late.
const END_GRACE: i64 = 300;

/// Whose certificates.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose {
    /// The node's, and those of all its workloads.
    Node(NodeNumber),
    /// The node's own alone.
    Own(NodeNumber),
    /// All by this entry, on whichever nodes.
    Entry(EntryNumber),
    /// Those by this entry on this node.
    EntryOn(NodeNumber, EntryNumber),
    /// This one.
    One(LiveSvid),
}

impl Whose {
    /// Which rows: `$1` to `$3` are the numbers, `$4` is the present.
    const fn rows(self) -> &'static str {
        match self {
            Self::Node(_) => "node = $1 AND $2 = 0 AND $3 = 0 AND not_after > $4",
            Self::Own(_) => "node = $1 AND entry = 0 AND $2 = 0 AND $3 = 0 AND not_after > $4",
            // From one node that has any to the next: a step for each, and none for what they have.
            Self::Entry(_) => {
                "(node, entry, idx) IN (WITH RECURSIVE holders (node) AS (SELECT MIN(node) FROM svids UNION ALL \
                 SELECT (SELECT MIN(node) FROM svids WHERE node > holders.node) FROM holders WHERE holders.node IS NOT NULL) \
                 SELECT s.node, s.entry, s.idx FROM holders CROSS JOIN svids s WHERE s.node = holders.node AND s.entry = $1) \
                 AND $2 = 0 AND $3 = 0 AND not_after > $4"
            }
            Self::EntryOn(..) => "node = $1 AND entry = $2 AND $3 = 0 AND not_after > $4",
            Self::One(_) => "node = $1 AND entry = $2 AND idx = $3 AND not_after > $4",
        }
    }

    fn numbers(self) -> [i64; 3] {
        match self {
            Self::Node(node) | Self::Own(node) => [node.0.cast_signed(), 0, 0],
            Self::Entry(entry) => [entry.0.cast_signed(), 0, 0],
            Self::EntryOn(node, entry) => [node.0.cast_signed(), entry.0.cast_signed(), 0],
            Self::One(svid) => {
                let entry = svid.entry.map_or(0, |entry| entry.0.cast_signed());
                [svid.node.0.cast_signed(), entry, svid.index.cast_signed()]
            }
        }
    }

    pub(super) fn subject(self) -> String {
        match self {
            Self::Node(node) | Self::Own(node) => format!("node {}", node.0),
            Self::Entry(entry) => format!("entry {}", entry.0),
            Self::EntryOn(node, entry) => format!("entry {} on node {}", entry.0, node.0),
            Self::One(svid) => format!("issuance {}", svid.index),
        }
    }
}

/// Why a node's certificates are withdrawn by what happened to it; `None` where they are not.
pub(super) const fn reason_of(event: NodeEvent) -> Option<RevocationReason> {
    match event {
        NodeEvent::Refused | NodeEvent::AwaitsApproval | NodeEvent::Denied | NodeEvent::Banned => {
            Some(RevocationReason::PrivilegeWithdrawn)
        }
        NodeEvent::Evicted | NodeEvent::Reset => Some(RevocationReason::CessationOfOperation),
        NodeEvent::Frozen => Some(RevocationReason::KeyCompromise),
        NodeEvent::Admitted | NodeEvent::Approved | NodeEvent::Unbanned => None,
    }
}

/// Withdraws them all, tokens too, says so in the record, and tells whoever signs lists. Nothing that lives, nothing happens.
pub(super) async fn revoke(
    tx: &mut Tx,
    whose: Whose,
    reason: RevocationReason,
    by: &Actor,
    at: UnixTime,
) -> Result<Withdrew, StoreFault> {
    let grants = token_grants::withdraw(tx, whose, reason, by, at).await?;
    tx.write_living().await?;
    let ([first, second, third], rows) = (whose.numbers(), whose.rows());
    let insert = format!(
        "INSERT INTO revocations (issuer, not_after, serial, reason, at) \
         SELECT issuer, not_after, serial, $5, $6 FROM svids WHERE {rows} ON CONFLICT DO NOTHING"
    );
    let listed = sqlx::query(AssertSqlSafe(insert))
        .bind(first)
        .bind(second)
        .bind(third)
        .bind(at.seconds())
        .bind(reason.code())
        .bind(at.seconds())
        .execute(&mut tx.connection)
        .await
        .map_err(fault("withdraw certificates"))?;
    if listed.rows_affected() == 0 {
        return Ok(Withdrew { svids: 0, grants });
    }
    let delete = format!("DELETE FROM svids WHERE {rows} RETURNING issuer, serial");
    let gone: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(AssertSqlSafe(delete))
        .bind(first)
        .bind(second)
        .bind(third)
        .bind(at.seconds())
        .fetch_all(&mut tx.connection)
        .await
        .map_err(fault("withdraw certificates"))?;
    for part in gone.chunks(SERIALS_IN_AN_ACT) {
        let serials: Vec<String> = part.iter().map(|(_, serial)| hex::encode(serial)).collect();
        tx.append(&Leaf::Act(json!({
            "at": at.seconds(), "by": by.to_string(), "action": "svid.revoke", "subject": whose.subject(),
            "detail": { "reason": reason.as_str(), "serials": serials },
        })));
    }
    let count = gone.len() as u64;
    metrics::counter!("holdfast_svids_revoked_total", "reason" => reason.as_str()).increment(count);
    let issuers = gone.into_iter().map(|(issuer, _)| key_id(issuer)).collect::<Result<BTreeSet<_>, _>>()?;
    let n = tx.n();
    tx.notify(Notice::Revoked { n, issuers });
    Ok(Withdrew { svids: count, grants })
}

/// Puts an intermediate on the list of whoever signed it.
pub(super) async fn list_authority(tx: &mut Tx, one: &ListedAuthority, at: UnixTime) -> Result<(), StoreFault> {
    sqlx::query(
        "INSERT INTO revocations (issuer, not_after, serial, reason, at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT DO NOTHING",
    )
    .bind(one.issuer.0.to_vec())
    .bind(one.not_after.seconds())
    .bind(one.serial.to_vec())
    .bind(RevocationReason::CaCompromise.code())
    .bind(at.seconds())
    .execute(&mut tx.connection)
    .await
    .map_err(fault("list an authority"))?;
    let n = tx.n();
    tx.notify(Notice::Revoked { n, issuers: BTreeSet::from([one.issuer]) });
    Ok(())
}

/// Withdraws all that was issued by an entry as it stood: on the node that it names, or on those that have its selectors.
pub(super) async fn revoke_entry(
    tx: &mut Tx,
    entry: &Entry,
    reason: RevocationReason,
    by: &Actor,
    at: UnixTime,
) -> Result<(), StoreFault> {
    let whose = match &entry.draft.parent {
        // A node that is called otherwise by now has lost what it had under that name.
        Parent::Id(name) => match node_rows::find(&mut tx.connection, &NodeTarget::SpiffeId(name.clone())).await? {
            Some(kept) => Whose::EntryOn(kept.node.number, entry.number),
            None => return Ok(()),
        },
        Parent::Selectors(_) => Whose::Entry(entry.number),
    };
    revoke(tx, whose, reason, by, at).await.map(|_| ())
}

/// Withdraws what the node's workloads have by entries that are not its any more: it has another name or other selectors.
pub(super) async fn revoke_strays(tx: &mut Tx, node: &Node, at: UnixTime) -> Result<(), StoreFault> {
    let Some(name) = &node.spiffe_id else { return Ok(()) };
    tx.write_living().await?;
    let mut entries: Vec<i64> = sqlx::query_scalar("SELECT DISTINCT entry FROM svids WHERE node = $1 AND entry > 0")
        .bind(node.number.0.cast_signed())
        .fetch_all(&mut tx.connection)
        .await
        .map_err(fault("read a node's certificates"))?;
    entries.extend(token_grants::entries_of(tx, node.number).await?);
    entries.sort_unstable();
    entries.dedup();
    for number in entries.into_iter().map(|number| EntryNumber(number.cast_unsigned())) {
        let entry = entry_rows::by_number(&mut tx.connection, number).await?;
        if !entry.is_some_and(|entry| entry.draft.parent.is(name, &node.selectors)) {
            let whose = Whose::EntryOn(node.number, number);
            revoke(tx, whose, RevocationReason::Superseded, &Actor::Server, at).await?;
        }
    }
    Ok(())
}

/// Whether whoever has an SVID by `before` could be without one by `after`: it asks for a selector more, names somebody
/// else, vouches for fewer DNS names, or is another node's.
pub(super) fn takes_back(before: &Entry, after: &Entry) -> bool {
    let (before, after) = (&before.draft, &after.draft);
    !after.selectors.is_subset(&before.selectors)
        || before.spiffe_id != after.spiffe_id
        || before.parent != after.parent
        || before.dns_names.iter().any(|name| !after.dns_names.contains(name))
}

/// What forgets ended certificates.
pub(super) const PRUNING: &str = "DELETE FROM svids WHERE (node, entry, idx) IN \
    (SELECT node, entry, idx FROM svids WHERE not_after < $1 ORDER BY not_after LIMIT $2)";

/// Forgets certificates that have ended; those that were withdrawn are the lists' to forget.
pub(super) async fn prune(tx: &mut Tx, now: UnixTime) -> Result<(), StoreFault> {
    tx.write_living().await?;
    sqlx::query(PRUNING)
        .bind(now.seconds() - END_GRACE)
        .bind(ENDED_AT_ONCE)
        .execute(&mut tx.connection)
        .await
        .map_err(fault("forget ended certificates"))?;
    Ok(())
}

pub(super) fn key_id(bytes: Vec<u8>) -> Result<IssuerKeyId, StoreFault> {
    bytes.try_into().map(IssuerKeyId).map_err(|_| StoreFault::Corrupt { what: "issuer's key identifier" })
}
