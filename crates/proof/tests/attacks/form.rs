//! Files that are no proof: huge, deep, with names twice, with junk for bytes.

use holdfast_proof::{MalformedProof, PROOF_BODIES_MAX, PROOF_BYTES_MAX, ProofBundle};
use serde_json::{Value, json};

use crate::sample::{checked, file, refuted, sample};

fn malformed(bytes: &[u8]) -> MalformedProof {
    let malformed = ProofBundle::parse(bytes).unwrap_err();
    assert_eq!(malformed.code(), "proof.form");
    malformed
}

fn changed(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut document: Value = serde_json::from_slice(&file("admitted")).unwrap();
    change(&mut document);
    document.to_string().into_bytes()
}

#[test]
fn a_file_larger_than_any_proof_is_refused_unread() {
    assert!(malformed(&vec![0; PROOF_BYTES_MAX + 1]).reason.contains("limit"));
}

#[test]
fn a_document_without_end_in_its_depth_is_refused() {
    for opening in ["[", "{\"media_type\":", "{\"bodies\":[", "{\"inclusion\":{\"path\":["] {
        malformed(opening.repeat(200_000).as_bytes());
    }
    let inner = |name: &str| format!("{{\"{name}\":{}", "[".repeat(200_000));
    for name in ["media_type", "entry", "inclusion", "checkpoint", "decision", "manifest", "policies", "bodies"] {
        malformed(inner(name).as_bytes());
    }
}

#[test]
fn a_name_that_is_there_twice_or_that_nobody_knows_is_refused() {
    let text = String::from_utf8(file("admitted")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    for (name, value) in document.as_object().unwrap() {
        let twice = format!("{{\"{name}\":{value},{}", &text[1..]);
        assert!(malformed(twice.as_bytes()).reason.contains("duplicate field"));
    }
    let twice = text.replacen("{\"sha256\":\"", "{\"sha256\":\"00\",\"sha256\":\"", 1);
    malformed(twice.as_bytes());
    malformed(&changed(|document| document["more"] = json!(1)));
    malformed(&changed(|document| document["bodies"][0]["more"] = json!(1)));
    malformed(&changed(|document| document["inclusion"]["more"] = json!(1)));
    malformed(&changed(|document| document["media_type"] = json!("application/vnd.holdfast.proof.v2+json")));
    malformed(&[file("admitted").as_slice(), b"{}"].concat());
}

#[test]
fn junk_for_bytes_is_refused_and_bytes_have_one_spelling() {
    for junk in ["A", "AA", "AAA", "AAAA=", "AB==", "AA ==", "\n", "-_-_", "=", "\u{e9}\u{e9}"] {
        malformed(&changed(|document| document["entry"] = json!(junk)));
        malformed(&changed(|document| document["manifest"] = json!(junk)));
        malformed(&changed(|document| document["bodies"][0]["content"] = json!(junk)));
    }
    for junk in [json!(""), json!("00"), json!("A".repeat(64)), json!("g".repeat(64)), json!(7), Value::Null] {
        malformed(&changed(|document| document["bodies"][0]["sha256"] = junk));
    }
}

#[test]
fn more_bodies_or_policies_than_any_proof_has_are_refused() {
    let many = |document: &mut Value, name: &str, count: usize| {
        let one = document[name][0].clone();
        document[name] = vec![one; count].into();
    };
    let one_too_many = changed(|document| {
        document["bodies"] = vec![json!({ "sha256": "0".repeat(64), "content": "" }); PROOF_BODIES_MAX + 1].into();
    });
    malformed(&one_too_many);
    malformed(&changed(|document| many(document, "policies", 3)));
    // The same twice is within the limit, and no proof all the same.
    let twice = ProofBundle::parse(&changed(|document| many(document, "policies", 2))).unwrap();
    assert!(refuted(&twice).contains(&"proof.policy"));
}

#[test]
fn a_body_is_never_inflated() {
    // Zlib of ten megabytes of zeros begins so; there is no decompressor here, and the digest is of the bytes as they are.
    let bomb = [0x78, 0xda, 0xed, 0xc1, 0x01, 0x01, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf, 0xee, 0x08, 0x0a];
    let mut bundle = sample("admitted");
    bundle.bodies[0].content.0 = bomb.to_vec();
    assert!(refuted(&bundle).contains(&"proof.body"));
}

#[test]
fn whatever_is_changed_in_a_file_is_found_and_nothing_panics() {
    for name in ["admitted", "renewed", "refused-evidence", "refused-policy"] {
        let file = file(name);
        let intact = ProofBundle::parse(&file).unwrap();
        assert_eq!(checked(&intact).failures(), [""; 0], "{name}");
        let mut state = 1_u64;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % below
        };
        for _ in 0..60 {
            let (mut changed, at) = (file.clone(), draw(file.len()));
            let other = draw(256) as u8;
            match draw(3) {
                0 if changed[at] != other => changed[at] = other,
                1 => drop(changed.remove(at)),
                _ => changed.insert(at, other),
            }
            let Ok(bundle) = ProofBundle::parse(&changed) else { continue };
            // A blank between two values says nothing else.
            if bundle.encode() != file {
                refuted(&bundle);
            }
        }
    }
}

#[test]
fn more_files_policies_or_bodies_than_any_proof_has_are_not_read() {
    // Each of them would be some bytes of a file and some dozen in memory; what follows the one too many is not looked at.
    let many = |one: &str, count: usize| vec![one; count].join(",");
    let text = String::from_utf8(file("admitted")).unwrap();
    let file = "{\"name\":\"\",\"text\":\"\"}";
    let junk = ",\u{1}junk";
    let policies = text.find("\"policies\":[").unwrap() + "\"policies\":[".len();
    let bodies = text.find("\"bodies\":[").unwrap() + "\"bodies\":[".len();
    let policy = |references: String| format!("{{\"policy\":{file},\"references\":[{references}");
    let empty = format!("{}]}}", policy(String::new()));
    let body = format!("{{\"sha256\":\"{}\",\"content\":\"\"}}", "0".repeat(64));
    for (at, written, limit) in [
        (policies, policy(many(file, 257)), 256),
        (policies, many(&empty, 3), 2),
        (bodies, many(&body, PROOF_BODIES_MAX + 1), PROOF_BODIES_MAX),
    ] {
        let bytes = format!("{}{written}{junk}", &text[..at]);
        let reason = malformed(bytes.as_bytes()).reason;
        assert!(reason.contains(&format!("more than {limit} items")), "{reason}");
    }
}
