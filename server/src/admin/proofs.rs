//! `holdfast.admin.v1.Proofs`: what the record keeps beside its entries, for those who prove decisions. Who reads it is
//! recorded first.

use holdfast_protocol::admin;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Admin;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::proofs_server::Proofs;
use crate::clock;
use crate::proving::Kept;
use crate::store::{AttemptId, Operation};

/// Bytes of one message of the stream.
const PART_BYTES: usize = 1 << 20;

#[tonic::async_trait]
impl Proofs for Admin {
    type ProveStream = ReceiverStream<Result<admin::ProofPart, Status>>;

    async fn prove(&self, request: Request<admin::ProveRequest>) -> Result<Response<Self::ProveStream>, Status> {
        let by = actor(&request, "evidence.read")?;
        let attempt: AttemptId =
            request.into_inner().attempt.parse().map_err(|_| argument("attempt", "expected 32 hexadecimal digits"))?;
        let kept = Kept::read(self.store.as_ref(), attempt).await.map_err(Refusal::from)?;
        let kept = kept.ok_or_else(|| self.no_attempt(attempt))?;
        // Before a byte of it leaves: what is not recorded is not read.
        let operation = Operation { action: "evidence.read", subject: attempt.to_string(), detail: json!({}) };
        self.store.record_operation(operation, by, clock::now()).await.map_err(Refusal::from)?;
        let proven = self.signer()?.prove(kept.index).await.map_err(Refusal::from)?;
        let file = kept.proof(proven.proof, proven.checkpoint).encode();
        let (parts, stream) = mpsc::channel(2);
        tokio::spawn(async move {
            for part in file.chunks(PART_BYTES) {
                // Whoever asked may have left.
                if parts.send(Ok(admin::ProofPart { content: part.to_vec() })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn usage(&self, _: Request<admin::UsageRequest>) -> Result<Response<admin::UsageResponse>, Status> {
        let usage = self.store.body_usage(clock::now()).await.map_err(Refusal::from)?;
        let kinds = usage.kinds.into_iter().map(|kind| admin::KindUsage {
            kind: kind.kind,
            bodies: kind.bodies,
            size: kind.size,
            stored: kind.stored,
            stored_lately: kind.stored_lately,
        });
        Ok(Response::new(admin::UsageResponse {
            kinds: kinds.collect(),
            attempts_a_day: usage.attempts_a_day,
            nodes_a_day: usage.nodes_a_day,
        }))
    }
}
