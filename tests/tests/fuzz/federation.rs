//! What a bundle endpoint of another trust domain sends: documents, maps of them, and where it sends us to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_identity::TrustDomain;
use holdfast_server::federation::EndpointUrl;
use holdfast_svid::bundle::{AUTHORITIES_BYTES_MAX, Bundle, check_authority, read_map};
use serde_json::json;

use super::fuzz;

fn authority(kind: &'static rcgen::SignatureAlgorithm, names: &[&str]) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.subject_alt_names = names.iter().map(|name| rcgen::SanType::URI((*name).try_into().unwrap())).collect();
    params.self_signed(&rcgen::KeyPair::generate_for(kind).unwrap()).unwrap().der().to_vec()
}

#[test]
fn bundles_of_other_trust_domains() {
    let domain: TrustDomain = "other.org".parse().unwrap();
    let kinds = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
    let roots = kinds.map(|kind| authority(kind, &["spiffe://other.org"]));
    let x509 = |der: &Vec<u8>| json!({ "use": "x509-svid", "kty": "EC", "x5c": [STANDARD.encode(der)] });
    let jwt = json!({
        "use": "jwt-svid", "kty": "EC", "crv": "P-256", "kid": "a",
        "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY", "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
    });
    let bundle = json!({
        "keys": [x509(&roots[0]), x509(&roots[1]), x509(&roots[2]), jwt], "spiffe_sequence": 7, "spiffe_refresh_hint": 60,
    });
    let read = Bundle::read(&domain, bundle.to_string().as_bytes()).unwrap();
    assert_eq!((read.x509_authorities.len(), read.jwt_authorities.len()), (3, 1));
    let map = json!({ "trust_domains": { "other.org": bundle, "third.org": { "keys": [] } } }).to_string();
    assert_eq!(read_map(map.as_bytes()).unwrap().len(), 2);
    let mut seeds = vec![bundle.to_string().into_bytes(), map.into_bytes(), b"{\"keys\":[]}".to_vec()];
    seeds.extend(roots);
    fuzz("bundle", &seeds, |bytes| {
        if let Ok(bundle) = Bundle::read(&domain, bytes) {
            assert!(bundle.x509_authorities.iter().map(Vec::len).sum::<usize>() <= AUTHORITIES_BYTES_MAX);
            assert!(bundle.x509_authorities.iter().all(|der| check_authority(der, &domain).is_ok()));
            // What is written of it is a bundle again, of the same keys as far as the standard has names for them.
            let again = Bundle::read(&domain, bundle.to_json().as_bytes()).unwrap();
            assert_eq!(again.jwt_authorities, bundle.jwt_authorities);
            assert!(again.x509_authorities.iter().all(|der| bundle.x509_authorities.contains(der)));
        }
        for (name, bundle) in read_map(bytes).unwrap_or_default() {
            assert!(bundle.x509_authorities.iter().all(|der| check_authority(der, &name).is_ok()));
        }
        let _ = check_authority(bytes, &domain);
    });
}

#[test]
fn where_an_endpoint_sends_us() {
    let from: EndpointUrl = "https://other.org:8443/bundle?x=1".parse().unwrap();
    let seeds =
        ["https://other.org/", "/two", "//third.org/", "http://a", "https://user@[::1]:443/#x", "https://127.1/"];
    fuzz("redirect", &seeds.map(|seed| seed.as_bytes().to_vec()), |bytes| {
        let Ok(location) = std::str::from_utf8(bytes) else { return };
        if let Ok(to) = from.redirected(location) {
            assert!(to.as_str().get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")), "{to}");
            assert_eq!(to.as_str().parse::<EndpointUrl>().unwrap(), to);
        }
    });
}
