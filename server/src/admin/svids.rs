//! `holdfast.admin.v1.Svids`: certificates that live, and withdrawing them by hand.

use holdfast_protocol::admin;
use tonic::{Request, Response, Status};

use super::Admin;
use super::entries::spiffe_id;
use super::nodes::target;
use super::refusal::{Refusal, argument};
use super::socket::actor;
use crate::admin_stubs::svids_server::Svids;
use crate::clock;
use crate::store::{RevocationReason, ShownSvid, SvidFilter, SvidPlace, Withdrew};

/// Characters of an entry's ID.
const ENTRY_ID_MAX: usize = 255;

#[tonic::async_trait]
impl Svids for Admin {
    async fn list(
        &self,
        request: Request<admin::ListSvidsRequest>,
    ) -> Result<Response<admin::ListSvidsResponse>, Status> {
        let request = request.into_inner();
        let Some(filter) = self.svid_filter(request.filter).await? else {
            return Ok(Response::new(admin::ListSvidsResponse::default()));
        };
        let after = request.after.unwrap_or_default();
        let after = SvidPlace { node: after.node, entry: after.entry, index: after.index };
        let found = self.store.svids(filter, after, request.limit, clock::now()).await.map_err(Refusal::from)?;
        Ok(Response::new(admin::ListSvidsResponse { svids: found.into_iter().map(message).collect() }))
    }

    async fn revoke(
        &self,
        request: Request<admin::RevokeSvidsRequest>,
    ) -> Result<Response<admin::RevokeSvidsResponse>, Status> {
        let by = actor(&request, "svid.revoke")?;
        let request = request.into_inner();
        let reason = reason(&request.reason)?;
        let filter = self.svid_filter(request.filter).await?;
        if filter.as_ref().is_some_and(SvidFilter::is_empty) {
            return Err(
                argument("filter", "names nothing: expected a serial number, a SPIFFE ID, an entry or a node").into()
            );
        }
        let withdrew = match filter {
            Some(filter) => self.store.revoke_svids(filter, reason, by, clock::now()).await.map_err(Refusal::from)?,
            None => Withdrew::default(),
        };
        if withdrew == Withdrew::default() {
            return Err(Refusal::NotFound { what: "SVID that lives" }.into());
        }
        let Withdrew { svids: count, grants } = withdrew;
        Ok(Response::new(admin::RevokeSvidsResponse { count, grants }))
    }
}

impl Admin {
    /// What a filter names; nothing where it names a node that there is none of.
    async fn svid_filter(&self, filter: Option<admin::SvidFilter>) -> Result<Option<SvidFilter>, Refusal> {
        let admin::SvidFilter { spiffe_id: name, entry_id, node, serial } = filter.unwrap_or_default();
        let serial = match serial.len() {
            0 => None,
            found => {
                let serial = serial.try_into();
                Some(serial.map_err(|_| argument("serial", format!("is {found} bytes, expected 16")))?)
            }
        };
        if entry_id.chars().count() > ENTRY_ID_MAX {
            return Err(argument("entry_id", format!("is longer than {ENTRY_ID_MAX} characters")));
        }
        let spiffe_id = spiffe_id("spiffe_id", &name)?;
        let node = match node {
            None => None,
            Some(_) => match self.store.node(target(node)?).await? {
                Some(node) => Some(node.number),
                None => return Ok(None),
            },
        };
        Ok(Some(SvidFilter { spiffe_id, entry_id: Some(entry_id).filter(|id| !id.is_empty()), node, serial }))
    }
}

/// What an operator may say: the rest is said by what happens.
fn reason(text: &str) -> Result<RevocationReason, Refusal> {
    let known = RevocationReason::ALL.into_iter().filter(|reason| *reason != RevocationReason::CaCompromise);
    let words: Vec<_> = known.clone().map(RevocationReason::as_str).collect();
    let unknown = || argument("reason", format!("is {text:?}, expected one of {}", words.join(", ")));
    known.clone().find(|reason| reason.as_str() == text).ok_or_else(unknown)
}

fn message(shown: ShownSvid) -> admin::Svid {
    let ShownSvid { svid, spiffe_id, node_id, entry_id } = shown;
    let place = admin::SvidPlace { node: svid.node.0, entry: svid.entry.map_or(0, |entry| entry.0), index: svid.index };
    admin::Svid {
        place: Some(place),
        serial: svid.serial.to_vec(),
        spiffe_id,
        node_id,
        entry_id,
        issuer: svid.issuer.to_string(),
        expires_at: svid.not_after.seconds(),
    }
}
