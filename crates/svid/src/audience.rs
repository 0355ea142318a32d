//! Whom a token is for. A list that was checked: not empty, no member empty, long or there twice.

use holdfast_evidence::crypto::{HashAlg, Hasher};
use serde_json::{Map, Value};

use crate::jws::BadToken;

/// Audiences of one token; programs ask for one or two.
pub const AUDIENCES_MAX: usize = 16;
/// Bytes of one audience: URLs and SPIFFE IDs of ordinary length.
pub const AUDIENCE_BYTES_MAX: usize = 1024;

/// The audiences of a token that we make, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audience(Vec<String>);

/// Why a list is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAudience {
    /// No audience, or one without characters.
    #[error("expected at least one audience, and none empty")]
    Empty,
    /// Too many.
    #[error("{0} audiences, limit {AUDIENCES_MAX}")]
    Many(usize),
    /// One is too long.
    #[error("audience of {0} bytes, limit {AUDIENCE_BYTES_MAX}")]
    Long(usize),
    /// Control characters have no place in a name.
    #[error("audience with a control character")]
    Character,
}

impl BadAudience {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "jwt.audience.empty",
            Self::Many(_) => "jwt.audience.many",
            Self::Long(_) => "jwt.audience.long",
            Self::Character => "jwt.audience.character",
        }
    }
}

impl Audience {
    /// Checks a list; a name that is there again is left out.
    ///
    /// # Errors
    /// [`BadAudience`].
    pub fn new<S: AsRef<str>>(asked: &[S]) -> Result<Self, BadAudience> {
        if asked.len() > AUDIENCES_MAX {
            return Err(BadAudience::Many(asked.len()));
        }
        let mut names: Vec<String> = Vec::with_capacity(asked.len());
        for name in asked.iter().map(AsRef::as_ref) {
            match name {
                "" => return Err(BadAudience::Empty),
                long if long.len() > AUDIENCE_BYTES_MAX => return Err(BadAudience::Long(long.len())),
                odd if odd.chars().any(char::is_control) => return Err(BadAudience::Character),
                twice if names.iter().any(|name| name == twice) => {}
                name => names.push(name.to_owned()),
            }
        }
        if names.is_empty() { Err(BadAudience::Empty) } else { Ok(Self(names)) }
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// SHA-256 over the names in order, each behind its length (4 bytes, big-endian): what the record keeps.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Hasher::new(HashAlg::Sha256);
        for name in &self.0 {
            hasher.update(&u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes());
            hasher.update(name.as_bytes());
        }
        hasher.finish().as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

/// Checks that one of `ours` is in the claim `aud`, which is a string or a list of strings. An empty `ours` is in none.
pub(crate) fn check(claims: &Map<String, Value>, ours: &[&str]) -> Result<(), BadToken> {
    let is_ours = |name: &str| ours.contains(&name);
    let matches = match claims.get("aud").ok_or(BadToken::AudienceMissing)? {
        Value::String(name) => is_ours(name),
        Value::Array(names) => {
            let all: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
            all.filter(|names| !names.is_empty()).ok_or(BadToken::AudienceMissing)?.into_iter().any(is_ours)
        }
        _ => return Err(BadToken::AudienceMissing),
    };
    if matches { Ok(()) } else { Err(BadToken::Audience) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_keeps_its_order_and_loses_repetitions() {
        let audience = Audience::new(&["b", "a", "b"]).unwrap();
        assert_eq!(audience.names(), ["b", "a"]);
        assert_ne!(audience.digest(), Audience::new(&["a", "b"]).unwrap().digest());
        assert_ne!(Audience::new(&["ab"]).unwrap().digest(), Audience::new(&["a", "b"]).unwrap().digest());
    }

    #[test]
    fn empty_long_many_and_odd_names_are_refused() {
        assert_eq!(Audience::new::<&str>(&[]), Err(BadAudience::Empty));
        assert_eq!(Audience::new(&["a", ""]), Err(BadAudience::Empty));
        assert_eq!(Audience::new(&["a"; 17]), Err(BadAudience::Many(17)));
        assert_eq!(Audience::new(&["a".repeat(1025)]), Err(BadAudience::Long(1025)));
        assert_eq!(Audience::new(&["a\n"]), Err(BadAudience::Character));
    }

    #[test]
    fn one_of_ours_must_be_named_and_nothing_names_nobody() {
        let judge = |claims: Value, ours: &[&str]| check(claims.as_object().unwrap(), ours);
        assert_eq!(judge(json!({ "aud": "a" }), &["b", "a"]), Ok(()));
        assert_eq!(judge(json!({ "aud": ["x", "a"] }), &["a"]), Ok(()));
        assert_eq!(judge(json!({ "aud": ["x"] }), &["a"]), Err(BadToken::Audience));
        assert_eq!(judge(json!({ "aud": "A" }), &["a"]), Err(BadToken::Audience));
        assert_eq!(judge(json!({ "aud": "a" }), &[]), Err(BadToken::Audience));
        for wrong in [json!({}), json!({ "aud": [] }), json!({ "aud": ["a", 1] }), json!({ "aud": { "a": 1 } })] {
            assert_eq!(judge(wrong.clone(), &["a"]), Err(BadToken::AudienceMissing), "{wrong}");
        }
    }
}
