//! The keys that verify JWT-SVIDs of this trust domain, as the server's bundle names them.

use std::collections::HashSet;

use holdfast_evidence::crypto::PublicKey;
use holdfast_identity::TrustDomain;
use holdfast_protocol::agent::Bundle;
use holdfast_svid::jwk::Jwk;
use holdfast_svid::jwt::JwtKeys;

/// Keys in one bundle.
const KEYS_MAX: usize = 64;
/// Bytes of the longest key id.
const KEY_ID_BYTES_MAX: usize = 256;

/// The keys, and which of them are tainted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtBundle {
    keys: JwtKeys,
    tainted: HashSet<String>,
}

impl JwtBundle {
    /// What the server's bundle says. A key that cannot be read is passed over: nothing it signs verifies.
    #[must_use]
    pub fn of(trust_domain: &TrustDomain, bundle: &Bundle) -> Option<Self> {
        let (mut keys, mut tainted) = (Vec::new(), HashSet::new());
        for authority in bundle.jwt_authorities.iter().take(KEYS_MAX) {
            let id = authority.authority_id.clone();
            match PublicKey::from_spki(&authority.spki) {
                Ok(key) if (1..=KEY_ID_BYTES_MAX).contains(&id.len()) => {
                    if authority.tainted {
                        tainted.insert(id.clone());
                    }
                    keys.push(Jwk { key, key_id: Some(id), usage: None, algorithm: None });
                }
                _ => tracing::warn!("JWT authority passed over: not one that this agent understands"),
            }
        }
        Some(Self { keys: JwtKeys::new(trust_domain.clone(), keys).ok()?, tainted })
    }

    /// The keys, tainted ones among them.
    #[must_use]
    pub const fn keys(&self) -> &JwtKeys {
        &self.keys
    }

    /// The IDs of those whose tokens may be kept.
    pub(super) fn good(&self) -> HashSet<String> {
        let ids = self.keys.keys().filter_map(|key| key.key_id.clone());
        ids.filter(|id| !self.tainted.contains(id)).collect()
    }

    pub(super) fn tainted(&self) -> HashSet<String> {
        self.tainted.clone()
    }
}
