//! One stream of the state-of-the-world kind, as Envoy speaks it by default: each answer holds all that was asked for.
//!
//! No I/O: requests and updates come in, answers go out.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_protocol::sds::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};

use super::fault::Fault;
use super::names::Names;
use super::node::Validator;
use super::resource::{self, TYPE_URL};
use super::service::{Complaint, Dialogue, check_type};
use crate::svids::WorkloadUpdate;

/// Names in one subscription. An Envoy asks for each secret on a stream of its own.
const NAMES_MAX: usize = 1024;
/// The name that stands for all.
const WILDCARD: &str = "*";

/// What was asked for on a stream, and what was answered.
pub(super) struct StateOfTheWorld {
    names: Arc<Names>,
    wanted: Option<Wanted>,
    /// Answers so far: their nonces are their numbers.
    answers: u64,
    /// Version of the last answer.
    version: String,
    /// What the client holds, as far as that is known: it is told where it believes somebody no more.
    held: BTreeSet<String>,
}

#[derive(PartialEq)]
struct Wanted {
    resources: BTreeSet<String>,
    /// All that there is, besides.
    wildcard: bool,
    validator: Validator,
}

impl StateOfTheWorld {
    /// What one request alone is answered: no stream follows, so no nonce.
    pub(super) fn once(
        names: Arc<Names>,
        request: DiscoveryRequest,
        update: &WorkloadUpdate,
    ) -> Result<DiscoveryResponse, Fault> {
        let mut dialogue = Self::new(names);
        dialogue.hear(request)?;
        let answer = dialogue.answer(update, true)?.unwrap_or_default();
        Ok(DiscoveryResponse { nonce: String::new(), ..answer })
    }
}

impl Dialogue for StateOfTheWorld {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn new(names: Arc<Names>) -> Self {
        Self { names, wanted: None, answers: 0, version: String::new(), held: BTreeSet::new() }
    }

    fn complaint(request: &DiscoveryRequest) -> Option<(&Complaint, &[String])> {
        Some((request.error_detail.as_ref()?, &request.resource_names))
    }

    fn hear(&mut self, request: DiscoveryRequest) -> Result<bool, Fault> {
        check_type(&request.type_url)?;
        // What speaks of an answer before the last was written before that one was read. What speaks of none is a
        // beginning, whatever version it still holds from an earlier agent: it is answered, lest both sides wait.
        let begins = request.response_nonce.is_empty() || self.answers == 0;
        if !begins && request.response_nonce != self.answers.to_string() {
            tracing::debug!(nonce = %request.response_nonce.escape_debug(), "request of an earlier answer passed over");
            return Ok(false);
        }
        let mut resources: BTreeSet<_> = request.resource_names.into_iter().filter(|name| !name.is_empty()).collect();
        // No name is every name for a client that never gave one. Of one that did it takes back what it asked for.
        let silent = self.wanted.as_ref().is_none_or(|wanted| wanted.wildcard && wanted.resources.is_empty());
        let wildcard = resources.remove(WILDCARD) || (resources.is_empty() && silent);
        if resources.len() > NAMES_MAX {
            return Err(Fault::TooMany { limit: NAMES_MAX });
        }
        if !request.version_info.is_empty() {
            self.held.extend(resources.iter().cloned());
        }
        let validator = match (&request.node, &self.wanted) {
            // Some clients name themselves only once a stream.
            (None, Some(wanted)) => wanted.validator,
            (node, _) => Validator::of(node.as_ref(), &self.names),
        };
        let wanted = Wanted { resources, wildcard, validator };
        let nothing = wanted.resources.is_empty() && !wanted.wildcard;
        let changed = self.wanted.as_ref() != Some(&wanted);
        self.wanted = Some(wanted);
        Ok((begins || changed) && !nothing)
    }

    fn answer(&mut self, update: &WorkloadUpdate, asked: bool) -> Result<Option<DiscoveryResponse>, Fault> {
        let Some(wanted) = &self.wanted else { return Ok(None) };
        let mut all = if wanted.wildcard { resource::all(update) } else { Vec::new() };
        all.retain(|name| !wanted.resources.contains(name));
        if wanted.resources.is_empty() && all.is_empty() {
            return Ok(None);
        }
        let (mut resources, mut unknown) = (Vec::new(), Vec::new());
        for name in wanted.resources.iter().chain(&all) {
            let found = match resource::named(name, update, &self.names, wanted.validator)? {
                None if self.held.contains(name) => resource::nobody(name, wanted.validator)?,
                found => found,
            };
            match found {
                Some(resource) => resources.push(resource),
                None => unknown.push(name.clone()),
            }
        }
        if !unknown.is_empty() {
            return Err(Fault::Names(unknown));
        }
        let versions: Vec<_> = resources.iter().map(|resource| resource.version.as_bytes()).collect();
        let version = resource::version(&versions);
        if !asked && version == self.version {
            return Ok(None);
        }
        self.version.clone_from(&version);
        self.held.extend(resources.iter().map(|resource| resource.name.clone()));
        self.answers += 1;
        Ok(Some(DiscoveryResponse {
            version_info: version,
            resources: resources.into_iter().map(|resource| resource.any).collect(),
            type_url: TYPE_URL.to_owned(),
            nonce: self.answers.to_string(),
        }))
    }
}

#[cfg(test)]
mod tests;
