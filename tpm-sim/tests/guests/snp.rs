//! SNP guests before the `sev` crate and before our own verifier.

use std::sync::Arc;

use holdfast_appraisal::facts;
use holdfast_evidence::snp::{SnpClaims, SnpEndorsements, SnpEvidence, SnpItem};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{Evidence as _, EvidenceKind, Provenance, TrustClass, Verified};
use holdfast_tpm_sim::guest::amd::{SigningKey, SnpSpec, Tcb};
use holdfast_tpm_sim::guest::{BY_POLICY, GuestKind, GuestSpec};
use sev::certs::snp::{Certificate, Chain, Verifiable as _, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser as _;

use crate::lab;
use crate::policy::{assert_refused, assert_same_node};
use crate::stage::{Question, attack, attacked, now, padded};

/// A guest of that product.
fn guest(product: &str) -> SnpSpec {
    SnpSpec::of(product)
}

/// Every guest that is honest.
fn honest() -> Vec<SnpSpec> {
    let milan = guest("Milan");
    let vlek = SnpSpec { signing_key: SigningKey::Vlek, vmpl: 1, ..milan.clone() };
    let second = SnpSpec { version: 2, ..milan.clone() };
    let in_pem = SnpSpec { pem: true, ..guest("Genoa") };
    // an id that begins as an OCTET STRING would
    let looks_like_der = SnpSpec { chip_id: format!("043e{}", "5a".repeat(62)), ..milan.clone() };
    let id_block = SnpSpec { guest_svn: 5, id_key_digest: "66".repeat(48), ..milan.clone() };
    vec![milan, vlek, second, in_pem, guest("Genoa"), guest("Turin"), looks_like_der, id_block]
}

/// The root, and its list as it is now.
fn endorsements(spec: &SnpSpec) -> SnpEndorsements {
    let amd = lab().amd(&spec.product).unwrap();
    let mut roots = Roots::new();
    roots.add(Anchor::new(amd.root(), TrustClass::Simulated).unwrap());
    let revoked: Vec<SigningKey> = spec.issuer_revoked.then_some(spec.signing_key).into_iter().collect();
    roots.add_crl(&amd.revocation_list(&revoked).unwrap()).unwrap();
    SnpEndorsements { roots: Arc::new(roots), ..SnpEndorsements::default() }
}

/// The code of the refusal, or the claims.
fn verify(spec: &SnpSpec) -> Result<Verified<SnpClaims>, &'static str> {
    let question = Question::of(EvidenceKind::Snp);
    let report_data = padded(&question.binding(&[], None));
    let (report, certificates) = lab().amd(&spec.product).unwrap().attest(spec, &report_data).unwrap();
    let item = SnpItem { report: &report, certificates: &certificates }.encode();
    let evidence = SnpEvidence::parse(&item).map_err(|malformed| malformed.code())?;
    let binding = question.answer(evidence.commitment());
    evidence.verify(&endorsements(spec), &binding, now()).map_err(|refusal| refusal.code())
}

fn facts_of(spec: &SnpSpec) -> facts::Facts {
    facts::snp(&verify(spec).unwrap().claims().report)
}

#[test]
fn the_sev_crate_accepts_every_honest_guest_and_reads_what_it_is() {
    for spec in honest() {
        let amd = lab().amd(&spec.product).unwrap();
        let (report, _) = amd.attest(&spec, &[7; 64]).unwrap();
        let of = if spec.signing_key == SigningKey::Vlek { &spec.csp_id } else { &spec.chip_id };
        let vek = amd.certify(spec.signing_key, of, &spec.reported_tcb, None).unwrap();
        let chain = Chain {
            ca: ca::Chain {
                ark: Certificate::from_der(amd.root()).unwrap(),
                ask: Certificate::from_der(amd.intermediate(spec.signing_key)).unwrap(),
            },
            vek: Certificate::from_der(&vek).unwrap(),
        };
        // it cannot read a report of version 2 that names no chip, nor choose a layout where none is named
        let read = AttestationReport::from_bytes(&report);
        let Ok(read) = read else {
            assert_eq!(spec.signing_key, SigningKey::Vlek, "{read:?}");
            continue;
        };
        (&chain, &read).verify().unwrap();
        assert_eq!(hex::encode(read.measurement), spec.measurement);
        assert_eq!(hex::encode(read.report_id), spec.report_id);
        assert_eq!(read.report_data[..], [7; 64]);
        assert_eq!((read.version, read.vmpl, read.guest_svn), (spec.version, spec.vmpl, spec.guest_svn));
        let Tcb { bootloader, tee, snp, microcode, .. } = spec.reported_tcb;
        let theirs = read.reported_tcb;
        assert_eq!((theirs.bootloader, theirs.tee, theirs.snp, theirs.microcode), (bootloader, tee, snp, microcode));
    }
}

#[test]
fn our_verifier_accepts_every_honest_guest_as_a_simulated_one() {
    for spec in honest() {
        let verified = verify(&spec).unwrap_or_else(|code| panic!("{code}: {spec:?}"));
        let report = verified.claims().report.report();
        assert_eq!(hex::encode(report.measurement()), spec.measurement);
        assert_eq!(hex::encode(report.report_id()), spec.report_id);
        assert_eq!(verified.claims().root.class, TrustClass::Simulated);
        assert_eq!(verified.claims().report.provenance(), Provenance::Simulated);
    }
}

