//! `holdfast.admin.v1.Fleets`: what the nodes rest on, by the decisions on record.

use std::collections::BTreeMap;

use holdfast_identity::UnixTime;
use holdfast_protocol::admin;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Admin;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::fleets_server::Fleets;
use crate::clock;
use crate::fleet::{Floor, NotMet, TcbFacts, of_decision};
use crate::store::{Node, NodeFilter, NodeNumber, Which};

/// Nodes that are read at a time.
const PAGE: u32 = 500;
/// Floors in one request.
const FLOORS_MAX: usize = 64;

#[tonic::async_trait]
impl Fleets for Admin {
    type TcbStream = ReceiverStream<Result<admin::NodeTcb, Status>>;

    async fn report(
        &self,
        request: Request<admin::FleetReportRequest>,
    ) -> Result<Response<admin::FleetReport>, Status> {
        let by = actor(&request, "fleet.report")?;
        Ok(Response::new(self.fleet_report(request.into_inner(), by).await?))
    }

    async fn tcb(&self, request: Request<admin::FleetTcbRequest>) -> Result<Response<Self::TcbStream>, Status> {
        let by = actor(&request, "fleet.tcb")?;
        let floors = request.into_inner().floors;
        if floors.len() > FLOORS_MAX {
            return Err(argument("floors", format!("{} floors, limit {FLOORS_MAX}", floors.len())).into());
        }
        let floors: Vec<Floor> = floors
            .iter()
            .map(|text| Floor::parse(text).map_err(|error| argument("floors", error.to_string())))
            .collect::<Result<_, _>>()?;
        let ends = self.collateral_ends().await?;
        // What machines rest on is evidence: who is shown it stands in the record first.
        self.reads.record(by, "tcb", "fleet".to_owned()).await.map_err(Refusal::from)?;
        let (nodes, stream) = mpsc::channel(64);
        let admin = self.clone();
        tokio::spawn(async move {
            if let Err(refusal) = admin.send(&floors, &ends, &nodes).await {
                // Whoever asked may have left.
                let _ = nodes.send(Err(refusal.into())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// When the collateral of a platform ends, by FMSPC.
type Ends = BTreeMap<String, (String, UnixTime)>;

impl Admin {
    async fn send(
        &self,
        floors: &[Floor],
        ends: &Ends,
        nodes: &mpsc::Sender<Result<admin::NodeTcb, Status>>,
    ) -> Result<(), Refusal> {
        let mut after = None;
        loop {
            let filter = NodeFilter { state: None, after, limit: PAGE };
            let page = self.store.nodes(filter, clock::now()).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(NodeNumber(last.number.0));
            for node in page {
                let message = self.node_tcb(&node, floors, ends).await?;
                if nodes.send(Ok(message)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    async fn node_tcb(&self, node: &Node, floors: &[Floor], ends: &Ends) -> Result<admin::NodeTcb, Refusal> {
        let attempt = match node.last_attempt {
            Some(id) => self.store.attempt(id).await?,
            None => None,
        };
        let facts = attempt.as_ref().map(|attempt| of_decision(&attempt.decision)).unwrap_or_default();
        let kinds: Vec<String> = node.kinds.iter().cloned().collect();
        let (mut below, mut unknown) = (Vec::new(), false);
        for floor in floors {
            match floor.not_met_by(&kinds, &facts) {
                NotMet::No => {}
                NotMet::By(found) => below.push(found),
                NotMet::Unknown => unknown = true,
            }
        }
        let (endorsement, end) = self.first_end(&facts, ends).await?;
        Ok(admin::NodeTcb {
            node: node.number.0,
            spiffe_id: node.spiffe_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            state: node.state(clock::now()).as_str().to_owned(),
            kinds,
            facts: facts.into_iter().collect(),
            evidence_expires_at: node.evidence_expires.seconds(),
            endorsements_end_at: end.seconds(),
            endorsement,
            below,
            unknown,
            attempt: node.last_attempt.map(|id| id.to_string()).unwrap_or_default(),
            attested_at: node.attested_at.seconds(),
        })
    }

    /// Which of the endorsements that the machine needs, and that are held, ends first.
    async fn first_end(&self, facts: &TcbFacts, ends: &Ends) -> Result<(String, UnixTime), Refusal> {
        let mut first: Option<(String, UnixTime)> =
            facts.get("tdx.fmspc").and_then(|fmspc| ends.get(&fmspc.to_lowercase())).cloned();
        if let Some(about) = crate::endorse::vek_about(facts) {
            let held = self.store.endorsements(Which::About(about)).await?;
            let vek = held.into_iter().map(|held| (held.draft.about, held.draft.not_after)).next();
            first = first.into_iter().chain(vek).min_by_key(|(_, end)| *end);
        }
        Ok(first.unwrap_or((String::new(), UnixTime(0))))
    }

    async fn collateral_ends(&self) -> Result<Ends, Refusal> {
        let mut ends = Ends::new();
        for held in self.store.endorsements(Which::Collateral).await? {
            let Some(fmspc) = held.draft.about.split('/').nth(1) else { continue };
            let end = (held.draft.about.clone(), held.draft.not_after);
            let best = ends.entry(fmspc.to_owned()).or_insert_with(|| end.clone());
            if best.1 < end.1 {
                *best = end;
            }
        }
        Ok(ends)
    }
}
