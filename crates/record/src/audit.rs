//! Audits a record: is every entry where and what the tree says, does the tree end in the roots that were signed, and
//! has every issuance its entry?
//!
//! Pure: entries, tiles and checkpoints are fed in by whoever reads them (a running server's admin socket, the database
//! of one that is down, published tiles), so that an auditor need believe none of them.

mod report;
mod tokens;

use std::collections::HashMap;

use serde_json::Value;

use crate::checkpoint::{BadCheckpoint, SignedCheckpoint};
use crate::hash::Hash;
use crate::leaf::{Leaf, Origin};
use crate::note::VerifierKey;
use crate::tile::{Resource, Tile, Tiler};

use report::Breach;
pub use report::{AuditReport, Finding};
use tokens::TokenKeys;

/// Findings that are listed; more are only counted.
const FINDINGS_MAX: usize = 100;

/// An audit under way.
#[derive(Debug, Default)]
pub struct Audit {
    tiler: Tiler,
    next: u64,
    /// The next one last.
    claims: Vec<Claimed>,
    held: HashMap<[u8; 16], FoundCertificate>,
    certificates: u64,
    issuances: HashMap<[u8; 16], u64>,
    token_keys: TokenKeys,
    tokens: u64,
    admitted: Option<String>,
    attempts: u64,
    acts: u64,
    checkpoints: u64,
    findings: Vec<Finding>,
    unlisted: u64,
}

/// Whose word a root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The store's, of its newest entry.
    Head,
    /// The newest checkpoint's.
    Checkpoint,
    /// A checkpoint's of an earlier day.
    Earlier,
}

#[derive(Debug)]
struct Claimed {
    size: u64,
    root: Hash,
    claim: Claim,
    whence: String,
}

/// A certificate that somebody holds, to be found in the record.
#[derive(Clone, Debug)]
pub struct FoundCertificate {
    /// Where it was found, for the finding's text.
    pub whence: String,
    /// Serial number.
    pub serial: [u8; 16],
    /// Its SPIFFE ID, key and validity, where the certificate itself is at hand.
    pub content: Option<CertificateContent>,
}

/// What a certificate at hand says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateContent {
    /// SHA-256 over its SPIFFE ID.
    pub spiffe_id_sha256: [u8; 32],
    /// SHA-256 over its SubjectPublicKeyInfo.
    pub spki_sha256: [u8; 32],
    /// Validity, seconds since the epoch.
    pub not_before: i64,
    /// Validity, seconds since the epoch.
    pub not_after: i64,
}

impl Audit {
    /// Certificates that must be found. To be said before the first entry.
    #[must_use]
    pub fn of(held: impl IntoIterator<Item = FoundCertificate>) -> Self {
        let held: HashMap<_, _> = held.into_iter().map(|found| (found.serial, found)).collect();
        Self { certificates: held.len() as u64, held, ..Self::default() }
    }

    /// The root of the first `size` entries, as somebody claims it. To be said before these entries.
    pub fn claim(&mut self, size: u64, root: Hash, claim: Claim, whence: &str) {
        if let Some(other) = self.claims.iter().find(|held| held.size == size && held.root != root) {
            let detail = format!("{whence} and {} name two roots for {size} entries", other.whence);
            self.finding(Breach::Fork, None, detail);
        }
        self.claims.push(Claimed { size, root, claim, whence: whence.to_owned() });
        self.claims.sort_by_key(|claimed| std::cmp::Reverse(claimed.size));
        self.settle();
    }

    /// A checkpoint as it is kept or shown. To be said before the entries that it covers.
    pub fn checkpoint(&mut self, checkpoint: &SignedCheckpoint, log: &VerifierKey, claim: Claim, whence: &str) {
        self.checkpoints += 1;
        if let Err(bad) = checkpoint.verify(log) {
            let breach = match bad {
                BadCheckpoint::Origin { .. } => Breach::Origin,
                BadCheckpoint::Signature { .. } | BadCheckpoint::Form(_) => Breach::Signature,
            };
            self.finding(breach, None, format!("{whence}: {bad}"));
        }
        let claimed = checkpoint.claimed();
        self.claim(claimed.size, claimed.root, claim, whence);
    }

    /// Something that must be there, or readable, and is not.
    pub fn missing(&mut self, resource: &str, why: &str) {
        self.finding(Breach::Missing, None, format!("{resource}: {why}"));
    }

