//! The chain from a VEK to a trusted ARK: signatures, names, rights, dates, revocation, and chains that are kept.

use std::sync::Arc;

use holdfast_evidence::snp::{Product, SnpEndorsements, VekKind, verify_chain, verify_report};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{Provenance, TrustClass};
use holdfast_identity::UnixTime;

use crate::guest::{Guest, NOW, check};
use crate::pki::{Certificate, ReportKey, Rsa, SHA256, SHA384, dated_list, pss, revocation_list};

#[test]
fn no_root_or_another_root_trusts_nothing() {
    let guest = Guest::milan();
    let verify = |endorsements: &SnpEndorsements| {
        verify_report(&guest.report_bytes(), &guest.certificates(), endorsements, NOW).map_err(|refusal| refusal.code())
    };
    assert_eq!(verify(&SnpEndorsements::default()).unwrap_err(), "snp.chain.untrusted");
    // of the same name, and another key
    let mut stranger = guest.clone();
    stranger.ark.spki = Rsa::ask().spki();
    assert_eq!(verify(&stranger.endorsements()).unwrap_err(), "snp.chain.signature");
    // of the same key, and another product
    let genoa = Guest::new(Product::Genoa, VekKind::Vcek);
    assert_eq!(verify(&genoa.endorsements()).unwrap_err(), "snp.chain.untrusted");
    assert!(verify(&guest.endorsements()).is_ok());
}

#[test]
fn a_root_that_comes_along_is_not_trusted() {
    let guest = Guest::milan();
    let mut offered = guest.certificates();
    offered.push(guest.ark.sign(Rsa::ark()));
    let refused = verify_report(&guest.report_bytes(), &offered, &SnpEndorsements::default(), NOW).unwrap_err();
    assert_eq!(refused.code(), "snp.chain.untrusted");
}

#[test]
fn an_intermediate_is_not_a_root_even_if_it_is_trusted() {
    let guest = Guest::milan();
    let mut roots = Roots::new();
    roots.add(Anchor::new(&guest.ask.sign(Rsa::ark()), TrustClass::Firmware).unwrap());
    let endorsements = SnpEndorsements { roots: Arc::new(roots), ..SnpEndorsements::default() };
    let refused = verify_report(&guest.report_bytes(), &guest.certificates(), &endorsements, NOW).unwrap_err();
    assert_eq!(refused.code(), "snp.chain.untrusted");
}

#[test]
fn a_certificate_signed_by_another_key_is_refused() {
    let guest = Guest::milan();
    let verify = |vek: Vec<u8>, ask: Vec<u8>| {
        let refused = verify_report(&guest.report_bytes(), &[vek, ask], &guest.endorsements(), NOW);
        refused.map(|_| ()).map_err(|refusal| (refusal.code(), refusal.to_string()))
    };
    let (code, detail) = verify(guest.vek.sign(Rsa::ark()), guest.ask.sign(Rsa::ark())).unwrap_err();
    assert_eq!((code, detail.contains("certificate 0")), ("snp.chain.signature", true), "{detail}");
    let (code, detail) = verify(guest.vek.sign(Rsa::ask()), guest.ask.sign(Rsa::ask())).unwrap_err();
    assert_eq!((code, detail.contains("certificate 1")), ("snp.chain.signature", true), "{detail}");
}

#[test]
fn another_signature_algorithm_in_the_chain_is_refused() {
    let (sha256, short_salt) = (pss(SHA256, 48, true), pss(SHA384, 32, true));
    for algorithm in [sha256, short_salt] {
        check(Guest::milan(), |guest| guest.vek.algorithm = algorithm.clone(), "snp.chain.algorithm");
        check(Guest::milan(), |guest| guest.ask.algorithm = algorithm.clone(), "snp.chain.algorithm");
    }
    // one outside, another inside
    check(Guest::milan(), |guest| guest.vek.outer_algorithm = Some(pss(SHA384, 48, false)), "snp.chain.algorithm");
    // with and without the trailer field are both AMD's
    assert_eq!(Guest::milan().with(|guest| guest.vek.algorithm = pss(SHA384, 48, false)).code(), "accepted");
}

#[test]
fn a_salt_of_another_length_than_the_certificate_says_is_refused() {
    for salt in [0, 32, 2048 / 8 - 48 - 2] {
        check(Guest::milan(), |guest| guest.vek.salt = salt, "snp.chain.signature");
        check(Guest::milan(), |guest| guest.ask.salt = salt, "snp.chain.signature");
    }
}

