//! `holdfast.admin.v1.Attempts`.

use holdfast_protocol::admin;
use tonic::{Request, Response, Status};

use super::Admin;
use super::found::told;
use super::nodes::target;
use super::refusal::{Refusal, argument};
use super::roles::Found;
use super::socket::actor;
use crate::admin_stubs::attempts_server::Attempts;
use crate::clock;
use crate::store::{Actor, AttemptFilter, AttemptId, AttemptRecord, Retention};

/// Attempts among which an abbreviated ID is looked for.
const ABBREVIATED_AMONG: u32 = 1000;
/// Digits that an abbreviated ID has at least.
const ABBREVIATED_MIN: usize = 4;

#[tonic::async_trait]
impl Attempts for Admin {
    async fn list(
        &self,
        request: Request<admin::ListAttemptsRequest>,
    ) -> Result<Response<admin::ListAttemptsResponse>, Status> {
        let request = request.into_inner();
        let node = match request.node {
            None => None,
            some => {
                let found = self.store.node(target(some)?).await.map_err(Refusal::from)?;
                Some(found.ok_or(Refusal::NotFound { what: "node" })?.number)
            }
        };
        if !matches!(request.verdict.as_str(), "" | "admitted" | "awaits_approval" | "refused") {
            return Err(argument("verdict", "expected admitted, awaits_approval or refused").into());
        }
        let before = match request.before.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| argument("before", "expected 32 hexadecimal digits"))?),
        };
        let verdict = (!request.verdict.is_empty()).then_some(request.verdict);
        let filter = AttemptFilter { node, verdict, before, limit: request.limit };
        let attempts = self.store.attempts(filter).await.map_err(Refusal::from)?;
        Ok(Response::new(admin::ListAttemptsResponse { attempts: attempts.into_iter().map(message).collect() }))
    }

    async fn get(&self, request: Request<admin::GetAttemptRequest>) -> Result<Response<admin::Attempt>, Status> {
        let (by, found) = (actor(&request, "attempt.read")?, self.found_for(&request).await?);
        Ok(Response::new(self.shown(&request.into_inner().id, by, found).await?))
    }

    async fn list_strangers(
        &self,
        request: Request<admin::ListStrangersRequest>,
    ) -> Result<Response<admin::ListStrangersResponse>, Status> {
        let limit = match request.into_inner().limit {
            0 => 100,
            limit => limit,
        };
        let lines = self.store.strangers(limit).await.map_err(Refusal::from)?;
        let lines = lines.into_iter().map(|line| admin::StrangerLine {
            minute: line.minute.seconds(),
            source: line.source,
            counts: line.counts.into_iter().collect(),
        });
        Ok(Response::new(admin::ListStrangersResponse { lines: lines.collect() }))
    }
}

impl Admin {
    /// One attempt, with its decision as far as `by` may read it: whoever is shown what was found stands in the record first.
    pub(super) async fn shown(&self, id: &str, by: Actor, found: Found) -> Result<admin::Attempt, Refusal> {
        let id = self.named(id).await?;
        let mut attempt = self.store.attempt(id).await?.ok_or_else(|| self.no_attempt(id))?;
        match found {
            Found::Shown => {
                self.reads.record(by, "attempt", id.to_string()).await?;
                attempt.decision = attempt.decision_in_full();
            }
            Found::Withheld => attempt.decision = told(&attempt.decision),
        }
        Ok(message(attempt))
    }

    /// Why there is none of this name: where it is as old as what retention takes away, it may have been.
    pub(super) fn no_attempt(&self, id: AttemptId) -> Refusal {
        let Retention { evidence, renewals } = self.store.retention();
        if id.began() >= clock::now().plus(-evidence.min(renewals)) {
            return Refusal::NotFound { what: "attempt" };
        }
        Refusal::AttemptGone { evidence_days: evidence / 86_400, renewals_days: renewals / 86_400 }
    }

    /// The attempt with that ID, or the only recent one whose ID begins (or, as they begin with the time, ends) so.
    pub(super) async fn named(&self, text: &str) -> Result<AttemptId, Refusal> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        if text.len() < ABBREVIATED_MIN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let expected = format!("expected 32 hexadecimal digits, or at least {ABBREVIATED_MIN} of them");
            return Err(argument("id", expected));
        }
        let text = text.to_ascii_lowercase();
        let filter = AttemptFilter { limit: ABBREVIATED_AMONG, ..AttemptFilter::default() };
        let recent = self.store.attempts(filter).await?;
        let is_it = |id: &AttemptId| {
            let id = id.to_string();
            id.starts_with(&text) || id.ends_with(&text)
        };
        let mut found = recent.iter().map(|attempt| attempt.id).filter(is_it);
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (None, _) => Err(Refusal::NotFound { what: "attempt" }),
            (Some(_), Some(_)) => Err(argument("id", "fits several attempts, give more digits")),
        }
    }
}

fn message(attempt: AttemptRecord) -> admin::Attempt {
    admin::Attempt {
        id: attempt.id.to_string(),
        at: attempt.at.seconds(),
        way: attempt.way,
        kinds: attempt.kinds,
        source: attempt.source,
        node: attempt.node.map_or(0, |number| number.0),
        spiffe_id: attempt.spiffe_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        verdict: attempt.verdict,
        code: attempt.code,
        policy: attempt.policy.map(|digest| digest.0.to_vec()).unwrap_or_default(),
        decision: attempt.decision,
        index: attempt.index,
    }
}
