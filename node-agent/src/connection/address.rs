//! Where the server is.

use std::path::PathBuf;
use std::str::FromStr;

/// An address of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// `host:port`.
    Tcp {
        /// Name or address; IPv6 without brackets.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// `vsock:CID:PORT`: an enclave's or a virtual machine's way to its host (3 is a Nitro Enclave's parent, 2 a host).
    Vsock {
        /// Context id.
        cid: u32,
        /// Its port.
        port: u32,
    },
    /// `unix:/path`: a relay on this machine.
    Unix(PathBuf),
}

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("expected host:port, vsock:CID:PORT or unix:/path, found {text:?}");
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(form()) };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(form)?;
        if let Some(cid) = host.strip_prefix("vsock:") {
            let (cid, port) = (cid.parse().map_err(|_| form())?, port.parse().map_err(|_| form())?);
            return Ok(Self::Vsock { cid, port });
        }
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        // Half of a vsock address is not the name of a host.
        if host.is_empty() || host == "vsock" || host.chars().any(|c| c.is_whitespace() || c == '/') {
            return Err(form());
        }
        Ok(Self::Tcp { host: host.to_owned(), port: port.parse().map_err(|_| form())? })
    }
}

impl std::fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Vsock { cid, port } => write!(f, "vsock:{cid}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for text in ["localhost:8441", "127.0.0.1:1", "[::1]:8441", "vsock:3:8441", "unix:/run/relay.sock"] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), text);
        }
        assert_eq!("vsock:3:5000".parse(), Ok(ServerAddress::Vsock { cid: 3, port: 5000 }));
    }

    #[test]
    fn anything_else_is_none() {
        for text in
            ["", "nowhere", "a:b", ":1", "a:70000", "http://a:1", "vsock:3", "vsock::1", "vsock:x:1", "unix:", "unix:a"]
        {
            assert!(text.parse::<ServerAddress>().is_err(), "{text}");
        }
    }
}
