//! A key that signs JWT-SVIDs, good ones and others.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_agent::svids::{JwtToken, X509Svid};
use holdfast_evidence::crypto::{KeyKind, PrivateKey};
use holdfast_identity::UnixTime;
use holdfast_svid::Algorithm;
use holdfast_svid::audience::Audience;
use holdfast_svid::jwk::{self, Jwk};
use holdfast_svid::jwt::{Claims, JwtKeys};
use ring::rand::SystemRandom;
use serde_json::Value;

/// Signs for one trust domain.
pub(crate) struct JwtAuthority {
    key: PrivateKey,
    pub(crate) id: String,
}

impl JwtAuthority {
    pub(crate) fn new(kind: KeyKind) -> Self {
        let rng = SystemRandom::new();
        let key = PrivateKey::from_pkcs8(&PrivateKey::draw(kind, &rng).unwrap(), &rng).unwrap();
        Self { id: jwk::thumbprint(key.public()), key }
    }

    /// Its public half as `domain` publishes it.
    pub(crate) fn keys(&self, domain: &str) -> JwtKeys {
        JwtKeys::new(domain.parse().unwrap(), [Jwk::named(self.key.public().clone())]).unwrap()
    }

    /// The same as one of a bundle's keys, for `usage`.
    pub(crate) fn jwk(&self, usage: &str) -> Value {
        let mut members = jwk::members(self.key.public());
        members.insert("use".to_owned(), usage.into());
        members.insert("kid".to_owned(), self.id.clone().into());
        Value::Object(members)
    }

    /// What a workload is given.
    pub(crate) fn issue(&self, svid: &X509Svid, audience: &Audience) -> JwtToken {
        let issued = now();
        let expires = issued.plus(300);
        let claims = Claims { subject: &svid.spiffe_id, audience, issued, expires, issuer: None, grant: None };
        let prepared = claims.prepare(Algorithm::of(self.key.public()), &self.id);
        JwtToken {
            spiffe_id: svid.spiffe_id.clone(),
            token: prepared.sign(&self.key, &SystemRandom::new()).unwrap(),
            expires,
            authority_id: self.id.clone(),
            issued,
            grant: None,
        }
    }

    /// A token of exactly this header and these claims.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let text =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = self.key.sign(text.as_bytes(), &SystemRandom::new()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Header and claims, as they were written.
pub(crate) fn parts(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut json = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (json(), json())
}

/// The wall clock.
pub(crate) fn now() -> UnixTime {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixTime(now.as_secs().try_into().unwrap())
}
