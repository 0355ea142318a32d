//! `holdfast.admin.v1.Events`: where events go, and what operators have done there.

use holdfast_protocol::admin;
use tonic::{Request, Response, Status};

use super::Admin;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::events_server::Events;
use crate::outbox::{Order, SinkStatus};

#[tonic::async_trait]
impl Events for Admin {
    async fn list(&self, _: Request<admin::ListSinksRequest>) -> Result<Response<admin::ListSinksResponse>, Status> {
        let source = self.outbox.source();
        Ok(Response::new(admin::ListSinksResponse {
            epoch: source.epoch.to_vec(),
            trust_domain: source.trust_domain.to_string(),
            sinks: self.outbox.list().into_iter().map(message).collect(),
        }))
    }

    async fn act(&self, request: Request<admin::ActOnSinkRequest>) -> Result<Response<admin::Sink>, Status> {
        use admin::act_on_sink_request::Act;
        let by = actor(&request, "events.act")?;
        let request = request.into_inner();
        let order = match request.act {
            Some(Act::Test(_)) => Order::Test,
            Some(Act::Replay(replay)) => Order::Replay { from: replay.from },
            Some(Act::Skip(_)) => Order::Skip,
            Some(Act::Resume(_)) => Order::Resume,
            None => return Err(argument("act", "is required").into()),
        };
        let status = self.outbox.order(&request.name, order, by).await.map_err(Refusal::from)?;
        Ok(Response::new(message(status)))
    }
}

fn message(status: SinkStatus) -> admin::Sink {
    let SinkStatus { kind, place, sink, lag } = status;
    admin::Sink {
        name: sink.name,
        kind: kind.to_owned(),
        place,
        next: sink.next,
        lag,
        parked: sink.parked,
        failures: sink.failures,
        last_error: sink.last_error,
        last_failure: sink.last_failure.seconds(),
        last_success: sink.last_success.seconds(),
        skipped: sink.skipped,
    }
}
