//! What an operator is told about one process: as the agent writes it, and as the command line reads it.

use std::collections::BTreeSet;

use holdfast_identity::{Nearness, Selector};
use serde::{Deserialize, Serialize};

use crate::attest::{AttestFault, Peer};
use crate::svids::SvidCache;
use crate::sync::Entry;

/// Entries shown that a process does not match, the nearest first.
const NEAREST_MAX: usize = 5;
/// Entries shown that it matches.
const MATCHES_MAX: usize = 100;

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// About the process.
    Report(Report),
    /// Nothing can be said about it.
    Problem(Problem),
}

/// Something that went wrong.
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    /// Stable code.
    pub code: String,
    /// In words, with what is behind it.
    pub message: String,
}

/// What the agent knows of one process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its number.
    pub pid: i32,
    /// What each attestor says of it.
    pub attestors: Vec<Attested>,
    /// Whether the node is admitted and its entries are known: before, nobody gets anything.
    pub ready: bool,
    /// How many entries the node has.
    pub entries: usize,
    /// The entries that it matches, the oldest first; with any attestor at fault the agent issues nothing for them.
    pub matches: Vec<Candidate>,
    /// Of the others those that it lacks least for.
    pub nearest: Vec<Candidate>,
}

/// What one attestor says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Attested {
    /// The attestor.
    pub kind: String,
    /// The selectors it gives.
    pub selectors: Vec<String>,
    /// Why it gives none.
    pub problem: Option<Problem>,
}

/// A registration entry.
#[derive(Debug, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name in the server.
    pub entry: String,
    /// Who a workload that matches is.
    pub spiffe_id: String,
    /// Whether an SVID for it is there.
    pub svid: bool,
    /// What the process lacks.
    pub lacking: Vec<Lack>,
}

/// A selector that a process lacks.
#[derive(Debug, Serialize, Deserialize)]
pub struct Lack {
    /// The entry's.
    pub selector: String,
    /// What the process has in its place.
    pub instead: Vec<String>,
}

impl Problem {
    pub(super) fn new(code: &str, message: &str) -> Self {
        Self { code: code.to_owned(), message: message.to_owned() }
    }

    fn of(fault: &AttestFault) -> Self {
        let mut message = fault.to_string();
        let mut cause = std::error::Error::source(fault);
        while let Some(source) = cause {
            message.push_str(": ");
            message.push_str(&source.to_string());
            cause = source.source();
        }
        Self::new(fault.code(), &message)
    }
}

impl Report {
    pub(super) fn of(
        peer: &Peer,
        attested: Vec<(&'static str, Result<BTreeSet<Selector>, AttestFault>)>,
        cache: &SvidCache,
    ) -> Self {
        let (mut seen, mut attestors) = (BTreeSet::new(), Vec::new());
        for (kind, result) in attested {
            let problem = result.as_ref().err().map(Problem::of);
            let selectors = result.unwrap_or_default();
            attestors.push(Attested { kind: kind.to_owned(), selectors: texts(&selectors), problem });
            seen.extend(selectors);
        }
        let known = cache.known();
        let candidates = known.entries.iter();
        let candidates = candidates.map(|(entry, has_svid)| Near {
            nearness: Nearness::of(&entry.selectors, &seen),
            entry: entry.as_ref(),
            has_svid: *has_svid,
        });
        let (matches, mut others): (Vec<_>, Vec<_>) = candidates.partition(|near| near.nearness.is_match());
        // Among equals the oldest stays first.
        others.sort_by_key(|near| near.nearness.order());
        Self {
            pid: peer.pid(),
            attestors,
            ready: known.is_ready,
            entries: known.entries.len(),
            matches: matches.iter().take(MATCHES_MAX).map(Near::shown).collect(),
            nearest: others.iter().take(NEAREST_MAX).map(Near::shown).collect(),
        }
    }
}

/// An entry, and how near the process is to it.
struct Near<'a> {
    nearness: Nearness,
    entry: &'a Entry,
    has_svid: bool,
}

impl Near<'_> {
    fn shown(&self) -> Candidate {
        let lacking = self.nearness.lacking.iter().map(|lacking| Lack {
            selector: lacking.selector.to_string(),
            instead: lacking.instead.iter().map(ToString::to_string).collect(),
        });
        Candidate {
            entry: self.entry.id.clone(),
            spiffe_id: self.entry.spiffe_id.to_string(),
            svid: self.has_svid,
            lacking: lacking.collect(),
        }
    }
}

fn texts(selectors: &BTreeSet<Selector>) -> Vec<String> {
    selectors.iter().map(ToString::to_string).collect()
}
