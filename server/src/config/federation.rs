//! Federation: how foreign bundles are fetched, and how our own is shown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use crate::federation::{BundleEndpointSettings, EndpointIdentity, FederationSettings};

/// How foreign bundles are fetched.
pub(super) fn client(reader: &mut Reader) -> Option<FederationSettings> {
    let ca_file = reader.path("federation.ca_file");
    let timeout = reader.seconds("federation.timeout", 1..=120);
    let refresh_min = reader.seconds("federation.refresh_min", 1..=86_400);
    Some(FederationSettings {
        ca_file: ca_file?,
        timeout: Duration::from_secs(u64::try_from(timeout?).ok()?),
        refresh_min: refresh_min?,
    })
}

/// How our own bundle is shown; nothing without an address.
pub(super) fn endpoint(reader: &mut Reader) -> Option<BundleEndpointSettings> {
    const LISTEN: &str = "federation.bundle_endpoint.listen";
    const CERTIFICATE: &str = "federation.bundle_endpoint.certificate_file";
    const KEY: &str = "federation.bundle_endpoint.key_file";
    let listen = reader.optional(LISTEN, str::parse::<SocketAddr>);
    let profile = reader.one_of("federation.bundle_endpoint.profile", &["https_spiffe", "https_web"]);
    let certificate = reader.optional(CERTIFICATE, str::parse::<PathBuf>);
    let key = reader.optional(KEY, str::parse::<PathBuf>);
    let path = reader.parsed("federation.bundle_endpoint.path", path);
    let refresh_hint = reader.seconds("federation.bundle_endpoint.refresh_hint", 1..=86_400);
    let identity = match (profile?, certificate, key) {
        ("https_web", Some(certificate), Some(key)) => EndpointIdentity::Web { certificate, key },
        ("https_web", None, _) => {
            reader.refuse(CERTIFICATE, "is required by the profile https_web");
            return None;
        }
        ("https_web", _, None) => {
            reader.refuse(KEY, "is required by the profile https_web");
            return None;
        }
        (_, None, None) => EndpointIdentity::Spiffe,
        (_, Some(_), _) => {
            reader.refuse(CERTIFICATE, "is of the profile https_web alone: https_spiffe shows the server's own SVID");
            return None;
        }
        (_, None, Some(_)) => {
            reader.refuse(KEY, "is of the profile https_web alone: https_spiffe shows the server's own SVID");
            return None;
        }
    };
    if listen.is_none() && identity != EndpointIdentity::Spiffe {
        reader.refuse(LISTEN, "is required: without it the bundle is not shown");
    }
    Some(BundleEndpointSettings {
        listen: listen?,
        path: path?,
        identity,
        refresh_hint: u64::try_from(refresh_hint?).ok()?,
    })
}

/// The path of a URL: segments of plain characters.
fn path(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '~');
    match text.starts_with('/') && text.len() <= 1024 && text.chars().all(plain) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected a path that begins with / and has plain characters, found {text:?}")),
    }
}
