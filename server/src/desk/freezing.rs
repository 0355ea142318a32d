//! Freezes a node as which two machines speak: nobody is it until an operator has looked. Finds none out itself.

use tracing::error;

use crate::clock;
use crate::store::{Actor, NodeAction, NodeNumber, NodeTarget, Store};

/// Freezes the node, and says so; a fault leaves an alarm.
pub(super) async fn freeze(store: &dyn Store, node: NodeNumber, reason: &str) {
    error!(node = node.0, reason, "alarm: two machines speak as one node, it is frozen");
    metrics::counter!("holdfast_nodes_frozen_total").increment(1);
    let action = NodeAction::Freeze { reason: reason.to_owned() };
    let target = NodeTarget::Number(node);
    match store.act(target, action, Actor::Server, clock::now()).await {
        Ok(Ok(_)) => {}
        Ok(Err(refusal)) => error!(node = node.0, code = refusal.code(), "node could not be frozen"),
        Err(fault) => error!(node = node.0, code = fault.code(), %fault, "node could not be frozen"),
    }
}
