//! Documents that read differently to different readers, or that are larger than they look.

use holdfast_proof::{BODY_BYTES_MAX, Blob, Digest, NodeKey, Piece, ProofBody, ProofBundle, WHOLE_BYTES_MAX};
use serde_json::Value;

use crate::sample::{LOG, Lie, log_key, refuted, sample, signed};

/// Written again, these three numbers are 21 bytes longer: as much as the name and value that are left out then.
const LONGER: &str = "\"machine\":[1e15,1e5,1e2],";
const HIDDEN: &str = "\"verdict\":\"admitted\",";

fn is_as_long_written_again(text: &str) -> bool {
    serde_json::from_str::<Value>(text).unwrap().to_string().len() == text.len()
}

#[test]
fn numbers_that_are_written_longer_hide_no_name_that_is_there_twice() {
    let mut lie = Lie::about("refused-policy");
    let mut decision: Value = serde_json::from_str(&lie.decision).unwrap();
    decision.as_object_mut().unwrap().remove("machine");
    let text = decision.to_string();
    lie.decision = format!("{{{HIDDEN}{LONGER}{}", &text[1..]);
    assert!(is_as_long_written_again(&lie.decision), "the attack is one");
    assert_eq!(refuted(&lie.told()), ["proof.decision_differs"]);

    let mut bundle = sample("refused-policy");
    let entry = String::from_utf8(bundle.entry.0[1..].to_vec()).unwrap();
    let entry = format!("{{{HIDDEN}{LONGER}{}", &entry[1..]);
    assert!(is_as_long_written_again(&entry), "the attack is one");
    bundle.entry.0.truncate(1);
    bundle.entry.0.extend_from_slice(entry.as_bytes());
    signed(&mut bundle, &log_key(LOG, 7));
    assert_eq!(refuted(&bundle), ["proof.entry"]);
}

#[test]
fn a_number_with_a_fraction_is_in_no_decision() {
    for number in ["1.0", "1e2", "0.1", "-0.0", "18446744073709551616"] {
        let mut lie = Lie::about("admitted");
        lie.decision = format!("{{\"machine\":{number},{}", &lie.decision[1..]);
        assert!(refuted(&lie.told()).contains(&"proof.decision_differs"), "{number}");
    }
}

#[test]
fn a_key_in_too_many_pieces_is_refused() {
    let piece = Piece::Inline(Blob(vec![0x30]));
    for key in [NodeKey::Request(vec![piece.clone(); 65]), NodeKey::PublicKey(vec![piece; 65])] {
        let mut lie = Lie::about("admitted");
        lie.manifest.node_key = key;
        assert!(refuted(&lie.told()).contains(&"proof.manifest"));
    }
}

#[test]
fn pieces_that_name_one_body_many_times_are_refused() {
    let change: [fn(&mut Lie, Vec<Piece>); 3] = [
        |lie, pieces| lie.manifest.challenge = pieces,
        |lie, pieces| lie.manifest.node_key = NodeKey::PublicKey(pieces),
        |lie, pieces| lie.manifest.items[0].pieces = pieces,
    ];
    for change in change {
        let mut lie = Lie::about("admitted");
        let content = vec![0x30; WHOLE_BYTES_MAX / 8];
        let sha256 = Digest::of(&content);
        lie.bundle.bodies.push(ProofBody { sha256, content: Blob(content) });
        change(&mut lie, vec![Piece::Body(sha256); 9]);
        let named = lie.manifest.names();
        let trust = holdfast_proof::TrustDocument::read(&lie.manifest.trusts()[0], &lie.bodies()).unwrap();
        let named: Vec<Digest> = named.into_iter().chain(trust.names()).collect();
        lie.bundle.bodies.retain(|body| named.contains(&body.sha256));
        assert_eq!(refuted(&lie.told()), ["proof.evidence"]);
    }
}

#[test]
fn a_body_larger_than_any_that_is_kept_is_refused() {
    let with = |length: usize| {
        let content = vec![7; length];
        let mut bundle = sample("admitted");
        bundle.bodies = vec![ProofBody { sha256: Digest::of(&content), content: Blob(content) }];
        ProofBundle::parse(&bundle.encode())
    };
    assert!(with(BODY_BYTES_MAX).is_ok());
    assert!(with(BODY_BYTES_MAX + 1).unwrap_err().reason.contains("limit"));
}
