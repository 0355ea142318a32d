//! Which secret goes by which name, and what is in it.

use std::sync::Arc;

use super::*;
use holdfast_identity::UnixTime;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber,
};

fn svid(id: &str, leaf: u8) -> Arc<X509Svid> {
    Arc::new(X509Svid {
        spiffe_id: id.parse().unwrap(),
        chain: vec![vec![leaf], vec![2]],
        key_pkcs8: vec![9].into(),
        hint: String::new(),
        entry_id: String::new(),
        not_after: UnixTime(0),
    })
}

/// Two identities, a federated domain, and one whose authorities were all revoked.
pub(in super::super) fn update() -> WorkloadUpdate {
    let bundles = [("td", vec![vec![5], vec![6]]), ("other", vec![vec![7]]), ("gone", vec![])];
    WorkloadUpdate {
        svids: vec![svid("spiffe://td/a", 1), svid("spiffe://td/b", 3)],
        bundles: bundles.map(|(name, bundle)| (name.to_owned(), bundle)).into(),
        ..WorkloadUpdate::default()
    }
}

fn get(name: &str, update: &WorkloadUpdate, validator: Validator) -> Option<secret::Type> {
    let resource = named(name, update, &Names::default(), validator).unwrap()?;
    assert_eq!((resource.name.as_str(), resource.any.type_url.as_str()), (name, TYPE_URL));
    let secret = Secret::decode(resource.any.value.as_slice()).unwrap();
    assert_eq!(secret.name, name);
    secret.r#type
}

