//! Acts on nodes, and the inventory.

use super::super::changes::{NodeEvent, Notice};
use super::super::ledger::Actor;
use super::super::nodes::{
    Allowed, Fleet, InventoryEntry, Mark, Node, NodeAction, NodeFilter, NodeNumber, NodeRefusal, NodeTarget, Nodes,
    Ownership, Remark, Standing,
};
use super::super::{Held, Sha256, StoreFault};
use super::attempts::forget_keys;
use super::node_rows::{self, Kept};
use super::revocations::{self, Whose};
use super::writer::{Tx, Verb};
use super::{SqliteStore, inventory, machines, mentions};
use crate::record::Leaf;
use holdfast_identity::UnixTime;
use serde_json::json;

/// Nodes in one answer.
const PAGE: u32 = 1000;

impl Nodes for SqliteStore {
    fn node(&self, target: NodeTarget) -> Held<'_, Option<Node>> {
        Box::pin(async move {
            let mut reader = self.reader().await?;
            let mut found = node_rows::find(&mut reader, &target).await?;
            if let (None, NodeTarget::Mark(digest)) = (&found, &target)
                && let [number] = mentions::nodes(&mut reader, *digest).await?.as_slice()
            {
                found = node_rows::find(&mut reader, &NodeTarget::Number(*number)).await?;
            }
            Ok(found.map(|kept| kept.node))
        })
    }

    fn nodes(&self, filter: NodeFilter, now: UnixTime) -> Held<'_, Vec<Node>> {
        Box::pin(async move {
            let limit = if filter.limit == 0 { 100 } else { filter.limit.min(PAGE) };
            let mut after = filter.after.map_or(0, |number| number.0);
            let mut found = Vec::new();
            loop {
                let page = node_rows::page(&mut *self.reporter().await?, after, PAGE).await?;
                let Some(last) = page.last() else { return Ok(found) };
                after = last.node.number.0;
                for Kept { node, .. } in page {
                    if filter.state.is_none_or(|state| node.state(now) == state) {
                        found.push(node);
                    }
                    if found.len() >= limit as usize {
                        return Ok(found);
                    }
                }
            }
        })
    }

    fn count_nodes(&self, now: UnixTime) -> Held<'_, Fleet> {
        Box::pin(async move { node_rows::count(&mut *self.reporter().await?, now).await })
    }

    fn ownership(&self, marks: Vec<Mark>, listable: Vec<Sha256>) -> Held<'_, Ownership> {
        Box::pin(async move {
            let mut reader = self.reader().await?;
            let mut ownership = Ownership::default();
            for digest in listable {
                ownership.inventory.extend(inventory::find(&mut reader, digest).await?);
            }
            let found = machines::known(&mut reader, &marks, &[]).await?;
            ownership.node = found.into_iter().next().map(|kept| kept.node);
            ownership.approved = ownership.node.as_ref().is_some_and(|node| node.approval.is_some());
            Ok(ownership)
        })
    }

    fn act(
        &self,
        target: NodeTarget,
        action: NodeAction,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<Node, NodeRefusal>> {
        Box::pin(self.queue.run(Act { target, action, by, at }))
    }

    fn allow(&self, keys: Vec<Allowed>, by: Actor, at: UnixTime) -> Held<'_, u64> {
        Box::pin(self.queue.run(inventory::Allow { keys, by, at }))
    }

    fn disallow(&self, digests: Vec<Sha256>, by: Actor, at: UnixTime) -> Held<'_, u64> {
        Box::pin(self.queue.run(inventory::Disallow { digests, by, at }))
    }

    fn inventory(&self, after: Option<Sha256>, limit: u32) -> Held<'_, Vec<InventoryEntry>> {
        Box::pin(async move {
            let limit = if limit == 0 { 100 } else { limit.min(PAGE) };
            inventory::page(&mut *self.reporter().await?, after, limit).await
        })
    }
}

struct Act {
    target: NodeTarget,
    action: NodeAction,
    by: Actor,
    at: UnixTime,
}

