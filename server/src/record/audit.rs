//! Audits a record: is the chain whole, and does every issuance have its entry?
//!
//! Pure: entries are fed in by whoever reads them (a running server's admin socket, or the database of one that is
//! down), so that an auditor need not believe either.

use super::chain::ChainHead;
use super::leaf::Leaf;
use crate::store::{LedgerEntry, LedgerHead, Origin, Sha256};
use serde::Serialize;
use std::collections::HashMap;

/// Findings that are listed; more are only counted.
const FINDINGS_MAX: usize = 100;

/// An audit under way.
#[derive(Debug, Default)]
pub struct Audit {
    head: ChainHead,
    broken: bool,
    issuances: HashMap<[u8; 16], Issued>,
    attempts: u64,
    acts: u64,
    findings: Vec<Finding>,
    uncounted: u64,
}

#[derive(Debug)]
struct Issued {
    index: u64,
    spiffe_id_sha256: Sha256,
    spki_sha256: Sha256,
    not_before: i64,
    not_after: i64,
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
#[derive(Clone, Debug)]
pub struct CertificateContent {
    /// SHA-256 over its SPIFFE ID.
    pub spiffe_id_sha256: Sha256,
    /// SHA-256 over its SubjectPublicKeyInfo.
    pub spki_sha256: Sha256,
    /// Validity, seconds since the epoch.
    pub not_before: i64,
    /// Validity, seconds since the epoch.
    pub not_after: i64,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable code.
    pub code: &'static str,
    /// The entry's index, where it is about one.
    pub index: Option<u64>,
    /// In words.
    pub detail: String,
}

/// What kind of thing must not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breach {
    Gap,
    Chain,
    Form,
    SerialTwice,
    Head,
    NoEntry,
    Differs,
}

impl Breach {
    /// Stable code for operators and programs.
    const fn code(self) -> &'static str {
        match self {
            Self::Gap => "audit.entry_missing",
            Self::Chain => "audit.chain_broken",
            Self::Form => "audit.entry_malformed",
            Self::SerialTwice => "audit.serial_twice",
            Self::Head => "audit.head_differs",
            Self::NoEntry => "audit.issuance_without_entry",
            Self::Differs => "audit.issuance_differs",
        }
    }
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// Entries read.
    pub entries: u64,
    /// Of these, issuances.
    pub issuances: u64,
    /// Of these, attempts.
    pub attempts: u64,
    /// Of these, acts of operators and of the server.
    pub acts: u64,
    /// Chain hash of the last one, in hexadecimal.
    pub head: String,
    /// Certificates looked up.
    pub certificates: u64,
    /// What must not be.
    pub findings: Vec<Finding>,
    /// Findings beyond the first hundred.
    pub more_findings: u64,
}

impl Audit {
    /// Looks at the next entry.
    pub fn entry(&mut self, entry: &LedgerEntry) {
        if entry.index != self.head.size {
            let detail = format!("entry {} follows entry {}", entry.index, self.head.size.wrapping_sub(1));
            self.finding(Breach::Gap, Some(entry.index), detail);
            self.broken = true;
        }
        let expected = ChainHead { size: entry.index, ..self.head }.append(&entry.leaf);
        if expected.hash != entry.hash && !self.broken {
            let detail = "chain hash is not that of this entry and those before it".to_owned();
            self.finding(Breach::Chain, Some(entry.index), detail);
        }
        // Goes on from the hash as it is kept, so that one changed entry is one finding.
        self.broken = false;
        self.head = ChainHead { size: entry.index.saturating_add(1), hash: entry.hash };
        self.content(entry);
    }

    fn content(&mut self, entry: &LedgerEntry) {
        match Leaf::parse(&entry.leaf) {
            Ok(Leaf::Issuance { serial, spiffe_id_sha256, spki_sha256, not_before, not_after, origin, .. }) => {
                let issued = Issued {
                    index: entry.index,
                    spiffe_id_sha256,
                    spki_sha256,
                    not_before: not_before.seconds(),
                    not_after: not_after.seconds(),
                };
                debug_assert!(matches!(origin, Origin::Server | Origin::Node { .. } | Origin::Workload { .. }));
                if let Some(first) = self.issuances.insert(serial, issued) {
                    let detail = format!("serial {} was issued by entry {} before", hex::encode(serial), first.index);
                    self.finding(Breach::SerialTwice, Some(entry.index), detail);
                }
            }
            Ok(Leaf::Attempt(_)) => self.attempts += 1,
            Ok(Leaf::Act(_)) => self.acts += 1,
            Err(malformed) => self.finding(Breach::Form, Some(entry.index), malformed.to_string()),
        }
    }

