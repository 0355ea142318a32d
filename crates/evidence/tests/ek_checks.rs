//! Each check of an EK certificate, flipped alone, on certificates made here.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

mod pki;

use holdfast_evidence::TrustClass;
use holdfast_evidence::crypto::PublicKey;
use holdfast_evidence::tpm::endorsement::{
    Anchor, BadEndorsement, ExpiredIssuers, Roots, Sha1Signatures, SoftwareTpms, UnverifiedEk, verify_chain,
    verify_ek_certificate,
};
use holdfast_identity::UnixTime;
use pki::{Ca, Ek, NOW, code, ek_purpose, extension, tpm_attributes, trusting};
use rcgen::{
    BasicConstraints, CertificateRevocationListParams, IsCa, KeyIdMethod, KeyUsagePurpose, PublicKeyData,
    RevokedCertParams, SerialNumber, date_time_ymd,
};

fn tree() -> (Ca, Ca, Ek) {
    let root = Ca::root("root");
    let issuer = root.issuer("issuer", |_| {});
    let ek = issuer.ek(|_| {});
    (root, issuer, ek)
}

#[test]
fn a_good_certificate_yields_key_attributes_root_and_class() {
    let (root, issuer, ek) = tree();
    let verified = ek.check(&[&issuer], &trusting(&root)).unwrap();
    assert_eq!(verified.public_key, ek.public);
    assert_eq!(verified.der, ek.der);
    assert_eq!(verified.manufacturer.as_deref(), Some("id:48460000"));
    assert_eq!(verified.model.as_deref(), Some("Falcon 9"));
    assert_eq!(verified.version.as_deref(), Some("id:00010002"));
    assert_eq!((verified.root.name.as_str(), verified.root.class), ("root", TrustClass::Discrete));
    assert_eq!(verified.intermediates.len(), 1);
}

#[test]
fn a_certificate_for_another_key_is_refused() {
    let (root, issuer, mut ek) = tree();
    ek.public = issuer.ek(|_| {}).public;
    assert_eq!(code(ek.check(&[&issuer], &trusting(&root))), "tpm.ek.public_mismatch");
}

#[test]
fn padding_of_zeros_or_ones_is_cut_and_anything_else_refused() {
    let (root, issuer, ek) = tree();
    for (tail, expected) in [
        (vec![0; 431], "accepted"),
        (vec![0xff; 192], "accepted"),
        (vec![0, 0, 1], "tpm.ek.trailing"),
        (vec![0, 0xff], "tpm.ek.trailing"),
        (vec![0; 9000], "tpm.ek.too_large"),
    ] {
        let padded = Ek { der: [ek.der.clone(), tail].concat(), public: ek.public.clone() };
        assert_eq!(code(padded.check(&[&issuer], &trusting(&root))), expected);
    }
}

#[test]
fn the_header_of_tcg_1_2_is_stripped_and_its_length_counts() {
    let (root, issuer, ek) = tree();
    let wrap = |length: usize| {
        let length = u16::try_from(length).unwrap().to_be_bytes();
        let der = [&[0x10, 0x01, 0x00], &length[..], &[0x10, 0x02], &ek.der, &[0xff; 20]].concat();
        Ek { der, public: ek.public.clone() }
    };
    let right = ek.der.len() + 2;
    assert_eq!(code(wrap(right).check(&[&issuer], &trusting(&root))), "accepted");
    assert_eq!(code(wrap(right - 1).check(&[&issuer], &trusting(&root))), "tpm.ek.malformed");
    assert_eq!(code(wrap(right + 900).check(&[&issuer], &trusting(&root))), "tpm.ek.malformed");
}

#[test]
fn without_a_root_or_with_another_one_nothing_is_trusted() {
    let (_, issuer, ek) = tree();
    assert_eq!(code(ek.check(&[&issuer], &Roots::new())), "tpm.ek.untrusted");
    assert_eq!(code(ek.check(&[&issuer], &trusting(&Ca::root("other")))), "tpm.ek.untrusted");
    assert_eq!(code(ek.check(&[&issuer], &trusting(&Ca::root("root")))), "tpm.ek.signature");
    assert_eq!(code(ek.check(&[], &trusting(&Ca::root("root")))), "tpm.ek.untrusted");
}

#[test]
fn one_flipped_bit_anywhere_is_refused() {
    let (root, issuer, ek) = tree();
    let roots = trusting(&root);
    for at in 0..ek.der.len() {
        let mut der = ek.der.clone();
        der[at] ^= 1;
        let flipped = Ek { der, public: ek.public.clone() };
        assert!(
            flipped.check(&[&issuer], &roots).is_err(),
            "byte {at} {:02x?}",
            &ek.der[at.saturating_sub(8)..(at + 8).min(ek.der.len())]
        );
    }
}

