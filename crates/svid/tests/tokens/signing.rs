//! What we prepare is what we verify; every algorithm of the list but the one on a curve that we do not have.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_evidence::crypto::{CryptoFault, KeyKind};
use holdfast_identity::{SpiffeId, UnixTime};
use holdfast_svid::audience::Audience;
use holdfast_svid::jws::Compact;
use holdfast_svid::jwt::{Claims, JwtKeys, Unverified};
use holdfast_svid::{Algorithm, Grant, Leeway, jwk};
use ring::rand::SystemRandom;
use ring::signature::{self, RsaEncoding, RsaKeyPair};
use serde_json::{Value, json};

use super::Signer;

#[test]
fn a_prepared_token_verifies_when_it_is_signed() {
    let subject: SpiffeId = "spiffe://td/w".parse().unwrap();
    let audience = Audience::new(&["b", "a"]).unwrap();
    for kind in [KeyKind::EcP256, KeyKind::EcP384, KeyKind::Rsa2048] {
        let signer = Signer::new(kind);
        let id = jwk::thumbprint(signer.key().public());
        let claims = Claims {
            subject: &subject,
            audience: &audience,
            issued: UnixTime(1000),
            expires: UnixTime(1300),
            issuer: Some("https://td.example"),
            grant: Some(Grant([1; 12])),
        };
        let prepared = claims.prepare(Algorithm::of(signer.key().public()), &id);
        let token = prepared.sign(signer.key(), &SystemRandom::new()).unwrap();
        let keys = JwtKeys::new("td".parse().unwrap(), [signer.jwk(&id)]).unwrap();
        let read = Unverified::parse(&token).unwrap();
        assert_eq!(read.claimed_subject(), &subject);
        let svid = read.verify(&keys, &["a"], UnixTime(1299), Leeway::NONE).unwrap();
        let expected = json!({ "sub": "spiffe://td/w", "aud": ["b", "a"], "exp": 1300, "iat": 1000, "iss": "https://td.example",
                    "holdfast_grant": "AQEBAQEBAQEBAQEB" });
        assert_eq!((svid.grant(), svid.issued()), (Some(Grant([1; 12])), Some(UnixTime(1000))));
        assert_eq!(Value::Object(svid.claims().clone()), expected);
        let header = Compact::parse(&token).unwrap().header().clone();
        assert_eq!(header.keys().collect::<Vec<_>>(), ["alg", "kid", "typ"]);

        let other = claims.prepare(Algorithm::Ps512, &id).sign(signer.key(), &SystemRandom::new());
        assert_eq!(other, Err(CryptoFault::Key), "a key signs by its own algorithm alone");
    }
}

#[test]
fn every_rsa_algorithm_verifies_what_it_signed_and_no_other_does() {
    let signer = Signer::new(KeyKind::Rsa2048);
    let pair = RsaKeyPair::from_pkcs8(signer.pkcs8()).unwrap();
    let encodings: [(Algorithm, &'static dyn RsaEncoding); 6] = [
        (Algorithm::Rs256, &signature::RSA_PKCS1_SHA256),
        (Algorithm::Rs384, &signature::RSA_PKCS1_SHA384),
        (Algorithm::Rs512, &signature::RSA_PKCS1_SHA512),
        (Algorithm::Ps256, &signature::RSA_PSS_SHA256),
        (Algorithm::Ps384, &signature::RSA_PSS_SHA384),
        (Algorithm::Ps512, &signature::RSA_PSS_SHA512),
    ];
    for (algorithm, encoding) in encodings {
        let mut signature = vec![0; 256];
        pair.sign(encoding, &SystemRandom::new(), b"message", &mut signature).unwrap();
        for claimed in Algorithm::ALL {
            let verified = claimed.verify(signer.key().public(), b"message", &signature).is_ok();
            assert_eq!(verified, claimed == algorithm, "{algorithm} as {claimed}");
        }
    }
}

#[test]
fn a_token_says_in_its_header_what_it_is_signed_by() {
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::from_name(algorithm.as_str()), Some(algorithm));
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": algorithm.as_str() }).to_string());
        let token = format!("{header}.{}.AA", URL_SAFE_NO_PAD.encode("{}"));
        assert_eq!(Compact::parse(&token).unwrap().algorithm(), Ok(algorithm));
    }
}