#[test]
fn the_intermediate_must_be_a_ca_of_the_right_name() {
    let drop = |oid: &'static str| move |guest: &mut Guest| guest.ask.extensions.retain(|one| one.oid != oid);
    check(Guest::milan(), drop("2.5.29.19"), "snp.chain.not_ca");
    check(Guest::milan(), |guest| guest.ask.extension("2.5.29.19").value = vec![0x30, 0], "snp.chain.not_ca");
    check(Guest::milan(), |guest| guest.ask.extension("2.5.29.15").value = vec![3, 2, 7, 0x80], "snp.chain.not_ca");
    check(Guest::milan(), |guest| guest.ask.subject = "SEV-VLEK-Milan".to_owned(), "snp.chain.issuer_missing");
    check(Guest::milan(), |guest| guest.ask.issuer = "ARK-Genoa".to_owned(), "snp.chain.untrusted");
}

#[test]
fn a_root_of_another_name_is_none_for_the_product() {
    // every link fits, and the root is called after another product
    let spoil = |guest: &mut Guest| {
        guest.ark.subject = "ARK-Genoa".to_owned();
        guest.ask.issuer = "ARK-Genoa".to_owned();
    };
    check(Guest::milan(), spoil, "snp.chain.untrusted");
}

#[test]
fn dates_of_every_certificate_count_at_the_moment_of_the_verification() {
    let picks: [fn(&mut Guest) -> &mut Certificate; 3] =
        [|guest| &mut guest.vek, |guest| &mut guest.ask, |guest| &mut guest.ark];
    for pick in picks {
        check(Guest::milan(), |guest| pick(guest).not_after = "251231235959Z", "snp.chain.expired");
        check(Guest::milan(), |guest| pick(guest).not_before = "260101000001Z", "snp.chain.expired");
        let edge = Guest::milan().with(|guest| {
            pick(guest).not_before = "260101000000Z";
            pick(guest).not_after = "260101000000Z";
        });
        assert_eq!(edge.code(), "accepted");
        assert_eq!(edge.verify().unwrap().not_after(), NOW);
    }
    check(Guest::milan(), |guest| guest.now = UnixTime(0), "snp.chain.expired");
    check(Guest::milan(), |guest| guest.now = UnixTime(i64::MAX), "snp.chain.expired");
}

#[test]
fn a_missing_intermediate_or_vek_is_to_be_fetched() {
    let guest = Guest::milan();
    let verify = |offered: &[Vec<u8>]| verify_report(&guest.report_bytes(), offered, &guest.endorsements(), NOW);
    let [vek, ask] = guest.certificates().try_into().unwrap();
    let missing = verify(&[]).unwrap_err();
    assert_eq!((missing.code(), missing.wants_endorsements()), ("snp.vek.missing", true));
    let missing = verify(std::slice::from_ref(&ask)).unwrap_err();
    assert_eq!((missing.code(), missing.wants_endorsements()), ("snp.vek.missing", true));
    let missing = verify(std::slice::from_ref(&vek)).unwrap_err();
    assert_eq!((missing.code(), missing.wants_endorsements()), ("snp.chain.issuer_missing", true));
    // the other way round, and from either side
    assert!(verify(&[ask.clone(), vek.clone()]).is_ok());
    let fetched = SnpEndorsements { certificates: vec![ask.clone()], ..guest.endorsements() };
    assert!(verify_report(&guest.report_bytes(), &[vek], &fetched, NOW).is_ok());
    let mut roots = Roots::new();
    roots.add(Anchor::new(&guest.ark.sign(Rsa::ark()), TrustClass::Firmware).unwrap());
    roots.add_intermediate(&ask).unwrap();
    let known = SnpEndorsements { roots: Arc::new(roots), ..SnpEndorsements::default() };
    assert!(verify_report(&guest.report_bytes(), &guest.certificates()[..1], &known, NOW).is_ok());
}

#[test]
fn a_stale_or_foreign_certificate_beside_the_good_one_does_no_harm() {
    let guest = Guest::milan();
    let [vek, ask] = guest.certificates().try_into().unwrap();
    let stale = Guest::milan().with(|guest| guest.vek.extension("1.3.6.1.4.1.3704.1.3.8").value = vec![2, 1, 9]);
    let forged = guest.vek.sign(Rsa::ark());
    let other_key = Guest::milan().with(|guest| guest.vek.spki = ReportKey::generate().spki());
    let false_ask = Certificate { spki: Rsa::ark().spki(), ..guest.ask.clone() }.sign(Rsa::ask());
    let offered =
        [vec![0x30, 0x82], false_ask, stale.vek.sign(Rsa::ask()), other_key.vek.sign(Rsa::ask()), forged, vek, ask];
    assert!(verify_report(&guest.report_bytes(), &offered, &guest.endorsements(), NOW).is_ok());
    let last = verify_report(&guest.report_bytes(), &offered[..5], &guest.endorsements(), NOW).unwrap_err();
    assert_eq!(last.code(), "snp.chain.signature");
}

