//! A receiver as Standard Webhooks wants one: verifies each delivery, then answers as a test tells it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::Value;
use tokio::task::JoinHandle;

pub(super) const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

/// How a delivery is answered.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Status(u16),
    /// With 200 and so many bytes that nobody asked for.
    Long(usize),
    /// With 200 and a body that never ends.
    Endless,
    /// Never.
    Hang,
    /// To somewhere else.
    Redirect(String),
}

type Judge = Arc<dyn Fn(&[Value]) -> Option<Answer> + Send + Sync>;

#[derive(Default)]
struct Told {
    next: VecDeque<Answer>,
    judge: Option<Judge>,
    /// Every event of every delivery that was answered with 204, in order.
    taken: Vec<Value>,
    deliveries: Vec<(String, String)>,
}

pub(super) struct Receiver {
    told: Arc<Mutex<Told>>,
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub(super) async fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), Arc::default()).await
    }

    async fn at(address: SocketAddr, told: Arc<Mutex<Told>>) -> Self {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(told.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { told, address, task }
    }

    /// Goes away and comes back at the same place, with what it has taken.
    pub(super) async fn restarted(self) -> Self {
        self.task.abort();
        while !self.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Self::at(self.address, self.told.clone()).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The next deliveries are answered so; then with 204 again.
    pub(super) fn answers(&self, next: impl IntoIterator<Item = Answer>) {
        self.told.lock().unwrap().next.extend(next);
    }

    /// Deliveries of which `judge` has something to say are answered so.
    pub(super) fn judges(&self, judge: impl Fn(&[Value]) -> Option<Answer> + Send + Sync + 'static) {
        self.told.lock().unwrap().judge = Some(Arc::new(judge));
    }

    pub(super) fn taken(&self) -> Vec<Value> {
        self.told.lock().unwrap().taken.clone()
    }

    /// `webhook-id` and media type of every delivery, whatever became of it.
    pub(super) fn deliveries(&self) -> Vec<(String, String)> {
        self.told.lock().unwrap().deliveries.clone()
    }
}

async fn answer(State(told): State<Arc<Mutex<Told>>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let events = verified(&text("webhook-id"), &text("webhook-timestamp"), &text("webhook-signature"), &body);
    let answer = {
        let mut told = told.lock().unwrap();
        told.deliveries.push((text("webhook-id"), text("content-type")));
        let judged = told.judge.as_ref().and_then(|judge| judge(&events));
        judged.or_else(|| told.next.pop_front()).unwrap_or(Answer::Status(204))
    };
    let response = Response::builder();
    let response = match answer {
        Answer::Status(status) => {
            if status < 300 {
                told.lock().unwrap().taken.extend(events);
            }
            response.status(StatusCode::from_u16(status).unwrap())
        }
        Answer::Long(length) => {
            told.lock().unwrap().taken.extend(events);
            return response.body(Body::from(vec![b'x'; length])).unwrap();
        }
        Answer::Endless => {
            told.lock().unwrap().taken.extend(events);
            return response.body(Body::from_stream(tokio_stream::pending::<Result<Bytes, std::io::Error>>())).unwrap();
        }
        Answer::Hang => std::future::pending().await,
        Answer::Redirect(to) => response.status(307).header("location", to),
    };
    response.body(Body::empty()).unwrap()
}

/// Verifies as docs/events.md says, and gives the events.
fn verified(id: &str, timestamp: &str, signatures: &str, body: &[u8]) -> Vec<Value> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap());
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let good = |signature: &str| {
        let Some(signature) = signature.strip_prefix("v1,") else { return false };
        hmac::verify(&key, &signed, &STANDARD.decode(signature).unwrap()).is_ok()
    };
    assert!(signatures.split(' ').any(good), "signature of {id}");
    assert!(!id.contains('.'));
    match serde_json::from_slice(body).unwrap() {
        Value::Array(events) => events,
        event => vec![event],
    }
}
