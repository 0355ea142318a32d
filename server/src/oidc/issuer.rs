//! The name of an issuer: an https URL, compared byte by byte, as OpenID Connect has it.

use std::fmt;
use std::str::FromStr;

/// Bytes of an issuer's name.
const BYTES_MAX: usize = 1024;

/// An https URL without user, query, fragment or a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issuer(String);

/// Why a text is no issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected an https URL of at most {BYTES_MAX} bytes, without user, query, fragment, and slash at its end, found {0:?}"
)]
pub struct BadIssuer(String);

impl Issuer {
    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the host: empty, or a path that begins with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        let rest = self.0.strip_prefix("https://").unwrap_or_default();
        rest.find('/').and_then(|at| rest.get(at..)).unwrap_or_default()
    }
}

impl FromStr for Issuer {
    type Err = BadIssuer;

    fn from_str(text: &str) -> Result<Self, BadIssuer> {
        let bad = || BadIssuer(text.chars().take(100).collect());
        let url = text.parse::<hyper::Uri>().map_err(|_| bad())?;
        let authority = url.authority().map(hyper::http::uri::Authority::as_str).unwrap_or_default();
        let plain = !authority.is_empty() && !authority.contains('@') && !text.contains(['?', '#']);
        let fits = text.starts_with("https://") && plain && !text.ends_with('/') && text.len() <= BYTES_MAX;
        if fits { Ok(Self(text.to_owned())) } else { Err(bad()) }
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_https_url_in_one_spelling() {
        for (text, path) in
            [("https://oidc.example.org", ""), ("https://example.org:8443/a/b", "/a/b"), ("https://[::1]:8443/a", "/a")]
        {
            assert_eq!(text.parse::<Issuer>().unwrap().path(), path);
        }
        for text in [
            "",
            "example.org",
            "http://example.org",
            "HTTPS://example.org",
            "https://",
            "https:///a",
            "https://a/",
            "https://a/b/",
            "https://u@a",
            "https://u:p@a/b",
            "https://a?b",
            "https://a/b?c",
            "https://a#b",
            "https://a b",
        ] {
            assert!(text.parse::<Issuer>().is_err(), "{text}");
        }
        assert!(format!("https://{}", "a".repeat(1020)).parse::<Issuer>().is_err());
    }
}
