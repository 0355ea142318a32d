//! `holdfast.admin.v1.Exchanges`: what came of token exchanges lately.

use holdfast_protocol::admin;
use tonic::{Request, Response, Status};

use super::Admin;
use crate::admin_stubs::exchanges_server::Exchanges;
use crate::exchange::{Differs, SEEN_MAX, Seen};

#[tonic::async_trait]
impl Exchanges for Admin {
    async fn list(
        &self,
        _: Request<admin::ListExchangesRequest>,
    ) -> Result<Response<admin::ListExchangesResponse>, Status> {
        let seen = self.exchange.as_ref().map(|exchange| exchange.seen(SEEN_MAX)).unwrap_or_default();
        Ok(Response::new(admin::ListExchangesResponse { exchanges: seen.into_iter().map(message).collect() }))
    }
}

fn message(seen: Seen) -> admin::SeenExchange {
    let differs = |differs: Differs| admin::DifferingClaim {
        claim: differs.claim,
        expected: differs.expected,
        found: differs.found,
    };
    admin::SeenExchange {
        id: seen.id,
        at: seen.at.seconds(),
        source: seen.source,
        code: seen.code.to_owned(),
        message: seen.problem,
        issuer: seen.issuer,
        subject: seen.subject,
        rule: seen.rule,
        differs: seen.differs.into_iter().map(differs).collect(),
        spiffe_id: seen.spiffe_id,
    }
}