#[test]
fn two_guests_of_one_image_on_one_chip_differ_in_nothing_but_their_launch() {
    let first = GuestSpec::new(GuestKind::Snp);
    let mut second = GuestSpec::new(GuestKind::Snp);
    second.move_to(&first);
    let (GuestSpec::Snp(first), GuestSpec::Snp(second)) = (first, second) else { panic!("no SNP guests") };
    assert_ne!(first.report_id, second.report_id);
    assert_eq!(SnpSpec { report_id: String::new(), ..*first }, SnpSpec { report_id: String::new(), ..*second });
}

#[test]
fn nobody_trusts_the_simulator_who_was_not_told_to() {
    let spec = guest("Milan");
    let (report, table) = lab().amd("Milan").unwrap().attest(&spec, &[7; 64]).unwrap();
    let certificates = holdfast_evidence::snp::CertificateTable::parse(&table).unwrap().certificates().unwrap();
    let nobody = SnpEndorsements::default();
    let refused = holdfast_evidence::snp::verify_report(&report, &certificates, &nobody, now()).unwrap_err();
    assert_eq!(refused.code(), "snp.chain.untrusted");
}

#[test]
fn a_revoked_issuer_is_on_the_roots_list() {
    let spec = guest("Milan");
    let amd = lab().amd("Milan").unwrap();
    let (report, _) = amd.attest(&spec, &[7; 64]).unwrap();
    let vek = amd.certify(SigningKey::Vcek, &spec.chip_id, &spec.reported_tcb, None).unwrap();
    let judge = |revoked: &[SigningKey]| {
        let mut roots = Roots::new();
        roots.add(Anchor::new(amd.root(), TrustClass::Simulated).unwrap());
        roots.add_crl(&amd.revocation_list(revoked).unwrap()).unwrap();
        let endorsements = SnpEndorsements { roots: Arc::new(roots), ..SnpEndorsements::default() };
        let offered = [vek.clone(), amd.intermediate(SigningKey::Vcek).to_vec()];
        holdfast_evidence::snp::verify_report(&report, &offered, &endorsements, now()).map(drop).map_err(|r| r.code())
    };
    assert_eq!(judge(&[]), Ok(()));
    assert_eq!(judge(&[SigningKey::Vlek]), Ok(()));
    assert_eq!(judge(&[SigningKey::Vcek]), Err("snp.chain.revoked"));
}

/// What an operator of Genoa machines demands.
fn demands(spec: &SnpSpec) -> String {
    format!(
        "snp.measurement = \"{}\"\nsnp.vmpl = 0\nsnp.platform.alias_check_complete = true\n\
         snp.policy.ciphertext_hiding = true\nsnp.platform.ciphertext_hiding = true\n\
         snp.tcb.reported.snp = {{ at_least = 23 }}\nsnp.tcb.reported.microcode = {{ at_least = 84 }}\n\
         snp.tcb.committed.snp = {{ at_least = 23 }}\n\
         snp.mitigations.launch = {{ all_bits = 0x0b }}\nsnp.mitigations.current = {{ all_bits = 0x0b }}",
        spec.measurement
    )
}

fn refuse(name: &str) {
    let attack = attack(GuestKind::Snp, name);
    let honest = guest("Genoa");
    let GuestSpec::Snp(spec) = attacked(GuestSpec::Snp(Box::new(honest.clone())), attack) else {
        panic!("no SNP guest")
    };
    match attack.refused_as {
        Some(BY_POLICY) => {
            assert_refused("snp", "snp.report_id", &demands(&honest), &facts_of(&honest), &facts_of(&spec));
        }
        Some(code) => assert_eq!(verify(&spec).map(drop), Err(code)),
        None => assert_same_node("snp", "snp.report_id", &demands(&honest), &facts_of(&honest), &facts_of(&spec)),
    }
}

/// The provider's key has an issuer of its own, and Turin an id and a TCB of another form.
#[test]
fn what_is_wrong_with_certificates_is_refused_of_every_key_and_product() {
    let vlek = SnpSpec { signing_key: SigningKey::Vlek, vmpl: 1, ..guest("Milan") };
    let certificates = ["own-root", "expired-certificate", "expired-issuer", "revoked-issuer"];
    let chip = ["other-chip-certificate", "chip-id-like-der", "other-tcb-certificate"];
    for (honest, names) in [(vlek, certificates.to_vec()), (guest("Turin"), [&certificates[..], &chip].concat())] {
        for name in names {
            let attack = attack(GuestKind::Snp, name);
            let GuestSpec::Snp(spec) = attacked(GuestSpec::Snp(Box::new(honest.clone())), attack) else {
                panic!("no SNP guest")
            };
            assert_eq!(verify(&spec).map(drop).err(), attack.refused_as, "{name} {:?}", honest.signing_key);
        }
    }
    let other_fmc = Tcb { fmc: 2, ..guest("Turin").reported_tcb };
    let spec = SnpSpec { certified_tcb: Some(other_fmc), ..guest("Turin") };
    assert_eq!(verify(&spec).map(drop), Err("snp.tcb.certificate_mismatch"));
}

crate::refused! { GuestKind::Snp, refuse;
    debug migration_agent guest_policy_bits asked_by_the_host masked_chip_key masked_chip_id other_signing_key wrong_key_kind
    other_chip other_chip_certificate chip_id_like_der chip_key_as_providers other_tcb_certificate other_product unknown_product own_root expired_certificate
    expired_issuer revoked_issuer foreign_chip forged_versions old_tcb cachewarp entrysign rolled_back no_alias_check no_ciphertext_hiding no_mitigations tampered_image
    unpinned_svn less_privileged replayed_report relayed_report longer_report_data shorter_report_data unsigned_report
    re_encoded_report tampered_report longer_signature
    reserved_bytes wrong_algorithm unknown_version garbled_table
}
