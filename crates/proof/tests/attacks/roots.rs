//! Roots: which of them certificates in the proof lead to, and which are the server's word alone.

use std::collections::BTreeSet;

use holdfast_proof::{Conclusion, Digest, Reader, Report, RootGround, State, check};

use crate::sample::{LOG, checked, log_key, nothing_holds_behind_a_failure, sample};

fn with(name: &str, roots: &BTreeSet<Digest>) -> Report {
    let report = check(&sample(name), &Reader { log: log_key(LOG, 7).verifier(), roots: Some(roots) });
    nothing_holds_behind_a_failure(&report);
    report
}

fn states(report: &Report) -> Vec<State> {
    report.steps.iter().filter(|step| step.what == "roots").map(|step| step.state).collect()
}

#[test]
fn a_root_that_certificates_lead_to_holds_and_one_that_the_server_names_does_not() {
    for (name, ground, state) in [
        ("admitted", RootGround::Certificates, State::Holds),
        // Its endorsement certificates are in the proof of its enrolment.
        ("renewed", RootGround::Server, State::Vouched),
    ] {
        let vendor = checked(&sample(name)).roots[0].root.sha256;
        let report = with(name, &BTreeSet::from([vendor]));
        assert_eq!(report.conclusion, Conclusion::Proven);
        assert_eq!(report.roots.iter().map(|seen| seen.ground).collect::<Vec<_>>(), [ground], "{name}");
        assert_eq!(states(&report), [state], "{name}: {report:#?}");
    }
}

#[test]
fn behind_a_root_that_is_not_the_readers_nothing_is_verified() {
    for name in ["admitted", "renewed", "refused-policy"] {
        let report = with(name, &BTreeSet::from([Digest([7; 32])]));
        assert_eq!((report.conclusion, report.failures()), (Conclusion::Refuted, vec!["proof.root_unknown"]));
        for what in ["evidence", "appraisal", "verdict"] {
            let found = report.steps.iter().find(|step| step.what == what).unwrap();
            assert_eq!(found.state, State::Unverified, "{name}: {what}");
        }
    }
}

#[test]
fn without_the_readers_roots_their_worth_is_the_servers_word() {
    for name in ["admitted", "renewed"] {
        let report = checked(&sample(name));
        assert!(states(&report).iter().all(|state| *state == State::Vouched), "{report:#?}");
    }
}
