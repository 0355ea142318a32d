//! One stream of the incremental kind: each answer holds what changed since the last one, and what is gone.
//!
//! No I/O: requests and updates come in, answers go out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_protocol::sds::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};

use super::fault::Fault;
use super::names::Names;
use super::node::Validator;
use super::resource::{self, TYPE_URL};
use super::service::{Complaint, Dialogue, check_type};
use crate::svids::WorkloadUpdate;

/// Names that one stream may be subscribed to, or say that it holds.
const NAMES_MAX: usize = 1024;
/// The name that stands for all.
const WILDCARD: &str = "*";

/// What a stream is subscribed to, and what its client holds.
pub(super) struct Delta {
    names: Arc<Names>,
    begun: bool,
    validator: Validator,
    subscribed: BTreeSet<String>,
    /// To all that there is, besides.
    wildcard: bool,
    /// Versions by name.
    held: BTreeMap<String, String>,
    /// Asked for since the last answer: these are sent whatever the client holds.
    owed: BTreeSet<String>,
    answers: u64,
}

impl Delta {
    fn subscribe(&mut self, names: Vec<String>) -> Result<(), Fault> {
        // A stream that begins with no name is subscribed to all.
        self.wildcard |= !self.begun && names.is_empty();
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            if name == WILDCARD {
                self.wildcard = true;
                continue;
            }
            self.subscribed.insert(name.clone());
            self.owed.insert(name);
        }
        if self.subscribed.len() > NAMES_MAX {
            return Err(Fault::TooMany { limit: NAMES_MAX });
        }
        Ok(())
    }

    /// Whether the client wants to know of one of them what there is, though it names it no more.
    fn unsubscribe(&mut self, names: &[String]) -> bool {
        self.wildcard &= !names.iter().any(|name| name == WILDCARD);
        let mut still_wanted = false;
        for name in names {
            self.subscribed.remove(name);
            self.owed.remove(name);
            if self.wildcard {
                // It is still subscribed to all: it is sent again, or named among the removed.
                still_wanted |= self.held.get_mut(name).map(String::clear).is_some();
            } else {
                self.held.remove(name);
            }
        }
        still_wanted
    }
}

impl Dialogue for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn new(names: Arc<Names>) -> Self {
        Self {
            validator: Validator::of(None, &names),
            names,
            begun: false,
            subscribed: BTreeSet::new(),
            wildcard: false,
            held: BTreeMap::new(),
            owed: BTreeSet::new(),
            answers: 0,
        }
    }

    fn complaint(request: &DeltaDiscoveryRequest) -> Option<(&Complaint, &[String])> {
        Some((request.error_detail.as_ref()?, &request.resource_names_subscribe))
    }

    fn hear(&mut self, request: DeltaDiscoveryRequest) -> Result<bool, Fault> {
        check_type(&request.type_url)?;
        if let Some(node) = &request.node {
            self.validator = Validator::of(Some(node), &self.names);
        }
        if !self.begun {
            if request.initial_resource_versions.len() > NAMES_MAX {
                return Err(Fault::TooMany { limit: NAMES_MAX });
            }
            self.held = request.initial_resource_versions.into_iter().collect();
        }
        let wildcard = self.wildcard;
        self.subscribe(request.resource_names_subscribe)?;
        let still_wanted = self.unsubscribe(&request.resource_names_unsubscribe);
        let first = !std::mem::replace(&mut self.begun, true);
        Ok(first || still_wanted || !self.owed.is_empty() || self.wildcard != wildcard)
    }

    fn answer(&mut self, update: &WorkloadUpdate, _: bool) -> Result<Option<DeltaDiscoveryResponse>, Fault> {
        let mut wanted = self.subscribed.clone();
        wanted.extend(self.wildcard.then(|| resource::all(update)).into_iter().flatten());
        let (mut resources, mut unknown) = (Vec::new(), Vec::new());
        let mut removed: Vec<_> = self.held.keys().filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in wanted {
            let found = match resource::named(&name, update, &self.names, self.validator)? {
                None if self.held.contains_key(&name) => resource::nobody(&name, self.validator)?,
                found => found,
            };
            match found {
                Some(resource) if self.owed.contains(&name) || self.held.get(&name) != Some(&resource.version) => {
                    resources.push(resource);
                }
                Some(_) => {}
                None if self.owed.contains(&name) => unknown.push(name),
                None if self.held.contains_key(&name) => removed.push(name),
                None => {}
            }
        }
        if !unknown.is_empty() {
            return Err(Fault::Names(unknown));
        }
        self.owed.clear();
        if resources.is_empty() && removed.is_empty() {
            return Ok(None);
        }
        for name in &removed {
            self.held.remove(name);
        }
        let sent = resources.iter().map(|resource| (resource.name.clone(), resource.version.clone()));
        self.held.extend(sent);
        self.answers += 1;
        Ok(Some(DeltaDiscoveryResponse {
            system_version_info: String::new(),
            resources: resources
                .into_iter()
                .map(|resource| Resource {
                    name: resource.name,
                    version: resource.version,
                    resource: Some(resource.any),
                })
                .collect(),
            type_url: TYPE_URL.to_owned(),
            nonce: self.answers.to_string(),
            removed_resources: removed,
        }))
    }
}

#[cfg(test)]
mod tests;
