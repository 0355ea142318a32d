//! `holdfast.admin.v1.Nodes`.

use holdfast_protocol::admin::{self, node_target::Target};
use tonic::{Request, Response, Status};

use super::Admin;
use super::entries::spiffe_id;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::nodes_server::Nodes;
use crate::clock;
use crate::store::{
    Allowed, InventoryEntry, Node, NodeAction, NodeFilter, NodeNumber, NodeState, NodeTarget, Remark, Sha256,
};

/// Keys in one request.
const KEYS_MAX: usize = 10_000;
/// Bytes of a label or reason.
const REMARK_BYTES_MAX: usize = 1024;

#[tonic::async_trait]
impl Nodes for Admin {
    async fn list(
        &self,
        request: Request<admin::ListNodesRequest>,
    ) -> Result<Response<admin::ListNodesResponse>, Status> {
        let (request, now) = (request.into_inner(), clock::now());
        let filter = NodeFilter {
            state: state(&request.state)?,
            after: (request.after > 0).then_some(NodeNumber(request.after)),
            limit: request.limit,
        };
        let mut nodes = Vec::new();
        for node in self.store.nodes(filter, now).await.map_err(Refusal::from)? {
            nodes.push(self.message(&node).await?);
        }
        Ok(Response::new(admin::ListNodesResponse { nodes }))
    }

    async fn get(&self, request: Request<admin::NodeTarget>) -> Result<Response<admin::Node>, Status> {
        let target = target(Some(request.into_inner()))?;
        let node = self.store.node(target).await.map_err(Refusal::from)?;
        Ok(Response::new(self.message(&node.ok_or(Refusal::NotFound { what: "node" })?).await?))
    }

    async fn act(&self, request: Request<admin::ActOnNodeRequest>) -> Result<Response<admin::Node>, Status> {
        let by = actor(&request, "node.act")?;
        let request = request.into_inner();
        let reason = bounded("reason", request.reason.clone())?;
        let action = match request.action() {
            admin::NodeAction::Unspecified => return Err(argument("action", "is missing").into()),
            admin::NodeAction::Approve => NodeAction::Approve,
            admin::NodeAction::Deny => NodeAction::Deny { reason },
            admin::NodeAction::Evict => NodeAction::Evict,
            admin::NodeAction::Ban => NodeAction::Ban { reason },
            admin::NodeAction::Unban => NodeAction::Unban,
            admin::NodeAction::Reset => NodeAction::Reset,
        };
        let node = self.store.act(target(request.target)?, action, by, clock::now()).await.map_err(Refusal::from)?;
        Ok(Response::new(self.message(&node.map_err(Refusal::from)?).await?))
    }

    async fn allow(&self, request: Request<admin::AllowRequest>) -> Result<Response<admin::AllowResponse>, Status> {
        let by = actor(&request, "inventory.allow")?;
        let keys = request.into_inner().keys;
        check_count(keys.len())?;
        let keys = keys
            .into_iter()
            .map(|key| Ok(Allowed { digest: digest("digest", key.digest)?, label: bounded("label", key.label)? }));
        let keys = keys.collect::<Result<_, Refusal>>()?;
        let new = self.store.allow(keys, by, clock::now()).await.map_err(Refusal::from)?;
        Ok(Response::new(admin::AllowResponse { new }))
    }

    async fn disallow(
        &self,
        request: Request<admin::DisallowRequest>,
    ) -> Result<Response<admin::DisallowResponse>, Status> {
        let by = actor(&request, "inventory.disallow")?;
        let digests = request.into_inner().digests;
        check_count(digests.len())?;
        let digests = digests.into_iter().map(|bytes| digest("digest", bytes)).collect::<Result<_, _>>()?;
        let removed = self.store.disallow(digests, by, clock::now()).await.map_err(Refusal::from)?;
        Ok(Response::new(admin::DisallowResponse { removed }))
    }

    async fn list_inventory(
        &self,
        request: Request<admin::ListInventoryRequest>,
    ) -> Result<Response<admin::ListInventoryResponse>, Status> {
        let request = request.into_inner();
        let after = if request.after.is_empty() { None } else { Some(digest("after", request.after)?) };
        let mut entries = Vec::new();
        for InventoryEntry { digest, label, added_at, added_by, bare: _ } in
            self.store.inventory(after, request.limit).await.map_err(Refusal::from)?
        {
            let node = self.store.node(NodeTarget::Mark(digest)).await.map_err(Refusal::from)?;
            entries.push(admin::InventoryEntry {
                digest: digest.0.to_vec(),
                label,
                added_at: added_at.seconds(),
                added_by,
                node: node.map_or(0, |node| node.number.0),
            });
        }
        Ok(Response::new(admin::ListInventoryResponse { entries }))
    }
}

