//! `[crl]`: how revocation lists are made, and where they are shown.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::reader::Reader;
use crate::revocation::ListSettings;

/// Characters of the URL: with an issuer's 40 digits behind it still short in every certificate.
const URL_CHARACTERS_MAX: usize = 200;

pub(super) fn lists(reader: &mut Reader) -> Option<ListSettings> {
    let lifetime = reader.seconds("crl.lifetime", 600..=7 * 86_400);
    let listen = reader.optional("crl.listen", str::parse::<SocketAddr>);
    let url = reader.optional("crl.url", url);
    let files = reader.texts("crl.files").into_iter().map(PathBuf::from).collect();
    Some(ListSettings { lifetime: lifetime?, listen, url, files })
}

/// `http://` alone: whoever checks a certificate cannot check another one first (RFC 5280, 8).
fn url(text: &str) -> Result<String, String> {
    let expected = || format!("expected a URL that begins with http:// and has no query, found {text:?}");
    let url = text.parse::<hyper::Uri>().map_err(|_| expected())?;
    let fits = url.scheme_str() == Some("http") && url.query().is_none() && text.len() <= URL_CHARACTERS_MAX;
    fits.then(|| text.trim_end_matches('/').to_owned()).ok_or_else(expected)
}
