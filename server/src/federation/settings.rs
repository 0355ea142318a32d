//! What configuration says of federation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How foreign bundles are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederationSettings {
    /// Certificates of public TLS, for endpoints of the profile `https_web`.
    pub ca_file: PathBuf,
    /// How long one fetch may take, redirects included.
    pub timeout: Duration,
    /// Seconds between two fetches at least, whatever a bundle's hint says.
    pub refresh_min: i64,
}

impl Default for FederationSettings {
    fn default() -> Self {
        Self {
            ca_file: PathBuf::from("/etc/ssl/certs/ca-certificates.crt"),
            timeout: Duration::from_secs(20),
            refresh_min: 60,
        }
    }
}

/// How our own bundle is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleEndpointSettings {
    /// Where.
    pub listen: SocketAddr,
    /// Under which path alone; begins with a slash.
    pub path: String,
    /// By what readers know that it is us.
    pub identity: EndpointIdentity,
    /// Seconds after which readers should look again.
    pub refresh_hint: u64,
}

/// By what readers know that the endpoint is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointIdentity {
    /// `https_web`: a certificate of public TLS and its key, PEM, read again whenever they change.
    Web {
        /// The chain, leaf first.
        certificate: PathBuf,
        /// The key, 0600 or 0640.
        key: PathBuf,
    },
    /// `https_spiffe`: the server's own SVID.
    Spiffe,
}
