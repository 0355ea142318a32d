//! `holdfast.admin.v1.Server`: what the server is and how it is.

use holdfast_protocol::admin;
use tonic::{Request, Response, Status};

use super::Admin;
use super::policies;
use super::refusal::Refusal;
use crate::admin_stubs::server_server::Server;
use crate::clock;
use crate::store::{EntryFilter, Mode};

#[tonic::async_trait]
impl Server for Admin {
    async fn status(&self, _: Request<admin::StatusRequest>) -> Result<Response<admin::StatusResponse>, Status> {
        let now = clock::now();
        let fleet = self.store.count_nodes(now).await.map_err(Refusal::from)?;
        let policy = self.store.policy_in(Mode::Enforce).await.map_err(Refusal::from)?;
        let policy = policy.map(|version| admin::Policy { documents: Vec::new(), ..policies::message(version) });
        Ok(Response::new(admin::StatusResponse {
            trust_domain: self.trust_domain.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            server_time: now.seconds(),
            nodes: fleet.states.into_iter().map(|(state, count)| (state.as_str().to_owned(), count)).collect(),
            entries: self.store.count_entries(EntryFilter::default()).await.map_err(Refusal::from)?,
            policy,
            record_size: self.store.head().await.map_err(Refusal::from)?.size,
            endorsements: self.store.count_endorsements().await.map_err(Refusal::from)?.iter().map(|of| of.count).sum(),
        }))
    }
}
