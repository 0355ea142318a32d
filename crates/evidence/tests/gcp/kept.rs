//! A path that was verified before stands in for its signatures, and for nothing else.

use std::sync::Arc;

use holdfast_evidence::gcp::{GcpEndorsements, checks};
use holdfast_evidence::x509::{Anchor, PathRefused, Roots, VerifiedPath, verify_path};
use holdfast_evidence::{Evidence as _, EvidenceKind, Purpose, TrustClass};
use holdfast_identity::UnixTime;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd};

use crate::instance::{Instance, challenge, node_key, verify};
use crate::pki::{Ca, NOW};

/// Of every certificate of an attestation key.
const SERIAL: u8 = 0x42;

/// The instance, its roots, and its path, verified.
fn kept() -> (Instance, Roots, Arc<VerifiedPath>) {
    let instance = Instance::good();
    let roots = trusting(&instance, TrustClass::Cloud);
    let path = path(&instance, &roots, &[], NOW).unwrap();
    (instance, roots, path)
}

fn trusting(instance: &Instance, class: TrustClass) -> Roots {
    let mut roots = Roots::new();
    roots.add(Anchor::new(&instance.root.der, class).unwrap());
    roots
}

fn path(
    instance: &Instance,
    roots: &Roots,
    verified: &[Arc<VerifiedPath>],
    now: UnixTime,
) -> Result<Arc<VerifiedPath>, PathRefused> {
    let certificates: Vec<&[u8]> = instance.certificates.iter().map(Vec::as_slice).collect();
    verify_path(&checks::leaf(certificates[0]).unwrap(), &certificates, roots, verified, now)
}

fn revoking(ca: &Ca, serial: u8) -> Vec<u8> {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(vec![serial]),
        revocation_time: date_time_ymd(2025, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(2027, 1, 1),
        crl_number: SerialNumber::from(vec![1]),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&ca.issuer).unwrap().der().to_vec()
}

#[test]
fn the_next_quote_of_an_instance_takes_its_path() {
    let instance = Instance::good();
    let cold = instance.endorsements();
    let answered = |endorsements: &GcpEndorsements| {
        let binding = instance.binding(challenge(Purpose::Enrol), node_key());
        let item = instance.item(binding.digest_of(EvidenceKind::Gcp).unwrap());
        let wants = holdfast_evidence::gcp::GcpEvidence::parse(&item).unwrap().wants();
        let claims = verify(&item, endorsements, &binding, NOW).unwrap().claims().clone();
        assert_eq!(claims.path.id(), &wants.path);
        claims
    };
    let first = answered(&cold);
    let second = answered(&GcpEndorsements { verified: vec![Arc::clone(&first.path)], ..cold });
    assert!(Arc::ptr_eq(&first.path, &second.path), "the kept path was used");
    assert_eq!((first.root, first.not_after), (second.root, second.not_after));
}

#[test]
fn other_certificates_are_another_path() {
    let (instance, roots, kept) = kept();
    let spoiled = instance.with(|instance| *instance.certificates[0].last_mut().unwrap() ^= 1);
    assert_eq!(path(&spoiled, &roots, &[Arc::clone(&kept)], NOW).unwrap_err().code(), "chain.signature");
    let alone = Instance::good().with(|instance| instance.certificates.truncate(1));
    assert_eq!(path(&alone, &roots, &[kept], NOW).unwrap_err().code(), "chain.untrusted");
}

#[test]
fn a_kept_path_ends_with_the_dates_of_its_issuers() {
    let good = Instance::good();
    let short = good.root.issuer("EK/AK CA Intermediate", |params| {
        params.not_before = date_time_ymd(2025, 12, 1);
        params.not_after = date_time_ymd(2026, 2, 1);
    });
    let instance = good.with(|instance| {
        instance.issuer = Arc::new(short);
        instance.certify(|_| {});
    });
    let roots = trusting(&instance, TrustClass::Cloud);
    let kept = path(&instance, &roots, &[], NOW).unwrap();
    assert!(Arc::ptr_eq(&path(&instance, &roots, &[Arc::clone(&kept)], kept.not_after()).unwrap(), &kept));
    let (late, early) = (kept.not_after().plus(1), UnixTime(1_764_547_199));
    for now in [late, early] {
        assert!(!kept.holds(&roots, now));
        assert_eq!(path(&instance, &roots, &[Arc::clone(&kept)], now).unwrap_err().code(), "chain.issuer_expired");
    }
}

#[test]
fn a_kept_path_ends_when_a_list_comes_or_the_root_is_another() {
    let (instance, mut roots, kept) = kept();
    let known = [Arc::clone(&kept)];
    roots.add_crl(&revoking(&instance.issuer, SERIAL)).unwrap();
    assert_eq!(path(&instance, &roots, &known, NOW).unwrap_err().code(), "chain.revoked");
    // one that revokes others
    let mut roots = trusting(&instance, TrustClass::Cloud);
    roots.add_crl(&revoking(&instance.issuer, SERIAL + 1)).unwrap();
    assert!(!Arc::ptr_eq(&path(&instance, &roots, &known, NOW).unwrap(), &kept), "verified anew");
    let simulated = path(&instance, &trusting(&instance, TrustClass::Simulated), &known, NOW).unwrap();
    assert_eq!(simulated.root().class, TrustClass::Simulated);
    assert_eq!(path(&instance, &Roots::new(), &known, NOW).unwrap_err().code(), "chain.untrusted");
    let mut more = trusting(&instance, TrustClass::Cloud);
    more.add_intermediate(&instance.issuer.der).unwrap();
    assert!(!kept.holds(&more, NOW), "another intermediate may be why");
}
