//! The agent services: decodes requests, asks the desk, encodes answers. Decides nothing.

mod answer;
mod attestation;
mod node;

use std::sync::Arc;

pub use answer::{ATTEMPT_KEY, REASON_KEY, RETRY_AFTER_KEY, Word, over_budget, refused, unavailable};
pub use attestation::AttestationService;
pub use node::NodeService;

use axum::Router;
use holdfast_protocol::limits::{BEGIN_BYTES_MAX, COMPLETE_MESSAGE_BYTES_MAX, CSR_BYTES_MAX, SVID_REQUESTS_MAX};
use tonic::service::Routes;
use tonic::{Request, Status};

use crate::agent_stubs::attestation_server::AttestationServer;
use crate::agent_stubs::node_server::NodeServer;
use crate::desk::{Failure, Reply};
use crate::listen::Connection;
use crate::store::AttemptId;

/// The services as one router.
pub fn router(attestation: AttestationService, node: NodeService) -> Router {
    let attestation =
        AttestationServer::new(attestation).max_decoding_message_size(BEGIN_BYTES_MAX.max(COMPLETE_MESSAGE_BYTES_MAX));
    let node = NodeServer::new(node).max_decoding_message_size(SVID_REQUESTS_MAX * (CSR_BYTES_MAX + 512));
    Routes::new(attestation).add_service(node).into_axum_router()
}

/// The connection that a request came on; the listener has put it there.
fn connection_of<T>(request: &Request<T>) -> Result<Arc<Connection>, Status> {
    request.extensions().get::<Arc<Connection>>().cloned().ok_or_else(attestation::unwired)
}

/// What the peer is told of a failure.
fn answer_to(failure: &Failure, attempt: AttemptId) -> Status {
    match failure.reply() {
        Reply::Word(word) => refused(word, Some(attempt)),
        Reply::OverBudget(over) => over_budget(over),
        Reply::Unavailable => unavailable(Some(attempt)),
    }
}