    /// Compares with the head that the store claims, looks up certificates, and reports.
    #[must_use]
    pub fn finish(mut self, head: LedgerHead, held: &[FoundCertificate]) -> AuditReport {
        if (self.head.size, self.head.hash) != (head.size, head.hash) {
            let detail = format!("record ends after {} entries, its head says {}", self.head.size, head.size);
            self.finding(Breach::Head, None, detail);
        }
        for certificate in held {
            let serial = hex::encode(certificate.serial);
            let whence = &certificate.whence;
            match (self.issuances.get(&certificate.serial), &certificate.content) {
                (None, _) => {
                    let detail = format!("{whence}: serial {serial} was issued and has no entry");
                    self.finding(Breach::NoEntry, None, detail);
                }
                (Some(issued), Some(content)) if !issued.is(content) => {
                    let (index, detail) =
                        (issued.index, format!("{whence}: certificate with serial {serial} differs from its entry"));
                    self.finding(Breach::Differs, Some(index), detail);
                }
                (Some(_), _) => {}
            }
        }
        AuditReport {
            entries: self.head.size,
            issuances: self.issuances.len() as u64,
            attempts: self.attempts,
            acts: self.acts,
            head: hex::encode(self.head.hash),
            certificates: held.len() as u64,
            findings: self.findings,
            more_findings: self.uncounted,
        }
    }

    fn finding(&mut self, breach: Breach, index: Option<u64>, detail: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { code: breach.code(), index, detail });
        } else {
            self.uncounted += 1;
        }
    }
}

impl Issued {
    fn is(&self, content: &CertificateContent) -> bool {
        self.spiffe_id_sha256 == content.spiffe_id_sha256
            && self.spki_sha256 == content.spki_sha256
            && self.not_before == content.not_before
            && self.not_after == content.not_after
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Issuance, NodeNumber};
    use holdfast_identity::UnixTime;

    fn record() -> Vec<LedgerEntry> {
        let issuance = |serial: u8| Issuance {
            serial: [serial; 16],
            spiffe_id: "spiffe://td/a".parse().unwrap(),
            spki_sha256: Sha256([9; 32]),
            not_before: UnixTime(1),
            not_after: UnixTime(2),
            origin: Origin::Workload { node: NodeNumber(1), entry: crate::store::EntryNumber(1), revision: 0 },
        };
        let leaves = [
            Leaf::Act(serde_json::json!({"action": "start"})),
            Leaf::issuance(&issuance(1), UnixTime(1)),
            Leaf::Attempt(serde_json::json!({"verdict": "admitted"})),
            Leaf::issuance(&issuance(2), UnixTime(1)),
        ];
        let mut head = ChainHead::default();
        leaves
            .iter()
            .map(|leaf| {
                let (index, leaf) = (head.size, leaf.encode());
                head = head.append(&leaf);
                LedgerEntry { index, leaf, hash: head.hash }
            })
            .collect()
    }

    fn audit(record: &[LedgerEntry], held: &[FoundCertificate]) -> Vec<&'static str> {
        let whole = self::record();
        let last = whole.last().unwrap();
        let mut audit = Audit::default();
        record.iter().for_each(|entry| audit.entry(entry));
        let report = audit.finish(LedgerHead { size: 4, hash: last.hash }, held);
        report.findings.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_whole_record_has_no_findings() {
        let held = FoundCertificate { whence: "node".into(), serial: [2; 16], content: None };
        assert!(audit(&record(), &[held]).is_empty());
    }

    #[test]
    fn a_changed_byte_anywhere_is_found() {
        let whole = record();
        for place in 0..whole.len() {
            for byte in 0..whole[place].leaf.len() {
                let mut changed = whole.clone();
                changed[place].leaf[byte] ^= 1;
                assert!(!audit(&changed, &[]).is_empty(), "entry {place}, byte {byte}");
            }
            let mut changed = whole.clone();
            changed[place].hash[3] ^= 1;
            assert!(!audit(&changed, &[]).is_empty(), "hash of entry {place}");
        }
    }

    #[test]
    fn a_missing_or_moved_entry_is_found() {
        for place in 0..4 {
            let mut cut = record();
            cut.remove(place);
            assert!(!audit(&cut, &[]).is_empty(), "entry {place}");
        }
        let mut moved = record();
        moved.swap(1, 3);
        assert!(!audit(&moved, &[]).is_empty());
    }

    #[test]
    fn an_issuance_without_an_entry_is_a_breach() {
        let held = FoundCertificate { whence: "svid.pem".into(), serial: [3; 16], content: None };
        assert_eq!(audit(&record(), &[held]), ["audit.issuance_without_entry"]);
    }

    #[test]
    fn a_certificate_for_another_key_than_was_recorded_is_a_breach() {
        let content = CertificateContent {
            spiffe_id_sha256: Sha256::of(b"spiffe://td/a"),
            spki_sha256: Sha256([8; 32]),
            not_before: 1,
            not_after: 2,
        };
        let held = FoundCertificate { whence: "svid.pem".into(), serial: [2; 16], content: Some(content) };
        assert_eq!(audit(&record(), &[held]), ["audit.issuance_differs"]);
    }
}
