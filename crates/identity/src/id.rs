//! SPIFFE IDs and trust domains, strict: what the standard does not allow is refused, never repaired.

use std::fmt;
use std::str::FromStr;

/// Longest SPIFFE ID in bytes (SPIFFE-ID §2.3).
pub const SPIFFE_ID_BYTES_MAX: usize = 2048;
/// Longest trust domain name in bytes (SPIFFE-ID §2.3).
pub const TRUST_DOMAIN_BYTES_MAX: usize = 255;

const SCHEME: &str = "spiffe://";

/// The name of a trust domain: lower-case letters, digits, `.`, `-` and `_`, at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

/// A SPIFFE ID, kept as the one text that is its only spelling.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: String,
    /// Bytes of `text` before the path, `spiffe://` included.
    path_at: usize,
}

/// Why a text is not a SPIFFE ID or trust domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// It does not start with `spiffe://`.
    #[error("SPIFFE ID does not start with \"spiffe://\"")]
    Scheme,
    /// The trust domain is empty.
    #[error("trust domain is empty")]
    TrustDomainEmpty,
    /// The trust domain is longer than 255 bytes.
    #[error("trust domain is {found} bytes, limit {TRUST_DOMAIN_BYTES_MAX}")]
    TrustDomainTooLong {
        /// Bytes found.
        found: usize,
    },
    /// A character outside `[a-z0-9._-]`; user information, ports and upper case end here.
    #[error("trust domain contains {found:?}, only a-z, 0-9, '.', '-' and '_' are allowed")]
    TrustDomainCharacter {
        /// The first such character.
        found: char,
    },
    /// The ID is longer than 2048 bytes.
    #[error("SPIFFE ID is {found} bytes, limit {SPIFFE_ID_BYTES_MAX}")]
    TooLong {
        /// Bytes found.
        found: usize,
    },
    /// A character outside `[a-zA-Z0-9._-]` in a path segment; queries, fragments and escapes end here.
    #[error("SPIFFE ID path contains {found:?}, only a-z, A-Z, 0-9, '.', '-' and '_' are allowed")]
    PathCharacter {
        /// The first such character.
        found: char,
    },
    /// An empty segment or a trailing slash.
    #[error("SPIFFE ID path has an empty segment or a trailing slash")]
    EmptySegment,
    /// A segment `.` or `..`.
    #[error("SPIFFE ID path has a segment \".\" or \"..\"")]
    DotSegment,
}

impl InvalidId {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Scheme => "spiffe_id.scheme",
            Self::TrustDomainEmpty => "spiffe_id.trust_domain.empty",
            Self::TrustDomainTooLong { .. } => "spiffe_id.trust_domain.too_long",
            Self::TrustDomainCharacter { .. } => "spiffe_id.trust_domain.character",
            Self::TooLong { .. } => "spiffe_id.too_long",
            Self::PathCharacter { .. } => "spiffe_id.path.character",
            Self::EmptySegment => "spiffe_id.path.empty_segment",
            Self::DotSegment => "spiffe_id.path.dot_segment",
        }
    }
}

impl TrustDomain {
    /// The bare name, such as `example.org`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The ID of the trust domain itself, `spiffe://name`, as signing certificates carry it.
    #[must_use]
    pub fn id(&self) -> SpiffeId {
        let text = format!("{SCHEME}{}", self.0);
        SpiffeId { path_at: text.len(), text }
    }

    /// The ID with `path`, which starts with a slash.
    ///
    /// # Errors
    /// [`InvalidId`] if the path is not one the standard allows.
    pub fn with_path(&self, path: &str) -> Result<SpiffeId, InvalidId> {
        format!("{SCHEME}{}{path}", self.0).parse()
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidId;

    fn from_str(name: &str) -> Result<Self, InvalidId> {
        check_trust_domain(name)?;
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SpiffeId {
    /// The whole ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name of its trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.trust_domain_name().to_owned())
    }

    /// The name of its trust domain, borrowed.
    #[must_use]
    pub fn trust_domain_name(&self) -> &str {
        self.text.get(SCHEME.len()..self.path_at).unwrap_or_default()
    }

    /// The path with its leading slash; empty for the ID of a trust domain.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or_default()
    }

    /// Whether it is a member of `trust_domain`.
    #[must_use]
    pub fn is_member_of(&self, trust_domain: &TrustDomain) -> bool {
        self.trust_domain_name() == trust_domain.as_str()
    }

    /// Whether its path is `/holdfast` or below it: the platform's own names, which no entry or template may use.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.path() == "/holdfast" || self.path().starts_with("/holdfast/")
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() > SPIFFE_ID_BYTES_MAX {
            return Err(InvalidId::TooLong { found: text.len() });
        }
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidId::Scheme)?;
        let name = rest.split('/').next().unwrap_or_default();
        check_trust_domain(name)?;
        let path_at = SCHEME.len() + name.len();
        if let Some(path) = rest.get(name.len() + 1..) {
            path.split('/').try_for_each(check_segment)?;
        }
        Ok(Self { text: text.to_owned(), path_at })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpiffeId({})", self.text)
    }
}

