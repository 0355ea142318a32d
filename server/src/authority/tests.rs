//! The certificates as a stranger reads them, and what `init` may and may not do.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use x509_parser::prelude::*;

use super::testing::{NOW, Place, founded, sign};
use super::*;
use crate::listen::{InvalidSvid, PeerSvid, uri_san};
use crate::store::sqlite::{SqliteStore, StoreLimits};
use crate::store::{EntryNumber, NodeNumber, Origin, Recorded, Store};
use holdfast_identity::{TrustDomain, UnixTime};

fn workload(issuer: &Issuer, dns: &[&str], ttl: i64, ends: &[UnixTime]) -> Result<Draft, AuthorityFault> {
    issuer.draft(
        Origin::Workload { node: NodeNumber(1), entry: EntryNumber(2), revision: 0 },
        issuer.trust_domain().with_path("/web").unwrap(),
        &OwnKey::generate().unwrap().spki(),
        dns.iter().map(|name| (*name).to_owned()).collect(),
        (NOW, ttl, ends),
    )
}

#[test]
fn a_root_and_an_intermediate_are_signers_of_the_trust_domain_and_nothing_else() {
    let (_place, issuer) = founded();
    let svid = sign(&issuer, workload(&issuer, &[], 3600, &[]).unwrap());
    for (der, path_length) in [(&issuer.bundle().authorities()[0], 1), (&svid.chain[1], 0)] {
        let (_, certificate) = X509Certificate::from_der(der).unwrap();
        assert_eq!(uri_san(&certificate).unwrap().as_str(), "spiffe://example.org");
        let constraints = certificate.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(path_length));
        let usage = certificate.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(!usage.value.digital_signature());
        assert!(certificate.extended_key_usage().unwrap().is_none());
        assert_eq!(PeerSvid::from_leaf(der, issuer.trust_domain()), Err(InvalidSvid::Signer));
    }
}

#[test]
fn a_leaf_is_a_leaf_in_every_extension() {
    let (_place, issuer) = founded();
    let svid = sign(&issuer, workload(&issuer, &[], 3600, &[]).unwrap());
    let (rest, leaf) = X509Certificate::from_der(&svid.chain[0]).unwrap();
    assert!(rest.is_empty());
    assert_eq!(uri_san(&leaf).unwrap().as_str(), "spiffe://example.org/web");
    let constraints = leaf.basic_constraints().unwrap().expect("explicitly no CA");
    assert!(!constraints.value.ca);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature());
    assert_eq!(usage.value.flags, 1, "digitalSignature alone");
    let extended = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth && !extended.any);
    let (_, signer) = X509Certificate::from_der(&svid.chain[1]).unwrap();
    assert_eq!(authority_key(&leaf), subject_key(&signer));
    assert!(subject_key(&leaf).is_some());
    leaf.verify_signature(Some(signer.public_key())).unwrap();
    assert_eq!(leaf.raw_serial().len(), 16);
    assert_eq!(leaf.issuer().as_raw(), signer.subject().as_raw());
    assert_eq!(
        (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp()),
        (NOW.0 - 60, NOW.0 + 3600)
    );
}

#[test]
fn the_san_is_critical_exactly_where_the_subject_is_empty() {
    let (_place, issuer) = founded();
    for (dns, subject) in [(&[][..], ""), (&["web.example.org", "b.example.org"][..], "CN=web.example.org")] {
        let svid = sign(&issuer, workload(&issuer, dns, 3600, &[]).unwrap());
        let (_, leaf) = X509Certificate::from_der(&svid.chain[0]).unwrap();
        assert_eq!(leaf.subject().to_string(), subject);
        let san = leaf.subject_alternative_name().unwrap().unwrap();
        assert_eq!(san.critical, subject.is_empty());
        assert_eq!(san.value.general_names.len(), 1 + dns.len());
    }
}

#[test]
fn serials_and_signers_subjects_never_repeat() {
    let (place, issuer) = founded();
    let first = sign(&issuer, workload(&issuer, &[], 3600, &[]).unwrap());
    let second = sign(&issuer, workload(&issuer, &[], 3600, &[]).unwrap());
    assert_ne!(serial(&first.chain[0]), serial(&second.chain[0]));
    init(&place.options).unwrap();
    let renewed = sign(&place.issuer(), workload(&place.issuer(), &[], 3600, &[]).unwrap());
    assert_ne!(subject(&renewed.chain[1]), subject(&first.chain[1]));
}

