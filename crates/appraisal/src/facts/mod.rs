//! Facts: what verified evidence says, named and typed, each with its provenance and the event that proves it.
//! Judges nothing.

mod azure;
mod boot;
mod gcp;
mod id;
mod nitro;
mod nitrotpm;
mod owned;
mod ownership;
mod quoted;
pub(crate) mod read;
mod registry;
mod snp;
mod stored;
mod tdx;
mod tpm;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use azure::{AzureFact, AzureSources, azure};
pub use boot::boot;
pub use gcp::{GcpFact, gcp, gcp_instance, gcp_quote};
use holdfast_evidence::crypto::Digest;
use holdfast_evidence::tpm::{PcrIndex, PcrSet};
use holdfast_evidence::{EvidenceKind, Provenance};
pub use id::{FactId, PCR_COUNT, all_names, registry};
pub use nitro::{NitroFact, NitroSources, nitro};
pub use nitrotpm::{NitroTpmFact, nitrotpm};
pub use owned::{OwnerMark, owner_digest, owner_marks};
pub(crate) use ownership::maker_classes;
pub use ownership::{OwnershipFact, platform_id};
pub use registry::{Definition, Ownable, Shape, Subject};
pub use snp::{SnpFact, snp, snp_report};
pub use stored::{HeldFacts, NotStored, STORED_BYTES_MAX};
pub use tdx::{TdxFact, tdx, tdx_quote};
pub use tpm::{TpmSources, tpm};

use crate::ima::ImaSeen;
use crate::value::Value;

/// One event of a log, for explanations: its place, type and digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Place in the log, from 0.
    pub index: u32,
    /// PCR it extended.
    pub pcr: u8,
    /// Type as the log's own document names it, such as `EV_EFI_BOOT_SERVICES_APPLICATION`. Not proven by any digest.
    pub kind: Cow<'static, str>,
    /// Digest in the bank that was quoted.
    pub digest: Digest,
    /// What the event says of itself (a device path, say): a hint for people, proven by nothing.
    pub hint: Option<Box<str>>,
}

/// The values of one fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Who vouches for it.
    pub provenance: Provenance,
    /// The values: one, or any number in the order of their events; empty where it is *known* that there are none.
    pub values: Vec<Value>,
    /// Index of the proving event of each value, or one index that proves all; empty where no event is involved.
    pub events: Vec<u32>,
}

/// Facts of one log, made once and shared by every appraisal that replays to the same log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFacts {
    facts: BTreeMap<FactId, Fact>,
    events: Vec<Event>,
}

/// All facts about one machine at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    own: BTreeMap<FactId, Fact>,
    log: Arc<LogFacts>,
    unexplained: Vec<u8>,
    quoted: Vec<u8>,
    ima: Option<Arc<ImaSeen>>,
}

impl Fact {
    /// A fact without an event: from a certificate, a quote or a PCR.
    #[must_use]
    pub fn of(provenance: Provenance, values: Vec<Value>) -> Self {
        Self { provenance, values, events: Vec::new() }
    }

    /// Index of the event that proves the value at `position`.
    #[must_use]
    pub fn event_of(&self, position: usize) -> Option<u32> {
        match self.events.as_slice() {
            [one] => Some(*one),
            many => many.get(position).copied(),
        }
    }
}

impl LogFacts {
    /// No facts and no events yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a fact.
    pub fn insert(&mut self, id: FactId, fact: Fact) {
        self.facts.insert(id, fact);
    }

    /// Adds an event, for explanations; indices ascend.
    pub fn push_event(&mut self, event: Event) {
        self.events.push(event);
    }
}

impl Facts {
    /// No facts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Facts of a log, to which others are added.
    #[must_use]
    pub fn with_log(log: Arc<LogFacts>) -> Self {
        Self { log, ..Self::default() }
    }

    /// Adds or replaces a fact.
    pub fn insert(&mut self, id: FactId, fact: Fact) {
        self.own.insert(id, fact);
    }