fn check_trust_domain(name: &str) -> Result<(), InvalidId> {
    if name.is_empty() {
        return Err(InvalidId::TrustDomainEmpty);
    }
    if name.len() > TRUST_DOMAIN_BYTES_MAX {
        return Err(InvalidId::TrustDomainTooLong { found: name.len() });
    }
    match name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '-' | '_')) {
        Some(found) => Err(InvalidId::TrustDomainCharacter { found }),
        None => Ok(()),
    }
}

fn check_segment(segment: &str) -> Result<(), InvalidId> {
    match segment {
        "" => return Err(InvalidId::EmptySegment),
        "." | ".." => return Err(InvalidId::DotSegment),
        _ => {}
    }
    match segment.chars().find(|c| !matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_')) {
        Some(found) => Err(InvalidId::PathCharacter { found }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(text: &str) -> &'static str {
        text.parse::<SpiffeId>().unwrap_err().code()
    }

    #[test]
    fn what_the_standard_refuses_is_refused() {
        for (text, code) in [
            ("http://td/x", "spiffe_id.scheme"),
            ("SPIFFE://td/x", "spiffe_id.scheme"),
            ("spiffe:///x", "spiffe_id.trust_domain.empty"),
            ("spiffe://u@td/x", "spiffe_id.trust_domain.character"),
            ("spiffe://td:1/x", "spiffe_id.trust_domain.character"),
            ("spiffe://TD/x", "spiffe_id.trust_domain.character"),
            ("spiffe://t%64/x", "spiffe_id.trust_domain.character"),
            ("spiffe://td?q", "spiffe_id.trust_domain.character"),
            ("spiffe://td/x?y", "spiffe_id.path.character"),
            ("spiffe://td/x#z", "spiffe_id.path.character"),
            ("spiffe://td/a%2fb", "spiffe_id.path.character"),
            ("spiffe://td/a~b", "spiffe_id.path.character"),
            ("spiffe://td/é", "spiffe_id.path.character"),
            ("spiffe://td/", "spiffe_id.path.empty_segment"),
            ("spiffe://td/a/", "spiffe_id.path.empty_segment"),
            ("spiffe://td/a//b", "spiffe_id.path.empty_segment"),
            ("spiffe://td/./a", "spiffe_id.path.dot_segment"),
            ("spiffe://td/a/..", "spiffe_id.path.dot_segment"),
        ] {
            assert_eq!(refused(text), code, "{text}");
        }
    }

    #[test]
    fn lengths_are_bounded_at_2048_and_255() {
        let fits = format!("spiffe://td/{}", "a".repeat(SPIFFE_ID_BYTES_MAX - 12));
        assert_eq!(fits.parse::<SpiffeId>().unwrap().as_str().len(), SPIFFE_ID_BYTES_MAX);
        assert_eq!(refused(&format!("{fits}a")), "spiffe_id.too_long");
        assert!("a".repeat(255).parse::<TrustDomain>().is_ok());
        assert!("a".repeat(256).parse::<TrustDomain>().is_err());
    }

    #[test]
    fn parts_come_apart_as_written() {
        let id: SpiffeId = "spiffe://td_1.x-y/a/B".parse().unwrap();
        assert_eq!((id.trust_domain_name(), id.path()), ("td_1.x-y", "/a/B"));
        assert_eq!(id.trust_domain().id().as_str(), "spiffe://td_1.x-y");
        assert_eq!(id.trust_domain().id().path(), "");
    }

    #[test]
    fn the_platforms_own_names_are_reserved() {
        let td: TrustDomain = "td".parse().unwrap();
        for (path, reserved) in
            [("/holdfast", true), ("/holdfast/node/a", true), ("/holdfastly", false), ("/a/holdfast", false)]
        {
            assert_eq!(td.with_path(path).unwrap().is_reserved(), reserved, "{path}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_id_is_its_own_spelling(text in ".{0,64}") {
            if let Ok(id) = text.parse::<SpiffeId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
