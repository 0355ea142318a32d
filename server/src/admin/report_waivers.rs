//! The waivers of a report: those that versions in force state, whether or not a node took them, and those that nodes
//! still rest on although no version in force has them any more.

use std::collections::BTreeMap;

use holdfast_identity::UnixTime;
use holdfast_protocol::admin;

use super::Admin;
use super::refusal::Refusal;
use super::rollouts::Versions;
use crate::store::{RolloutState, WaiverInForce};

/// What makes two of them the same for a reader: end, name, owner, reason; in this order they are listed.
type Key = (i64, String, String, String);

impl Admin {
    /// Waivers and change windows that have not ended, soonest end first.
    pub(super) async fn report_waivers(
        &self,
        state: &RolloutState,
        versions: &Versions,
        taken: Vec<WaiverInForce>,
        now: UnixTime,
    ) -> Result<Vec<admin::ReportWaiver>, Refusal> {
        let mut waivers: BTreeMap<Key, admin::ReportWaiver> = BTreeMap::new();
        for (digest, policy) in self.policies_of(&[state], &[]).await? {
            let version = versions.get(&digest).map(|version| format!("{} v{}", version.name, version.number));
            let version = version.unwrap_or_else(|| digest.to_string());
            for one in policy.exemptions().filter(|one| now < one.valid_until()) {
                let until = one.valid_until().seconds();
                let key = (until, one.name().to_owned(), one.owner().to_owned(), one.reason().to_owned());
                let listed = waivers.entry(key).or_insert_with(|| admin::ReportWaiver {
                    name: one.name().to_owned(),
                    owner: one.owner().to_owned(),
                    reason: one.reason().to_owned(),
                    kind: one.kind().to_owned(),
                    valid_from: one.valid_from().map(UnixTime::seconds).unwrap_or_default(),
                    valid_until: until,
                    facts: one.facts().collect(),
                    names: one.nodes().to_vec(),
                    ..admin::ReportWaiver::default()
                });
                listed.policies.push(version.clone());
            }
        }
        for one in taken {
            let until = one.valid_until.seconds();
            let key = (until, one.name.clone(), one.owner.clone(), one.reason.clone());
            let listed = waivers.entry(key).or_insert_with(|| admin::ReportWaiver {
                name: one.name,
                owner: one.owner,
                reason: one.reason,
                kind: one.kind,
                valid_until: until,
                facts: one.facts,
                ..admin::ReportWaiver::default()
            });
            listed.nodes = one.nodes;
            listed.sample = one.sample;
        }
        Ok(waivers.into_values().collect())
    }
}