    /// Entries looked at so far; the index of the next.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.next
    }

    /// Looks at the next entry, and at the hash that is kept beside it. `full` takes each tile that it fills, as it must
    /// be.
    pub fn entry(&mut self, index: u64, leaf: &[u8], kept: Option<Hash>, full: impl FnMut(Tile, Vec<Hash>)) {
        if index != self.next {
            let detail = format!("entry {index} stands where entry {} must", self.next);
            self.finding(Breach::Gap, Some(index), detail);
        }
        let hash = Hash::leaf(leaf);
        if kept.is_some_and(|kept| kept != hash) {
            self.finding(Breach::LeafHash, Some(index), "hash is not that of this entry".to_owned());
        }
        self.tiler.append(hash, full);
        self.next = index.saturating_add(1);
        self.content(index, leaf);
        self.settle();
    }

    /// Compares a tile as it is kept or published with what it must be.
    pub fn tile(&mut self, tile: Tile, computed: &[Hash], kept: Option<&[Hash]>) {
        let name = Resource::Tile(tile).to_string();
        match kept {
            None => self.finding(Breach::Missing, None, format!("{name}: is not there, or not of its size")),
            Some(kept) if kept != computed => {
                let place = computed.iter().zip(kept).take_while(|(a, b)| a == b).count();
                let detail = format!("{name}: hash {place} is not that of the entries below it");
                self.finding(Breach::Tile, None, detail);
            }
            Some(_) => {}
        }
    }

    /// The partial tiles of the entries so far, as they must be.
    #[must_use]
    pub fn partial_tiles(&self) -> Vec<(Tile, Vec<Hash>)> {
        self.tiler.partial().map(|(tile, hashes)| (tile, hashes.to_vec())).collect()
    }

    /// Compares with the roots that were claimed for as many entries as there are.
    fn settle(&mut self) {
        let size = self.tiler.frontier().size();
        while self.claims.last().is_some_and(|claimed| claimed.size == size) {
            let Some(claimed) = self.claims.pop() else { return };
            if claimed.root == self.tiler.frontier().root() {
                continue;
            }
            let breach = match claimed.claim {
                Claim::Head => Breach::Head,
                Claim::Checkpoint => Breach::Checkpoint,
                Claim::Earlier => Breach::Inconsistent,
            };
            let detail = format!("root of the first {size} entries is not the one that {} names", claimed.whence);
            self.finding(breach, None, detail);
        }
    }

    fn content(&mut self, index: u64, leaf: &[u8]) {
        match Leaf::parse(leaf) {
            Ok(Leaf::Issuance { serial, spiffe_id_sha256, spki_sha256, not_before, not_after, origin, .. }) => {
                if let Some(first) = self.issuances.insert(serial, index) {
                    let detail = format!("serial {} was issued by entry {first} before", hex::encode(serial));
                    self.finding(Breach::SerialTwice, Some(index), detail);
                }
                if let Origin::Node { attempt } = origin
                    && self.admitted.as_deref() != Some(hex::encode(attempt).as_str())
                {
                    let detail = "no attempt was admitted before this node SVID".to_owned();
                    self.finding(Breach::NoAttempt, Some(index), detail);
                }
                let (not_before, not_after) = (not_before.seconds(), not_after.seconds());
                let recorded = CertificateContent { spiffe_id_sha256, spki_sha256, not_before, not_after };
                self.found(index, serial, &recorded);
            }
            Ok(Leaf::Attempt(attempt)) => {
                self.attempts += 1;
                // A node SVID follows its attempt in the same transaction, with nothing but alarms between.
                let admitted = attempt.get("verdict").and_then(Value::as_str) == Some("admitted");
                let id = attempt.get("attempt").and_then(Value::as_str);
                self.admitted = id.filter(|_| admitted).map(str::to_owned);
            }
            Ok(Leaf::Act(act)) => {
                self.acts += 1;
                self.token_keys.hear(&act);
            }
            Ok(Leaf::Token { key_id_sha256, expires, .. }) => {
                self.tokens += 1;
                if let Some((breach, detail)) = self.token_keys.judge(&key_id_sha256, expires) {
                    self.finding(breach, Some(index), detail);
                }
            }
            Err(malformed) => self.finding(Breach::Form, Some(index), malformed.to_string()),
        }
    }

    fn found(&mut self, index: u64, serial: [u8; 16], recorded: &CertificateContent) {
        let Some(held) = self.held.remove(&serial) else { return };
        if held.content.is_some_and(|content| content != *recorded) {
            let serial = hex::encode(serial);
            let detail = format!("{}: certificate with serial {serial} differs from its entry", held.whence);
            self.finding(Breach::Differs, Some(index), detail);
        }
    }

    /// Reports: what was claimed for more entries than there are, and certificates that were not found, are findings.
    #[must_use]
    pub fn finish(mut self) -> AuditReport {
        let size = self.tiler.frontier().size();
        for claimed in std::mem::take(&mut self.claims) {
            let detail = format!("record ends after {size} entries, {} says {}", claimed.whence, claimed.size);
            self.finding(Breach::Truncated, None, detail);
        }
        let mut lost: Vec<_> = std::mem::take(&mut self.held).into_values().collect();
        lost.sort_by_key(|certificate| certificate.serial);
        for FoundCertificate { whence, serial, .. } in lost {
            let detail = format!("{whence}: serial {} was issued and has no entry", hex::encode(serial));
            self.finding(Breach::NoEntry, None, detail);
        }
        AuditReport {
            entries: size,
            issuances: self.issuances.len() as u64,
            tokens: self.tokens,
            attempts: self.attempts,
            acts: self.acts,
            root: self.tiler.frontier().root(),
            checkpoints: self.checkpoints,
            certificates: self.certificates,
            findings: self.findings,
            more_findings: self.unlisted,
        }
    }

    fn finding(&mut self, breach: Breach, index: Option<u64>, detail: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { code: breach.code(), index, detail });
        } else {
            self.unlisted += 1;
        }
    }
}

#[cfg(test)]
mod tests;
