//! A log's own keeper who lies about what a machine was judged by.

use holdfast_proof::{ApprovalRecord, Digest, MANIFEST_BYTES_MAX, Manifest, NodeKey, Piece};
use serde_json::Value;

use crate::sample::{LOG, Lie, log_key, refuted, sample, signed};

#[test]
fn a_manifest_of_one_attempt_with_the_evidence_of_another_is_refuted() {
    let names = ["admitted", "renewed", "refused-policy"];
    for (ours, theirs) in names.iter().flat_map(|one| names.iter().map(move |other| (one, other))) {
        if ours == theirs {
            continue;
        }
        let other = Lie::about(theirs);
        let with = |change: &dyn Fn(&mut Manifest, &Manifest)| {
            let mut lie = Lie::about(ours);
            change(&mut lie.manifest, &other.manifest);
            // Whatever either names is there, and nothing else.
            let mut named = lie.manifest.names();
            for trust in lie.manifest.trusts() {
                let bodies = [lie.bodies(), other.bodies()];
                let document = bodies.iter().find_map(|all| holdfast_proof::TrustDocument::read(&trust, all).ok());
                named.extend(document.unwrap().names());
            }
            lie.bundle.bodies.extend(other.bundle.bodies.clone());
            lie.bundle.bodies.sort_by_key(|body| body.sha256);
            lie.bundle.bodies.dedup_by_key(|body| body.sha256);
            lie.bundle.bodies.retain(|body| named.contains(&body.sha256));
            let codes = refuted(&lie.told());
            assert!(!codes.contains(&"proof.body_unnamed"), "{codes:?}");
        };
        with(&|ours, theirs| ours.items.clone_from(&theirs.items));
        with(&|ours, theirs| ours.challenge.clone_from(&theirs.challenge));
        if ours.starts_with("admitted") || theirs.starts_with("admitted") {
            with(&|ours, theirs| {
                ours.items.clone_from(&theirs.items);
                ours.challenge.clone_from(&theirs.challenge);
            });
        }
    }
}

#[test]
fn evidence_that_was_verified_at_another_time_than_it_was_judged_is_refuted() {
    let year = 365 * 86_400;
    for change in [
        |manifest: &mut Manifest, by: i64| manifest.offered.as_mut().unwrap().verified_at += by,
        |manifest: &mut Manifest, by: i64| manifest.items[0].verified.as_mut().unwrap().at += by,
    ] {
        for by in [year, -year, 7_200, i64::MAX / 2, -i64::MAX / 2] {
            let mut lie = Lie::about("admitted");
            change(&mut lie.manifest, by);
            assert!(refuted(&lie.told()).contains(&"proof.manifest"));
        }
    }
    let mut lie = Lie::about("admitted");
    lie.manifest.judged_at += year;
    lie.entry["at"] = lie.manifest.judged_at.into();
    assert!(refuted(&lie.told()).contains(&"proof.manifest"));
}

#[test]
fn what_a_manifest_leaves_out_or_puts_in_changes_the_decision() {
    let changes: [fn(&mut Manifest); 9] = [
        |manifest| {
            manifest.ownership.listed.clear();
            manifest.ownership.listed_as_such.clear();
        },
        |manifest| manifest.ownership.approval = ApprovalRecord::Denied,
        |manifest| manifest.items.clear(),
        |manifest| manifest.items.push(manifest.items[0].clone()),
        |manifest| manifest.items[0].verified = None,
        |manifest| "snp".clone_into(&mut manifest.items[0].kind),
        |manifest| manifest.challenge.clear(),
        |manifest| manifest.node_key = NodeKey::PublicKey(Vec::new()),
        |manifest| manifest.observed = manifest.policy.map(|_| Digest([1; 32])),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let mut lie = Lie::about("admitted");
        change(&mut lie.manifest);
        let named = lie.manifest.names();
        let trust = holdfast_proof::TrustDocument::read(&lie.manifest.trusts()[0], &lie.bodies()).unwrap();
        let named: Vec<Digest> = named.into_iter().chain(trust.names()).collect();
        lie.bundle.bodies.retain(|body| named.contains(&body.sha256));
        let codes = refuted(&lie.told());
        assert!(!codes.contains(&"proof.body_unnamed"), "{place}: {codes:?}");
    }
}

#[test]
fn each_byte_of_the_evidence_and_of_the_keys_counts() {
    for name in ["admitted", "renewed"] {
        let whole = Lie::about(name);
        let inline = |pieces: &[Piece]| pieces.iter().position(|piece| matches!(piece, Piece::Inline(_))).unwrap();
        let place = inline(&whole.manifest.items[0].pieces);
        let length = match &whole.manifest.items[0].pieces[place] {
            Piece::Inline(bytes) => bytes.0.len(),
            Piece::Body(_) => 0,
        };
        for at in (0..length).step_by(3) {
            let mut lie = Lie::about(name);
            let Piece::Inline(bytes) = &mut lie.manifest.items[0].pieces[place] else { continue };
            bytes.0[at] ^= 1;
            refuted(&lie.told());
        }
    }
}

#[test]
fn bytes_that_are_no_manifest_are_refused_within_limits() {
    let intact = String::from_utf8(sample("admitted").manifest.unwrap().0).unwrap();
    let document: Value = serde_json::from_str(&intact).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut changed = document.clone();
        change(&mut changed);
        changed.to_string()
    };
    let piece = &document["challenge"][0];
    let twice =
        document.as_object().unwrap().iter().map(|(name, value)| format!("{{\"{name}\":{value},{}", &intact[1..]));
    let hostile = [
        String::new(),
        "[".repeat(MANIFEST_BYTES_MAX),
        " ".repeat(MANIFEST_BYTES_MAX + 1),
        with(&|manifest| manifest["more"] = 1.into()),
        with(&|manifest| manifest["version"] = 2.into()),
        with(&|manifest| manifest["challenge"] = vec![piece.clone(); 65].into()),
        with(&|manifest| manifest["items"] = vec![manifest["items"][0].clone(); 65].into()),
        with(&|manifest| manifest["offered"]["more"] = 1.into()),
        with(&|manifest| manifest["offered"]["makers"] = 1.into()),
    ];
    for text in hostile.into_iter().chain(twice) {
        let mut bundle = sample("admitted");
        let mut entry: Value = serde_json::from_slice(&bundle.entry.0[1..]).unwrap();
        entry["manifest"] = Digest::of(text.as_bytes()).to_string().into();
        bundle.entry.0.truncate(1);
        bundle.entry.0.extend_from_slice(entry.to_string().as_bytes());
        bundle.manifest.as_mut().unwrap().0 = text.into_bytes();
        bundle.bodies.clear();
        signed(&mut bundle, &log_key(LOG, 7));
        assert!(refuted(&bundle).contains(&"proof.manifest"));
    }
}
