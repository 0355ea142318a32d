//! A vendor's service: its URL, its pace, and what its answers mean. Judges no content.

use std::time::Duration;

use hyper::StatusCode;
use tracing::{debug, warn};

use super::fault::EndorseFault;
use super::pace::{Asker, Pace, Turn};
use crate::budget::Rate;
use crate::http::{Answer, Http};

/// When a service that failed is asked again.
const AGAIN: Duration = Duration::from_secs(30);

/// One service.
pub(super) struct Service {
    base: String,
    http: Http,
    pace: Pace,
}

impl Service {
    pub(super) fn new(base: &str, http: Http, interval: Duration, per_source: Rate, strangers: Rate) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        let host = base.split("://").last().and_then(|rest| rest.split('/').next()).unwrap_or(&base).to_owned();
        Self { base, http, pace: Pace::new(host, interval, per_source, strangers) }
    }

    /// Its host.
    pub(super) fn name(&self) -> &str {
        self.pace.service()
    }

    /// The URL of `path`; one that is whole already stays.
    pub(super) fn url(&self, path: &str) -> String {
        if path.contains("://") { path.to_owned() } else { format!("{}{path}", self.base) }
    }

    /// Whether something may be fetched for that asker.
    pub(super) fn admit(&self, asker: Asker) -> Result<Turn, EndorseFault> {
        self.pace.admit(asker)
    }

    /// Asks for `path` about something. `None`: the service does not know it.
    pub(super) async fn get(
        &self,
        about: &str,
        path: &str,
        limit: usize,
        turn: Turn,
    ) -> Result<Option<Answer>, EndorseFault> {
        self.pace.wait(turn).await?;
        let began = std::time::Instant::now();
        let answer = self.http.get(&self.url(path), limit).await;
        let service = self.name().to_owned();
        metrics::histogram!("holdfast_endorsement_fetch_seconds", "service" => service.clone()).record(began.elapsed());
        let result = match answer {
            Ok(answer) if answer.status == StatusCode::OK => Ok(Some(answer)),
            Ok(answer) if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::GONE) => Ok(None),
            Ok(answer)
                if answer.status == StatusCode::TOO_MANY_REQUESTS
                    || (answer.status == StatusCode::SERVICE_UNAVAILABLE && answer.retry_after().is_some()) =>
            {
                Err(self.pace.close(answer.retry_after()))
            }
            Ok(answer) => Err(self.unreachable(about, format!("it answers {}", answer.status))),
            Err(error) => Err(self.unreachable(about, error.to_string())),
        };
        let outcome = match &result {
            Ok(Some(_)) => "answered",
            Ok(None) => super::unknown::UNKNOWN,
            Err(fault) => fault.code(),
        };
        metrics::counter!("holdfast_endorsement_fetches_total", "service" => service.clone(), "outcome" => outcome)
            .increment(1);
        match &result {
            Ok(_) => debug!(service, about, outcome, "service was asked"),
            Err(fault) => warn!(service, about, code = fault.code(), %fault, "service has no answer"),
        }
        result
    }

    /// What it answered cannot be believed.
    pub(super) fn bad_answer(&self, about: &str, reason: impl Into<String>) -> EndorseFault {
        let (service, about, reason) = (self.name().to_owned(), about.to_owned(), reason.into());
        metrics::counter!("holdfast_endorsement_fetches_total", "service" => service.clone(), "outcome" => "endorse.bad_answer")
            .increment(1);
        warn!(service, about, reason, "service answered what cannot be believed");
        EndorseFault::BadAnswer { service, about, reason, retry_after: AGAIN }
    }

    fn unreachable(&self, about: &str, reason: String) -> EndorseFault {
        EndorseFault::Unreachable {
            service: self.name().to_owned(),
            about: about.to_owned(),
            reason,
            retry_after: AGAIN,
        }
    }
}
