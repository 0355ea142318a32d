//! The stand-in: an HTTP service that answers each path as a test tells it, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};

/// How a path is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// With these bytes, and headers.
    Body(Vec<u8>, Vec<(&'static str, String)>),
    /// With a status alone.
    Status(u16),
    /// 429, to come back after so many seconds; 0 for not saying when.
    Limited(u64),
    /// So late, then as it would else.
    Late(Duration, Box<Answer>),
    /// With a body that never ends.
    Endless,
    /// With a body of which the second half never comes.
    Stuck,
    /// To elsewhere.
    Redirect(String),
}

impl Answer {
    pub(crate) fn body(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Body(bytes.into(), Vec::new())
    }
}

#[derive(Default)]
struct Told {
    answers: HashMap<String, Answer>,
    asked: Vec<(Instant, String)>,
}

/// A service; what is not told of is 404.
#[derive(Clone)]
pub(crate) struct StandIn {
    told: Arc<Mutex<Told>>,
    pub(crate) url: String,
}

impl StandIn {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let told: Arc<Mutex<Told>> = Arc::default();
        let router = Router::new().fallback(answer).with_state(told.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { told, url }
    }

    /// Answers that path, query included, so from now on.
    pub(crate) fn tell(&self, path: &str, answer: Answer) {
        self.told.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.told.lock().unwrap().asked.iter().map(|(_, path)| path.clone()).collect()
    }

    /// When things were asked whose path begins so.
    pub(crate) fn times(&self, prefix: &str) -> Vec<Instant> {
        let told = self.told.lock().unwrap();
        told.asked.iter().filter(|(_, path)| path.starts_with(prefix)).map(|(at, _)| *at).collect()
    }
}

async fn answer(State(told): State<Arc<Mutex<Told>>>, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let answer = {
        let mut told = told.lock().unwrap();
        told.asked.push((Instant::now(), path.clone()));
        told.answers.get(&path).cloned().unwrap_or(Answer::Status(404))
    };
    give(answer).await
}

async fn give(mut answer: Answer) -> Response<Body> {
    while let Answer::Late(delay, then) = answer {
        tokio::time::sleep(delay).await;
        answer = *then;
    }
    let status = |code: u16| Response::builder().status(StatusCode::from_u16(code).unwrap());
    match answer {
        Answer::Body(bytes, headers) => {
            let builder = headers.into_iter().fold(status(200), |builder, (name, value)| builder.header(name, value));
            builder.body(Body::from(bytes)).unwrap()
        }
        Answer::Status(code) => status(code).body(Body::from("no")).unwrap(),
        Answer::Limited(0) => status(429).body(Body::empty()).unwrap(),
        Answer::Limited(seconds) => status(429).header("retry-after", seconds).body(Body::empty()).unwrap(),
        Answer::Endless => status(200).body(Body::from_stream(endless())).unwrap(),
        Answer::Stuck => status(200).header("content-length", 2000).body(Body::from_stream(stuck())).unwrap(),
        Answer::Redirect(to) => status(302).header("location", to).body(Body::empty()).unwrap(),
        Answer::Late(..) => unreachable!("taken off above"),
    }
}

type Piece = Result<Bytes, std::io::Error>;

fn endless() -> impl tokio_stream::Stream<Item = Piece> + Send + 'static {
    futures_util::stream::repeat_with(|| Ok(Bytes::from_static(&[0x30; 4096])))
}

fn stuck() -> impl tokio_stream::Stream<Item = Piece> + Send + 'static {
    use futures_util::StreamExt as _;
    let first = futures_util::stream::once(async { Ok(Bytes::from_static(&[0x30; 1000])) });
    first.chain(futures_util::stream::pending())
}
