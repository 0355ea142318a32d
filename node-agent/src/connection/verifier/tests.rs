//! Each rule about the server's certificate, flipped alone.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

const NAME: &str = "spiffe://td/holdfast/server";
/// 2030-01-01.
const MADE: i64 = 1_893_456_000;

fn key() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = rcgen::date_time_ymd(2029, 1, 1);
    params.not_after = rcgen::date_time_ymd(2039, 1, 1);
    params
}

fn authority() -> Issuer {
    CertifiedIssuer::self_signed(authority_params(), key()).unwrap()
}

fn leaf(issuer: &Issuer, names: &[&str]) -> CertificateDer<'static> {
    leaf_for(issuer, names, &[KeyUsagePurpose::DigitalSignature])
}

fn leaf_for(issuer: &Issuer, names: &[&str], usages: &[KeyUsagePurpose]) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2030, 1, 1);
    params.not_after = rcgen::date_time_ymd(2030, 1, 2);
    params.key_usages = usages.to_vec();
    params.subject_alt_names = names.iter().map(|name| SanType::URI((*name).try_into().unwrap())).collect();
    params.signed_by(&key(), issuer).unwrap().der().clone()
}

fn verifier(authorities: &[&Issuer]) -> ServerVerifier {
    ServerVerifier {
        expected: NAME.parse().unwrap(),
        authorities: authorities.iter().map(|authority| authority.der().clone()).collect(),
        revoked: Revoked::default(),
        not_before: UnixTime(0),
        provider: Arc::new(rustls::crypto::ring::default_provider()),
    }
}

fn verify(
    verifier: &ServerVerifier,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: i64,
) -> Result<(), Error> {
    let now = rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.cast_unsigned()));
    let name = ServerName::try_from("localhost").unwrap();
    verifier.verify_server_cert(leaf, intermediates, &name, &[], now).map(drop)
}

#[test]
fn the_servers_certificate_under_an_authority_of_the_domain_is_taken() {
    let authority = authority();
    verify(&verifier(&[&authority]), &leaf(&authority, &[NAME]), &[], MADE + 60).unwrap();
}

#[test]
fn an_intermediate_may_stand_between() {
    let root = authority();
    let intermediate = CertifiedIssuer::signed_by(authority_params(), key(), &root).unwrap();
    let leaf = leaf(&intermediate, &[NAME]);
    verify(&verifier(&[&root]), &leaf, &[intermediate.der().clone()], MADE + 60).unwrap();
    assert!(verify(&verifier(&[&root]), &leaf, &[], MADE + 60).is_err());
}

fn key_identifier(der: &[u8]) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    let mut extensions = certificate.extensions().iter();
    let id = extensions.find_map(|extension| match extension.parsed_extension() {
        x509_parser::extensions::ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    id.unwrap()
}

#[test]
fn a_server_below_a_revoked_intermediate_is_refused() {
    let root = authority();
    let intermediate = CertifiedIssuer::signed_by(authority_params(), key(), &root).unwrap();
    let leaf = leaf(&intermediate, &[NAME]);
    let mut verifier = verifier(&[&root]);
    verifier.revoked = verifier.revoked.with_key_ids(&[vec![9; 20]]);
    let shown = [intermediate.der().clone()];
    verify(&verifier, &leaf, &shown, MADE + 60).unwrap();
    let id = key_identifier(intermediate.der());
    verifier.revoked = verifier.revoked.with_key_ids(&[id]);
    let refused = verify(&verifier, &leaf, &shown, MADE + 60).unwrap_err();
    assert_eq!(refused, Error::InvalidCertificate(CertificateError::Revoked));
}

#[test]
fn another_authority_is_refused() {
    let (ours, theirs) = (authority(), authority());
    assert!(verify(&verifier(&[&ours]), &leaf(&theirs, &[NAME]), &[], MADE + 60).is_err());
}

#[test]
fn another_name_no_name_and_a_second_name_are_refused() {
    let authority = authority();
    for names in [
        vec!["spiffe://td/holdfast/node/tpm/ab"],
        vec!["spiffe://other/holdfast/server"],
        vec!["spiffe://td/holdfast/server/x"],
        vec![],
        vec![NAME, "spiffe://td/x"],
    ] {
        let refused = verify(&verifier(&[&authority]), &leaf(&authority, &names), &[], MADE + 60);
        assert!(refused.is_err(), "{names:?}");
    }
}

#[test]
fn a_certificate_that_signs_others_or_authenticates_nobody_is_refused() {
    let authority = authority();
    let signs = KeyUsagePurpose::DigitalSignature;
    for usages in [
        vec![],
        vec![KeyUsagePurpose::KeyAgreement],
        vec![signs, KeyUsagePurpose::KeyCertSign],
        vec![signs, KeyUsagePurpose::CrlSign],
    ] {
        let leaf = leaf_for(&authority, &[NAME], &usages);
        assert!(verify(&verifier(&[&authority]), &leaf, &[], MADE + 60).is_err(), "{usages:?}");
    }
}

#[test]
fn an_expired_certificate_is_refused_even_where_our_clock_is_behind() {
    let authority = authority();
    let leaf = leaf(&authority, &[NAME]);
    assert!(verify(&verifier(&[&authority]), &leaf, &[], MADE + 86_460).is_err());
    let mut wiser = verifier(&[&authority]);
    wiser.not_before = UnixTime(MADE + 86_460);
    assert!(verify(&wiser, &leaf, &[], 0).is_err(), "something we trust was made after its end");
}

#[test]
fn a_machine_whose_clock_stands_at_the_epoch_still_knows_its_server() {
    let authority = authority();
    verify(&verifier(&[&authority]), &leaf(&authority, &[NAME]), &[], 0).unwrap();
}

#[test]
fn without_a_bundle_the_topmost_certificate_is_believed_and_the_name_is_still_checked() {
    let root = authority();
    let intermediate = CertifiedIssuer::signed_by(authority_params(), key(), &root).unwrap();
    let chain = [intermediate.der().clone()];
    let nobody = verifier(&[]);
    verify(&nobody, &leaf(&intermediate, &[NAME]), &chain, MADE + 60).unwrap();
    assert!(verify(&nobody, &leaf(&intermediate, &["spiffe://td/x"]), &chain, MADE + 60).is_err());
    assert!(verify(&nobody, &leaf(&root, &[NAME]), &chain, MADE + 60).is_err());
    assert!(verify(&nobody, &leaf(&intermediate, &[NAME]), &[], MADE + 60).is_err());
}