impl Admin {
    /// A node as the operator sees it.
    async fn message(&self, node: &Node) -> Result<admin::Node, Refusal> {
        let marks = || node.marks.iter().chain(&node.mentions);
        let ownership = self.store.ownership(Vec::new(), marks().map(|mark| mark.digest).collect()).await?;
        Ok(admin::Node {
            number: node.number.0,
            spiffe_id: node.spiffe_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            state: node.state(clock::now()).as_str().to_owned(),
            ban: node.ban.as_ref().map(remark),
            freeze: node.freeze.as_ref().map(remark),
            hold: node.hold.as_ref().map(remark),
            approval: node.approval.as_ref().map(remark),
            marks: marks()
                .map(|mark| admin::Mark { kind: mark.kind.clone(), digest: mark.digest.0.to_vec() })
                .collect(),
            kinds: node.kinds.iter().cloned().collect(),
            trust_class: node.trust_class.clone(),
            description: node.description.clone(),
            ak_name: node.ak_name.clone(),
            node_key_sha256: match node.node_key_spki.as_slice() {
                [] => Vec::new(),
                spki => Sha256::of(spki).0.to_vec(),
            },
            selectors: node.selectors.iter().map(ToString::to_string).collect(),
            fixed: node.fixed.iter().map(ToString::to_string).collect(),
            policy: node.policy.map(|digest| digest.0.to_vec()).unwrap_or_default(),
            rule: node.rule.clone(),
            first_seen: node.first_seen.seconds(),
            attested_at: node.attested_at.seconds(),
            evidence_expires_at: node.evidence_expires.seconds(),
            svid_serial: node.svid_serial.map(|serial| serial.to_vec()).unwrap_or_default(),
            svid_not_after: node.svid_not_after.seconds(),
            last_attempt: node.last_attempt.map(|id| id.to_string()).unwrap_or_default(),
            labels: ownership
                .inventory
                .into_iter()
                .map(|entry| entry.label)
                .filter(|label| !label.is_empty())
                .collect(),
            reset_count: node.clock.map(|clock| clock.reset_count).unwrap_or_default(),
            firmware_log: node.firmware_log.map(|digest| digest.0.to_vec()).unwrap_or_default(),
        })
    }
}

fn remark(remark: &Remark) -> admin::Remark {
    admin::Remark { at: remark.at.seconds(), by: remark.by.clone(), reason: remark.reason.clone() }
}

/// Which node is meant.
pub(super) fn target(target: Option<admin::NodeTarget>) -> Result<NodeTarget, Refusal> {
    match target.and_then(|target| target.target) {
        Some(Target::Number(number)) => Ok(NodeTarget::Number(NodeNumber(number))),
        Some(Target::SpiffeId(text)) => match spiffe_id("target", &text)? {
            Some(id) => Ok(NodeTarget::SpiffeId(id)),
            None => Err(argument("target", "is empty")),
        },
        Some(Target::EkSha256(bytes)) => Ok(NodeTarget::Mark(digest("target", bytes)?)),
        None => Err(argument("target", "is missing")),
    }
}

pub(super) fn digest(field: &'static str, bytes: Vec<u8>) -> Result<Sha256, Refusal> {
    let found = bytes.len();
    bytes.try_into().map(Sha256).map_err(|_| argument(field, format!("is {found} bytes, expected 32")))
}

fn bounded(field: &'static str, text: String) -> Result<String, Refusal> {
    match text.len() {
        0..=REMARK_BYTES_MAX => Ok(text),
        found => Err(argument(field, format!("is {found} bytes, limit {REMARK_BYTES_MAX}"))),
    }
}

fn check_count(found: usize) -> Result<(), Refusal> {
    match found {
        1..=KEYS_MAX => Ok(()),
        _ => Err(argument("keys", format!("{found} keys, expected 1 to {KEYS_MAX}"))),
    }
}

fn state(text: &str) -> Result<Option<NodeState>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    let found = NodeState::ALL.into_iter().find(|state| state.as_str() == text);
    found.map(Some).ok_or_else(|| {
        let expected = NodeState::ALL.map(NodeState::as_str).join(", ");
        argument("state", format!("expected one of {expected}"))
    })
}
