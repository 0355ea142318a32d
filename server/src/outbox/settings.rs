//! Where events go, as the configuration says. Only what stands there is ever connected to.

use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;

use super::event::TypeFilter;
use crate::store::SinkStart;

/// The enterprise number that IANA keeps for examples: Holdfast has none of its own.
pub const EXAMPLE_ENTERPRISE: u32 = 32_473;

/// One sink of events.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    /// By which operators, metrics and the cursor know it.
    pub name: String,
    /// Which events it gets.
    pub types: TypeFilter,
    /// Where it begins when it is new.
    pub start: SinkStart,
    /// What becomes of an event that it will not take.
    pub on_reject: OnReject,
    /// Events in one delivery.
    pub batch: usize,
    /// Where to.
    pub to: Destination,
}

/// What becomes of an event that a sink refuses for what it is, again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReject {
    /// It is left out, the record says so, and the next one is sent.
    #[default]
    Skip,
    /// The sink is parked until an operator looks.
    Stop,
}

/// Where a sink is.
#[derive(Clone, Debug)]
pub enum Destination {
    /// An HTTP service that takes CloudEvents.
    Webhook(WebhookSettings),
    /// A syslog receiver.
    Syslog(SyslogSettings),
    /// A file of JSON lines.
    File(FileSettings),
}

impl Destination {
    /// As operators know it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Syslog(_) => "syslog",
            Self::File(_) => "file",
        }
    }

    /// Where, in words. Of a URL neither path nor user: many services put their tokens there.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Webhook(settings) => settings.url.parse().map(origin).unwrap_or_default(),
            Self::Syslog(settings) => settings.address.to_string(),
            Self::File(settings) => settings.path.display().to_string(),
        }
    }
}

/// Scheme, host and port.
fn origin(url: Uri) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme_str().unwrap_or_default(), url.host().unwrap_or_default())
}

/// An HTTP service that takes CloudEvents. At least one of the two signatures is made.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// `https`, or `http` of a loopback address.
    pub url: String,
    /// File of the shared secret, `whsec_…`; a second line is the previous one, with which is signed too.
    pub secret_file: Option<PathBuf>,
    /// File of the Ed25519 key, `whsk_…`; a second line is the previous one.
    pub ed25519_file: Option<PathBuf>,
    /// PEM file of those who may speak for the host.
    pub ca_file: PathBuf,
    /// How long one delivery may take in all.
    pub timeout: Duration,
}

/// A syslog receiver.
#[derive(Clone, Debug)]
pub struct SyslogSettings {
    /// Where it listens.
    pub address: SyslogAddress,
    /// PEM file of those who may speak for the host, for TLS.
    pub ca_file: PathBuf,
    /// The number behind `holdfast@` in the structured data.
    pub enterprise_number: u32,
    /// How long connecting or writing may take.
    pub timeout: Duration,
}

/// Where syslog is received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A Unix datagram socket, such as `/dev/log`.
    Unix(PathBuf),
    /// TCP with octet counting, RFC 6587.
    Tcp(String, u16),
    /// The same inside TLS, RFC 5425.
    Tls(String, u16),
}

impl std::fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(host, port) => write!(f, "tcp:{host}:{port}"),
            Self::Tls(host, port) => write!(f, "tls:{host}:{port}"),
        }
    }
}

impl std::str::FromStr for SyslogAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected unix:PATH, tcp:HOST:PORT or tls:HOST:PORT, found {text:?}");
        let host_and_port = |rest: &str| -> Option<(String, u16)> {
            let (host, port) = rest.rsplit_once(':')?;
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let port = port.parse().ok().filter(|port| *port != 0)?;
            (!host.is_empty()).then(|| (host.to_owned(), port))
        };
        match text.split_once(':') {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(("tcp", rest)) => host_and_port(rest).map(|(host, port)| Self::Tcp(host, port)).ok_or_else(expected),
            Some(("tls", rest)) => host_and_port(rest).map(|(host, port)| Self::Tls(host, port)).ok_or_else(expected),
            _ => Err(expected()),
        }
    }
}

/// A file of JSON lines.
#[derive(Clone, Debug)]
pub struct FileSettings {
    /// The file; made with mode 0640.
    pub path: PathBuf,
    /// Beyond how many bytes it is moved aside; 0 for never.
    pub rotate_bytes: u64,
    /// How many files that were moved aside are kept.
    pub keep: u32,
}
