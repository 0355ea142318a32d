//! Lists of measured files as they were kept, judged by policies that judged none of them yet: each distinct list once, however
//! many machines have it, one at a time in memory, and only while there is time: machines choose how long their lists are.
//! Decides about nobody.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use holdfast_appraisal::facts::{FactId, HeldFacts};
use holdfast_appraisal::ima::{ImaState, judge, remembered};
use holdfast_appraisal::{Policy, Value};
use holdfast_evidence::tpm::ima::Quoted;
use holdfast_evidence::tpm::{PcrIndex, PcrValues};
use holdfast_proof::{Bodies, Manifest, Piece, WHOLE_BYTES_MAX, join};

use crate::store::{BODIES_AT_ONCE, NodeNumber, Sha256, Store, StoreFault};

/// Findings that are held, some kilobytes each; of more distinct lists some are judged twice.
const HELD_MAX: usize = 4_096;
/// Manifests that are read at a time.
const MANIFESTS_AT_ONCE: usize = 16;
/// Bytes that are read of one machine's list, with what came behind the proven part of it and came again: of a machine that
/// sends more than four times the longest list nothing is known.
const READ_BYTES_MAX: usize = 4 * WHOLE_BYTES_MAX;

/// What was found in the lists of one question.
#[derive(Debug, Default)]
pub(super) struct Lists {
    found: HashMap<Key, ImaState>,
    /// Until when lists are judged; `None` where whoever asked hears how far it has come, and ends it himself.
    until: Option<Instant>,
    /// Lists that were judged.
    pub(super) judged: u64,
    /// Lists that were not, as there was no time.
    pub(super) left: u64,
}

/// A policy's version and a list: its register after the last entry, and the registers that its first entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    policy: String,
    pcr: Vec<u8>,
    boot: [u8; 32],
}

/// The quote that a list on record leads to.
#[derive(Clone, Debug)]
struct OnRecord {
    quoted: Quoted,
    pcrs: PcrValues,
}

impl Lists {
    /// Judges lists until then.
    pub(super) fn until(until: Option<Instant>) -> Self {
        Self { until, ..Self::default() }
    }

    /// What those of `policies` find in the node's list that rest on it and have not judged it: `states` are what others
    /// found. Nothing where the list, or the registers that it begins with, are not on record, or there is no time for it.
    pub(super) async fn judge(
        &mut self,
        store: &dyn Store,
        node: NodeNumber,
        held: &HeldFacts,
        states: &[ImaState],
        policies: &[&Arc<Policy>],
    ) -> Result<Vec<ImaState>, StoreFault> {
        let wanting = policies.iter().filter(|policy| policy.needs_ima() && remembered(held, policy, states).is_none());
        let wanting: Vec<Arc<Policy>> = wanting.map(|policy| Arc::clone(policy)).collect();
        let Some(on_record) = OnRecord::of(held, states).filter(|_| !wanting.is_empty()) else {
            return Ok(Vec::new());
        };
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for policy in wanting {
            match self.found.get(&on_record.key(&policy)) {
                Some(state) => known.push(state.clone()),
                None => unknown.push(policy),
            }
        }
        if unknown.is_empty() {
            return Ok(known);
        }
        if self.until.is_some_and(|until| Instant::now() >= until) {
            self.left += 1;
            return Ok(known);
        }
        let Some(list) = whole(store, node).await? else { return Ok(known) };
        let judging = on_record.clone();
        let found = tokio::task::spawn_blocking(move || {
            let found = unknown.iter().filter_map(|policy| {
                let state = judge(policy, &list, None, &judging.quoted, &judging.pcrs).ok()?;
                Some((judging.key(policy), state))
            });
            found.collect::<Vec<_>>()
        });
        self.judged += 1;
        for (key, state) in found.await.map_err(|_| StoreFault::Unavailable)? {
            if self.found.len() >= HELD_MAX {
                self.found.clear();
            }
            known.push(state.clone());
            self.found.insert(key, state);
        }
        Ok(known)
    }
}

impl OnRecord {
    /// As the facts on record and the states of other policies have it; nothing if they are of different quotes.
    fn of(held: &HeldFacts, states: &[ImaState]) -> Option<Self> {
        let value = |index: u8| match held.facts.get(FactId::Pcr(index))?.values.as_slice() {
            [Value::Digest(digest)] => Some(*digest),
            _ => None,
        };
        let pcr = value(10)?;
        let resume = states.iter().map(|state| &state.resume).find(|resume| resume.pcr == pcr)?;
        let mut pcrs = PcrValues::new(resume.bank);
        for index in 0..=10 {
            if let (Some(place), Some(digest)) = (PcrIndex::new(u32::from(index)), value(index)) {
                pcrs.set(place, digest);
            }
        }
        let quoted = Quoted { bank: resume.bank, pcr, counters: resume.counters, boot: resume.boot };
        (Quoted::boot(&pcrs) == resume.boot).then_some(Self { quoted, pcrs })
    }

    fn key(&self, policy: &Policy) -> Key {
        let pcr = self.quoted.pcr.as_bytes().to_vec();
        Key { policy: policy.version().digest.clone(), pcr, boot: self.quoted.boot }
    }
}

/// A node's list from its first entry on, put together of what its attempts brought; nothing if a part is gone, or they
/// brought too much.
async fn whole(store: &dyn Store, node: NodeNumber) -> Result<Option<Vec<u8>>, StoreFault> {
    let manifests = store.list_parts(node).await?;
    let (mut list, mut room) = (Vec::new(), READ_BYTES_MAX);
    for some in manifests.chunks(MANIFESTS_AT_ONCE) {
        let mut read: HashMap<Sha256, Vec<u8>> = store.bodies(some.to_vec()).await?.into_iter().collect();
        for digest in some {
            let manifest = read.remove(digest).and_then(|bytes| Manifest::parse(&bytes).ok());
            let Some(part) = manifest.and_then(|manifest| manifest.measured_files) else { return Ok(None) };
            let named = part.list.iter().filter_map(|piece| match piece {
                Piece::Body(digest) => Some(Sha256(digest.0)),
                Piece::Inline(_) => None,
            });
            let named: Vec<Sha256> = named.collect();
            let mut bodies = Bodies::default();
            for some in named.chunks(BODIES_AT_ONCE) {
                for (_, bytes) in store.bodies(some.to_vec()).await? {
                    bodies.add(bytes);
                }
            }
            let begins = usize::try_from(part.offset).ok().filter(|begins| *begins <= list.len());
            let (Some(begins), Ok(bytes)) = (begins, join(&part.list, &bodies)) else { return Ok(None) };
            let Some(left) = room.checked_sub(bytes.len()) else { return Ok(None) };
            room = left;
            if begins.saturating_add(bytes.len()) > WHOLE_BYTES_MAX {
                return Ok(None);
            }
            // What came behind the quoted prefix was not proven then, and came again.
            list.truncate(begins);
            list.extend_from_slice(&bytes);
        }
    }
    Ok((!manifests.is_empty()).then_some(list))
}
