//! `holdfast.agent.v1.Node`: what a standing node may ask on the connection that it quoted on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use holdfast_protocol::agent as wire;
use holdfast_protocol::limits::SVID_REQUESTS_MAX;
use tokio::time::timeout;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use tracing::{error, warn};

use super::answer::{Word, over_budget, refused, unavailable};
use super::connection_of;
use crate::agent_stubs::node_server::Node;
use crate::authority::CurrentBundle;
use crate::budget::{Gate, Place};
use crate::clock;
use crate::desk::{
    NoBudget, SigningBudget, SigningEnds, SvidKind, SvidRefused, SvidRequest, TokenRequest, TokenSigner, WorkloadSigner,
};
use crate::federation::CurrentFederations;
use crate::listen::Connection;
use crate::live::{LiveNodes, StandingNode};
use crate::revocation::{CurrentLists, CurrentWithdrawn};
use crate::store::Store;
use crate::sync::{self, Shown, Subscribers};

/// Longest time for one batch of signatures, recording included.
const SIGNING_TIMEOUT: Duration = Duration::from_secs(30);

/// The service.
pub struct NodeService {
    /// Who stands.
    pub live: Arc<LiveNodes>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Streams.
    pub subscribers: Arc<Subscribers>,
    /// The bundle of the moment.
    pub bundle: CurrentBundle,
    /// Foreign trust domains of the moment.
    pub federations: CurrentFederations,
    /// The revocation lists of the moment.
    pub lists: CurrentLists,
    /// The withdrawn JWT-SVIDs of the moment.
    pub withdrawn: CurrentWithdrawn,
    /// Signs workload SVIDs.
    pub signer: WorkloadSigner,
    /// Signs workloads' JWT-SVIDs.
    pub tokens: TokenSigner,
    /// How many SVIDs each node has signed.
    pub budget: SigningBudget,
    /// Before signing: one unit per CSR or token.
    pub gate: Gate,
}

impl NodeService {
    fn standing(&self, connection: &Connection) -> Result<StandingNode, Status> {
        self.live.standing(connection, clock::now()).ok_or_else(|| refused(Word::Attest, None))
    }

    /// A place at the gate for so many signatures, which the node's budget has.
    async fn place(&self, node: &StandingNode, (kind, units): (SvidKind, u32)) -> Result<Place, Status> {
        match self.budget.take(node, kind, units).await {
            Ok(()) => {}
            Err(NoBudget::Over(over)) => return Err(over_budget(over)),
            Err(NoBudget::Store(fault)) => {
                warn!(node = %node.spiffe_id(), code = fault.code(), %fault, "nothing signed");
                return Err(unavailable(None));
            }
        }
        let place = self.gate.enter(units).await;
        place.map_err(|over| {
            self.budget.give_back(node.number(), kind, units);
            over_budget(over)
        })
    }

    /// What a signer answers, or what the agent is told in place of it. What is refused costs the node nothing.
    async fn signed<T>(
        &self,
        node: &StandingNode,
        (kind, units): (SvidKind, u32),
        signing: impl Future<Output = Result<Vec<Result<T, SvidRefused>>, SigningEnds>>,
    ) -> Result<Vec<Result<T, SvidRefused>>, Status> {
        match timeout(SIGNING_TIMEOUT, signing).await {
            Ok(Ok(answers)) => {
                let unsigned = answers.iter().filter(|answer| answer.is_err()).count();
                self.budget.give_back(node.number(), kind, number(unsigned));
                Ok(answers)
            }
            Ok(Err(SigningEnds::NotStanding)) => Err(refused(Word::Refused, None)),
            Ok(Err(SigningEnds::Store(fault))) => {
                self.budget.give_back(node.number(), kind, units);
                warn!(node = %node.spiffe_id(), code = fault.code(), %fault, "nothing signed");
                Err(unavailable(None))
            }
            // It may stand in the record, and so may what ran out of time: that is paid for.
            Ok(Err(SigningEnds::Authority(fault))) => {
                error!(node = %node.spiffe_id(), code = fault.code(), %fault, "nothing signed");
                Err(unavailable(None))
            }
            Err(_) => Err(unavailable(None)),
        }
    }
}

