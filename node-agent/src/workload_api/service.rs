//! The RPCs of the Workload API. What they answer is in `message`, when they answer in `subscription`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, stream};
use holdfast_protocol::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, WitBundlesRequest, WitBundlesResponse, WitsvidRequest, WitsvidResponse,
    X509BundlesRequest, X509BundlesResponse, X509svidRequest, X509svidResponse,
};
use prost::Message;
use ring::digest;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

use super::caller::Caller;
use super::message;
use super::refusal::Refusal;
use super::subscription::{Sources, Subscription};
use super::tokens;
use crate::svids::WorkloadUpdate;
use crate::workload_server_stubs::spiffe_workload_api_server::SpiffeWorkloadApi;

/// The Workload API.
pub(super) struct Service(pub(super) Arc<Sources>);

pub(super) type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

/// How an update becomes a message.
type Build<M> = fn(&WorkloadUpdate) -> Result<M, Refusal>;

/// An open stream of messages.
struct Open<M> {
    method: &'static str,
    subscription: Subscription,
    build: Build<M>,
    /// SHA-256 of the last message: the next one differs.
    sent: digest::Digest,
    gauge: Gauge,
}

/// Counts one open stream for as long as it lives.
pub(super) struct Gauge(&'static str);

impl Gauge {
    pub(super) fn new(method: &'static str) -> Self {
        metrics::gauge!("holdfast_agent_workload_streams", "method" => method).increment(1);
        Self(method)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        metrics::gauge!("holdfast_agent_workload_streams", "method" => self.0).decrement(1);
    }
}

impl Service {
    /// Answers with the state of now and, on the same stream, with each state that follows.
    async fn follow<R, M>(&self, method: &'static str, request: Request<R>, build: Build<M>) -> Answer<M>
    where
        M: Message + 'static,
    {
        let opened = async {
            // Every connection comes with its caller; one without is nobody's.
            let caller = caller(&request).ok_or(Refusal::Unattested)?;
            let (subscription, update) = Subscription::open(Arc::clone(&self.0), caller).await?;
            Ok((subscription, build(&update)?))
        };
        let (subscription, first) = opened.await.map_err(|refusal| refused(method, refusal))?;
        count(method, "ok");
        let open = Open { method, subscription, build, sent: fingerprint(&first), gauge: Gauge::new(method) };
        let rest = stream::unfold(Some(open), |open| async move {
            let mut open = open?;
            Some(match open.next().await {
                Ok(message) => (Ok(message), Some(open)),
                Err(refusal) => (Err(refused(open.method, refusal)), None),
            })
        });
        let first = stream::once(std::future::ready(Ok(first)));
        let messages: Messages<M> = Box::pin(futures_util::StreamExt::chain(first, rest));
        Ok(Response::new(messages))
    }
}

type Answer<M> = Result<Response<Messages<M>>, Status>;

impl<M: Message> Open<M> {
    async fn next(&mut self) -> Result<M, Refusal> {
        loop {
            let update = self.subscription.next().await?;
            let message = (self.build)(&update)?;
            let fingerprint = fingerprint(&message);
            if fingerprint.as_ref() != self.sent.as_ref() {
                self.sent = fingerprint;
                tracing::debug!(method = self.method, gauge = self.gauge.0, "workload update sent");
                return Ok(message);
            }
        }
    }
}

/// Tells one message from the next without keeping the keys in it.
fn fingerprint(message: &impl Message) -> digest::Digest {
    digest::digest(&digest::SHA256, &Zeroizing::new(message.encode_to_vec()))
}

fn caller<R>(request: &Request<R>) -> Option<Arc<Caller>> {
    request.extensions().get::<Arc<Caller>>().cloned()
}

fn refused(method: &'static str, refusal: Refusal) -> Status {
    tracing::debug!(method, code = refusal.code(), "workload refused");
    count(method, refusal.code());
    refusal.into()
}

pub(super) fn count(method: &'static str, outcome: &'static str) {
    metrics::counter!("holdfast_agent_workload_requests_total", "method" => method, "outcome" => outcome).increment(1);
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Service {
    type FetchX509SVIDStream = Messages<X509svidResponse>;
    type FetchX509BundlesStream = Messages<X509BundlesResponse>;
    type FetchJWTBundlesStream = Messages<JwtBundlesResponse>;
    type FetchWITSVIDStream = Messages<WitsvidResponse>;
    type FetchWITBundlesStream = Messages<WitBundlesResponse>;

    async fn fetch_x509svid(&self, request: Request<X509svidRequest>) -> Answer<X509svidResponse> {
        self.follow("FetchX509SVID", request, message::x509_svids).await
    }

    async fn fetch_x509_bundles(&self, request: Request<X509BundlesRequest>) -> Answer<X509BundlesResponse> {
        self.follow("FetchX509Bundles", request, message::x509_bundles).await
    }

    async fn fetch_jwtsvid(&self, request: Request<JwtsvidRequest>) -> Result<Response<JwtsvidResponse>, Status> {
        let fetched = tokens::fetch(&self.0, caller(&request), request.get_ref()).await;
        let answer = fetched.map_err(|refusal| refused("FetchJWTSVID", refusal))?;
        count("FetchJWTSVID", "ok");
        Ok(Response::new(answer))
    }

    async fn fetch_jwt_bundles(&self, request: Request<JwtBundlesRequest>) -> Answer<JwtBundlesResponse> {
        self.follow("FetchJWTBundles", request, message::jwt_bundles).await
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        match tokens::validate(&self.0, caller(&request), request.get_ref()).await {
            Ok(Ok(answer)) => {
                count("ValidateJWTSVID", "ok");
                Ok(Response::new(answer))
            }
            Ok(Err(bad)) => {
                tracing::debug!(code = bad.code(), "JWT-SVID refused");
                count("ValidateJWTSVID", bad.code());
                Err(Status::invalid_argument(bad.to_string()))
            }
            Err(refusal) => Err(refused("ValidateJWTSVID", refusal)),
        }
    }

    async fn fetch_witsvid(&self, _: Request<WitsvidRequest>) -> Answer<WitsvidResponse> {
        Err(refused("FetchWITSVID", Refusal::NotServed))
    }

    async fn fetch_wit_bundles(&self, _: Request<WitBundlesRequest>) -> Answer<WitBundlesResponse> {
        Err(refused("FetchWITBundles", Refusal::NotServed))
    }
}