fn text(source: Option<DataSource>) -> String {
    match source.unwrap().specifier {
        Some(Specifier::InlineBytes(bytes)) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn chain(name: &str, update: &WorkloadUpdate) -> (String, String) {
    match get(name, update, Validator::Spiffe) {
        Some(secret::Type::TlsCertificate(certificate)) => {
            (text(certificate.certificate_chain), text(certificate.private_key))
        }
        other => panic!("{name}: {other:?}"),
    }
}

fn believed(name: &str, update: &WorkloadUpdate, validator: Validator) -> CertificateValidationContext {
    match get(name, update, validator) {
        Some(secret::Type::ValidationContext(context)) => context,
        other => panic!("{name}: {other:?}"),
    }
}

/// Domains with their bundles, as the SPIFFE validator gets them.
fn domains(name: &str, update: &WorkloadUpdate) -> Vec<(String, String)> {
    let extension = believed(name, update, Validator::Spiffe).custom_validator_config.unwrap();
    let config = extension.typed_config.unwrap();
    assert_eq!((extension.name.as_str(), config.type_url.as_str()), (VALIDATOR_NAME, VALIDATOR_TYPE_URL));
    let config = SpiffeCertValidatorConfig::decode(config.value.as_slice()).unwrap();
    config.trust_domains.into_iter().map(|domain| (domain.name, text(domain.trust_bundle))).collect()
}

#[test]
fn an_identity_goes_by_its_id_and_the_first_one_by_the_default_name_too() {
    let update = update();
    let (first, key) = chain("spiffe://td/a", &update);
    assert_eq!(first, pem::certificates(&[vec![1], vec![2]]));
    assert_eq!(key, pem::private_key(&[9]).as_str());
    assert_eq!(chain("default", &update).0, first);
    assert_eq!(chain("spiffe://td/b", &update).0, pem::certificates(&[vec![3], vec![2]]));
}

#[test]
fn a_trust_domain_goes_by_its_id_and_the_own_one_by_the_default_name_too() {
    let update = update();
    let own = ("td".to_owned(), pem::certificates(&[vec![5], vec![6]]));
    let other = ("other".to_owned(), pem::certificates(&[vec![7]]));
    for name in ["ROOTCA", "spiffe://td"] {
        assert_eq!(domains(name, &update), std::slice::from_ref(&own), "{name}");
        assert_eq!(text(believed(name, &update, Validator::Plain).trusted_ca), own.1, "{name}");
    }
    assert_eq!(domains("spiffe://other", &update), std::slice::from_ref(&other));
    assert_eq!(text(believed("spiffe://other", &update, Validator::Plain).trusted_ca), other.1);
    assert_eq!(domains("ALL", &update), [other, own], "each domain by itself; none without an authority");
}

#[test]
fn a_plain_context_never_mixes_trust_domains() {
    let refused = named("ALL", &update(), &Names::default(), Validator::Plain).err().unwrap();
    assert_eq!(refused.code(), "sds.needs_validator");
}

#[test]
fn what_nobody_has_is_no_secret() {
    for name in ["spiffe://td/c", "spiffe://third", "gone", "td", "", "DEFAULT"] {
        assert_eq!(get(name, &update(), Validator::Spiffe), None, "{name}");
    }
    let names = Names {
        default_svid_name: String::new(),
        default_bundle_name: String::new(),
        default_all_bundles_name: "ROOTCA".to_owned(),
        ..Names::default()
    };
    assert!(named("", &update(), &names, Validator::Spiffe).unwrap().is_none());
    assert!(named("default", &update(), &names, Validator::Spiffe).unwrap().is_none());
    assert!(named("ROOTCA", &update(), &names, Validator::Spiffe).unwrap().is_some());
}

#[test]
fn without_the_own_bundle_there_is_no_answer_yet() {
    let mut update = update();
    update.bundles.remove("td");
    for name in ["default", "ROOTCA", "spiffe://td/a"] {
        let refused = named(name, &update, &Names::default(), Validator::Spiffe).err().unwrap();
        assert_eq!(refused, Fault::Refused(Refusal::Starting), "{name}");
    }
}

#[test]
fn everything_is_listed_once_and_by_its_own_name() {
    let mut update = update();
    update.svids.push(svid("spiffe://td/a", 4));
    assert_eq!(all(&update), ["spiffe://td", "spiffe://other", "spiffe://td/a", "spiffe://td/b"]);
}

#[test]
fn a_version_is_that_of_its_content() {
    let version = |name: &str, update: &WorkloadUpdate| {
        named(name, update, &Names::default(), Validator::Spiffe).unwrap().unwrap().version
    };
    let (before, mut after) = (update(), update());
    after.svids[0] = svid("spiffe://td/a", 8);
    assert_ne!(version("default", &before), version("default", &after));
    for name in ["spiffe://td/b", "ROOTCA", "ALL"] {
        assert_eq!(version(name, &before), version(name, &after), "{name}");
    }
    after.bundles.insert("other".to_owned(), vec![vec![8]]);
    assert_eq!(version("ROOTCA", &before), version("ROOTCA", &after));
    assert_ne!(version("ALL", &before), version("ALL", &after));
}

/// An authority by the name of `name`, and its empty list.
fn authority(name: &str) -> (Vec<u8>, Vec<u8>) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().to_vec();
    let now = std::time::SystemTime::now();
    let list = CertificateRevocationListParams {
        this_update: now.into(),
        next_update: (now + std::time::Duration::from_secs(60)).into(),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    (certificate, list.signed_by(&Issuer::new(params, key)).unwrap().der().to_vec())
}

#[test]
fn revocation_lists_go_with_the_authorities_if_each_has_one() {
    let (first, second) = (authority("first"), authority("second"));
    let mut update = update();
    update.bundles.insert("td".to_owned(), vec![first.0, second.0]);
    let bundle = pem::certificates(&update.bundles["td"]);
    Arc::make_mut(&mut update.crls).insert("td".to_owned(), vec![first.1.clone()]);
    assert_eq!(domains("ROOTCA", &update)[0].1, bundle, "a list of one alone would have Envoy refuse the other's");
    assert_eq!(believed("ROOTCA", &update, Validator::Plain).crl, None);
    Arc::make_mut(&mut update.crls).insert("td".to_owned(), vec![first.1, second.1]);
    let lists = pem::revocation_lists(&update.crls["td"]);
    assert_eq!(domains("ROOTCA", &update)[0].1, format!("{bundle}{lists}"));
    assert_eq!(text(believed("ROOTCA", &update, Validator::Plain).crl), lists);
    assert_eq!(domains("spiffe://other", &update)[0].1, pem::certificates(&[vec![7]]));
}

#[test]
fn of_a_trust_domain_that_is_believed_no_more_envoy_is_told_an_authority_of_nobody() {
    let plain = text(believed("spiffe://gone", &update(), Validator::Plain).trusted_ca);
    let authority = x509_parser::pem::parse_x509_pem(plain.as_bytes()).unwrap().1.contents;
    let (_, parsed) = X509Certificate::from_der(&authority).unwrap();
    assert!(parsed.is_ca());
    let context = believed("spiffe://gone", &update(), Validator::Spiffe);
    assert!(context.trusted_ca.is_none());
    let config = context.custom_validator_config.unwrap().typed_config.unwrap();
    let config = SpiffeCertValidatorConfig::decode(config.value.as_slice()).unwrap();
    let domains: Vec<_> = config.trust_domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(domains, ["gone"], "and of no other trust domain");
    assert_eq!(text(config.trust_domains[0].trust_bundle.clone()), plain, "the same as long as the agent runs");
    for name in ["default", "spiffe://td/a", "spiffe://TD", ""] {
        assert!(nobody(name, Validator::Spiffe).unwrap().is_none(), "{name}");
    }
}
