//! Which machine is it? All its endorsement keys, and its attestation key, are one machine.

use super::super::attempts::Admission;
use super::super::changes::{NodeEvent, Notice};
use super::super::ledger::Actor;
use super::super::nodes::{Mark, NodeNumber, NodeTarget, Standing};
use super::super::{Sha256, StoreFault};
use super::node_rows::{self, Kept};
use super::writer::{Tx, fault};
use crate::record::Leaf;
use holdfast_identity::{SpiffeId, UnixTime};
use serde_json::json;

/// The machine that proved these marks and this attestation key, if it is one of ours. If they were held to be several
/// machines until now, they become one, with every ban and freeze that any of them had.
pub(super) async fn recognise(
    tx: &mut Tx,
    marks: &[Mark],
    ak_name: &[u8],
    at: UnixTime,
) -> Result<Option<Kept>, StoreFault> {
    let mut found = known(tx, marks, ak_name).await?.into_iter();
    let Some(mut first) = found.next() else { return Ok(None) };
    for other in found {
        merge(tx, &mut first, other, at).await?;
    }
    Ok(Some(first))
}

/// The machines that any of these marks, or the key, is of; the oldest first. Changes nothing.
pub(super) async fn known(tx: &mut Tx, marks: &[Mark], ak_name: &[u8]) -> Result<Vec<Kept>, StoreFault> {
    let mut found: Vec<Kept> = Vec::new();
    let by_mark = marks.iter().map(|mark| NodeTarget::Mark(mark.digest));
    let by_key = (!ak_name.is_empty()).then(|| NodeTarget::AkName(ak_name.to_vec()));
    for target in by_mark.chain(by_key) {
        if let Some(kept) = node_rows::find(&mut tx.connection, &target).await?
            && !found.iter().any(|held| held.node.number == kept.node.number)
        {
            found.push(kept);
        }
    }
    found.sort_by_key(|kept| kept.node.number);
    Ok(found)
}

async fn merge(tx: &mut Tx, into: &mut Kept, from: Kept, at: UnixTime) -> Result<(), StoreFault> {
    tx.append(&Leaf::Act(json!({
        "at": at.seconds(), "by": Actor::Server.to_string(), "action": "node.merge",
        "subject": into.node.number.0.to_string(), "detail": { "from": from.node.number.0 },
    })));
    let (old, new) = (from.node.number.0.cast_signed(), into.node.number.0.cast_signed());
    for text in [
        "UPDATE node_marks SET node = $2 WHERE node = $1",
        "UPDATE node_ids SET node = $2 WHERE node = $1",
        "UPDATE attempts SET node = $2 WHERE node = $1",
        "DELETE FROM nodes WHERE number = $1 AND $2 > 0",
    ] {
        let query = sqlx::query(text).bind(old).bind(new);
        query.execute(&mut tx.connection).await.map_err(fault("merge two nodes"))?;
    }
    let (number, spiffe_id) = (from.node.number, from.node.spiffe_id.clone());
    let n = tx.next_n();
    tx.notify(Notice::Node { n, node: number, spiffe_id, event: NodeEvent::Evicted });
    let node = &mut into.node;
    node.marks.extend(from.node.marks);
    node.kinds.extend(from.node.kinds);
    node.fixed.extend(from.node.fixed);
    node.ban = node.ban.take().or(from.node.ban);
    node.freeze = node.freeze.take().or(from.node.freeze);
    node.hold = node.hold.take().or(from.node.hold);
    if from.node.standing == Standing::Denied {
        node.standing = Standing::Denied;
    }
    node_rows::save(&mut tx.connection, into).await
}

/// A machine that was never seen.
pub(super) async fn new(tx: &mut Tx, at: UnixTime) -> Result<Kept, StoreFault> {
    let number = node_rows::insert(&mut tx.connection, at).await?;
    let target = NodeTarget::Number(number);
    node_rows::find(&mut tx.connection, &target).await?.ok_or(StoreFault::Corrupt { what: "new node" })
}

/// Whether the name or the node key is another machine's; the code of the refusal.
pub(super) async fn owned_by_another(
    tx: &mut Tx,
    admission: &Admission,
    kept: Option<&Kept>,
) -> Result<Option<&'static str>, StoreFault> {
    let itself = kept.map(|kept| kept.node.number);
    if kept.and_then(|kept| kept.node.spiffe_id.as_ref()) != Some(&admission.spiffe_id) {
        let owner: Option<i64> = sqlx::query_scalar("SELECT node FROM node_ids WHERE spiffe_id = $1")
            .bind(admission.spiffe_id.as_str().to_owned())
            .fetch_optional(&mut tx.connection)
            .await
            .map_err(fault("read the owner of an ID"))?;
        if owner.is_some_and(|owner| Some(NodeNumber(owner.cast_unsigned())) != itself) {
            return Ok(Some("node.id_owned"));
        }
    }
    if kept.map(|kept| &kept.node.node_key_spki) != Some(&admission.node_key_spki) {
        let key = NodeTarget::NodeKey(Sha256::of(&admission.node_key_spki));
        let owner = node_rows::find(&mut tx.connection, &key).await?;
        if owner.is_some_and(|owner| Some(owner.node.number) != itself) {
            return Ok(Some("node.key_owned"));
        }
    }
    Ok(None)
}

/// From now on the ID is this machine's and no other's.
pub(super) async fn own(tx: &mut Tx, node: NodeNumber, id: &SpiffeId) -> Result<(), StoreFault> {
    sqlx::query("INSERT INTO node_ids (spiffe_id, node) VALUES ($1, $2) ON CONFLICT (spiffe_id) DO NOTHING")
        .bind(id.as_str().to_owned())
        .bind(node.0.cast_signed())
        .execute(&mut tx.connection)
        .await
        .map_err(fault("write the owner of an ID"))?;
    Ok(())
}
