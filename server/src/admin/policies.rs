//! `holdfast.admin.v1.Policies`.

use holdfast_appraisal::{Document as PolicyText, Finding, Policy, Severity};
use holdfast_protocol::admin;
use tonic::{Request, Response, Status};

use super::Admin;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::policies_server::Policies;
use crate::clock;
use crate::store::policies::POLICY_BYTES_MAX;
use crate::store::{Document, Mode, PolicyDraft, PolicyVersion};

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
        let mode = match request.mode.as_str() {
            "enforce" => Mode::Enforce,
            "observe" => Mode::Observe,
            _ => return Err(argument("mode", "expected enforce or observe").into()),
        };
        check_size(&request)?;
        let now = clock::now();
        let texts: Vec<_> = request
            .documents
            .iter()
            .map(|document| PolicyText { name: &document.name, text: &document.text })
            .collect();
        let (first, references) = texts.split_first().ok_or_else(|| argument("documents", "are missing"))?;
        let policy = match Policy::parse(*first, references) {
            Ok(policy) => policy,
            Err(findings) => return Ok(Response::new(refused(&findings))),
        };
        let mut findings = policy.warnings().to_vec();
        findings.extend(policy.findings_at(now));
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Ok(Response::new(refused(&findings)));
        }
        let draft = PolicyDraft {
            name: policy.version().name.clone(),
            documents: request
                .documents
                .iter()
                .map(|document| Document { name: document.name.clone(), text: document.text.clone() })
                .collect(),
            mode,
            message: request.message,
        };
        let version = self.store.apply_policy(draft, by, now).await.map_err(Refusal::from)?;
        let findings = findings.iter().map(finding).collect();
        Ok(Response::new(admin::ApplyPolicyResponse { policy: Some(message(version)), findings }))
    }

    async fn list(
        &self,
        _: Request<admin::ListPoliciesRequest>,
    ) -> Result<Response<admin::ListPoliciesResponse>, Status> {
        let versions = self.store.policies().await.map_err(Refusal::from)?;
        Ok(Response::new(admin::ListPoliciesResponse { policies: versions.into_iter().map(message).collect() }))
    }

    async fn get(&self, request: Request<admin::GetPolicyRequest>) -> Result<Response<admin::Policy>, Status> {
        let name = request.into_inner().name;
        let found = match name.as_str() {
            "enforce" => self.store.policy_in(Mode::Enforce).await.map_err(Refusal::from)?,
            "observe" => self.store.policy_in(Mode::Observe).await.map_err(Refusal::from)?,
            _ => {
                let versions = self.store.policies().await.map_err(Refusal::from)?;
                let is_it = |version: &&PolicyVersion| {
                    name.parse() == Ok(version.number)
                        || (name.len() >= 4 && version.digest.to_string().starts_with(&name))
                        || name == version.digest.to_string()
                };
                match versions.iter().find(is_it) {
                    Some(version) => self.store.policy(version.digest).await.map_err(Refusal::from)?,
                    None => None,
                }
            }
        };
        Ok(Response::new(message(found.ok_or(Refusal::NotFound { what: "policy version" })?)))
    }
}

fn check_size(request: &admin::ApplyPolicyRequest) -> Result<(), Refusal> {
    let count = request.documents.len();
    if count > DOCUMENTS_MAX {
        return Err(argument("documents", format!("{count} documents, limit {DOCUMENTS_MAX}")));
    }
    let size: usize = request.documents.iter().map(|document| document.name.len() + document.text.len()).sum();
    if size > POLICY_BYTES_MAX {
        return Err(argument("documents", format!("{size} bytes, limit {POLICY_BYTES_MAX}")));
    }
    match request.message.len() {
        0..=MESSAGE_BYTES_MAX => Ok(()),
        found => Err(argument("message", format!("is {found} bytes, limit {MESSAGE_BYTES_MAX}"))),
    }
}

fn refused(findings: &[Finding]) -> admin::ApplyPolicyResponse {
    admin::ApplyPolicyResponse { policy: None, findings: findings.iter().map(finding).collect() }
}

fn finding(finding: &Finding) -> admin::PolicyFinding {
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
    }
}
