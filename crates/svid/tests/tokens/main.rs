//! Tokens verified and refused: each check with a token that differs from a good one in exactly what it looks at.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests draw keys")]

mod foreign;
mod jwt_svid;
mod never_panics;
mod signing;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_evidence::crypto::{KeyKind, PrivateKey};
use holdfast_svid::jwk::Jwk;
use ring::rand::SystemRandom;
use serde_json::Value;

/// A key that signs whatever it is given.
pub(crate) struct Signer {
    pkcs8: Vec<u8>,
    key: PrivateKey,
}

impl Signer {
    pub(crate) fn new(kind: KeyKind) -> Self {
        let rng = SystemRandom::new();
        let pkcs8 = PrivateKey::draw(kind, &rng).unwrap().to_vec();
        Self { key: PrivateKey::from_pkcs8(&pkcs8, &rng).unwrap(), pkcs8 }
    }

    /// Its public half, called by this id.
    pub(crate) fn jwk(&self, id: &str) -> Jwk {
        Jwk { key: self.key.public().clone(), key_id: Some(id.to_owned()), usage: None, algorithm: None }
    }

    pub(crate) fn key(&self) -> &PrivateKey {
        &self.key
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// A token of exactly this header and these claims.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        self.token_of_text(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn token_of_text(&self, header: &str, claims: &str) -> String {
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(text.as_bytes(), &SystemRandom::new()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// `value` with one member replaced.
pub(crate) fn with(value: &Value, name: &str, member: impl Into<Value>) -> Value {
    let mut changed = value.clone();
    changed[name] = member.into();
    changed
}

/// `value` without one member.
pub(crate) fn without(value: &Value, name: &str) -> Value {
    let mut changed = value.clone();
    changed.as_object_mut().unwrap().remove(name);
    changed
}
