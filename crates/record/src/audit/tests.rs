//! The attacks on a log, each by name: what it changes, and that the audit says so.

use super::*;
use crate::{Checkpoint, SigningKey};
use holdfast_evidence::crypto::Zeroizing;
use holdfast_identity::UnixTime;
use serde_json::json;

const ORIGIN: &str = "td.example/log/1";

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, Zeroizing::new([seed; 32])).unwrap()
}

fn issuance(serial: u8, origin: Origin) -> Leaf {
    Leaf::Issuance {
        at: UnixTime(1),
        serial: [serial; 16],
        spiffe_id_sha256: [1; 32],
        spki_sha256: [9; 32],
        not_before: UnixTime(1),
        not_after: UnixTime(2),
        origin,
    }
}

const WORKLOAD: Origin = Origin::Workload { node: 1, entry: 1, revision: 0 };

fn attempt(id: u8, verdict: &str) -> Leaf {
    Leaf::Attempt(json!({"attempt": hex::encode([id; 16]), "verdict": verdict}))
}

/// A log as it is kept: leaves, the hash beside each, its full tiles, and what was signed.
#[derive(Clone)]
struct Kept {
    entries: Vec<(u64, Vec<u8>, Hash)>,
    tiles: Vec<(Tile, Vec<Hash>)>,
    head: (u64, Hash),
    checkpoint: String,
    earlier: Option<String>,
    held: Vec<FoundCertificate>,
}

fn signed(tiler: &Tiler, key: &SigningKey) -> String {
    let (size, root) = (tiler.frontier().size(), tiler.frontier().root());
    Checkpoint { origin: key.verifier().name().to_owned(), size, root }.sign(key).unwrap().to_string()
}

fn kept(leaves: &[Leaf]) -> Kept {
    let mut tiler = Tiler::default();
    let (mut entries, mut tiles, mut earlier) = (Vec::new(), Vec::new(), None);
    for (index, leaf) in leaves.iter().enumerate() {
        entries.push((index as u64, leaf.encode(), leaf.hash()));
        tiler.append(leaf.hash(), |tile, hashes| tiles.push((tile, hashes)));
        if index == leaves.len() / 2 {
            earlier = Some(signed(&tiler, &key(ORIGIN, 1)));
        }
    }
    tiles.extend(tiler.partial().map(|(tile, hashes)| (tile, hashes.to_vec())));
    let head = (tiler.frontier().size(), tiler.frontier().root());
    Kept { entries, tiles, head, checkpoint: signed(&tiler, &key(ORIGIN, 1)), earlier, held: Vec::new() }
}

fn small() -> Kept {
    kept(&[
        Leaf::Act(json!({"action": "start"})),
        attempt(5, "admitted"),
        Leaf::Act(json!({"action": "alarm"})),
        issuance(1, Origin::Node { attempt: [5; 16] }),
        issuance(2, WORKLOAD),
        attempt(6, "refused"),
        issuance(3, Origin::Server),
    ])
}

impl Kept {
    /// What an auditor says who holds the log's key and, if there is one, the checkpoint of an earlier day.
    fn audit(&self) -> AuditReport {
        let log = key(ORIGIN, 1);
        let mut audit = Audit::of(self.held.clone());
        audit.claim(self.head.0, self.head.1, Claim::Head, "the store");
        match self.checkpoint.parse::<SignedCheckpoint>() {
            Ok(checkpoint) => audit.checkpoint(&checkpoint, log.verifier(), Claim::Checkpoint, "checkpoint"),
            Err(bad) => audit.missing("checkpoint", &bad.to_string()),
        }
        if let Some(earlier) = self.earlier.as_ref().map(|text| text.parse().unwrap()) {
            audit.checkpoint(&earlier, log.verifier(), Claim::Earlier, "yesterday.txt");
        }
        let mut computed = Vec::new();
        for (index, leaf, hash) in &self.entries {
            audit.entry(*index, leaf, Some(*hash), |tile, hashes| computed.push((tile, hashes)));
        }
        computed.extend(audit.partial_tiles());
        for (tile, hashes) in computed {
            let there = self.tiles.iter().find(|(kept, _)| *kept == tile).map(|(_, hashes)| hashes.as_slice());
            audit.tile(tile, &hashes, there);
        }
        audit.finish()
    }

    fn codes(&self) -> Vec<&'static str> {
        self.audit().findings.iter().map(|finding| finding.code).collect()
    }
}

