//! The operator's services on a Unix socket: reads the store, and changes it in the operator's name.
//!
//! Whoever may open the socket is an operator; the kernel says who it is, and that stands in every record. What each may
//! do is in `roles`.

mod attempts;
mod endorsement_bundles;
mod endorsements;
mod entries;
mod entry_match;
mod entry_sets;
mod events;
mod exchanges;
mod federations;
#[cfg(test)]
mod fleet_tests;
mod fleets;
mod found;
mod gate;
#[cfg(test)]
mod gate_tests;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod judged_again_tests;
mod jwt_authorities;
#[cfg(test)]
mod measured_tests;
mod nodes;
mod plan;
mod policies;
mod proofs;
mod proposals;
mod record;
pub(crate) mod refusal;
mod report_waivers;
mod reports;
mod results;
mod roles;
#[cfg(test)]
mod rollout_tests;
mod rollouts;
mod server;
#[cfg(test)]
mod sinks_tests;
mod socket;
mod svids;
#[cfg(test)]
mod tests;
mod what_ifs;
mod x509_authorities;

use std::sync::Arc;
use std::time::Duration;

use holdfast_identity::TrustDomain;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::admin_stubs::{
    attempts_server::AttemptsServer, bundles_server::BundlesServer, endorsements_server::EndorsementsServer,
    entries_server::EntriesServer, events_server::EventsServer, exchanges_server::ExchangesServer,
    federations_server::FederationsServer, fleets_server::FleetsServer, jwt_authorities_server::JwtAuthoritiesServer,
    nodes_server::NodesServer, policies_server::PoliciesServer, proofs_server::ProofsServer,
    record_server::RecordServer, results_server::ResultsServer, server_server::ServerServer, svids_server::SvidsServer,
    x509_authorities_server::X509AuthoritiesServer,
};
use crate::authority::{Authority, TokenAuthority};
use crate::config::Simulated;
use crate::ear::EarIssuer;
use crate::endorse::Endorser;
use crate::exchange::Exchange;
use crate::federation::Federator;
use crate::outbox::Outbox;
use crate::record::{ReadLog, RecordFault, Signer};
use crate::rollout::RolloutSettings;
use crate::store::Store;
use crate::store::policies::POLICY_BYTES_MAX;

use roles::RolesLayer;
pub use roles::{Role, Roles};
pub use socket::{AdminSocket, SocketFault};
pub use what_ifs::WHAT_IFS_MAX;

/// Bytes of one request: a policy of 4 MiB with what stands around it, or the endorsements of a vendor.
pub const REQUEST_BYTES_MAX: usize = 8 << 20;
/// Bytes of one request about policies: one with a million digests of files, and what stands around it.
pub const POLICY_REQUEST_BYTES_MAX: usize = POLICY_BYTES_MAX + (1 << 20);
/// Requests of one connection at a time: an operator's scripts, not a fleet.
const REQUESTS_AT_ONCE: usize = 32;
/// How long one request may take; an audit of a long record is a stream and not bound by it.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// What the operator's services work on.
#[derive(Clone)]
pub struct Admin {
    /// Everything that the server remembers.
    pub store: Arc<dyn Store>,
    /// Who finds endorsements.
    pub endorser: Endorser,
    /// Who fetches foreign bundles.
    pub federator: Federator,
    /// What signs JWT-SVIDs.
    pub tokens: Arc<TokenAuthority>,
    /// The one trust domain.
    pub trust_domain: TrustDomain,
    /// Whether roots of class `simulated` may be imported.
    pub simulated: Simulated,
    /// What signs.
    pub authority: Arc<Authority>,
    /// Who reads evidence.
    pub reads: ReadLog,
    /// Who signs checkpoints; the reason where nobody may.
    pub signer: Result<Arc<Signer>, Arc<RecordFault>>,
    /// Where events go.
    pub outbox: Arc<Outbox>,
    /// Who exchanges tokens, where there are rules.
    pub exchange: Option<Arc<Exchange>>,
    /// Who signs attestation results.
    pub ear: Arc<EarIssuer>,
    /// Which operators may do what.
    pub roles: Roles,
    /// What a change of policy needs.
    pub rollout: RolloutSettings,
    /// Who may ask the fleet now: [`WHAT_IFS_MAX`] at a time.
    pub what_ifs: Arc<Semaphore>,
}

impl Admin {
    fn signer(&self) -> Result<&Signer, refusal::Refusal> {
        self.signer.as_deref().map_err(|fault| refusal::Refusal::Unsigned(fault.clone()))
    }

    /// Serves operators on `socket` until `stop`.
    ///
    /// # Errors
    /// If the transport ends.
    pub async fn serve(self, socket: AdminSocket, stop: CancellationToken) -> Result<(), tonic::transport::Error> {
        macro_rules! service {
            ($server:ident) => {
                $server::new(self.clone())
                    .max_decoding_message_size(REQUEST_BYTES_MAX)
                    .max_encoding_message_size(usize::MAX)
            };
        }
        Server::builder()
            .layer(RolesLayer::new(self.roles.clone()))
            .concurrency_limit_per_connection(REQUESTS_AT_ONCE)
            .timeout(REQUEST_TIME_MAX)
            .add_service(service!(ServerServer))
            .add_service(service!(EntriesServer))
            .add_service(service!(NodesServer))
            .add_service(service!(PoliciesServer).max_decoding_message_size(POLICY_REQUEST_BYTES_MAX))
            .add_service(service!(AttemptsServer))
            .add_service(service!(BundlesServer))
            .add_service(service!(FederationsServer))
            .add_service(service!(EndorsementsServer))
            .add_service(service!(RecordServer))
            .add_service(service!(ProofsServer))
            .add_service(service!(FleetsServer))
            .add_service(service!(EventsServer))
            .add_service(service!(ResultsServer))
            .add_service(service!(ExchangesServer))
            .add_service(service!(JwtAuthoritiesServer))
            .add_service(service!(X509AuthoritiesServer))
            .add_service(service!(SvidsServer))
            .serve_with_incoming_shutdown(socket.incoming(), stop.cancelled_owned())
            .await
    }
}
