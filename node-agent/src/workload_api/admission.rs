//! Every request on the socket, of whichever service, is one of its caller's: it is counted when it comes, and takes a
//! place among its caller's streams for as long as either side of it is open.
//!
//! Health and reflection answer everybody, and a request that never comes whole is answered by nobody: without this
//! they would be streams without number.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::{Either, Map, Ready, ready};
use hyper::body::{Body, Frame, SizeHint};
use tonic::Status;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tower::Layer;

use super::allowance::StreamPlace;
use super::caller::Caller;
use super::refusal::Refusal;
use super::service::count;

/// Lets requests in within their callers' allowance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Admission;

impl<S> Layer<S> for Admission {
    type Service = Admitted<S>;

    fn layer(&self, service: S) -> Admitted<S> {
        Admitted(service)
    }
}

/// What is behind it.
#[derive(Debug, Clone)]
pub(super) struct Admitted<S>(S);

/// An answer's body, which holds its request's place.
#[derive(Debug, Default)]
pub(super) struct Held<B> {
    body: B,
    _place: Option<StreamPlace>,
}

/// A place for `request`, or why it has none.
fn admit<T>(request: &Request<T>) -> Result<StreamPlace, Refusal> {
    // Every connection comes with its caller; one without is nobody's.
    let caller = request.extensions().get::<Arc<Caller>>().ok_or(Refusal::Unattested)?;
    caller.place.request(Instant::now())?;
    caller.place.stream()
}

type Answer<B, E> = Result<Response<Held<B>>, E>;
type Hold<B, E> = Box<dyn FnOnce(Result<Response<B>, E>) -> Answer<B, E> + Send>;

impl<S, T, B> Service<Request<T>> for Admitted<S>
where
    S: Service<Request<T>, Response = Response<B>>,
    B: Default + 'static,
    S::Error: 'static,
{
    type Response = Response<Held<B>>;
    type Error = S::Error;
    type Future = Either<Map<S::Future, Hold<B, S::Error>>, Ready<Answer<B, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<T>) -> Self::Future {
        match admit(&request) {
            Ok(place) => {
                let hold = |answer: Result<Response<B>, _>| {
                    answer.map(|answer| answer.map(|body| Held { body, _place: Some(place) }))
                };
                Either::Left(self.0.call(request).map(Box::new(hold) as Hold<B, S::Error>))
            }
            Err(refusal) => {
                tracing::debug!(code = refusal.code(), "workload refused");
                count("any", refusal.code());
                Either::Right(ready(Ok(Status::from(refusal).into_http())))
            }
        }
    }
}

impl<B: Body + Unpin> Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