impl Verb for Act {
    type Reply = Result<Node, NodeRefusal>;
    const NAME: &'static str = "act_on_node";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        let found = match &self.target {
            NodeTarget::Mark(digest) => machines::with_digest(tx, *digest).await?,
            target => node_rows::find(&mut tx.connection, target).await?.into_iter().collect(),
        };
        match (found.as_slice(), &self.action, &self.target) {
            // A key may be banned before its machine was ever seen.
            ([], NodeAction::Ban { .. }, NodeTarget::Mark(digest)) => {
                let mut kept = machines::new(tx, self.at).await?;
                let mark = Mark { kind: "ek".to_owned(), digest: *digest };
                node_rows::add_marks(&mut tx.connection, &mut kept.node, &[mark]).await?;
                Ok(Ok(self.act(tx, kept).await?))
            }
            ([], _, _) => Ok(Err(NodeRefusal::Unknown)),
            // What several have in common bans each of them, and so it is lifted.
            (all, NodeAction::Unban, _) if all.iter().all(|kept| kept.node.ban.is_none()) => {
                Ok(Err(NodeRefusal::NotBanned))
            }
            (_, NodeAction::Ban { .. } | NodeAction::Unban, _) => {
                let is_meant = |kept: &Kept| !matches!(self.action, NodeAction::Unban) || kept.node.ban.is_some();
                let mut first = None;
                for kept in found.into_iter().filter(is_meant) {
                    let node = self.act(tx, kept).await?;
                    first.get_or_insert(node);
                }
                Ok(first.ok_or(NodeRefusal::Unknown))
            }
            ([kept], NodeAction::Approve, _) if kept.node.ban.is_some() => Ok(Err(NodeRefusal::Banned)),
            ([kept], _, _) => {
                let kept = kept.clone();
                Ok(Ok(self.act(tx, kept).await?))
            }
            _ => Ok(Err(NodeRefusal::Ambiguous)),
        }
    }
}

impl Act {
    async fn act(&self, tx: &mut Tx, mut kept: Kept) -> Result<Node, StoreFault> {
        tx.append(&self.leaf(kept.node.number));
        let event = self.apply(&mut kept.node);
        let n = tx.next_n();
        kept.changed_n = n;
        tx.notify(Notice::Node { n, node: kept.node.number, spiffe_id: kept.node.spiffe_id.clone(), event });
        node_rows::save(&mut tx.connection, &kept).await?;
        if let Some(reason) = revocations::reason_of(event) {
            revocations::revoke(tx, Whose::Node(kept.node.number), reason, &self.by, self.at).await?;
        }
        Ok(kept.node)
    }

    fn leaf(&self, number: NodeNumber) -> Leaf {
        let reason = match &self.action {
            NodeAction::Deny { reason } | NodeAction::Ban { reason } | NodeAction::Freeze { reason } => Some(reason),
            NodeAction::Approve | NodeAction::Evict | NodeAction::Unban | NodeAction::Reset => None,
        };
        // A key that was banned before its machine was seen is named nowhere else.
        let ek = match &self.target {
            NodeTarget::Mark(digest) => Some(digest.to_string()),
            _ => None,
        };
        Leaf::Act(json!({
            "at": self.at.seconds(), "by": self.by.to_string(), "action": self.action.as_str(),
            "subject": number.0.to_string(), "detail": { "reason": reason, "ek": ek },
        }))
    }

    fn remark(&self, reason: &str) -> Remark {
        Remark { at: self.at, by: self.by.to_string(), reason: reason.to_owned() }
    }

    fn apply(&self, node: &mut Node) -> NodeEvent {
        match &self.action {
            NodeAction::Approve => {
                node.approval = Some(self.remark(""));
                node.hold = None;
                if node.standing == Standing::Denied {
                    node.standing = Standing::Pending;
                }
                NodeEvent::Approved
            }
            NodeAction::Deny { .. } => {
                node.approval = None;
                node.standing = Standing::Denied;
                NodeEvent::Denied
            }
            NodeAction::Evict => {
                node.approval = None;
                if node.standing != Standing::Denied {
                    node.standing = Standing::Evicted;
                }
                node.clock = None;
                forget_keys(node);
                NodeEvent::Evicted
            }
            NodeAction::Ban { reason } => {
                node.ban = Some(self.remark(reason));
                NodeEvent::Banned
            }
            NodeAction::Unban => {
                node.ban = None;
                NodeEvent::Unbanned
            }
            NodeAction::Reset => {
                (node.approval, node.hold, node.freeze, node.clock) = (None, None, None, None);
                node.kinds.clear();
                node.standing = Standing::Evicted;
                forget_keys(node);
                NodeEvent::Reset
            }
            NodeAction::Freeze { reason } => {
                node.freeze = Some(self.remark(reason));
                NodeEvent::Frozen
            }
        }
    }
}
