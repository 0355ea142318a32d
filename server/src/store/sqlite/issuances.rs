//! Issuances: a leaf each, and a second look where the world moved since the caller's first.

use super::super::entries::EntryNumber;
use super::super::issuances::{Issuance, Issuances, NotRecorded, Origin, Recorded};
use super::super::nodes::{NodeNumber, NodeTarget};
use super::super::{Held, StoreFault};
use super::node_rows::{self, Kept};
use super::writer::{Tx, Verb};
use super::{SqliteStore, entry_rows};
use crate::record::issuance_leaf;
use holdfast_identity::{SpiffeId, UnixTime};

/// Node SVIDs are recorded by `record_attempt` alone.
const NODE_SVID: NotRecorded = NotRecorded::NodeNotStanding;

impl Issuances for SqliteStore {
    fn record_issuances(
        &self,
        requests: Vec<Issuance>,
        judged_at: u64,
        at: UnixTime,
    ) -> Held<'_, Vec<Result<Recorded, NotRecorded>>> {
        Box::pin(self.queue.run(RecordIssuances { requests, judged_at, at }))
    }
}

struct RecordIssuances {
    requests: Vec<Issuance>,
    judged_at: u64,
    at: UnixTime,
}

impl Verb for RecordIssuances {
    type Reply = Vec<Result<Recorded, NotRecorded>>;
    const NAME: &'static str = "record_issuances";

    async fn run(&self, tx: &mut Tx) -> Result<Self::Reply, StoreFault> {
        let moved = self.judged_at != tx.n();
        let mut asking: Option<Kept> = None;
        let mut answers = Vec::with_capacity(self.requests.len());
        for request in &self.requests {
            let refused = match request.origin {
                Origin::Server => None,
                Origin::Node { .. } => Some(NODE_SVID),
                Origin::Workload { .. } if !moved => None,
                Origin::Workload { node, entry, revision } => {
                    if asking.as_ref().is_none_or(|kept| kept.node.number != node) {
                        asking = node_rows::find(&mut tx.connection, &NodeTarget::Number(node)).await?;
                    }
                    let (spiffe_id, not_after) = (&request.spiffe_id, request.not_after);
                    let judged = Request { spiffe_id, not_after, node, entry, revision };
                    judge_again(tx, judged, asking.as_ref(), self.at).await?
                }
            };
            answers.push(match refused {
                Some(refused) => Err(refused),
                None => {
                    let index = tx.append(&issuance_leaf(request, self.at));
                    if let Origin::Workload { node, .. } = request.origin {
                        tx.remember(index, node, request);
                    }
                    Ok(Recorded::new(request.clone(), index))
                }
            });
        }
        Ok(answers)
    }
}

/// What is asked for one workload, whatever the form of its identity.
pub(super) struct Request<'a> {
    pub(super) spiffe_id: &'a SpiffeId,
    pub(super) not_after: UnixTime,
    pub(super) node: NodeNumber,
    pub(super) entry: EntryNumber,
    pub(super) revision: u64,
}

/// Judges by the world of this transaction. `asking` is the node that asks, as it is now.
pub(super) async fn judge_again(
    tx: &mut Tx,
    request: Request<'_>,
    asking: Option<&Kept>,
    at: UnixTime,
) -> Result<Option<NotRecorded>, StoreFault> {
    let standing = asking.filter(|kept| kept.node.number == request.node && kept.node.stands(at));
    let Some((node, Some(node_id))) = standing.map(|kept| (&kept.node, kept.node.spiffe_id.as_ref())) else {
        return Ok(Some(NotRecorded::NodeNotStanding));
    };
    if request.not_after > node.evidence_expires {
        return Ok(Some(NotRecorded::OutlivesEvidence));
    }
    let good = entry_rows::by_number(&mut tx.connection, request.entry).await?.is_some_and(|entry| {
        entry.revision_number == request.revision
            && entry.draft.spiffe_id == *request.spiffe_id
            && !entry.is_expired(at)
            && entry.draft.parent.is(node_id, &node.selectors)
    });
    Ok((!good).then_some(NotRecorded::EntryGone))
}
