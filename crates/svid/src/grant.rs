//! By what a JWT-SVID was given: one entry, on one node. All tokens of that pair bear the same name in a claim of ours, by
//! which they can be withdrawn together; it says nothing else to anybody.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The claim. No `jti`: a token that is held is used more than once, and some who see a `jti` take it once alone.
pub const CLAIM: &str = "holdfast_grant";
/// Bytes of a name: drawn at random, none is there twice.
pub const BYTES: usize = 12;

/// The name of what was given to one node by one entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant(pub [u8; BYTES]);

impl Grant {
    /// From the bytes of its name; `None` for another number of them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The one that a token's claims name. None in tokens of others, and in those that were exchanged.
    #[must_use]
    pub(crate) fn of(claims: &Map<String, Value>) -> Option<Self> {
        let text = claims.get(CLAIM)?.as_str()?;
        Self::from_bytes(&URL_SAFE_NO_PAD.decode(text).ok()?)
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({self})")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_nothing_else_is_one() {
        let grant = Grant([7; BYTES]);
        let read = |claims: Value| Grant::of(claims.as_object().unwrap());
        assert_eq!(read(json!({ CLAIM: grant.to_string() })), Some(grant));
        for other in [json!({}), json!({ CLAIM: 7 }), json!({ CLAIM: "AAAA" }), json!({ CLAIM: "?" })] {
            assert_eq!(read(other.clone()), None, "{other}");
        }
    }
}
