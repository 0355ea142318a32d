//! `holdfast.admin.v1.Results`: attestation results for relying parties.

use holdfast_appraisal::ear::Format;
use holdfast_protocol::admin;
use tonic::{Request, Response, Status};

use super::Admin;
use super::nodes::target;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::results_server::Results;
use crate::clock;
use crate::ear::{EarRefused, Wanted};

#[tonic::async_trait]
impl Results for Admin {
    async fn issue(
        &self,
        request: Request<admin::IssueResultRequest>,
    ) -> Result<Response<admin::IssuedResult>, Status> {
        use admin::issue_result_request::Of;
        let by = actor(&request, "ear.issue")?;
        let request = request.into_inner();
        let format = match request.format() {
            admin::ResultFormat::Cwt => Format::Cwt,
            admin::ResultFormat::Jwt => Format::Jwt,
        };
        let id = match request.of {
            Some(Of::Attempt(id)) => self.named(&id).await?,
            Some(Of::Node(node)) => {
                let found = self.store.node(target(Some(node))?).await.map_err(Refusal::from)?;
                let node = found.ok_or(Refusal::NotFound { what: "node" })?;
                node.last_attempt.ok_or(Refusal::from(EarRefused::NoAttempt))?
            }
            None => return Err(argument("of", "is required").into()),
        };
        let attempt = self.store.attempt(id).await.map_err(Refusal::from)?;
        let attempt = attempt.ok_or_else(|| self.no_attempt(id))?;
        let wanted = Wanted { format, nonce: request.nonce, ended: request.ended };
        let issued = self.ear.issue(&attempt, wanted, by, clock::now()).await.map_err(Refusal::from)?;
        Ok(Response::new(admin::IssuedResult {
            token: issued.token,
            attempt: id.to_string(),
            status: issued.status.as_str().to_owned(),
            expires: issued.expires.seconds(),
            index: issued.index,
        }))
    }

    async fn key(&self, _: Request<admin::ResultKeyRequest>) -> Result<Response<admin::ResultKey>, Status> {
        let key = self.ear.key();
        Ok(Response::new(admin::ResultKey { kid: key.id().to_vec(), spki: key.spki().to_vec() }))
    }
}
