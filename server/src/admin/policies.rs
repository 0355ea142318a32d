//! `holdfast.admin.v1.Policies`.

use holdfast_appraisal::{Document as PolicyText, Finding, Policy, Severity};
use holdfast_protocol::admin;
use tonic::{Request, Response, Status};

use super::plan::{Change, Done, Wanted, wanted_apply};
use super::refusal::{Refusal, argument};
use super::socket::actor;
use super::{Admin, proposals, rollouts, what_ifs};
use crate::admin_stubs::policies_server::Policies;
use crate::clock;
use crate::store::policies::POLICY_BYTES_MAX;
use crate::store::{Mode, PolicyVersion};

/// Documents of one version.
const DOCUMENTS_MAX: usize = 256;
/// Bytes of an operator's message.
const MESSAGE_BYTES_MAX: usize = 4096;

#[tonic::async_trait]
impl Policies for Admin {
    async fn apply(
        &self,
        request: Request<admin::ApplyPolicyRequest>,
    ) -> Result<Response<admin::ApplyPolicyResponse>, Status> {
        let by = actor(&request, "policy.apply")?;
        let request = request.into_inner();
        if !matches!(request.mode.as_str(), "enforce" | "observe") {
            return Err(argument("mode", "expected enforce or observe").into());
        }
        check_size(&request.documents, &request.message)?;
        if request.documents.is_empty() {
            return Err(argument("documents", "are missing").into());
        }
        let (policy, findings) = match read_documents(&request.documents) {
            Ok(read) => read,
            Err(findings) => return Ok(Response::new(refused(&findings))),
        };
        let wanted = wanted_apply(request, policy.version().name.clone());
        let done = self.change(&wanted, by).await?;
        let applied = match &done {
            Done::Rollout(rollout, _) if rollout.action == "policy.enforce" => {
                self.store.policy_in(Mode::Enforce).await
            }
            Done::Rollout(..) => self.store.policy_in(Mode::Observe).await,
            Done::Proposal(..) => Ok(None),
        };
        let policy = applied.map_err(Refusal::from)?.map(message);
        let findings = findings.iter().map(finding).collect();
        let outcome = Some(self.response(done).await?);
        Ok(Response::new(admin::ApplyPolicyResponse { policy, findings, outcome }))
    }

    async fn list(
        &self,
        _: Request<admin::ListPoliciesRequest>,
    ) -> Result<Response<admin::ListPoliciesResponse>, Status> {
        let versions = self.store.policies().await.map_err(Refusal::from)?;
        Ok(Response::new(admin::ListPoliciesResponse { policies: versions.into_iter().map(message).collect() }))
    }

    async fn get(&self, request: Request<admin::GetPolicyRequest>) -> Result<Response<admin::Policy>, Status> {
        let version = self.version(&request.into_inner().name).await?;
        Ok(Response::new(message(version)))
    }

    type WhatIfStream = what_ifs::Stream;

    async fn what_if(&self, request: Request<admin::WhatIfRequest>) -> Result<Response<Self::WhatIfStream>, Status> {
        let (by, found) = (actor(&request, "policy.what_if")?, self.found_for(&request).await?);
        Ok(Response::new(self.ask_what_if(request.into_inner(), by, found).await?))
    }

    async fn promote(
        &self,
        request: Request<admin::PromotePolicyRequest>,
    ) -> Result<Response<admin::RolloutResponse>, Status> {
        let by = actor(&request, "policy.promote")?;
        let request = request.into_inner();
        check_size(&[], &request.message)?;
        let version = self.version(&request.version).await?.digest.to_string();
        let change = Change::Promote { version, selectors: request.selectors };
        let wanted = Wanted { change, message: request.message, accept_refusals: request.accept_refusals };
        let done = self.change(&wanted, by).await?;
        Ok(Response::new(self.response(done).await?))
    }

    async fn rollback(
        &self,
        request: Request<admin::RollbackPolicyRequest>,
    ) -> Result<Response<admin::RolloutResponse>, Status> {
        let by = actor(&request, "policy.rollback")?;
        let request = request.into_inner();
        check_size(&[], &request.message)?;
        Ok(Response::new(self.roll_back(request, by).await?))
    }

