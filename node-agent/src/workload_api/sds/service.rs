//! The RPCs of the secret discovery service. What they answer is in the dialogues, when they answer in `subscription`.

use std::sync::Arc;

use futures_util::stream;
use holdfast_protocol::sds::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
pub(super) use holdfast_protocol::sds::google::rpc::Status as Complaint;
use tonic::{Request, Response, Status, Streaming};

use super::super::caller::Caller;
use super::super::refusal::Refusal;
use super::super::service::{Gauge, Messages, count};
use super::super::subscription::{Sources, Subscription};
use super::delta::Delta;
use super::fault::Fault;
use super::names::Names;
use super::resource::TYPE_URL;
use super::state_of_the_world::StateOfTheWorld;
use crate::sds_server_stubs::secret_discovery_service_server::SecretDiscoveryService;
use crate::svids::WorkloadUpdate;

/// Characters of a client's complaint that are logged.
const COMPLAINT_MAX: usize = 512;

/// The secret discovery service.
pub(in super::super) struct Service {
    pub(in super::super) sources: Arc<Sources>,
    pub(in super::super) names: Arc<Names>,
}

/// What two sides of a stream say to each other.
pub(super) trait Dialogue: Send + 'static {
    /// What the client says.
    type Request: Send + 'static;
    /// What we say.
    type Response: Send + 'static;

    /// Nothing was said.
    fn new(names: Arc<Names>) -> Self;

    /// What a request says against the last answer, and the names that it is about.
    fn complaint(request: &Self::Request) -> Option<(&Complaint, &[String])>;

    /// Takes a request; whether it wants an answer.
    fn hear(&mut self, request: Self::Request) -> Result<bool, Fault>;

    /// The answer out of `update`, where there is something to say: always where it was `asked` for, if that is known.
    fn answer(&mut self, update: &WorkloadUpdate, asked: bool) -> Result<Option<Self::Response>, Fault>;
}

/// An open stream.
struct Open<D: Dialogue> {
    method: &'static str,
    dialogue: D,
    subscription: Subscription,
    requests: Streaming<D::Request>,
    /// The state that the subscription gave last.
    update: Arc<WorkloadUpdate>,
    /// Nobody was answered yet: who asks was looked at when the stream opened.
    first: bool,
    _gauge: Gauge,
}

enum Event<R> {
    Asked(Option<R>),
    Changed(Arc<WorkloadUpdate>),
}

impl<D: Dialogue> Open<D> {
    /// The next answer; `None` when the client has gone.
    async fn next(&mut self) -> Result<Option<D::Response>, Fault> {
        loop {
            let event = tokio::select! {
                biased;
                update = self.subscription.next() => Event::Changed(update?),
                // A stream that broke has ended as well as one that was closed.
                request = self.requests.message() => Event::Asked(request.unwrap_or_default()),
            };
            let asked = match event {
                Event::Asked(None) => return Ok(None),
                Event::Asked(Some(request)) => {
                    // Whether it is answered or not: it was read, and may be logged.
                    self.subscription.asked()?;
                    if let Some((complaint, names)) = D::complaint(&request)
                        && let Some(unlogged) = self.subscription.may_note()
                    {
                        rejected(complaint, names, unlogged);
                    }
                    if !self.dialogue.hear(request)? {
                        continue;
                    }
                    if !std::mem::take(&mut self.first) {
                        self.update = self.subscription.again().await?;
                    }
                    true
                }
                Event::Changed(update) => {
                    self.update = update;
                    false
                }
            };
            if let Some(answer) = self.dialogue.answer(&self.update, asked)? {
                tracing::debug!(method = self.method, asked, "secrets sent");
                return Ok(Some(answer));
            }
        }
    }
}

impl Service {
    async fn open<T>(&self, request: &Request<T>) -> Result<(Subscription, Arc<WorkloadUpdate>), Fault> {
        // Every connection comes with its caller; one without is nobody's.
        let caller = request.extensions().get::<Arc<Caller>>().cloned().ok_or(Refusal::Unattested)?;
        Ok(Subscription::open(Arc::clone(&self.sources), caller).await?)
    }

    async fn converse<D: Dialogue>(
        &self,
        method: &'static str,
        request: Request<Streaming<D::Request>>,
    ) -> Result<Response<Messages<D::Response>>, Status> {
        let (subscription, update) = self.open(&request).await.map_err(|fault| refused(method, fault))?;
        count(method, "ok");
        let dialogue = D::new(Arc::clone(&self.names));
        let (requests, _gauge) = (request.into_inner(), Gauge::new(method));
        let open = Open { method, dialogue, subscription, requests, update, first: true, _gauge };
        let answers = stream::unfold(Some(open), |open| async move {
            let mut open = open?;
            match open.next().await {
                Ok(Some(answer)) => Some((Ok(answer), Some(open))),
                Ok(None) => None,
                Err(fault) => Some((Err(refused(open.method, fault)), None)),
            }
        });
        let answers: Messages<D::Response> = Box::pin(answers);
        Ok(Response::new(answers))
    }
}

#[tonic::async_trait]
impl SecretDiscoveryService for Service {
    type StreamSecretsStream = Messages<DiscoveryResponse>;
    type DeltaSecretsStream = Messages<DeltaDiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        self.converse::<StateOfTheWorld>("StreamSecrets", request).await
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        self.converse::<Delta>("DeltaSecrets", request).await
    }

    async fn fetch_secrets(&self, request: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        let method = "FetchSecrets";
        let answered = async {
            let (_subscription, update) = self.open(&request).await?;
            StateOfTheWorld::once(Arc::clone(&self.names), request.into_inner(), &update)
        };
        let answer = answered.await.map_err(|fault| refused(method, fault))?;
        count(method, "ok");
        Ok(Response::new(answer))
    }
}

/// Nothing but secrets is served here.
pub(super) fn check_type(url: &str) -> Result<(), Fault> {
    if url.is_empty() || url == TYPE_URL { Ok(()) } else { Err(Fault::Type) }
}

/// The client did not take the last answer. It keeps what it had, and gets the next one.
fn rejected(detail: &Complaint, names: &[String], unlogged: u64) {
    let complaint: String = detail.message.chars().take(COMPLAINT_MAX).collect();
    tracing::warn!(
        code = "sds.rejected",
        name = %names.first().map_or("", String::as_str).escape_debug(),
        complaint = %complaint.escape_debug(),
        unlogged,
        "secrets rejected by the client"
    );
}

fn refused(method: &'static str, fault: Fault) -> Status {
    tracing::debug!(method, code = fault.code(), "secrets refused");
    count(method, fault.code());
    fault.into()
}