    /// Takes a fact away from those added here; a fact of the shared log stays.
    pub fn remove(&mut self, id: FactId) -> Option<Fact> {
        self.own.remove(&id)
    }

    /// Says that the quote covers `pcr`, and whether no event explains its value although somebody extended it.
    pub fn quoted_pcr(&mut self, pcr: u8, explained: Explained) {
        self.quoted.push(pcr);
        match explained {
            Explained::ByEvents | Explained::NeverExtended => {}
            Explained::Not => self.unexplained.push(pcr),
        }
    }

    /// Says that what a log of the running system proves explains `pcr`.
    pub(crate) fn explained_pcr(&mut self, pcr: u8) {
        self.unexplained.retain(|other| *other != pcr);
    }

    /// What came of the machine's list of measured files.
    #[must_use]
    pub fn ima(&self) -> Option<&ImaSeen> {
        self.ima.as_deref()
    }

    pub(crate) fn set_ima(&mut self, seen: Arc<ImaSeen>) {
        self.ima = Some(seen);
    }

    /// Adds the facts of another item of evidence about the same machine. Kinds of evidence have no fact in common.
    pub fn join(&mut self, other: Self) {
        let ambiguous = !self.log.events.is_empty();
        for (id, fact) in &other.log.facts {
            // An index of one log must not be looked up in another.
            let events = if ambiguous { Vec::new() } else { fact.events.clone() };
            self.own.insert(*id, Fact { events, ..fact.clone() });
        }
        self.own.extend(other.own);
        self.unexplained.extend(other.unexplained);
        self.quoted.extend(other.quoted);
        if !ambiguous {
            self.log = other.log;
        }
    }

    /// The fact, if it is proven.
    #[must_use]
    pub fn get(&self, id: FactId) -> Option<&Fact> {
        self.own.get(&id).or_else(|| self.log.facts.get(&id))
    }

    /// Every proven fact, in the order of the registry.
    pub fn iter(&self) -> impl Iterator<Item = (FactId, &Fact)> {
        let mut all: BTreeMap<FactId, &Fact> = self.log.facts.iter().map(|(id, fact)| (*id, fact)).collect();
        all.extend(self.own.iter().map(|(id, fact)| (*id, fact)));
        all.into_iter()
    }

    /// The kinds of evidence that the facts come from: those whose trust class is known.
    pub fn kinds(&self) -> impl Iterator<Item = EvidenceKind> {
        EvidenceKind::ALL.into_iter().filter(|kind| self.get(FactId::class_of(*kind)).is_some())
    }

    /// Whether anything at all is known of what evidence of this kind says.
    #[must_use]
    pub fn speak_of(&self, kind: EvidenceKind) -> bool {
        self.own.keys().chain(self.log.facts.keys()).any(|id| id.kind() == kind)
    }

    /// PCRs whose quoted value no event explains.
    #[must_use]
    pub fn unexplained_pcrs(&self) -> &[u8] {
        &self.unexplained
    }

    /// PCRs that the quote covers.
    #[must_use]
    pub fn quoted_pcrs(&self) -> &[u8] {
        &self.quoted
    }

    /// The same facts as if nothing but `pcrs` had been quoted: of other PCRs it counts neither that they were, nor that
    /// no event explains them. Their values stay facts.
    #[must_use]
    pub fn asked(&self, pcrs: PcrSet) -> Self {
        let is_asked = |pcr: &u8| PcrIndex::new(u32::from(*pcr)).is_some_and(|pcr| pcrs.contains(pcr));
        let mut facts = self.clone();
        facts.unexplained.retain(is_asked);
        facts.quoted.retain(is_asked);
        facts
    }

    /// The event of that index.
    #[must_use]
    pub fn event(&self, index: u32) -> Option<&Event> {
        let at = self.log.events.binary_search_by_key(&index, |event| event.index).ok()?;
        self.log.events.get(at)
    }
}

/// Whether a quoted PCR's value follows from events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Explained {
    /// The log's events replay to it.
    ByEvents,
    /// It has the value of its reset.
    NeverExtended,
    /// It was extended, and no log says with what.
    Not,
}