    async fn history(
        &self,
        request: Request<admin::PolicyHistoryRequest>,
    ) -> Result<Response<admin::PolicyHistory>, Status> {
        let request = request.into_inner();
        let states = self.store.rollouts(request.before, request.limit).await.map_err(Refusal::from)?;
        let versions = self.versions().await?;
        let rollouts = states.into_iter().map(|state| rollouts::message(state, &versions)).collect();
        Ok(Response::new(admin::PolicyHistory { rollouts }))
    }

    async fn list_proposals(
        &self,
        _: Request<admin::ListProposalsRequest>,
    ) -> Result<Response<admin::ListProposalsResponse>, Status> {
        let (proposals, now) = (self.store.proposals().await.map_err(Refusal::from)?, clock::now());
        let proposals = proposals.into_iter().map(|proposal| proposals::message(proposal, now)).collect();
        Ok(Response::new(admin::ListProposalsResponse { proposals }))
    }

    async fn approve(
        &self,
        request: Request<admin::ProposalRequest>,
    ) -> Result<Response<admin::RolloutResponse>, Status> {
        let by = actor(&request, "policy.approve")?;
        Ok(Response::new(self.approve_proposal(request.into_inner().number, by).await?))
    }

    async fn withdraw(&self, request: Request<admin::ProposalRequest>) -> Result<Response<admin::Proposal>, Status> {
        let by = actor(&request, "policy.withdraw")?;
        let (number, now) = (request.into_inner().number, clock::now());
        let withdrawn = self.store.withdraw_proposal(number, by, now).await.map_err(Refusal::from)?;
        Ok(Response::new(proposals::message(withdrawn.map_err(Refusal::from)?, now)))
    }
}

/// The policy of these documents with what there is to say about it.
///
/// # Errors
/// Its findings, if one of them is an error.
pub(super) fn read_documents(documents: &[admin::PolicyDocument]) -> Result<(Policy, Vec<Finding>), Vec<Finding>> {
    let texts: Vec<_> = documents.iter().map(|one| PolicyText { name: &one.name, text: &one.text }).collect();
    let (first, references) = texts.split_first().ok_or_else(Vec::new)?;
    let policy = Policy::parse(*first, references)?;
    let mut findings = policy.warnings().to_vec();
    findings.extend(policy.findings_at(clock::now()));
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(findings);
    }
    Ok((policy, findings))
}

pub(super) fn check_size(documents: &[admin::PolicyDocument], message: &str) -> Result<(), Refusal> {
    let count = documents.len();
    if count > DOCUMENTS_MAX {
        return Err(argument("documents", format!("{count} documents, limit {DOCUMENTS_MAX}")));
    }
    let size: usize = documents.iter().map(|document| document.name.len() + document.text.len()).sum();
    if size > POLICY_BYTES_MAX {
        return Err(argument("documents", format!("{size} bytes, limit {POLICY_BYTES_MAX}")));
    }
    match message.len() {
        0..=MESSAGE_BYTES_MAX => Ok(()),
        found => Err(argument("message", format!("is {found} bytes, limit {MESSAGE_BYTES_MAX}"))),
    }
}

fn refused(findings: &[Finding]) -> admin::ApplyPolicyResponse {
    admin::ApplyPolicyResponse { policy: None, findings: findings.iter().map(finding).collect(), outcome: None }
}

pub(super) fn finding(finding: &Finding) -> admin::PolicyFinding {
    admin::PolicyFinding {
        file: finding.file.clone(),
        line: u32::try_from(finding.line).unwrap_or(u32::MAX),
        column: u32::try_from(finding.column).unwrap_or(u32::MAX),
        severity: match finding.severity {
            Severity::Error => "error".to_owned(),
            Severity::Warning => "warning".to_owned(),
        },
        code: finding.code.to_owned(),
        message: finding.message.clone(),
        suggestion: finding.suggestion.clone().unwrap_or_default(),
    }
}

/// A version as the operator sees it.
pub(super) fn message(version: PolicyVersion) -> admin::Policy {
    admin::Policy {
        number: version.number,
        digest: version.digest.0.to_vec(),
        name: version.name,
        documents: version
            .documents
            .into_iter()
            .map(|document| admin::PolicyDocument { name: document.name, text: document.text })
            .collect(),
        mode: version.mode.as_str().to_owned(),
        message: version.message,
        author: version.author,
        applied_at: version.applied_at.seconds(),
        signing_key: version.signing_key,
    }
}
