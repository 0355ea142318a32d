//! JWT-SVIDs of one trust domain, validated by workloads of another: as long as both operators will it, and no longer.

use holdfast_tests::{Output, WorkDir, until};

use crate::domain::{Domain, PATIENCE, Workloads, machines};
use crate::stranger::Issuer;

const AUDIENCE: &str = "https://db.here.test";

/// Waits until a fresh token of `theirs` is judged so by `ours`.
fn until_judged(ours: &Workloads, theirs: &Workloads, valid: bool, what: &str) -> Output {
    let mut last = None;
    let judged = until(what, PATIENCE, || {
        let judged = ours.validate(AUDIENCE, &theirs.token(AUDIENCE)?);
        let code = judged.code;
        last = Some(judged.clone());
        (code == i32::from(!valid)).then_some(judged)
    });
    judged.unwrap_or_else(|why| panic!("{why}: {last:?}"))
}

#[test]
fn a_jwt_svid_of_a_federated_domain_counts_for_those_whose_entry_names_it_while_it_is_federated() {
    let web = Issuer::new(&[]);
    let work = WorkDir::new().unwrap();
    let machines = machines(2, &work);
    let (here, other) = (Domain::with_svid("here.test", &web), Domain::with_certificate("other.test", &web));
    here.federate_by_host("other.test", &other.url()).success().unwrap();
    here.until_federation("other.test", "keys for tokens", |found| found["bundle"]["jwt_authorities"] == 1);
    let (ours, theirs) = (here.enrol(&machines, 0), other.enrol(&machines, 1));
    theirs.enter(&other, "client", &[]);
    let entry = ours.enter(&here, "db", &[]);
    until("tokens of both", PATIENCE, || ours.token(AUDIENCE).and(theirs.token(AUDIENCE))).unwrap();

    // The domain is federated, but this entry does not name it: its keys are none of this workload's.
    let refused = until_judged(&ours, &theirs, false, "no entry names the domain");
    assert!(refused.stderr.contains("SVID is not valid"), "{}", refused.stderr);
    ours.enter_again(&here, &entry, "db", &["other.test"]);
    let counts = until_judged(&ours, &theirs, true, "the entry names the domain").json().unwrap();
    assert_eq!(counts["spiffe_id"], "spiffe://other.test/client");
    assert_eq!((&counts["claims"]["sub"], &counts["claims"]["aud"][0]), (&counts["spiffe_id"], &AUDIENCE.into()));

    // Of the same domain, but not for us, and not as it was signed.
    let token = theirs.token(AUDIENCE).unwrap();
    assert_eq!(ours.validate("https://db.elsewhere.test", &token).code, 1);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (first, rest) = signature.split_at(1);
    let spoiled = format!("{signed}.{}{rest}", if first == "A" { "B" } else { "A" });
    assert_eq!(ours.validate(AUDIENCE, &spoiled).code, 1);
    // Whoever federates is not thereby federated with.
    let own = ours.token(AUDIENCE).unwrap();
    assert_eq!((ours.validate(AUDIENCE, &own).code, theirs.validate(AUDIENCE, &own).code), (0, 1));

    // A key that the other domain prepares is known before it signs, and counts when it does.
    other.server.operator(&["authority", "jwt", "prepare"]).unwrap();
    here.until_federation("other.test", "the prepared key", |found| found["bundle"]["jwt_authorities"] == 2);

    let gone = ["federation", "delete", "--trust-domain", "other.test", "--mode", "dissociate"];
    here.server.operator(&gone).unwrap();
    let refused = until_judged(&ours, &theirs, false, "the federation is deleted");
    assert!(refused.stderr.contains("SVID is not valid"), "{}", refused.stderr);
    assert_eq!(theirs.validate(AUDIENCE, &token).code, 0, "its own workloads believe it as before");
}
