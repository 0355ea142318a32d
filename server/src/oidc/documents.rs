//! The two documents: what an issuer says of itself, and the keys that verify its tokens.

use holdfast_evidence::crypto::PublicKey;
use holdfast_svid::Algorithm;
use holdfast_svid::jwk::{Jwk, write_set};
use serde_json::json;

use super::Issuer;

/// Where the first one is, below the issuer.
pub const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
/// Where the keys are, below the issuer.
pub const KEYS_PATH: &str = "/keys";
/// Where tokens are exchanged, below the issuer.
pub(super) const TOKEN_PATH: &str = "/token";
/// The one grant.
pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What the issuer says of itself. `keys` are those of the other document.
pub(super) fn discovery(issuer: &Issuer, jwks_uri: Option<&str>, keys: &[Jwk], exchanges: bool) -> Vec<u8> {
    let jwks_uri = jwks_uri.map_or_else(|| format!("{issuer}{KEYS_PATH}"), str::to_owned);
    let mut algorithms: Vec<&str> = keys.iter().filter_map(|key| key.algorithm).map(Algorithm::as_str).collect();
    algorithms.sort_unstable();
    algorithms.dedup();
    let mut document = json!({
        "issuer": issuer.as_str(),
        "jwks_uri": jwks_uri,
        // Nobody logs in here. The standard wants the field, and readers look whether it is there.
        "authorization_endpoint": "",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "claims_supported": ["iss", "sub", "aud", "exp", "iat"],
    });
    if let (true, Some(members)) = (exchanges, document.as_object_mut()) {
        members.insert("token_endpoint".to_owned(), json!(format!("{issuer}{TOKEN_PATH}")));
        members.insert("grant_types_supported".to_owned(), json!([TOKEN_EXCHANGE]));
        members.insert("token_endpoint_auth_methods_supported".to_owned(), json!(["none"]));
    }
    document.to_string().into_bytes()
}

/// Keys as ordinary readers take them: `use` is `sig`, and each says by which algorithm it signs.
pub(super) fn ordinary(authority_id: &str, key: PublicKey) -> Jwk {
    let algorithm = Some(Algorithm::of(&key));
    Jwk { key, key_id: Some(authority_id.to_owned()), usage: Some("sig".to_owned()), algorithm }
}

/// The document of the keys.
pub(super) fn key_set(keys: &[Jwk]) -> Vec<u8> {
    write_set(keys)
}