#[test]
fn a_whole_record_has_no_findings() {
    let held = FoundCertificate { whence: "node".into(), serial: [2; 16], content: None };
    let report = Kept { held: vec![held], ..small() }.audit();
    assert_eq!(report.findings, []);
    assert_eq!((report.entries, report.issuances, report.attempts, report.acts), (7, 3, 2, 2));
    assert_eq!((report.checkpoints, report.certificates), (2, 1));
    assert_eq!(kept(&[]).codes(), [""; 0]);
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_leaf_is_found() {
    let whole = small();
    for place in 0..whole.entries.len() {
        for byte in 0..whole.entries[place].1.len() {
            let mut changed = whole.clone();
            changed.entries[place].1[byte] ^= 1;
            assert!(changed.codes().contains(&"audit.leaf_hash"), "entry {place}, byte {byte}");
            // Who fixes the hash beside it breaks the root.
            changed.entries[place].2 = Hash::leaf(&changed.entries[place].1);
            assert!(changed.codes().contains(&"audit.checkpoint_differs"), "entry {place}, byte {byte}");
        }
    }
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_hash_or_tile_is_found() {
    let whole = small();
    for byte in 0..32 {
        for place in 0..whole.entries.len() {
            let mut changed = whole.clone();
            changed.entries[place].2.0[byte] ^= 1;
            assert_eq!(changed.codes(), ["audit.leaf_hash"]);
        }
        for tile in 0..whole.tiles.len() {
            for place in 0..whole.tiles[tile].1.len() {
                let mut changed = whole.clone();
                changed.tiles[tile].1[place].0[byte] ^= 1;
                assert_eq!(changed.codes(), ["audit.tile_differs"]);
            }
        }
        let mut changed = whole.clone();
        changed.head.1.0[byte] ^= 1;
        assert!(changed.codes().contains(&"audit.head_differs"));
    }
}

#[test]
fn a_changed_or_missing_upper_tile_is_found() {
    let leaves: Vec<Leaf> = (0..600_u32).map(|n| Leaf::Act(json!({ "n": n }))).collect();
    let whole = kept(&leaves);
    assert_eq!((whole.tiles.len(), whole.codes()), (4, vec![]));
    for tile in 0..whole.tiles.len() {
        let mut changed = whole.clone();
        changed.tiles[tile].1[1].0[0] ^= 1;
        assert_eq!(changed.codes(), ["audit.tile_differs"]);
        changed.tiles.remove(tile);
        assert_eq!(changed.codes(), ["audit.missing"]);
    }
}

#[test]
fn a_flipped_bit_in_any_byte_of_the_checkpoint_is_found() {
    let whole = small();
    for byte in 0..whole.checkpoint.len() {
        let mut bytes = whole.checkpoint.clone().into_bytes();
        bytes[byte] ^= 1;
        let Ok(checkpoint) = String::from_utf8(bytes) else { continue };
        assert!(!Kept { checkpoint, ..whole.clone() }.codes().is_empty(), "byte {byte}");
    }
}

#[test]
fn a_missing_or_moved_entry_is_found() {
    let whole = small();
    for place in 0..whole.entries.len() {
        let mut cut = whole.clone();
        cut.entries.remove(place);
        assert!(!cut.codes().is_empty(), "entry {place}");
        // Who closes the gap breaks the root.
        (0..).zip(&mut cut.entries).for_each(|(index, entry)| entry.0 = index);
        assert!(cut.codes().contains(&"audit.truncated"), "entry {place}");
    }
    let mut moved = whole.clone();
    moved.entries.swap(1, 3);
    assert!(moved.codes().contains(&"audit.entry_missing"));
    (moved.entries[1].0, moved.entries[3].0) = (1, 3);
    assert!(moved.codes().contains(&"audit.checkpoint_differs"));
}

/// Who keeps the log and its key can sign any tree; what was signed before tells.
#[test]
fn a_log_cut_below_an_earlier_checkpoint_and_signed_anew_is_found() {
    let whole = small();
    let shorter = [Leaf::Act(json!({"action": "start"})), attempt(5, "admitted")];
    let cut = Kept { earlier: Some(whole.checkpoint.clone()), ..kept(&shorter) };
    assert_eq!(cut.codes(), ["audit.truncated"]);
}

#[test]
fn a_rewritten_log_signed_anew_is_found_by_the_checkpoint_of_an_earlier_day() {
    let whole = small();
    let mut leaves: Vec<Leaf> = whole.entries.iter().map(|(_, leaf, _)| Leaf::parse(leaf).unwrap()).collect();
    leaves[0] = Leaf::Act(json!({"action": "stop"}));
    leaves.push(issuance(9, WORKLOAD));
    let rewritten = Kept { earlier: Some(whole.checkpoint), ..kept(&leaves) };
    assert_eq!(rewritten.codes(), ["audit.inconsistent"]);
}

#[test]
fn a_forked_log_is_found_by_its_two_checkpoints_of_one_size() {
    let whole = small();
    let mut leaves: Vec<Leaf> = whole.entries.iter().map(|(_, leaf, _)| Leaf::parse(leaf).unwrap()).collect();
    leaves[6] = issuance(4, Origin::Server);
    let forked = Kept { earlier: Some(whole.checkpoint), ..kept(&leaves) };
    assert!(forked.codes().contains(&"audit.forked"));
}

#[test]
fn a_checkpoint_signed_by_another_key_or_for_another_origin_is_found() {
    let whole = small();
    let mut tiler = Tiler::default();
    whole.entries.iter().for_each(|(.., hash)| tiler.append(*hash, |_, _| {}));
    for (name, seed, code) in
        [(ORIGIN, 2, "audit.checkpoint_signature"), ("td.example/log/2", 1, "audit.origin_differs")]
    {
        let changed = Kept { checkpoint: signed(&tiler, &key(name, seed)), ..whole.clone() };
        assert_eq!(changed.codes(), [code]);
    }
}

#[test]
fn an_issuance_without_an_entry_is_a_breach() {
    let held = FoundCertificate { whence: "svid.pem".into(), serial: [8; 16], content: None };
    assert_eq!(Kept { held: vec![held], ..small() }.codes(), ["audit.issuance_without_entry"]);
}

#[test]
fn a_certificate_for_another_key_than_was_recorded_is_a_breach() {
    let content = CertificateContent { spiffe_id_sha256: [1; 32], spki_sha256: [8; 32], not_before: 1, not_after: 2 };
    let held = |content| vec![FoundCertificate { whence: "svid.pem".into(), serial: [2; 16], content: Some(content) }];
    assert_eq!(Kept { held: held(content.clone()), ..small() }.codes(), ["audit.issuance_differs"]);
    let same = CertificateContent { spki_sha256: [9; 32], ..content };
    assert_eq!(Kept { held: held(same), ..small() }.codes(), [""; 0]);
}

#[test]
fn a_node_svid_without_an_admitted_attempt_before_it_is_a_breach() {
    let node = || issuance(1, Origin::Node { attempt: [5; 16] });
    for leaves in [vec![node()], vec![attempt(5, "refused"), node()], vec![attempt(6, "admitted"), node()]] {
        assert_eq!(kept(&leaves).codes(), ["audit.issuance_without_attempt"]);
    }
}

fn authority_act(act: &str) -> Leaf {
    Leaf::Act(json!({"action": format!("jwt_authority.{act}"), "subject": "key-1", "detail": {"ends": 1000}}))
}

fn token(expires: i64) -> Leaf {
    Leaf::Token {
        at: UnixTime(1),
        spiffe_id_sha256: [1; 32],
        audience_sha256: [2; 32],
        key_id_sha256: holdfast_evidence::crypto::sha256(&[b"key-1"]),
        expires: UnixTime(expires),
        node: 1,
        entry: 1,
        revision: 0,
    }
}

#[test]
fn a_token_whose_key_did_not_sign_then_or_ends_before_it_is_a_breach() {
    let (prepare, activate) = (authority_act("prepare"), authority_act("activate"));
    let whole = kept(&[prepare.clone(), activate.clone(), token(1000), attempt(1, "refused")]);
    let report = whole.audit();
    assert_eq!((report.tokens, report.findings.len()), (1, 0), "{report:?}");
    for (leaves, code) in [
        (vec![token(1000), activate.clone()], "audit.token_without_authority"),
        (vec![prepare.clone(), token(1000)], "audit.token_without_authority"),
        (vec![prepare.clone(), activate.clone(), authority_act("taint"), token(1000)], "audit.token_without_authority"),
        (
            vec![prepare.clone(), activate.clone(), authority_act("revoke"), token(1000)],
            "audit.token_without_authority",
        ),
        (
            vec![prepare.clone(), activate.clone(), authority_act("retire"), token(1000)],
            "audit.token_without_authority",
        ),
        (vec![prepare, activate, token(1001)], "audit.token_outlives_authority"),
    ] {
        let report = kept(&leaves).audit();
        assert!(report.findings.iter().any(|finding| finding.code == code), "{code}: {report:?}");
    }
}

#[test]
fn a_serial_issued_twice_and_an_entry_of_no_known_form_are_breaches() {
    let twice = kept(&[issuance(1, WORKLOAD), issuance(1, WORKLOAD)]);
    assert_eq!(twice.codes(), ["audit.serial_twice"]);
    let mut odd = kept(&[issuance(1, WORKLOAD)]);
    odd.entries[0].1 = vec![7];
    assert!(odd.codes().contains(&"audit.entry_malformed"));
}
