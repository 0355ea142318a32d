//! `holdfast.admin.v1.Entries`.

use std::collections::BTreeSet;

use holdfast_identity::{Selector, SpiffeId, TrustDomain, UnixTime};
use holdfast_protocol::admin;
use tonic::{Request, Response, Status};

use super::refusal::{Refusal, argument};
use super::socket::actor;
use super::{Admin, entry_match, entry_sets};
use crate::admin_stubs::entries_server::Entries;
use crate::clock;
use crate::store::{Entry, EntryDraft, EntryFilter, EntryNumber, Parent, SelectorMatch};

/// Selectors in one request; an entry has fewer, a workload may have more.
const SELECTORS_MAX: usize = 1024;

#[tonic::async_trait]
impl Entries for Admin {
    async fn create(&self, request: Request<admin::CreateEntryRequest>) -> Result<Response<admin::Entry>, Status> {
        let by = actor(&request, "entry.create")?;
        let draft = draft(request.into_inner().entry)?;
        let created = self.store.create_entry(draft, by, clock::now()).await.map_err(Refusal::from)?;
        Ok(Response::new(message(&created.map_err(Refusal::from)?)))
    }

    async fn get(&self, request: Request<admin::GetEntryRequest>) -> Result<Response<admin::Entry>, Status> {
        let found = self.store.entry(request.into_inner().id).await.map_err(Refusal::from)?;
        Ok(Response::new(message(&found.ok_or(Refusal::NotFound { what: "entry" })?)))
    }

    async fn list(
        &self,
        request: Request<admin::ListEntriesRequest>,
    ) -> Result<Response<admin::ListEntriesResponse>, Status> {
        let request = request.into_inner();
        let filter = EntryFilter {
            after: (request.after > 0).then_some(EntryNumber(request.after)),
            limit: request.limit,
            ..filter(request.filter)?
        };
        let entries = self.store.entries(filter).await.map_err(Refusal::from)?;
        Ok(Response::new(admin::ListEntriesResponse { entries: entries.iter().map(message).collect() }))
    }

    async fn update(&self, request: Request<admin::UpdateEntryRequest>) -> Result<Response<admin::Entry>, Status> {
        let by = actor(&request, "entry.update")?;
        let request = request.into_inner();
        let entry = request.entry.unwrap_or_default();
        let (id, revision) = (entry.id.clone(), request.only_if_unchanged.then_some(entry.revision_number));
        let draft = draft(Some(entry))?;
        let updated = self.store.update_entry(id, draft, revision, by, clock::now()).await.map_err(Refusal::from)?;
        Ok(Response::new(message(&updated.map_err(Refusal::from)?)))
    }

    async fn delete(&self, request: Request<admin::DeleteEntryRequest>) -> Result<Response<admin::Entry>, Status> {
        let by = actor(&request, "entry.delete")?;
        let deleted = self.store.delete_entry(request.into_inner().id, by, clock::now()).await;
        Ok(Response::new(message(&deleted.map_err(Refusal::from)?.map_err(Refusal::from)?)))
    }

    async fn count(
        &self,
        request: Request<admin::CountEntriesRequest>,
    ) -> Result<Response<admin::CountEntriesResponse>, Status> {
        let filter = filter(request.into_inner().filter)?;
        let count = self.store.count_entries(filter).await.map_err(Refusal::from)?;
        Ok(Response::new(admin::CountEntriesResponse { count }))
    }

    async fn r#match(
        &self,
        request: Request<admin::MatchEntriesRequest>,
    ) -> Result<Response<admin::MatchEntriesResponse>, Status> {
        Ok(Response::new(entry_match::answer(self.store.as_ref(), request.into_inner()).await?))
    }

    async fn apply(
        &self,
        request: Request<admin::ApplyEntriesRequest>,
    ) -> Result<Response<admin::ApplyEntriesResponse>, Status> {
        let by = actor(&request, "entry.apply")?;
        Ok(Response::new(entry_sets::apply(self.store.as_ref(), request.into_inner(), by).await?))
    }
}

