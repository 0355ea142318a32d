//! Proofs with parts of other proofs, by somebody who has no key of the log.

use std::collections::BTreeSet;

use holdfast_proof::{Conclusion, Digest, ProofBundle, Reader, Report, State, check};

use crate::sample::{LOG, checked, log_key, refuted, sample, signed};

#[test]
fn the_samples_hold() {
    for (name, verdict, code) in [
        ("admitted", "admitted", ""),
        ("renewed", "admitted", ""),
        ("refused-evidence", "refused", "tpm.quote.signature"),
        ("refused-policy", "refused", "policy.no_rule_matched"),
    ] {
        let report = checked(&sample(name));
        assert_eq!(report.conclusion, Conclusion::Proven, "{report:#?}");
        assert_eq!((report.verdict.as_str(), report.code.as_str()), (verdict, code));
    }
}

#[test]
fn another_key_than_the_logs_believes_nothing() {
    let bundle = sample("admitted");
    for (name, seed, code) in
        [(LOG, 8, "record.checkpoint.signature"), ("example.org/other", 7, "record.checkpoint.origin")]
    {
        let report = check(&bundle, &Reader { log: log_key(name, seed).verifier(), roots: None });
        assert_eq!(report.failures(), [code]);
        assert_eq!(report.conclusion, Conclusion::Refuted);
        nothing_is_told(&report);
    }
    let mut forged = bundle;
    signed(&mut forged, &log_key(LOG, 8));
    assert_eq!(refuted(&forged), ["record.checkpoint.signature"]);
}

/// Of a file of which nothing is the log's nothing is repeated.
fn nothing_is_told(report: &Report) {
    let behind: Vec<State> = report.steps.iter().map(|step| step.state).collect();
    assert!(behind.len() > 8, "each part is listed: {report:#?}");
    assert!(behind.ends_with(&[State::Unverified; 7]), "{report:#?}");
    let Report { attempt, way, spiffe_id, verdict, code, policy, roots, explanation, .. } = report;
    assert_eq!([attempt, way, verdict, code, explanation], [""; 5]);
    assert_eq!((spiffe_id, policy, roots.len()), (&None, &None, 0));
}

#[test]
fn an_entry_that_is_not_in_the_log_is_told_of_nowhere() {
    let mut bundle = sample("admitted");
    bundle.entry = sample("renewed").entry;
    nothing_is_told(&checked(&bundle));
    let mut bundle = sample("admitted");
    bundle.inclusion.size += 1;
    nothing_is_told(&checked(&bundle));
}

#[test]
fn a_checkpoint_of_another_size_does_not_prove_the_entry() {
    // Each sample was made later than the one before, of the same log.
    let (old, new) = (sample("admitted"), sample("refused-policy"));
    assert!(old.checkpoint.claimed().size < new.checkpoint.claimed().size);
    let mut early = new.clone();
    early.checkpoint = old.checkpoint.clone();
    assert_eq!(refuted(&early), ["proof.inclusion"]);
    early.inclusion.size = old.inclusion.size;
    assert!(refuted(&early)[0].starts_with("record.proof."));
    early.inclusion = old.inclusion.clone();
    assert!(refuted(&early)[0].starts_with("record.proof."));
    // An old entry under a new checkpoint needs a path of that tree.
    let late = ProofBundle { checkpoint: new.checkpoint, ..old };
    assert_eq!(refuted(&late), ["proof.inclusion"]);
}

#[test]
fn a_proof_of_another_attempt_than_it_says_is_none() {
    let (ours, theirs) = (sample("refused-policy"), sample("admitted"));
    // The refused one's place in the log, with everything of the one that was admitted.
    let entry = ProofBundle { entry: ours.entry.clone(), ..theirs.clone() };
    assert!(refuted(&entry)[0].starts_with("record.proof."));
    let placed = ProofBundle {
        entry: ours.entry.clone(),
        inclusion: ours.inclusion.clone(),
        checkpoint: ours.checkpoint.clone(),
        ..theirs.clone()
    };
    let codes = refuted(&placed);
    assert!(codes.contains(&"proof.manifest_digest") && codes.contains(&"proof.decision_digest"), "{codes:?}");
}

#[test]
fn parts_of_one_proof_do_not_fit_another() {
    let names = ["admitted", "renewed", "refused-evidence", "refused-policy"];
    for (ours, theirs) in names.iter().flat_map(|one| names.iter().map(move |other| (one, other))) {
        if ours == theirs {
            continue;
        }
        let (ours, theirs) = (sample(ours), sample(theirs));
        refuted(&ProofBundle { manifest: theirs.manifest.clone(), ..ours.clone() });
        // The same machine may be decided about in the same words, and brings the same bodies.
        if ours.decision != theirs.decision {
            refuted(&ProofBundle { decision: theirs.decision.clone(), ..ours.clone() });
        }
        if ours.bodies != theirs.bodies {
            // A part of what is named is what retention could have left.
            let bodies = checked(&ProofBundle { bodies: theirs.bodies.clone(), ..ours.clone() });
            assert_ne!(bodies.conclusion, Conclusion::Proven);
        }
        refuted(&ProofBundle { manifest: theirs.manifest.clone(), bodies: theirs.bodies.clone(), ..ours.clone() });
        if ours.policies != theirs.policies {
            refuted(&ProofBundle { policies: theirs.policies.clone(), ..ours.clone() });
        }
    }
}

#[test]
fn what_is_left_out_makes_a_proof_incomplete_and_a_policy_cannot_be_left_out() {
    let whole = sample("admitted");
    let incomplete = |bundle: &ProofBundle| {
        let report = checked(bundle);
        assert_eq!(report.conclusion, Conclusion::Incomplete, "{report:#?}");
        assert!(report.steps.iter().any(|step| step.state == State::Gone));
    };
    for place in 0..whole.bodies.len() {
        let mut bundle = whole.clone();
        let gone = bundle.bodies.remove(place);
        if gone.content.0.starts_with(b"{\"roots\"") {
            // What it named is named by nothing now; a server leaves it out with it.
            assert_eq!(refuted(&bundle), ["proof.body_unnamed"]);
        } else {
            incomplete(&bundle);
        }
    }
    incomplete(&ProofBundle { decision: None, ..whole.clone() });
    incomplete(&ProofBundle { manifest: None, bodies: Vec::new(), ..whole.clone() });
    assert_eq!(refuted(&ProofBundle { policies: Vec::new(), ..whole.clone() })[0], "proof.policy");
    assert_eq!(refuted(&ProofBundle { manifest: None, ..whole }), ["proof.body_unnamed"]);
}

#[test]
fn a_root_that_the_reader_does_not_trust_is_named() {
    let bundle = sample("admitted");
    let key = log_key(LOG, 7);
    let with = |roots: BTreeSet<Digest>| check(&bundle, &Reader { log: key.verifier(), roots: Some(&roots) });
    assert_eq!(with(BTreeSet::new()).failures(), ["proof.root_unknown"]);
    let vendor = checked(&bundle).roots[0].root.sha256;
    assert_eq!(with(BTreeSet::from([vendor])).conclusion, Conclusion::Proven);
}
