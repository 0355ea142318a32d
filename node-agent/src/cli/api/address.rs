//! Where a Workload API is, by the standard's rules (SPIFFE Workload Endpoint, section 4).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The variable that names the endpoint.
pub(in crate::cli) const VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";
/// Where the agent listens if its configuration does not say otherwise.
const DEFAULT: &str = "/run/holdfast/agent/api.sock";

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Address {
    /// A Unix socket, by an absolute path.
    Unix(PathBuf),
    /// A TCP socket; not one of this agent's, which serves none.
    Tcp(SocketAddr),
}

/// Why a text is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::cli) enum InvalidAddress {
    /// Another scheme, or none.
    #[error("endpoint {0:?} has neither the scheme \"unix\" nor \"tcp\"")]
    Scheme(String),
    /// A host before the path.
    #[error("endpoint {0:?} names a host; a Unix socket has none: unix:///absolute/path")]
    Authority(String),
    /// No absolute path.
    #[error("endpoint {0:?} has no absolute path: unix:///absolute/path")]
    Path(String),
    /// A query or a fragment.
    #[error("endpoint {0:?} has a query or a fragment")]
    Extra(String),
    /// No IP address and port, or something behind them.
    #[error("endpoint {0:?} is not an IP address and a port: tcp://127.0.0.1:8000")]
    Tcp(String),
}

impl InvalidAddress {
    /// Stable code for operators and programs.
    pub(in crate::cli) const fn code(&self) -> &'static str {
        match self {
            Self::Scheme(_) => "endpoint.scheme",
            Self::Authority(_) => "endpoint.authority",
            Self::Path(_) => "endpoint.path",
            Self::Extra(_) => "endpoint.extra",
            Self::Tcp(_) => "endpoint.tcp",
        }
    }
}

impl Address {
    /// The socket at `path` if one is given, else what the environment says (`variable`), else the usual place.
    pub(in crate::cli) fn choose(path: Option<&Path>, variable: Option<&str>) -> Result<Self, InvalidAddress> {
        match (path, variable) {
            (Some(path), _) => Ok(Self::Unix(path.to_owned())),
            (None, Some(text)) => text.parse(),
            (None, None) => Ok(Self::Unix(DEFAULT.into())),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let fail = |why: fn(String) -> InvalidAddress| Err(why(text.to_owned()));
        if let Some(rest) = text.strip_prefix("tcp:") {
            let Some(address) = rest.strip_prefix("//").and_then(|address| address.parse().ok()) else {
                return fail(InvalidAddress::Tcp);
            };
            return Ok(Self::Tcp(address));
        }
        let Some(rest) = text.strip_prefix("unix:") else { return fail(InvalidAddress::Scheme) };
        if rest.contains(['?', '#']) {
            return fail(InvalidAddress::Extra);
        }
        let path = match rest.strip_prefix("//") {
            Some(path) if !path.is_empty() && !path.starts_with('/') => return fail(InvalidAddress::Authority),
            Some(path) => path,
            None => rest,
        };
        match percent_decoded(path) {
            Some(path) if path.len() > 1 && path.starts_with('/') => Ok(Self::Unix(path.into())),
            _ => fail(InvalidAddress::Path),
        }
    }
}

/// `path` without percent-encoding; `None` where that is damaged, or a zero byte or no UTF-8 comes out.
fn percent_decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let (digits, after) = after.split_first_chunk::<2>()?;
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok()?;
            bytes.extend(byte);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok().filter(|path| !path.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_examples_are_taken() {
        let unix = |path: &str| Ok(Address::Unix(path.into()));
        assert_eq!("unix:///path/to/endpoint.sock".parse(), unix("/path/to/endpoint.sock"));
        assert_eq!("unix:/path/to/endpoint.sock".parse(), unix("/path/to/endpoint.sock"));
        assert_eq!("unix:///a%20b.sock".parse(), unix("/a b.sock"));
        assert_eq!("tcp://127.0.0.1:8000".parse(), Ok(Address::Tcp(([127, 0, 0, 1], 8000).into())));
        assert!(matches!("tcp://[::1]:8000".parse(), Ok(Address::Tcp(_))));
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        for (text, code) in [
            ("", "endpoint.scheme"),
            ("/run/api.sock", "endpoint.scheme"),
            ("http://127.0.0.1:8000", "endpoint.scheme"),
            ("UNIX:///x", "endpoint.scheme"),
            ("unix://host/x", "endpoint.authority"),
            ("unix://x", "endpoint.authority"),
            ("unix:rel", "endpoint.path"),
            ("unix:", "endpoint.path"),
            ("unix://", "endpoint.path"),
            ("unix:///", "endpoint.path"),
            ("unix:///a%2", "endpoint.path"),
            ("unix:///a%00", "endpoint.path"),
            ("unix:///x?y", "endpoint.extra"),
            ("unix:///x#y", "endpoint.extra"),
            ("tcp://host:1", "endpoint.tcp"),
            ("tcp://127.0.0.1", "endpoint.tcp"),
            ("tcp://127.0.0.1:8000/foo", "endpoint.tcp"),
            ("tcp://127.0.0.1:8000/", "endpoint.tcp"),
            ("tcp://u@127.0.0.1:8000", "endpoint.tcp"),
            ("tcp://127.0.0.1:8000?x", "endpoint.tcp"),
            ("tcp:127.0.0.1:8000", "endpoint.tcp"),
        ] {
            assert_eq!(text.parse::<Address>().map_err(|e| e.code()), Err(code), "{text}");
        }
    }

    #[test]
    fn a_path_goes_before_the_environment_and_that_before_the_default() {
        let path = Path::new("/a");
        assert_eq!(Address::choose(Some(path), Some("nonsense")), Ok(Address::Unix("/a".into())));
        assert_eq!(Address::choose(None, Some("unix:///b")), Ok(Address::Unix("/b".into())));
        assert_eq!(Address::choose(None, None), Ok(Address::Unix(DEFAULT.into())));
        assert!(Address::choose(None, Some("nonsense")).is_err());
    }
}