/// An entry as the operator sees it.
pub(super) fn message(entry: &Entry) -> admin::Entry {
    let draft = &entry.draft;
    let (parent_id, node_selectors) = match &draft.parent {
        Parent::Id(id) => (id.to_string(), Vec::new()),
        Parent::Selectors(selectors) => (String::new(), selectors.iter().map(ToString::to_string).collect()),
    };
    admin::Entry {
        id: draft.id.clone(),
        number: entry.number.0,
        spiffe_id: draft.spiffe_id.to_string(),
        parent_id,
        node_selectors,
        selectors: draft.selectors.iter().map(ToString::to_string).collect(),
        x509_svid_ttl: draft.x509_svid_ttl,
        jwt_svid_ttl: draft.jwt_svid_ttl,
        dns_names: draft.dns_names.clone(),
        hint: draft.hint.clone(),
        expires_at: draft.expires_at.map_or(0, UnixTime::seconds),
        revision_number: entry.revision_number,
        created_at: entry.created_at.seconds(),
        federates_with: draft.federates_with.iter().map(ToString::to_string).collect(),
        owner: entry.owner.clone(),
    }
}

pub(super) fn draft(entry: Option<admin::Entry>) -> Result<EntryDraft, Refusal> {
    let entry = entry.ok_or_else(|| argument("entry", "is missing"))?;
    let parent = match (spiffe_id("parent_id", &entry.parent_id)?, entry.node_selectors.is_empty()) {
        (Some(id), true) => Parent::Id(id),
        (None, false) => Parent::Selectors(selectors("node_selectors", &entry.node_selectors)?),
        (Some(_), false) => return Err(argument("parent_id", "stands beside node selectors, expected one of them")),
        (None, true) => return Err(argument("parent_id", "is missing, and there are no node selectors")),
    };
    Ok(EntryDraft {
        id: entry.id,
        spiffe_id: spiffe_id("spiffe_id", &entry.spiffe_id)?.ok_or_else(|| argument("spiffe_id", "is missing"))?,
        parent,
        selectors: selectors("selectors", &entry.selectors)?,
        x509_svid_ttl: entry.x509_svid_ttl,
        jwt_svid_ttl: entry.jwt_svid_ttl,
        dns_names: entry.dns_names,
        hint: entry.hint,
        expires_at: (entry.expires_at != 0).then_some(UnixTime(entry.expires_at)),
        federates_with: federates_with(&entry.federates_with)?,
    })
}

/// Names of trust domains, or their IDs as SPIRE has them.
fn federates_with(texts: &[String]) -> Result<BTreeSet<TrustDomain>, Refusal> {
    if texts.len() > SELECTORS_MAX {
        return Err(argument("federates_with", format!("{} trust domains, limit {SELECTORS_MAX}", texts.len())));
    }
    texts.iter().map(|text| trust_domain("federates_with", text)).collect()
}

/// The trust domain of that name, or of that ID.
pub(super) fn trust_domain(field: &'static str, text: &str) -> Result<TrustDomain, Refusal> {
    text.strip_prefix("spiffe://").unwrap_or(text).parse().map_err(|source| Refusal::Id { field, source })
}

fn filter(filter: Option<admin::EntryFilter>) -> Result<EntryFilter, Refusal> {
    let filter = filter.unwrap_or_default();
    let how = match filter.r#match.as_str() {
        "" | "superset" => SelectorMatch::Superset,
        "subset" => SelectorMatch::Subset,
        "exact" => SelectorMatch::Exact,
        "any" => SelectorMatch::Any,
        _ => return Err(argument("match", "expected superset, subset, exact or any")),
    };
    let wanted = selectors("selectors", &filter.selectors)?;
    Ok(EntryFilter {
        spiffe_id: spiffe_id("spiffe_id", &filter.spiffe_id)?,
        parent_id: spiffe_id("parent_id", &filter.parent_id)?,
        selectors: (!wanted.is_empty()).then_some((wanted, how)),
        hint: (!filter.hint.is_empty()).then_some(filter.hint),
        after: None,
        limit: 0,
    })
}

/// Nothing for an empty text.
pub(super) fn spiffe_id(field: &'static str, text: &str) -> Result<Option<SpiffeId>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|source| Refusal::Id { field, source })
}

pub(super) fn selectors(field: &'static str, texts: &[String]) -> Result<BTreeSet<Selector>, Refusal> {
    if texts.len() > SELECTORS_MAX {
        return Err(argument(field, format!("{} selectors, limit {SELECTORS_MAX}", texts.len())));
    }
    texts.iter().map(|text| text.parse().map_err(|source| Refusal::Selector { field, source })).collect()
}
