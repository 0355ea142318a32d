//! `holdfast.admin.v1.Events`: where events go, and what operators have done there.

use holdfast_protocol::admin;
use tonic::{Request, Response, Status};

use super::Admin;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::events_server::Events;
use crate::clock;
use crate::outbox::{Order, OrderRefused, SinkStatus};
use crate::store::{Actor, Sink};

#[tonic::async_trait]
impl Events for Admin {
    async fn list(&self, _: Request<admin::ListSinksRequest>) -> Result<Response<admin::ListSinksResponse>, Status> {
        let source = self.outbox.source();
        let mut sinks: Vec<admin::Sink> = self.outbox.list().into_iter().map(message).collect();
        let former = self.store.sinks().await.map_err(Refusal::from)?;
        for sink in former.into_iter().filter(|sink| !self.is_configured(&sink.name)) {
            sinks.push(message(self.former_sink(sink).await?));
        }
        Ok(Response::new(admin::ListSinksResponse {
            epoch: source.epoch.to_vec(),
            trust_domain: source.trust_domain.to_string(),
            sinks,
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
            Some(Act::Forget(_)) => return Ok(Response::new(message(self.forget(request.name, by).await?))),
            None => return Err(argument("act", "is required").into()),
        };
        let status = self.outbox.order(&request.name, order, by).await.map_err(Refusal::from)?;
        Ok(Response::new(message(status)))
    }
}

impl Admin {
    fn is_configured(&self, name: &str) -> bool {
        self.outbox.list().iter().any(|status| status.sink.name == name)
    }

    /// A sink that nothing is sent to any more: it is of no kind, and goes nowhere.
    async fn former_sink(&self, sink: Sink) -> Result<SinkStatus, Refusal> {
        let lag = self.store.head().await?.size.saturating_sub(sink.next);
        Ok(SinkStatus { kind: "", place: String::new(), sink, lag })
    }

    /// Drops what is kept of a sink that is configured no more: with it goes what waits for it.
    pub(super) async fn forget(&self, name: String, by: Actor) -> Result<SinkStatus, Refusal> {
        if self.is_configured(&name) {
            return Err(OrderRefused::Configured.into());
        }
        let sink = self.store.forget_sink(name, by, clock::now()).await?;
        self.former_sink(sink.ok_or(OrderRefused::Unknown)?).await
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