#[test]
fn the_certificates_own_dates_always_count() {
    let (root, issuer, ek) = tree();
    let roots = trusting(&root);
    for now in [UnixTime(1_577_836_799), UnixTime(1_893_456_001)] {
        assert_eq!(code(ek.check_at(&[&issuer], &roots, ExpiredIssuers::Accepted, now)), "tpm.ek.expired");
    }
}

#[test]
fn an_expired_issuer_is_refused_unless_the_option_says_otherwise() {
    let root = Ca::root("root");
    let late = root.issuer("late", |params| params.not_after = date_time_ymd(2025, 1, 1));
    let ek = late.ek(|_| {});
    let roots = trusting(&root);
    assert_eq!(code(ek.check(&[&late], &roots)), "tpm.ek.issuer_expired");
    assert_eq!(code(ek.check_at(&[&late], &roots, ExpiredIssuers::Accepted, NOW)), "accepted");
    let early = root.issuer("early", |params| params.not_before = date_time_ymd(2027, 1, 1));
    let ek = early.ek(|_| {});
    assert_eq!(code(ek.check_at(&[&early], &roots, ExpiredIssuers::Accepted, NOW)), "tpm.ek.issuer_expired");
}

#[test]
fn an_issuer_without_ca_rights_is_refused() {
    let root = Ca::root("root");
    let leaf = root.issuer("no ca", |params| params.is_ca = IsCa::ExplicitNoCa);
    assert_eq!(code(leaf.ek(|_| {}).check(&[&leaf], &trusting(&root))), "tpm.ek.issuer_not_ca");
    let silent = root.issuer("no basic constraints", |params| params.is_ca = IsCa::NoCa);
    assert_eq!(code(silent.ek(|_| {}).check(&[&silent], &trusting(&root))), "tpm.ek.issuer_not_ca");
    let usage = root.issuer("no cert sign", |params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert_eq!(code(usage.ek(|_| {}).check(&[&usage], &trusting(&root))), "tpm.ek.issuer_not_ca");
}

#[test]
fn path_length_constraints_are_kept() {
    let root = Ca::root("root");
    let upper = root.issuer("upper", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let lower = upper.issuer("lower", |_| {});
    assert_eq!(code(upper.ek(|_| {}).check(&[&upper], &trusting(&root))), "accepted");
    assert_eq!(code(lower.ek(|_| {}).check(&[&upper, &lower], &trusting(&root))), "tpm.ek.path_length");
}

#[test]
fn five_issuers_are_followed_and_six_are_not() {
    let mut chain = vec![Ca::root("0")];
    for depth in 1..=5 {
        let next = chain[depth - 1].issuer(&depth.to_string(), |_| {});
        chain.push(next);
    }
    let all: Vec<&Ca> = chain.iter().skip(1).collect();
    assert_eq!(code(chain[4].ek(|_| {}).check(&all, &trusting(&chain[0]))), "accepted");
    assert_eq!(code(chain[5].ek(|_| {}).check(&all, &trusting(&chain[0]))), "tpm.ek.path_length");
}

#[test]
fn a_critical_extension_that_nobody_understands_is_refused_wherever_it_stands() {
    let root = Ca::root("root");
    let unknown = || extension(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0], true);
    let issuer = root.issuer("issuer", |_| {});
    let ek = issuer.ek(|params| params.custom_extensions.push(unknown()));
    assert_eq!(code(ek.check(&[&issuer], &trusting(&root))), "tpm.ek.critical_extension");
    let odd = root.issuer("odd", |params| params.custom_extensions.push(unknown()));
    assert_eq!(code(odd.ek(|_| {}).check(&[&odd], &trusting(&root))), "tpm.ek.critical_extension");
    assert_eq!(Anchor::new(&odd.der, TrustClass::Vtpm).unwrap_err(), BadEndorsement::CriticalExtension);
}

#[test]
fn critical_certificate_policies_are_understood() {
    let (root, issuer, _) = tree();
    // SEQUENCE { SEQUENCE { OBJECT IDENTIFIER anyPolicy } }
    let policies = vec![0x30, 8, 0x30, 6, 6, 4, 0x55, 0x1d, 0x20, 0];
    let ek = issuer.ek(|params| params.custom_extensions.push(extension(&[2, 5, 29, 32], policies, true)));
    assert_eq!(code(ek.check(&[&issuer], &trusting(&root))), "accepted");
}

#[test]
fn a_doubled_extension_is_refused() {
    let (root, issuer, _) = tree();
    let ek = issuer.ek(|params| params.custom_extensions.push(tpm_attributes("id:00001014")));
    assert!(ek.check(&[&issuer], &trusting(&root)).is_err());
}

#[test]
fn every_issuer_of_a_name_is_tried() {
    let root = Ca::root("root");
    let [first, second] = [(); 2].map(|()| root.issuer("same name", |_| {}));
    for ek in [first.ek(|_| {}), second.ek(|_| {})] {
        assert_eq!(code(ek.check(&[&first, &second], &trusting(&root))), "accepted");
    }
    let mut roots = trusting(&root);
    roots.add_intermediate(&first.der).unwrap();
    assert_eq!(code(second.ek(|_| {}).check(&[], &roots)), "tpm.ek.signature");
    roots.add_intermediate(&second.der).unwrap();
    assert_eq!(code(second.ek(|_| {}).check(&[], &roots)), "accepted");
}

#[test]
fn a_pinned_intermediate_is_an_anchor() {
    let (_, issuer, ek) = tree();
    assert_eq!(code(ek.check(&[], &trusting(&issuer))), "accepted");
}

#[test]
fn a_chain_that_only_costs_time_is_cut_short() {
    let root = Ca::root("root");
    let decoys: Vec<Ca> = (0..16).map(|_| Ca::root("loop")).collect();
    let ek = decoys[0].ek(|_| {});
    let chain: Vec<&Ca> = decoys.iter().collect();
    assert!(ek.check(&chain, &trusting(&root)).is_err());
    let many: Vec<&Ca> = std::iter::repeat_n(&decoys[0], 17).collect();
    assert_eq!(code(ek.check(&many, &trusting(&root))), "tpm.ek.too_large");
}

fn crl(ca: &Ca, serial: u8) -> Vec<u8> {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(vec![serial]),
        revocation_time: date_time_ymd(2025, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(2025, 2, 1),
        crl_number: SerialNumber::from(vec![1]),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&ca.issuer).unwrap().der().to_vec()
}

#[test]
fn a_revoked_certificate_is_refused_and_others_are_not() {
    let (root, issuer, ek) = tree();
    let with = |der: &[u8]| {
        let mut roots = trusting(&root);
        roots.add_crl(der).unwrap();
        roots
    };
    assert_eq!(code(ek.check(&[&issuer], &with(&crl(&issuer, 0x42)))), "tpm.ek.revoked");
    assert_eq!(code(ek.check(&[&issuer], &with(&crl(&issuer, 0x43)))), "accepted");
    assert_eq!(code(ek.check(&[&issuer], &with(&crl(&Ca::root("other"), 0x42)))), "accepted");
    assert_eq!(Roots::new().add_crl(b"0").unwrap_err().code(), "endorsements.not_a_crl");
}

#[test]
fn a_revoked_issuer_takes_its_certificates_with_it() {
    let root = Ca::root("root");
    let issuer = root.issuer("issuer", |params| params.serial_number = Some(SerialNumber::from(vec![7])));
    let mut roots = trusting(&root);
    roots.add_crl(&crl(&root, 7)).unwrap();
    assert_eq!(code(issuer.ek(|_| {}).check(&[&issuer], &roots)), "tpm.ek.revoked");
}

#[test]
fn a_crl_that_the_issuer_did_not_sign_is_a_refusal_and_never_a_pass() {
    let (root, issuer, ek) = tree();
    let mut forged = crl(&issuer, 0x43);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let mut roots = trusting(&root);
    roots.add_crl(&forged).unwrap();
    assert_eq!(code(ek.check(&[&issuer], &roots)), "tpm.ek.crl_signature");
}

#[test]
fn keys_that_are_not_for_endorsement_are_refused() {
    let (root, issuer, _) = tree();
    let roots = trusting(&root);
    let signing = issuer.ek(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    assert_eq!(code(signing.check(&[&issuer], &roots)), "tpm.ek.key_usage");
    let platform = issuer.ek(|params| {
        params.custom_extensions = vec![ek_purpose(&[0x06, 5, 0x67, 0x81, 0x05, 8, 2])];
    });
    assert_eq!(code(platform.check(&[&issuer], &roots)), "tpm.ek.key_usage");
    let silent = issuer.ek(|params| {
        params.custom_extensions.clear();
        params.key_usages.clear();
    });
    assert_eq!(code(silent.check(&[&issuer], &roots)), "accepted");
    let ca = issuer.ek(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(code(ca.check(&[&issuer], &roots)), "tpm.ek.is_ca");
}

#[test]
fn a_software_tpm_needs_a_root_for_software_tpms() {
    let (root, issuer, _) = tree();
    let ek = issuer.ek(|params| params.custom_extensions = vec![tpm_attributes("id:00001014")]);
    let with = |anchor: Anchor| {
        let mut roots = Roots::new();
        roots.add(anchor);
        code(ek.check(&[&issuer], &roots))
    };
    let anchor = |class| Anchor::new(&root.der, class).unwrap();
    for class in [TrustClass::Discrete, TrustClass::Firmware, TrustClass::Vtpm, TrustClass::Cloud] {
        assert_eq!(with(anchor(class)), "tpm.ek.software_tpm", "{class}");
    }
    assert_eq!(with(anchor(TrustClass::Simulated)), "accepted");
    assert_eq!(with(anchor(TrustClass::Vtpm).with_software_tpms(SoftwareTpms::Accepted)), "accepted");
}

/// An RSA public key that nobody holds the private part of, as DER `RSAPublicKey`.
struct RsaKey(Vec<u8>);

impl RsaKey {
    fn new(modulus: &[u8]) -> Self {
        let long = |tag: u8, content: &[u8]| {
            let length = u16::try_from(content.len()).unwrap().to_be_bytes();
            [&[tag, 0x82], &length[..], content].concat()
        };
        Self(long(0x30, &[long(2, &[&[0], modulus].concat()), vec![2, 3, 1, 0, 1]].concat()))
    }
}

impl PublicKeyData for RsaKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

fn check_rsa(modulus: &[u8]) -> &'static str {
    let (root, issuer, _) = tree();
    let der = issuer.ek_for(&RsaKey::new(modulus), |params| {
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    });
    let ek = PublicKey::rsa(modulus).unwrap();
    code(verify_ek_certificate(&der, &[&issuer.der], &ek, &trusting(&root), ExpiredIssuers::Refused, NOW))
}

#[test]
fn an_rsa_key_is_taken() {
    assert_eq!(check_rsa(&[0xc5; 256]), "accepted");
    assert_eq!(check_rsa(&[0xc5; 384]), "accepted");
}

#[test]
fn a_roca_modulus_is_refused() {
    // 65537^3 plus a multiple of the product of all primes up to 167, scaled to 2048 bits
    let primes = (2_u32..=167).filter(|n| (2..*n).all(|d| n % d != 0));
    let product = primes.fold(rsa::BigUint::from(1_u32), |product, prime| product * prime);
    let start = rsa::BigUint::from(65_537_u64 * 65_537 * 65_537);
    let factor = (rsa::BigUint::from(3_u32) << 2046_usize) / &product;
    let modulus = (product * factor + start).to_bytes_be();
    assert_eq!(modulus.len(), 256);
    assert_eq!(check_rsa(&modulus), "tpm.ek.roca");
}

#[test]
fn a_sha1_signature_counts_only_below_a_root_that_opted_in() {
    // an RSA-2048 EK certificate of 2026 signed with sha1WithRSAEncryption, as openssl still makes them
    let (root, ek) = (include_bytes!("data/sha1-root.der"), include_bytes!("data/sha1-ek.der"));
    let with = |sha1| {
        let mut roots = Roots::new();
        roots.add(Anchor::new(root, TrustClass::Discrete).unwrap().with_sha1(sha1));
        verify_chain(ek, &[], &roots, ExpiredIssuers::Refused, UnixTime(1_800_000_000)).map_err(|e| e.code())
    };
    assert_eq!(with(Sha1Signatures::Refused).unwrap_err(), "tpm.ek.sha1");
    assert!(with(Sha1Signatures::Accepted).is_ok());
}

#[test]
fn a_key_of_an_unsupported_kind_is_refused() {
    let (root, issuer, ek) = tree();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let odd = Ek { der: issuer.ek_for(&key, |_| {}), public: ek.public };
    assert_eq!(code(odd.check(&[&issuer], &trusting(&root))), "tpm.ek.unsupported_key");
}

#[test]
fn an_anchor_must_be_one_ca_certificate() {
    let (root, issuer, ek) = tree();
    assert_eq!(Anchor::new(&ek.der, TrustClass::Discrete).unwrap_err(), BadEndorsement::NotCa);
    let two = [root.der.clone(), issuer.der].concat();
    assert_eq!(Anchor::new(&two, TrustClass::Discrete).unwrap_err(), BadEndorsement::NotACertificate);
    assert_eq!(Anchor::new(&[], TrustClass::Discrete).unwrap_err(), BadEndorsement::NotACertificate);
}

#[test]
fn no_prefix_of_a_certificate_panics() {
    let (root, issuer, ek) = tree();
    for end in 0..ek.der.len() {
        let cut = Ek { der: ek.der[..end].to_vec(), public: ek.public.clone() };
        let refusal: Result<_, UnverifiedEk> = cut.check(&[&issuer], &trusting(&root));
        assert_eq!(code(refusal), "tpm.ek.malformed");
    }
}
