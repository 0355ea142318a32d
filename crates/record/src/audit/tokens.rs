//! Which keys may sign JWT-SVIDs at each point of the record, by the acts of their lives that stand before it.

use std::collections::HashMap;

use holdfast_evidence::crypto::sha256;
use holdfast_identity::UnixTime;
use serde_json::Value;

use super::report::Breach;

/// The keys by SHA-256 of their ids.
#[derive(Debug, Default)]
pub(super) struct TokenKeys(HashMap<[u8; 32], Key>);

#[derive(Debug)]
struct Key {
    ends: UnixTime,
    signs: bool,
}

impl TokenKeys {
    /// Takes an act in; most are about something else.
    pub(super) fn hear(&mut self, act: &Value) {
        let text = |name: &str| act.get(name).and_then(Value::as_str);
        let (Some(action), Some(subject)) = (text("action"), text("subject")) else { return };
        let id = sha256(&[subject.as_bytes()]);
        match action {
            "jwt_authority.prepare" => {
                let ends = act.pointer("/detail/ends").and_then(Value::as_i64).unwrap_or_default();
                self.0.insert(id, Key { ends: UnixTime(ends), signs: false });
            }
            "jwt_authority.activate" => {
                if let Some(key) = self.0.get_mut(&id) {
                    key.signs = true;
                }
            }
            "jwt_authority.taint" => {
                if let Some(key) = self.0.get_mut(&id) {
                    key.signs = false;
                }
            }
            "jwt_authority.revoke" | "jwt_authority.retire" => {
                self.0.remove(&id);
            }
            _ => {}
        }
    }

    /// What is wrong with a token of this key that ends then.
    pub(super) fn judge(&self, key_id_sha256: &[u8; 32], expires: UnixTime) -> Option<(Breach, String)> {
        match self.0.get(key_id_sha256) {
            Some(key) if key.signs && expires <= key.ends => None,
            Some(key) if key.signs => {
                let detail = format!("token ends at {expires}, the key that signs it at {}", key.ends);
                Some((Breach::TokenOutlives, detail))
            }
            _ => {
                let key = hex::encode(key_id_sha256);
                Some((Breach::TokenKey, format!("no authority that signs has an id with SHA-256 {key}")))
            }
        }
    }
}
