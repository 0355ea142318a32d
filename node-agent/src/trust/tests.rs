//! Whom the agent believes, over restarts and changes.

use super::*;

fn authority() -> Vec<u8> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2030, 1, 1);
    params.self_signed(&key).unwrap().der().to_vec()
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn bundle(authorities: &[&[u8]], sequence: u64) -> Bundle {
    Bundle {
        trust_domain: "td".to_owned(),
        x509_authorities: authorities.iter().map(|der| der.to_vec()).collect(),
        sequence,
        refresh_hint: 0,
        ..Bundle::default()
    }
}

fn load(bootstrap: &Bootstrap, place: &Path) -> Result<Trust, TrustFault> {
    Trust::load("td".parse().unwrap(), bootstrap, StateDir::open(&place.join("state")).unwrap())
}

#[test]
fn what_the_server_taught_outlives_a_restart_until_the_operators_file_changes() {
    let place = tempfile::tempdir().unwrap();
    let (first, second, third) = (authority(), authority(), authority());
    let file = place.path().join("bundle.pem");
    std::fs::write(&file, pem(&first)).unwrap();
    let bootstrap = Bootstrap::Bundle(file.clone());

    let trust = load(&bootstrap, place.path()).unwrap();
    assert_eq!(trust.time(), UnixTime(1_893_456_000));
    assert!(trust.learn(&bundle(&[&first, &second], 2)).unwrap());
    assert!(!trust.learn(&bundle(&[&first, &second], 2)).unwrap());
    assert_eq!(load(&bootstrap, place.path()).unwrap().authorities().len(), 2);

    std::fs::write(&file, pem(&third)).unwrap();
    let authorities = load(&bootstrap, place.path()).unwrap().authorities();
    assert_eq!(authorities, [CertificateDer::from(third)]);
}

#[test]
fn intermediates_that_count_no_more_are_remembered_over_a_restart() {
    let place = tempfile::tempdir().unwrap();
    let (root, file) = (authority(), place.path().join("bundle.pem"));
    std::fs::write(&file, pem(&root)).unwrap();
    let bootstrap = Bootstrap::Bundle(file);
    let trust = load(&bootstrap, place.path()).unwrap();
    trust.learn(&bundle(&[&root], 2)).unwrap();
    let mut revoked = trust.revoked();
    // Not of the bundle's content: its sequence stays.
    let marked = Bundle { revoked_key_ids: vec![vec![5; 20]], ..bundle(&[&root], 2) };
    assert!(!trust.learn(&marked).unwrap());
    assert!(revoked.has_changed().unwrap() && !revoked.borrow_and_update().is_empty());
    let again = load(&bootstrap, place.path()).unwrap();
    assert_eq!(*again.revoked().borrow(), *revoked.borrow());
    again.learn(&bundle(&[&root], 2)).unwrap();
    assert!(load(&bootstrap, place.path()).unwrap().revoked().borrow().is_empty());
}

#[test]
fn an_insecure_bootstrap_pins_the_first_thing_it_saw_and_nothing_after_it() {
    let place = tempfile::tempdir().unwrap();
    let trust = load(&Bootstrap::Insecure, place.path()).unwrap();
    assert!(trust.authorities().is_empty());
    let (first, second) = (CertificateDer::from(authority()), CertificateDer::from(authority()));
    trust.pin(&first).unwrap();
    trust.pin(&second).unwrap();
    assert_eq!(load(&Bootstrap::Insecure, place.path()).unwrap().authorities(), [first]);
}

#[test]
fn a_bundle_file_is_pem_or_the_document_of_the_standard() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("bundle.json");
    let root = authority();
    let document = Document { x509_authorities: vec![root.clone()], ..Document::default() };
    std::fs::write(&file, document.to_json()).unwrap();
    let bootstrap = Bootstrap::Bundle(file.clone());
    assert_eq!(load(&bootstrap, place.path()).unwrap().authorities(), [CertificateDer::from(root)]);
    std::fs::write(&file, "{\"keys\":[]}").unwrap();
    assert_eq!(load(&bootstrap, place.path()).unwrap_err().code(), "agent.trust.form");
}

#[test]
fn bundles_that_are_none_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("bundle.pem");
    let bootstrap = Bootstrap::Bundle(file.clone());
    assert_eq!(load(&bootstrap, place.path()).unwrap_err().code(), "agent.trust.unreadable");
    for text in ["", "no certificate", &pem(b"no certificate")] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(load(&bootstrap, place.path()).unwrap_err().code(), "agent.trust.form", "{text}");
    }
    std::fs::write(&file, pem(&authority())).unwrap();
    let trust = load(&bootstrap, place.path()).unwrap();
    assert_eq!(trust.learn(&bundle(&[], 3)).unwrap_err().code(), "agent.trust.form");
    let other = Bundle { trust_domain: "other".to_owned(), ..bundle(&[&authority()], 3) };
    assert_eq!(trust.learn(&other).unwrap_err().code(), "agent.trust.other_domain");
}