#[test]
fn forged_certificates_of_the_right_words_cost_a_bounded_number_of_checks() {
    let guest = Guest::milan();
    let mut offered: Vec<_> = (0..30).map(|_| guest.vek.sign(Rsa::ark())).collect();
    offered.extend(guest.certificates());
    let refused = verify_report(&guest.report_bytes(), &offered, &guest.endorsements(), NOW).unwrap_err();
    assert_eq!(refused.code(), "snp.chain.signature", "the good one stands beyond the limit");
}

#[test]
fn a_revoked_intermediate_is_refused() {
    let list = |issuer: &str, serials: &[&[u8]]| revocation_list(issuer, serials, Rsa::ark());
    let clear = [list("ARK-Milan", &[]), list("ARK-Milan", &[&[1, 0, 2]]), list("ARK-Genoa", &[&[1, 0, 1]])];
    for good in clear {
        assert_eq!(Guest::milan().with(|guest| guest.lists.push(good)).code(), "accepted");
    }
    let revoked = list("ARK-Milan", &[&[9], &[1, 0, 1]]);
    check(Guest::milan(), |guest| guest.lists = vec![list("ARK-Milan", &[]), revoked], "snp.chain.revoked");
    let padded = list("ARK-Milan", &[&[0, 1, 0, 1]]);
    check(Guest::milan(), |guest| guest.lists.push(padded), "snp.chain.revoked");
}

/// A list out of its dates says no more that nothing is revoked; what it revokes stays revoked.
#[test]
fn a_list_counts_as_looked_at_within_its_dates_alone() {
    let list = |dates| move |serials: &[&[u8]]| dated_list("ARK-Milan", serials, Rsa::ark(), dates);
    let until = |end| list(("251222120000Z", end));
    let age = |lists: Vec<Vec<u8>>| {
        let verified = Guest::milan().with(|guest| guest.lists = lists).verify().unwrap();
        (verified.crl_age_days(), verified.verified_vek().crl_age_days(NOW))
    };
    let current = until(Some("260201000000Z"))(&[]);
    assert_eq!(age(vec![current.clone()]), (Some(9), Some(9)));
    assert_eq!(age(vec![until(Some("260101000000Z"))(&[])]), (Some(9), Some(9)), "to its last second");
    let older = list(("251101000000Z", Some("270101000000Z")))(&[]);
    assert_eq!(age(vec![current.clone(), older.clone()]), (Some(9), Some(9)), "the newest");
    assert_eq!(age(vec![older, current]), (Some(9), Some(9)));
    assert_eq!(age(vec![revocation_list("ARK-Genoa", &[], Rsa::ark())]), (None, None), "another root's");
    assert_eq!(age(Vec::new()), (None, None));
    for dates in
        [("251222120000Z", Some("251231235959Z")), ("260101000001Z", Some("270101000000Z")), ("250101000000Z", None)]
    {
        assert_eq!(age(vec![list(dates)(&[])]), (None, None), "{dates:?}");
        check(Guest::milan(), |guest| guest.lists.push(list(dates)(&[&[1, 0, 1]])), "snp.chain.revoked");
    }
    // and a chain that is kept gets older with its list
    let kept = Guest::milan().with(|guest| guest.lists.push(until(Some("260201000000Z"))(&[])));
    let kept = kept.verify().unwrap();
    let later = |days: i64| kept.verified_vek().crl_age_days(UnixTime(NOW.seconds() + days * 86_400));
    assert_eq!((later(1), later(31), later(32)), (Some(10), Some(40), None));
}

#[test]
fn a_key_whose_time_is_over_needs_no_issuer_to_be_refused() {
    for (dates, code) in [("251231235959Z", "snp.chain.expired"), ("260101000000Z", "snp.chain.issuer_missing")] {
        let guest = Guest::milan().with(|guest| guest.vek.not_after = dates);
        let nobody: [&[u8]; 0] = [];
        let refused = verify_chain(&guest.vek.sign(Rsa::ask()), &nobody, &Roots::new(), NOW).unwrap_err();
        assert_eq!(refused.code(), code);
    }
}

