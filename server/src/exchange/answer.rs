//! Requests and answers of the token endpoint. Tells whoever is refused a word and a number, and operators the rest.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Exchange;
use super::desk::draw_id;
use super::form::{FORM_BYTES_MAX, Form, JWT};
use super::refused::Refused;
use crate::clock;
use crate::web::Asker;

/// How long a request's body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);

impl Exchange {
    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, from: Asker) -> Response<Body> {
        if request.method() != Method::POST {
            let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, &json!({ "error": "invalid_request" }));
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return refused;
        }
        let id = draw_id();
        let outcome = match self.pay(from) {
            Err(over) => self.exchange(&id, Err(over), from, clock::now()).await,
            // Read before a place is taken: whoever sends slowly keeps nobody else from his.
            Ok(()) => {
                let form = read(request).await;
                self.exchange(&id, form, from, clock::now()).await
            }
        };
        match outcome {
            Ok(given) => {
                let lives = given.token.expires.since(given.token.issued);
                answer(
                    StatusCode::OK,
                    &json!({
                        "access_token": given.token.token,
                        "issued_token_type": JWT,
                        "token_type": "N_A",
                        "expires_in": lives,
                    }),
                )
            }
            Err(refused) => refusal(&id, &refused),
        }
    }
}

/// The form of a request, within bounds.
async fn read(request: Request<Incoming>) -> Result<Form, Refused> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refused::Form("expected application/x-www-form-urlencoded"));
    }
    let body = axum::body::to_bytes(Body::new(request.into_body()), FORM_BYTES_MAX);
    match timeout(BODY_WITHIN, body).await {
        Ok(Ok(bytes)) => Form::parse(&bytes),
        Ok(Err(_)) => Err(Refused::Form("longer than a request may be, or broken off")),
        Err(_) => Err(Refused::Form("it did not arrive in time")),
    }
}

fn refusal(id: &str, refused: &Refused) -> Response<Body> {
    let told = refused.told();
    // A number by which an operator finds out more.
    let document = json!({ "error": told.error, "error_description": format!("exchange {id}") });
    let mut response = answer(told.status, &document);
    let wait = match refused {
        Refused::Budget(over) => Some(over.retry_after.as_secs()),
        _ if told.status == StatusCode::SERVICE_UNAVAILABLE => Some(5),
        _ => None,
    };
    if let Some(wait) = wait {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
    }
    response
}

fn answer(status: StatusCode, document: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