#[test]
fn an_svid_ends_with_the_evidence_and_with_its_signer() {
    let (_place, issuer) = founded();
    assert_eq!(workload(&issuer, &[], 3600, &[NOW.plus(90)]).unwrap().not_after(), NOW.plus(90));
    let long = workload(&issuer, &[], i64::MAX, &[]).unwrap();
    assert_eq!(long.not_after(), issuer.not_after());
    assert_eq!(workload(&issuer, &[], 3600, &[NOW]).unwrap_err().code(), "authority.no_lifetime");
}

#[test]
fn a_token_for_one_svid_does_not_sign_another() {
    let (_place, issuer) = founded();
    let recorded = workload(&issuer, &[], 3600, &[]).unwrap();
    let other = workload(&issuer, &[], 3600, &[]).unwrap();
    let refused = issuer.sign(&other, Recorded::pretended(recorded.issuance())).unwrap_err();
    assert_eq!(refused.code(), "authority.other_record");
}

#[test]
fn a_key_that_cannot_be_certified_is_refused_before_it_is_recorded() {
    let (_place, issuer) = founded();
    for spki in [&b""[..], b"no key", &[0x30; 91]] {
        assert_eq!(issuer.draft_server(spki, 60, NOW).unwrap_err().code(), "authority.unsupported_key");
    }
}

#[test]
fn keys_are_0600_and_the_root_key_is_not_below_the_data_directory() {
    let (place, _) = founded();
    for path in [place.files().intermediate(), place.options.root_key.clone()] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    let root_key = fs::read_to_string(&place.options.root_key).unwrap();
    for entry in fs::read_dir(place.files().directory()).unwrap() {
        let text = String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()).into_owned();
        assert!(!text.contains(root_key.lines().nth(1).unwrap()));
    }
}

#[test]
fn init_without_the_root_key_changes_nothing() {
    let (place, _) = founded();
    let before = fs::read(place.files().intermediate()).unwrap();
    fs::remove_file(&place.options.root_key).unwrap();
    assert_eq!(init(&place.options).unwrap_err().code(), "authority.already_initialised");
    assert_eq!(fs::read(place.files().intermediate()).unwrap(), before);
    assert!(!place.options.root_key.exists(), "no second root is founded");
    place.issuer();
}

#[test]
fn init_with_the_root_key_renews_the_intermediate_under_the_same_root() {
    let (place, before) = founded();
    let report = init(&place.options).unwrap();
    assert!(!report.root_created && report.intermediate_renewed);
    let after = place.issuer();
    assert_eq!(after.bundle(), before.bundle());
    let old = sign(&before, workload(&before, &[], 60, &[]).unwrap());
    let new = sign(&after, workload(&after, &[], 60, &[]).unwrap());
    assert_ne!(old.chain[1], new.chain[1]);
}

#[test]
fn a_second_server_joins_with_the_root_key_file_alone() {
    let (place, first) = founded();
    let mut options = place.options.clone();
    options.data_dir = options.data_dir.with_file_name("second");
    let report = init(&options).unwrap();
    assert!(!report.root_created && !report.intermediate_renewed);
    let second = Issuer::load(&options.trust_domain, &AuthorityFiles::below(&options.data_dir), NOW).unwrap();
    assert_eq!(second.bundle().authorities(), first.bundle().authorities());
}

#[test]
fn another_trust_domains_root_is_refused() {
    let (place, _) = founded();
    let mut options = place.options.clone();
    options.trust_domain = "other.org".parse().unwrap();
    options.data_dir = options.data_dir.with_file_name("other");
    assert_eq!(init(&options).unwrap_err().code(), "authority.other_root");
    let other = Place::new();
    init(&other.options).unwrap();
    options = place.options.clone();
    options.root_key = other.options.root_key.clone();
    assert_eq!(init(&options).unwrap_err().code(), "authority.other_root");
}

#[test]
fn a_server_does_not_start_with_files_that_do_not_belong_together() {
    let (place, _) = founded();
    let load = |place: &Place, now| Issuer::load(&place.options.trust_domain, &place.files(), now).map(|_| ());
    let end = place.issuer().not_after();
    assert_eq!(load(&place, end).unwrap_err().code(), "authority.intermediate_expired");
    let other = Place::new();
    init(&other.options).unwrap();
    fs::copy(other.files().intermediate(), place.files().intermediate()).unwrap();
    assert_eq!(load(&place, NOW).unwrap_err().code(), "authority.chain.root");
    fs::remove_file(place.files().intermediate()).unwrap();
    assert_eq!(load(&place, NOW).unwrap_err().code(), "authority.not_initialised");
}

