//! A sink that is an HTTP service: one POST a delivery, signed; the status says what became of it.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::cloudevents;
use super::event::{Event, Source};
use super::sender::Delivery;
use super::settings::WebhookSettings;
use super::signature::{KeyFault, Signer};
use crate::clock;
use crate::http::Http;

/// Bytes of an answer's body: nobody reads it.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// An HTTP service that takes CloudEvents.
pub(super) struct Webhook {
    http: Http,
    url: String,
    signer: Signer,
}

impl Webhook {
    pub(super) fn new(settings: &WebhookSettings) -> Result<Self, KeyFault> {
        Ok(Self {
            http: Http::new(&settings.ca_file, settings.timeout),
            url: settings.url.clone(),
            signer: Signer::read(settings.secret_file.as_deref(), settings.ed25519_file.as_deref())?,
        })
    }

    pub(super) async fn deliver(&self, events: &[Event], source: &Source) -> Delivery {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Delivery::Taken };
        let (id, media_type, body) = if events.len() == 1 {
            (source.id(first.place), cloudevents::ONE, cloudevents::one(first, source))
        } else {
            // As long as a delivery is tried again it stays the same, and so does its id.
            let id = format!("{}-to-{}", source.id(first.place), source.id(last.place));
            (id, cloudevents::BATCH, cloudevents::batch(events, source))
        };
        let timestamp = clock::now().seconds();
        let signature = self.signer.sign(&id, timestamp, body.as_bytes());
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", media_type),
            ("webhook-id", &id),
            ("webhook-timestamp", &timestamp.to_string()),
            ("webhook-signature", &signature),
        ] {
            let Ok(value) = HeaderValue::from_str(value) else {
                return Delivery::failed(format!("header {name} has no such value"));
            };
            headers.insert(HeaderName::from_static(name), value);
        }
        debug_assert!(headers.contains_key(CONTENT_TYPE));
        match self.http.post(&self.url, headers, body.into_bytes(), ANSWER_BYTES_MAX).await {
            Ok(answer) => judged(answer.status, answer.retry_after()),
            Err(error) => Delivery::failed(error.to_string()),
        }
    }
}

/// What a status says. A redirect is not followed: the URL is the configuration's.
fn judged(status: StatusCode, retry_after: Option<Duration>) -> Delivery {
    let said = format!("answered {status}");
    match status {
        status if status.is_success() => Delivery::Taken,
        StatusCode::GONE => Delivery::Gone(said),
        // About this body, and not about us or about the moment.
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
            Delivery::Rejected(said)
        }
        _ => Delivery::Failed { why: said, retry_after },
    }
}
