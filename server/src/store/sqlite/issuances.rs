//! Issuances: a leaf each, and a second look where the world moved since the caller's first.

use super::super::issuances::{Issuance, Issuances, NotRecorded, Origin, Recorded};
use super::super::nodes::{NodeNumber, NodeTarget};
use super::super::{Held, StoreFault};
use super::node_rows::{self, Kept};
use super::writer::{Tx, Verb};
use super::{SqliteStore, entry_rows, revocations};
use crate::record::issuance_leaf;
use holdfast_identity::UnixTime;

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
        let mut living = Vec::with_capacity(self.requests.len());
        for request in &self.requests {
            let refused = match request.origin {
                Origin::Server => None,
                Origin::Node { .. } => Some(NODE_SVID),
                Origin::Workload { .. } if !moved => None,
                Origin::Workload { node, .. } => {
                    if asking.as_ref().is_none_or(|kept| kept.node.number != node) {
                        asking = node_rows::find(&mut tx.connection, &NodeTarget::Number(node)).await?;
                    }
                    judge_again(tx, request, node, asking.as_ref(), self.at).await?
                }
            };
            answers.push(match refused {
                Some(refused) => Err(refused),
                None => {
                    let index = tx.append(&issuance_leaf(request, self.at));
                    if let Origin::Workload { node, .. } = request.origin {
                        living.push((index, node, request));
                    }
                    Ok(Recorded::new(request.clone(), index))
                }
            });
        }
        revocations::remember(tx, &living).await?;
        Ok(answers)
    }
}

async fn judge_again(
    tx: &mut Tx,
    request: &Issuance,
    number: NodeNumber,
    asking: Option<&Kept>,
    at: UnixTime,
) -> Result<Option<NotRecorded>, StoreFault> {
    let Origin::Workload { entry, revision, .. } = request.origin else { return Ok(None) };
    let standing = asking.filter(|kept| kept.node.number == number && kept.node.stands(at));
    let Some((node, Some(node_id))) = standing.map(|kept| (&kept.node, kept.node.spiffe_id.as_ref())) else {
        return Ok(Some(NotRecorded::NodeNotStanding));
    };
    if request.not_after > node.evidence_expires {
        return Ok(Some(NotRecorded::OutlivesEvidence));
    }
    let good = entry_rows::by_number(&mut tx.connection, entry).await?.is_some_and(|entry| {
        entry.revision_number == revision
            && entry.draft.spiffe_id == request.spiffe_id
            && !entry.is_expired(at)
            && entry.draft.parent.is(node_id, &node.selectors)
    });
    Ok((!good).then_some(NotRecorded::EntryGone))
}