#[test]
fn the_bundle_is_the_document_of_the_standard() {
    let (_place, issuer) = founded();
    let document: serde_json::Value = serde_json::from_str(&issuer.bundle().to_json()).unwrap();
    let key = &document["keys"][0];
    assert_eq!((key["use"].as_str(), key.get("kid")), (Some("x509-svid"), None));
    assert_eq!(key["x5c"].as_array().unwrap().len(), 1);
    assert_eq!((document["spiffe_sequence"].as_u64(), document["spiffe_refresh_hint"].as_i64()), (Some(1), Some(300)));
}

#[test]
fn a_reader_of_bundles_takes_the_first_certificate_of_known_uses_only() {
    let (_place, issuer) = founded();
    let domain: TrustDomain = "example.org".parse().unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&issuer.bundle().to_json()).unwrap();
    let x5c = document["keys"][0]["x5c"][0].clone();
    document["keys"][0]["x5c"] = serde_json::json!([x5c, "!!!"]);
    for ignored in [
        serde_json::json!({"use": "x509-svid", "kty": "EC"}),
        serde_json::json!({"use": "X509-SVID", "x5c": ["!!!"]}),
        serde_json::json!({"x5c": ["!!!"]}),
    ] {
        document["keys"].as_array_mut().unwrap().push(ignored);
    }
    let read = Bundle::from_json(domain.clone(), &document.to_string()).unwrap();
    assert_eq!(read.authorities(), issuer.bundle().authorities());
    assert!(Bundle::from_json("other.org".parse().unwrap(), &document.to_string()).is_err());
    assert!(Bundle::from_json(domain.clone(), "{}").is_err());
    assert!(Bundle::from_json(domain, r#"{"keys":[]}"#).is_err());
}

fn serial(der: &[u8]) -> Vec<u8> {
    X509Certificate::from_der(der).unwrap().1.raw_serial().to_vec()
}

fn subject(der: &[u8]) -> String {
    X509Certificate::from_der(der).unwrap().1.subject().to_string()
}

fn subject_key(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(found) => Some(found.0.to_vec()),
        _ => None,
    })
}

fn authority_key(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(found) => found.key_identifier.as_ref().map(|key| key.0.to_vec()),
        _ => None,
    })
}

async fn running(place: &Place) -> (Authority, std::sync::Arc<dyn Store>) {
    let database = place.options.data_dir.join("test.sqlite");
    let limits = StoreLimits { entries_max: 10, ..StoreLimits::default() };
    let store = SqliteStore::open(&database, place.options.trust_domain.clone(), limits).await.unwrap();
    let store: std::sync::Arc<dyn Store> = std::sync::Arc::new(store);
    let opened = Authority::open(place.options.trust_domain.clone(), place.files(), store.as_ref(), NOW).await;
    (opened.unwrap(), store)
}

#[tokio::test]
async fn a_running_server_replaces_its_own_certificate_after_a_third_of_its_life() {
    let (place, _) = founded();
    let (authority, store) = running(&place).await;
    let first = authority.own().not_after().unwrap();
    assert_eq!(first, NOW.plus(OWN_CERTIFICATE_TTL_SECONDS));
    let third = OWN_CERTIFICATE_TTL_SECONDS / 3;
    authority.renew(store.as_ref(), NOW.plus(third - 1)).await.unwrap();
    assert_eq!(authority.own().not_after(), Some(first));
    authority.renew(store.as_ref(), NOW.plus(third)).await.unwrap();
    assert_eq!(authority.own().not_after(), Some(NOW.plus(third + OWN_CERTIFICATE_TTL_SECONDS)));
}

#[tokio::test]
async fn a_running_server_takes_up_a_renewed_intermediate() {
    let (place, _) = founded();
    let (authority, store) = running(&place).await;
    let before = authority.issuer().intermediate().to_vec();
    init(&place.options).unwrap();
    authority.renew(store.as_ref(), NOW.plus(1)).await.unwrap();
    assert_ne!(authority.issuer().intermediate(), before);
    fs::remove_file(place.files().intermediate()).unwrap();
    authority.renew(store.as_ref(), NOW.plus(2)).await.unwrap();
    authority.issuer().draft_server(&OwnKey::generate().unwrap().spki(), 60, NOW).unwrap();
}

#[tokio::test]
async fn the_servers_own_certificate_is_in_the_record_before_it_is_shown() {
    let (place, _) = founded();
    let (_authority, store) = running(&place).await;
    // The root's publication, the intermediate, then the issuance.
    assert_eq!(store.head().await.unwrap().size, 3);
}
