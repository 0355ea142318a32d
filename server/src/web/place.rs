//! Where a site is served: `host:port`, or `unix:/path`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a site is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// TCP.
    Address(SocketAddr),
    /// A Unix socket, for a proxy on the same machine.
    Socket(PathBuf),
}

/// Why a text is no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address with a port, or unix:/absolute/path, found {0:?}")]
pub struct BadPlace(String);

impl FromStr for Place {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<Self, BadPlace> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Socket(PathBuf::from(path))),
            Some(_) => Err(BadPlace(text.to_owned())),
            None => text.parse().map(Self::Address).map_err(|_| BadPlace(text.to_owned())),
        }
    }
}

impl Place {
    /// Whether nobody beyond this machine can reach it.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        match self {
            Self::Address(address) => match address.ip() {
                std::net::IpAddr::V4(ip) => ip.is_loopback(),
                std::net::IpAddr::V6(ip) => ip.is_loopback(),
            },
            Self::Socket(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_or_a_socket() {
        let place = |text: &str| text.parse::<Place>();
        assert_eq!(place("unix:/run/a.sock"), Ok(Place::Socket("/run/a.sock".into())));
        for (text, local) in [("127.0.0.1:1", true), ("[::1]:1", true), ("0.0.0.0:1", false), ("192.0.2.1:443", false)]
        {
            assert_eq!(place(text).unwrap().is_local(), local, "{text}");
        }
        for text in ["", "unix:a", "unix:", "localhost:1", "127.0.0.1", "/run/a.sock"] {
            assert!(place(text).is_err(), "{text}");
        }
    }
}