#[tonic::async_trait]
impl Node for NodeService {
    type SyncStream = Pin<Box<dyn Stream<Item = Result<wire::SyncResponse, Status>> + Send>>;

    async fn sync(&self, request: Request<wire::SyncRequest>) -> Result<Response<Self::SyncStream>, Status> {
        let node = self.standing(&*connection_of(&request)?)?;
        let shown = Shown {
            bundle: self.bundle.clone(),
            lists: self.lists.clone(),
            withdrawn: self.withdrawn.watch(),
            federations: self.federations.clone(),
        };
        let stream = sync::follow(self.store.clone(), &self.subscribers, shown, node, &request.into_inner());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn sign_x509_svids(
        &self,
        request: Request<wire::SignX509SvidsRequest>,
    ) -> Result<Response<wire::SignX509SvidsResponse>, Status> {
        let connection = connection_of(&request)?;
        let node = self.standing(&connection)?;
        let requests = request.into_inner().requests;
        if requests.is_empty() || requests.len() > SVID_REQUESTS_MAX {
            return Err(refused(Word::Malformed, None));
        }
        let asked = (SvidKind::X509, number(requests.len()));
        let _place = self.place(&node, asked).await?;
        // What ended while it waited at the gate has ended.
        let node = self.standing(&connection)?;
        let requests =
            requests.into_iter().map(|request| SvidRequest { entry_id: request.entry_id, csr: request.csr }).collect();
        let answers = self.signed(&node, asked, self.signer.sign(&node, requests)).await?;
        Ok(Response::new(wire::SignX509SvidsResponse { results: answers.into_iter().map(result).collect() }))
    }

    async fn sign_jwt_svids(
        &self,
        request: Request<wire::SignJwtSvidsRequest>,
    ) -> Result<Response<wire::SignJwtSvidsResponse>, Status> {
        let connection = connection_of(&request)?;
        let node = self.standing(&connection)?;
        let requests = request.into_inner().requests;
        if requests.is_empty() || requests.len() > SVID_REQUESTS_MAX {
            return Err(refused(Word::Malformed, None));
        }
        let asked = (SvidKind::Jwt, number(requests.len()));
        let _place = self.place(&node, asked).await?;
        // What ended while it waited at the gate has ended.
        let node = self.standing(&connection)?;
        let requests = requests
            .into_iter()
            .map(|request| TokenRequest { entry_id: request.entry_id, audience: request.audience })
            .collect();
        let answers = self.signed(&node, asked, self.tokens.sign(&node, requests)).await?;
        Ok(Response::new(wire::SignJwtSvidsResponse { results: answers.into_iter().map(token_result).collect() }))
    }
}

fn number(requests: usize) -> u32 {
    u32::try_from(requests).unwrap_or(u32::MAX)
}

fn token_result(answer: Result<crate::desk::WorkloadToken, SvidRefused>) -> wire::JwtSvidResult {
    use wire::jwt_svid_result::Outcome;
    let outcome = match answer {
        Ok(signed) => Outcome::Svid(wire::JwtSvid {
            entry_id: signed.entry_id,
            spiffe_id: signed.token.spiffe_id.to_string(),
            token: signed.token.token,
            issued_at: signed.token.issued.seconds(),
            expires_at: signed.token.expires.seconds(),
            authority_id: signed.token.authority_id,
        }),
        Err(refused) => Outcome::Refused(refused.as_str().to_owned()),
    };
    wire::JwtSvidResult { outcome: Some(outcome) }
}

fn result(answer: Result<crate::desk::WorkloadSvid, SvidRefused>) -> wire::SvidResult {
    use wire::svid_result::Outcome;
    let outcome = match answer {
        Ok(signed) => Outcome::Svid(wire::X509Svid {
            entry_id: signed.entry_id,
            spiffe_id: signed.svid.spiffe_id.to_string(),
            certificate_chain: signed.svid.chain,
            not_after: signed.svid.not_after.seconds(),
        }),
        Err(refused) => Outcome::Refused(refused.as_str().to_owned()),
    };
    wire::SvidResult { outcome: Some(outcome) }
}
