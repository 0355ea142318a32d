//! Bundles of endorsements, refreshing, and what is wanted: the part of `holdfast.admin.v1.Endorsements` that takes its
//! time or more than one message.

use holdfast_protocol::admin;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Admin;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::clock;
use crate::endorse::bundle::{self, BUNDLE_BYTES_MAX, BundleWriter, UnknownRoots};
use crate::endorse::{Had, Refreshed};
use crate::store::Operation;
use crate::store::Which;

/// Things that one request may ask for.
const ABOUT_MAX: usize = 10_000;

/// Parts of a bundle on their way.
pub(super) type Parts = ReceiverStream<Result<admin::BundlePart, Status>>;
/// What came of asking, one by one.
pub(super) type Refreshes = ReceiverStream<Result<admin::RefreshedEndorsement, Status>>;

impl Admin {
    pub(super) async fn export_bundle(&self) -> Response<Parts> {
        let (parts, stream) = mpsc::channel(4);
        let admin = self.clone();
        tokio::spawn(async move {
            if let Err(refusal) = admin.send_bundle(&parts).await {
                // Whoever asked may have left.
                let _ = parts.send(Err(refusal.into())).await;
            }
        });
        Response::new(ReceiverStream::new(stream))
    }

    async fn send_bundle(&self, parts: &mpsc::Sender<Result<admin::BundlePart, Status>>) -> Result<(), Refusal> {
        let now = clock::now();
        let (mut writer, head) = BundleWriter::new(&self.trust_domain, now);
        let (mut number, mut bytes) = (0, head);
        loop {
            let page = self.store.endorsements(Which::After { number, limit: 0 }).await?;
            let Some(last) = page.last() else { break };
            number = last.number;
            // What has ended helps nobody.
            let counts = page.iter().filter(|held| held.draft.role.is_trust() || held.draft.not_after > now);
            counts.for_each(|held| bytes.extend(writer.endorsement(held)));
            if parts.send(Ok(admin::BundlePart { bytes: std::mem::take(&mut bytes) })).await.is_err() {
                return Ok(());
            }
        }
        bytes.extend(writer.end());
        // Whoever asked may have left.
        let _ = parts.send(Ok(admin::BundlePart { bytes })).await;
        Ok(())
    }

    pub(super) async fn take_bundle(
        &self,
        request: Request<Streaming<admin::ImportBundleRequest>>,
    ) -> Result<Response<admin::ImportEndorsementsResponse>, Status> {
        let by = actor(&request, "endorsement.import_bundle")?;
        let mut parts = request.into_inner();
        let (mut bytes, mut unknown_roots) = (Vec::new(), UnknownRoots::Refused);
        while let Some(part) = parts.next().await {
            let part = part?;
            if bytes.is_empty() && part.accept_roots {
                unknown_roots = UnknownRoots::Accepted;
            }
            bytes.extend(part.bytes);
            if bytes.len() > BUNDLE_BYTES_MAX {
                return Err(argument("bytes", format!("bundle is over {BUNDLE_BYTES_MAX} bytes")).into());
            }
        }
        let trusted = self.store.endorsements(Which::Trust).await.map_err(Refusal::from)?;
        let read = move || bundle::read(&bytes, unknown_roots, &trusted, clock::now());
        let read = tokio::task::spawn_blocking(read).await.map_err(|_| Status::internal("reading ended"))?;
        Ok(Response::new(self.take_in(read.map_err(Refusal::from)?, by).await?))
    }

    pub(super) async fn refresh_endorsements(
        &self,
        request: Request<admin::RefreshEndorsementsRequest>,
    ) -> Result<Response<Refreshes>, Status> {
        let by = actor(&request, "endorsement.refresh")?;
        let mut about = request.into_inner().about;
        if about.len() > ABOUT_MAX {
            return Err(argument("about", format!("{} things, limit {ABOUT_MAX}", about.len())).into());
        }
        if about.is_empty() {
            about = self.endorser.refreshable().await.map_err(Refusal::from)?;
        }
        let operation = Operation {
            action: "endorsement.refresh",
            subject: String::new(),
            detail: serde_json::json!({ "about": about.len() }),
        };
        self.store.record_operation(operation, by, clock::now()).await.map_err(Refusal::from)?;
        let (refreshed, stream) = mpsc::channel(16);
        let endorser = self.endorser.clone();
        tokio::spawn(async move {
            for about in about {
                let message = message(endorser.refresh(&about).await);
                if refreshed.send(Ok(message)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    pub(super) fn wanted_endorsements(&self) -> admin::ListWantedResponse {
        let wanted = self.endorser.wanted().into_iter().map(|wanted| admin::WantedEndorsement {
            serves: wanted.serves.as_str().to_owned(),
            about: wanted.about,
            url: wanted.url,
            code: wanted.code.to_owned(),
            first_at: wanted.first_at.seconds(),
            last_at: wanted.last_at.seconds(),
            times: wanted.times,
            ours: wanted.ours,
        });
        admin::ListWantedResponse { wanted: wanted.collect() }
    }
}

fn message(refreshed: Refreshed) -> admin::RefreshedEndorsement {
    let (outcome, code, detail) = match refreshed.result {
        Ok(Had::Fetched) => ("fetched", "", String::new()),
        Ok(Had::Unknown) => ("unknown", "endorse.unknown", "the service does not know it".to_owned()),
        Err(fault) => ("failed", fault.code(), fault.to_string()),
    };
    admin::RefreshedEndorsement {
        serves: refreshed.serves.as_str().to_owned(),
        about: refreshed.about,
        outcome: outcome.to_owned(),
        code: code.to_owned(),
        detail,
    }
}
