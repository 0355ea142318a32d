//! `holdfast.admin.v1.Endorsements`, and `Bundles`.

use holdfast_evidence::TrustClass;
use holdfast_identity::UnixTime;
use holdfast_protocol::admin;
use tonic::{Request, Response, Status, Streaming};

use super::Admin;
use super::endorsement_bundles::{Parts, Refreshes};
use super::nodes::digest;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::{bundles_server::Bundles, endorsements_server::Endorsements};
use crate::clock;
use crate::config::Simulated;
use crate::endorse::reading::{self, File, Told};
use crate::store::{Actor, Endorsement, EndorsementDraft, EndorsementSource, Serves, Sha256, Which};

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
        let told = Told { class: self.class(&request.class)?, serves: serves(&request.serves)?, pin: request.pin };
        let files = request.files.into_iter().map(file).collect::<Result<_, Refusal>>()?;
        let trusted = self.store.endorsements(Which::Trust).await.map_err(Refusal::from)?;
        let drafts = reading::read(files, &told, &trusted, EndorsementSource::File, clock::now());
        let drafts = drafts.map_err(Refusal::from)?;
        Ok(Response::new(self.take_in(drafts, by).await?))
    }

    async fn list(
        &self,
        request: Request<admin::ListEndorsementsRequest>,
    ) -> Result<Response<admin::ListEndorsementsResponse>, Status> {
        let request = request.into_inner();
        let which = Which::After { number: request.after, limit: request.limit };
        let held = self.store.endorsements(which).await.map_err(Refusal::from)?;
        Ok(Response::new(admin::ListEndorsementsResponse { endorsements: held.into_iter().map(message).collect() }))
    }

    type ExportStream = Parts;
    type RefreshStream = Refreshes;

    async fn export(&self, _: Request<admin::ExportEndorsementsRequest>) -> Result<Response<Parts>, Status> {
        Ok(self.export_bundle().await)
    }

    async fn import_bundle(
        &self,
        request: Request<Streaming<admin::ImportBundleRequest>>,
    ) -> Result<Response<admin::ImportEndorsementsResponse>, Status> {
        self.take_bundle(request).await
    }

    async fn refresh(
        &self,
        request: Request<admin::RefreshEndorsementsRequest>,
    ) -> Result<Response<Refreshes>, Status> {
        self.refresh_endorsements(request).await
    }

    async fn list_wanted(
        &self,
        _: Request<admin::ListWantedRequest>,
    ) -> Result<Response<admin::ListWantedResponse>, Status> {
        Ok(Response::new(self.wanted_endorsements()))
    }

    async fn withdraw(
        &self,
        request: Request<admin::WithdrawEndorsementRequest>,
    ) -> Result<Response<admin::WithdrawEndorsementResponse>, Status> {
        let by = actor(&request, "endorsement.withdraw")?;
        let sha256 = digest("sha256", request.into_inner().sha256)?;
        let was_there = self.store.withdraw_endorsement(sha256, by, clock::now()).await.map_err(Refusal::from)?;
        self.endorser.forget();
        match was_there {
            true => Ok(Response::new(admin::WithdrawEndorsementResponse {})),
            false => Err(Refusal::NotFound { what: "endorsement" }.into()),
        }
    }
}

impl Admin {
    /// Imports, and says what is held of it now.
    pub(super) async fn take_in(
        &self,
        drafts: Vec<EndorsementDraft>,
        by: Actor,
    ) -> Result<admin::ImportEndorsementsResponse, Refusal> {
        if self.simulated == Simulated::Refused
            && drafts.iter().any(|draft| draft.class == TrustClass::Simulated.as_str())
        {
            return Err(Refusal::Simulated);
        }
        let at = clock::now();
        let endorsements = drafts.iter().map(|draft| described(draft, at, &by)).collect();
        let new = self.store.import_endorsements(drafts, by, at).await?;
        self.endorser.forget();
        Ok(admin::ImportEndorsementsResponse { endorsements, new })
    }

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

fn file(file: admin::EndorsementFile) -> Result<File, Refusal> {
    match file.name.len() {
        0..=NAME_BYTES_MAX => Ok(File::new(file.name, file.content)),
        found => Err(argument("name", format!("is {found} bytes, limit {NAME_BYTES_MAX}"))),
    }
}

fn serves(kinds: &[String]) -> Result<Vec<Serves>, Refusal> {
    let expected = || argument("serves", format!("expected some of {}", Serves::NAMES));
    kinds.iter().map(|kind| Serves::parse(kind).ok_or_else(expected)).collect()
}

fn message(endorsement: Endorsement) -> admin::Endorsement {
    admin::Endorsement {
        number: endorsement.number,
        imported_at: endorsement.imported_at.seconds(),
        imported_by: endorsement.imported_by,
        ..of(&endorsement.draft)
    }
}

/// One that is imported just now.
fn described(draft: &EndorsementDraft, at: UnixTime, by: &Actor) -> admin::Endorsement {
    admin::Endorsement { imported_at: at.seconds(), imported_by: by.to_string(), ..of(draft) }
}

fn of(draft: &EndorsementDraft) -> admin::Endorsement {
    admin::Endorsement {
        sha256: Sha256::of(&draft.content).0.to_vec(),
        role: draft.role.as_str().to_owned(),
        class: draft.class.clone(),
        name: draft.name.clone(),
        subject: draft.subject.clone(),
        not_after: draft.not_after.seconds(),
        imported_at: 0,
        imported_by: String::new(),
        serves: draft.serves.as_str().to_owned(),
        about: draft.about.clone(),
        source: draft.source.as_str().to_owned(),
        fetched_at: draft.fetched_at.seconds(),
        number: 0,
    }
}

#[tonic::async_trait]
impl Bundles for Admin {
    async fn show(&self, _: Request<admin::ShowBundleRequest>) -> Result<Response<admin::ShowBundleResponse>, Status> {
        let bundle = self.store.bundle().await.map_err(Refusal::from)?;
        Ok(Response::new(admin::ShowBundleResponse {
            trust_domain: self.trust_domain.to_string(),
            x509_authorities: bundle.authorities.into_iter().map(|authority| authority.der).collect(),
            jwt_authorities: bundle.jwt_authorities.iter().map(|authority| self.jwt_authority(authority)).collect(),
            sequence: bundle.sequence,
        }))
    }
}
