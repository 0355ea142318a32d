//! URLs of bundle endpoints: https, a host, nobody's name and password. Fetches nothing.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// Bytes of a URL.
const URL_BYTES_MAX: usize = 2048;

/// A URL that a bundle may be fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointUrl {
    text: String,
    uri: Uri,
}

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an https URL without user and password, found {found:?}: {problem}")]
pub struct BadUrl {
    found: String,
    problem: &'static str,
}

impl EndpointUrl {
    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where a redirect from here leads that says `location`: another URL, or a path on the same host.
    ///
    /// # Errors
    /// [`BadUrl`]: what a redirect leads to is judged as if an operator had written it.
    pub fn redirected(&self, location: &str) -> Result<Self, BadUrl> {
        let authority = self.uri.authority().map(hyper::http::uri::Authority::as_str).unwrap_or_default();
        match location.strip_prefix('/') {
            Some(rest) if !rest.starts_with('/') => format!("https://{authority}{location}").parse(),
            _ => location.parse(),
        }
    }
}

impl FromStr for EndpointUrl {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        let bad = |problem| BadUrl { found: text.chars().take(200).collect(), problem };
        if text.len() > URL_BYTES_MAX {
            return Err(bad("it is longer than 2048 bytes"));
        }
        let uri: Uri = text.parse().map_err(|_| bad("it is no URL"))?;
        if uri.scheme_str() != Some("https") {
            return Err(bad("its scheme is not https"));
        }
        if uri.host().is_none_or(|host| host.trim_matches(['[', ']']).is_empty()) {
            return Err(bad("it has no host"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(bad("it names a user"));
        }
        if text.contains('#') {
            return Err(bad("it has a fragment"));
        }
        Ok(Self { text: text.to_owned(), uri })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> &'static str {
        text.parse::<EndpointUrl>().unwrap_err().problem
    }

    #[test]
    fn only_https_without_a_user_is_a_bundle_endpoint() {
        for text in ["https://a.org", "https://a.org:8443/bundle?x=1", "https://192.0.2.1/", "https://[2001:db8::1]/b"]
        {
            text.parse::<EndpointUrl>().unwrap();
        }
        for (text, expected) in [
            ("http://a.org", "its scheme is not https"),
            ("HTTP://a.org", "its scheme is not https"),
            ("a.org", "its scheme is not https"),
            ("/bundle", "its scheme is not https"),
            ("spiffe://a.org", "its scheme is not https"),
            ("https://user@a.org", "it names a user"),
            ("https://user:secret@a.org/", "it names a user"),
            ("https://a.org/#x", "it has a fragment"),
            ("https://", "it is no URL"),
            ("https:///x", "it is no URL"),
            ("https://a b.org", "it is no URL"),
            ("", "it is no URL"),
        ] {
            assert_eq!(problem(text), expected, "{text}");
        }
        assert_eq!(problem(&format!("https://a.org/{}", "a".repeat(URL_BYTES_MAX))), "it is longer than 2048 bytes");
    }

    #[test]
    fn a_redirect_is_a_url_like_any_or_a_path() {
        let from: EndpointUrl = "https://a.org:8443/one?x=1".parse().unwrap();
        let to = |location: &str| from.redirected(location).map(|url| url.text);
        assert_eq!(to("/two").unwrap(), "https://a.org:8443/two");
        assert_eq!(to("https://b.org/").unwrap(), "https://b.org/");
        for refused in ["http://a.org:8443/one", "//b.org/", "two", "", "https://u@a.org/", "file:///etc/passwd"] {
            assert!(to(refused).is_err(), "{refused}");
        }
    }
}