#[test]
fn a_revocation_list_that_the_root_did_not_sign_is_refused() {
    let forged = revocation_list("ARK-Milan", &[], Rsa::ask());
    check(Guest::milan(), |guest| guest.lists.push(forged), "snp.chain.crl_signature");
    let mut changed = revocation_list("ARK-Milan", &[&[1, 0, 1]], Rsa::ark());
    let at = changed.windows(5).position(|window| window == [2, 3, 1, 0, 1]).unwrap();
    changed[at + 4] = 2;
    check(Guest::milan(), |guest| guest.lists.push(changed), "snp.chain.crl_signature");
}

#[test]
fn a_kept_chain_counts_for_its_key_alone_and_only_while_nothing_changed() {
    let guest = Guest::milan();
    let endorsements = guest.endorsements();
    let verified = guest.verify().unwrap();
    let kept = SnpEndorsements { verified: vec![Arc::clone(verified.verified_vek())], ..endorsements.clone() };
    let again = |endorsements: &SnpEndorsements, now| {
        // without certificates: the kept chain is all there is
        verify_report(&guest.report_bytes(), &[], endorsements, now).map_err(|refusal| refusal.code())
    };
    assert_eq!(again(&kept, NOW).unwrap().verified_vek(), verified.verified_vek());
    // its dates
    assert_eq!(again(&kept, UnixTime(1_893_456_000)).map(|_| ()), Ok(()));
    assert_eq!(again(&kept, UnixTime(1_893_456_001)).unwrap_err(), "snp.vek.missing");
    assert_eq!(again(&kept, UnixTime(0)).unwrap_err(), "snp.vek.missing");
    // its root is not trusted any more, or of another class
    let unrooted = SnpEndorsements { roots: Arc::default(), ..kept.clone() };
    assert_eq!(again(&unrooted, NOW).unwrap_err(), "snp.vek.missing");
    let demoted = Guest::milan().with(|guest| guest.class = TrustClass::Simulated);
    let demoted = SnpEndorsements { roots: demoted.endorsements().roots, ..kept.clone() };
    assert_eq!(again(&demoted, NOW).unwrap_err(), "snp.vek.missing");
    // a list has come
    let listed = guest.clone().with(|guest| guest.lists.push(revocation_list("ARK-Milan", &[&[1, 0, 1]], Rsa::ark())));
    let revoked = SnpEndorsements { roots: listed.endorsements().roots, ..kept.clone() };
    assert_eq!(again(&revoked, NOW).unwrap_err(), "snp.vek.missing");
    // another report
    let other_tcb = Guest::milan().with(|guest| guest.put(0x180, &[5]));
    let refused = verify_report(&other_tcb.report_bytes(), &[], &kept, NOW).unwrap_err();
    assert_eq!(refused.code(), "snp.vek.missing");
    let unsigned = Guest::milan().with(|guest| guest.signed = false);
    assert!(verify_report(&unsigned.report_bytes(), &[], &kept, NOW).is_err());
}

#[test]
fn a_kept_chain_of_another_key_gives_way_to_the_certificate_that_came() {
    // two providers' VLEKs of one TCB differ in nothing but their key and name
    let vlek = Guest::new(Product::Milan, VekKind::Vlek);
    let other = vlek.clone().with(|guest| guest.vek.spki = ReportKey::generate().spki());
    let kept = verify_chain(&other.vek.sign(Rsa::ask()), &other.certificates(), &other.endorsements().roots, NOW);
    let mut endorsements = vlek.endorsements();
    let kept = SnpEndorsements { verified: vec![Arc::new(kept.unwrap())], ..endorsements.clone() };
    endorsements.verified = kept.verified.clone();
    assert!(verify_report(&vlek.report_bytes(), &vlek.certificates(), &endorsements, NOW).is_ok());
}

#[test]
fn the_class_belongs_to_the_root() {
    for (class, provenance) in [
        (TrustClass::Firmware, Provenance::Hardware),
        (TrustClass::Cloud, Provenance::Hardware),
        (TrustClass::Simulated, Provenance::Simulated),
    ] {
        let verified = Guest::milan().with(|guest| guest.class = class).verify().unwrap();
        assert_eq!((verified.root().class, verified.provenance()), (class, provenance));
        assert_eq!(verified.root().name, "ARK-Milan");
    }
}

#[test]
fn a_list_is_its_anchors_own_or_nobodys() {
    let guest = Guest::milan();
    let roots = guest.endorsements().roots;
    let list = |issuer: &str, by: &Rsa| revocation_list(issuer, &[&[1, 0, 1]], by);
    assert!(roots.signed_crl(&list("ARK-Milan", Rsa::ark())));
    assert!(!roots.signed_crl(&list("ARK-Milan", Rsa::ask())));
    assert!(!roots.signed_crl(&list("ARK-Genoa", Rsa::ark())));
    assert!(!roots.signed_crl(b"list"));
}
