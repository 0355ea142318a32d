//! `holdfast.admin.v1.Endorsements`, and `Bundles`.

use holdfast_evidence::TrustClass;
use holdfast_evidence::tpm::endorsement::{Anchor, BadEndorsement, Roots};
use holdfast_identity::UnixTime;
use holdfast_protocol::admin;
use tonic::{Request, Response, Status};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::Admin;
use super::nodes::digest;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::{bundles_server::Bundles, endorsements_server::Endorsements};
use crate::clock;
use crate::config::Simulated;
use crate::store::endorsements::{CERTIFICATE_BYTES_MAX, CRL_BYTES_MAX};
use crate::store::{Endorsement, EndorsementDraft, EndorsementRole, Sha256};

/// Files in one request.
const FILES_MAX: usize = 4096;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 256;

#[tonic::async_trait]
impl Endorsements for Admin {
    async fn import(
        &self,
        request: Request<admin::ImportEndorsementsRequest>,
    ) -> Result<Response<admin::ImportEndorsementsResponse>, Status> {
        let by = actor(&request, "endorsement.import")?;
        let request = request.into_inner();
        if !(1..=FILES_MAX).contains(&request.files.len()) {
            let reason = format!("{} endorsements, expected 1 to {FILES_MAX}", request.files.len());
            return Err(argument("files", reason).into());
        }
        let class = self.class(&request.class)?;
        let drafts = request.files.into_iter().map(|file| draft(file, class, request.pin));
        let drafts: Vec<_> = drafts.collect::<Result<_, Refusal>>()?;
        let imported: Vec<_> = drafts.iter().map(|draft| Sha256::of(&draft.der)).collect();
        let new = self.store.import_endorsements(drafts, by, clock::now()).await.map_err(Refusal::from)?;
        let held = self.store.endorsements().await.map_err(Refusal::from)?;
        let held = held.into_iter().filter(|held| imported.contains(&held.sha256));
        Ok(Response::new(admin::ImportEndorsementsResponse { endorsements: held.map(message).collect(), new }))
    }

    async fn list(
        &self,
        _: Request<admin::ListEndorsementsRequest>,
    ) -> Result<Response<admin::ListEndorsementsResponse>, Status> {
        let held = self.store.endorsements().await.map_err(Refusal::from)?;
        Ok(Response::new(admin::ListEndorsementsResponse { endorsements: held.into_iter().map(message).collect() }))
    }

    async fn withdraw(
        &self,
        request: Request<admin::WithdrawEndorsementRequest>,
    ) -> Result<Response<admin::WithdrawEndorsementResponse>, Status> {
        let by = actor(&request, "endorsement.withdraw")?;
        let sha256 = digest("sha256", request.into_inner().sha256)?;
        match self.store.withdraw_endorsement(sha256, by, clock::now()).await.map_err(Refusal::from)? {
            true => Ok(Response::new(admin::WithdrawEndorsementResponse {})),
            false => Err(Refusal::NotFound { what: "endorsement" }.into()),
        }
    }
}

impl Admin {
    fn class(&self, text: &str) -> Result<Option<TrustClass>, Refusal> {
        if text.is_empty() {
            return Ok(None);
        }
        match (text.parse(), self.simulated) {
            (Ok(TrustClass::Simulated), Simulated::Refused) => Err(Refusal::Simulated),
            (Ok(class), _) => Ok(Some(class)),
            (Err(_), _) => {
                let expected = TrustClass::ALL.map(TrustClass::as_str).join(", ");
                Err(argument("class", format!("expected one of {expected}")))
            }
        }
    }
}

/// What a file is, and whether the verifier can use it.
fn draft(file: admin::EndorsementFile, class: Option<TrustClass>, pin: bool) -> Result<EndorsementDraft, Refusal> {
    if file.name.len() > NAME_BYTES_MAX {
        return Err(argument("name", format!("is {} bytes, limit {NAME_BYTES_MAX}", file.name.len())));
    }
    if let Ok((_, certificate)) = X509Certificate::from_der(&file.der) {
        let bad = |source| Refusal::Endorsement { file: file.name.clone(), source };
        if file.der.len() > CERTIFICATE_BYTES_MAX {
            return Err(argument("der", format!("is {} bytes, limit {CERTIFICATE_BYTES_MAX}", file.der.len())));
        }
        let class = class.ok_or_else(|| argument("class", "is missing: certificates need one"))?;
        let role = if pin || certificate.subject().as_raw() == certificate.issuer().as_raw() {
            EndorsementRole::Root
        } else {
            EndorsementRole::Intermediate
        };
        let anchor = Anchor::new(&file.der, class).map_err(bad)?;
        return Ok(EndorsementDraft {
            role,
            class: class.as_str().to_owned(),
            name: anchor.name().to_owned(),
            subject: certificate.subject().to_string(),
            not_after: UnixTime(certificate.validity().not_after.timestamp()),
            der: file.der.clone(),
        });
    }
    let bad = |source| Refusal::Endorsement { file: file.name.clone(), source };
    let (_, crl) = CertificateRevocationList::from_der(&file.der).map_err(|_| bad(BadEndorsement::NotACertificate))?;
    if file.der.len() > CRL_BYTES_MAX {
        return Err(argument("der", format!("is {} bytes, limit {CRL_BYTES_MAX}", file.der.len())));
    }
    Roots::new().add_crl(&file.der).map_err(bad)?;
    Ok(EndorsementDraft {
        role: EndorsementRole::Crl,
        class: String::new(),
        name: file.name.clone(),
        subject: crl.issuer().to_string(),
        not_after: crl.next_update().map_or(UnixTime(0), |time| UnixTime(time.timestamp())),
        der: file.der.clone(),
    })
}

fn message(endorsement: Endorsement) -> admin::Endorsement {
    let draft = endorsement.draft;
    admin::Endorsement {
        sha256: endorsement.sha256.0.to_vec(),
        role: draft.role.as_str().to_owned(),
        class: draft.class,
        name: draft.name,
        subject: draft.subject,
        not_after: draft.not_after.seconds(),
        imported_at: endorsement.imported_at.seconds(),
        imported_by: endorsement.imported_by,
    }
}

#[tonic::async_trait]
impl Bundles for Admin {
    async fn show(&self, _: Request<admin::ShowBundleRequest>) -> Result<Response<admin::ShowBundleResponse>, Status> {
        let bundle = self.store.bundle().await.map_err(Refusal::from)?;
        Ok(Response::new(admin::ShowBundleResponse {
            trust_domain: self.trust_domain.to_string(),
            x509_authorities: bundle.authorities.into_iter().map(|authority| authority.der).collect(),
            sequence: bundle.sequence,
        }))
    }
}
