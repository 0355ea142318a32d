//! Which machine is it? All its endorsement keys, its maker's keys and its attestation key are one machine: what a key
//! proves, never what is merely said of it.

use super::super::attempts::Admission;
use super::super::changes::{NodeEvent, Notice};
use super::super::ledger::Actor;
use super::super::nodes::{Mark, Node, NodeNumber, NodeTarget, Standing};
use super::super::revocations::RevocationReason;
use super::super::{Sha256, StoreFault};
use super::node_rows::{self, Kept};
use super::revocations::{self, Whose};
use super::writer::{Tx, fault};
use super::{kept_facts, mentions};
use crate::record::Leaf;
use holdfast_identity::{SpiffeId, UnixTime};
use serde_json::json;
use sqlx::sqlite::SqliteConnection;

/// The machines that any of these proven marks, or the key, is of; the oldest that was ever admitted first. Changes nothing.
pub(super) async fn known(
    connection: &mut SqliteConnection,
    proven: &[Mark],
    ak_name: &[u8],
) -> Result<Vec<Kept>, StoreFault> {
    let mut found: Vec<Kept> = Vec::new();
    let by_mark = proven.iter().map(|mark| NodeTarget::Mark(mark.digest));
    let by_key = (!ak_name.is_empty()).then(|| NodeTarget::AkName(ak_name.to_vec()));
    for target in by_mark.chain(by_key) {
        if let Some(kept) = node_rows::find(connection, &target).await?
            && !found.iter().any(|held| held.node.number == kept.node.number)
        {
            found.push(kept);
        }
    }
    found.sort_by_key(|kept| (kept.node.spiffe_id.is_none(), kept.node.number));
    Ok(found)
}

/// What is known of a machine that several nodes prove to be: every ban and freeze that any of them had, and the clock of
/// the latest. Changes nothing on record.
pub(super) fn together(nodes: &[Kept]) -> Option<Node> {
    let (first, others) = nodes.split_first()?;
    let mut node = first.node.clone();
    others.iter().for_each(|other| take_over(&mut node, &other.node));
    Some(node)
}

/// Makes one machine of those that were held to be several until it was admitted with the keys of all.
pub(super) async fn merge(tx: &mut Tx, into: &mut Kept, from: Kept, at: UnixTime) -> Result<(), StoreFault> {
    tx.append(&Leaf::Act(json!({
        "at": at.seconds(), "by": Actor::Server.to_string(), "action": "node.merge",
        "subject": into.node.number.0.to_string(), "detail": { "from": from.node.number.0 },
    })));
    kept_facts::let_go(tx, from.node.number).await?;
    let whose = Whose::Node(from.node.number);
    revocations::revoke(tx, whose, RevocationReason::CessationOfOperation, &Actor::Server, at).await?;
    let (old, new) = (from.node.number.0.cast_signed(), into.node.number.0.cast_signed());
    for text in [
        "UPDATE node_marks SET node = $2 WHERE node = $1",
        "UPDATE OR IGNORE node_mentions SET node = $2 WHERE node = $1",
        "DELETE FROM node_mentions WHERE node = $1 AND $2 > 0",
        "UPDATE node_ids SET node = $2 WHERE node = $1",
        "UPDATE attempts SET node = $2 WHERE node = $1",
        "DELETE FROM measured_files WHERE node = $1 AND $2 > 0",
        "DELETE FROM node_facts WHERE node = $1 AND $2 > 0",
        "DELETE FROM nodes WHERE number = $1 AND $2 > 0",
    ] {
        let query = sqlx::query(text).bind(old).bind(new);
        query.execute(&mut tx.connection).await.map_err(fault("merge two nodes"))?;
    }
    let (number, spiffe_id) = (from.node.number, from.node.spiffe_id.clone());
    let n = tx.next_n();
    tx.notify(Notice::Node { n, node: number, spiffe_id, event: NodeEvent::Evicted });
    take_over(&mut into.node, &from.node);
    node_rows::save(&mut tx.connection, into).await
}

/// Nothing that was held against one of them is lost.
fn take_over(node: &mut Node, from: &Node) {
    node.marks.extend(from.marks.iter().cloned());
    let new = from.mentions.iter().filter(|mark| !node.mentions.contains(mark)).cloned().collect::<Vec<_>>();
    node.mentions.extend(new);
    node.kinds.extend(from.kinds.iter().cloned());
    node.fixed.extend(from.fixed.iter().cloned());
    node.ban = node.ban.take().or_else(|| from.ban.clone());
    node.freeze = node.freeze.take().or_else(|| from.freeze.clone());
    node.hold = node.hold.take().or_else(|| from.hold.clone());
    if from.attested_at > node.attested_at && from.clock.is_some() {
        node.clock = from.clock;
    }
    if from.standing == Standing::Denied {
        node.standing = Standing::Denied;
    }
}

/// Ends the standing of nodes that a machine proved to be beside its own, and did not get in.
pub(super) async fn end(tx: &mut Tx, others: Vec<Kept>, at: UnixTime) -> Result<(), StoreFault> {
    for mut kept in others.into_iter().filter(|kept| kept.node.standing == Standing::Admitted) {
        kept.node.standing = Standing::Refused;
        let n = tx.next_n();
        kept.changed_n = n;
        let (node, spiffe_id) = (kept.node.number, kept.node.spiffe_id.clone());
        tx.notify(Notice::Node { n, node, spiffe_id, event: NodeEvent::Refused });
        node_rows::save(&mut tx.connection, &kept).await?;
        let whose = Whose::Node(kept.node.number);
        revocations::revoke(tx, whose, RevocationReason::PrivilegeWithdrawn, &Actor::Server, at).await?;
    }
    Ok(())
}

/// Every node that has the digest, by proof or by its maker's word; the proven one first.
pub(super) async fn with_digest(tx: &mut Tx, digest: Sha256) -> Result<Vec<Kept>, StoreFault> {
    let mut found: Vec<Kept> = Vec::new();
    found.extend(node_rows::find(&mut tx.connection, &NodeTarget::Mark(digest)).await?);
    for number in mentions::nodes(&mut tx.connection, digest).await? {
        if !found.iter().any(|kept| kept.node.number == number) {
            found.extend(node_rows::find(&mut tx.connection, &NodeTarget::Number(number)).await?);
        }
    }
    Ok(found)
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
    found: &[Kept],
) -> Result<Option<&'static str>, StoreFault> {
    let is_itself = |owner: NodeNumber| found.iter().any(|kept| kept.node.number == owner);
    let kept = found.first();
    if kept.and_then(|kept| kept.node.spiffe_id.as_ref()) != Some(&admission.spiffe_id) {
        let owner: Option<i64> = sqlx::query_scalar("SELECT node FROM node_ids WHERE spiffe_id = $1")
            .bind(admission.spiffe_id.as_str().to_owned())
            .fetch_optional(&mut tx.connection)
            .await
            .map_err(fault("read the owner of an ID"))?;
        if owner.is_some_and(|owner| !is_itself(NodeNumber(owner.cast_unsigned()))) {
            return Ok(Some("node.id_owned"));
        }
    }
    if kept.map(|kept| &kept.node.node_key_spki) != Some(&admission.node_key_spki) {
        let key = NodeTarget::NodeKey(Sha256::of(&admission.node_key_spki));
        let owner = node_rows::find(&mut tx.connection, &key).await?;
        if owner.is_some_and(|owner| !is_itself(owner.node.number)) {
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
