//! What the reader of a proof brings: the log's key, and the roots that he trusts. Believes whatever files he names.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use holdfast_proof::Digest;
use holdfast_record::VerifierKey;

use super::read;

/// Bytes of a key's or a certificate's file.
const FILE_BYTES_MAX: usize = 1 << 20;
/// Files of one folder.
const FILES_MAX: usize = 10_000;

/// The log's key: the text itself, or a file with nothing else in it.
pub(super) fn log_key(text: &str) -> anyhow::Result<VerifierKey> {
    if let Ok(key) = text.trim().parse() {
        return Ok(key);
    }
    let path = Path::new(text);
    let bytes = read(path, FILE_BYTES_MAX).with_context(|| format!("{text:?} is no key and no file with one"))?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("{} is not UTF-8", path.display()))?;
    text.trim().parse().with_context(|| format!("{} holds no key of a log", path.display()))
}

/// The roots that the reader trusts; `None` if he names none.
pub(super) fn trusted(folder: Option<&Path>, single: &[String]) -> anyhow::Result<Option<BTreeSet<Digest>>> {
    if folder.is_none() && single.is_empty() {
        return Ok(None);
    }
    let mut trusted = folder.map(roots).transpose()?.unwrap_or_default();
    for given in single {
        if let Some(digest) = Digest::from_hex(given) {
            trusted.insert(digest);
            continue;
        }
        let bytes = read(Path::new(given), FILE_BYTES_MAX).with_context(|| {
            format!("{given:?} is no SHA-256 in lower-case hexadecimal, and no file that can be read")
        })?;
        let found = certificates(&bytes);
        if found.is_empty() {
            bail!("no certificate in {given}");
        }
        trusted.extend(found.iter().map(|der| Digest::of(der)));
    }
    Ok(Some(trusted))
}

/// SHA-256 of every certificate, PEM or DER, in the files of a folder.
fn roots(folder: &Path) -> anyhow::Result<BTreeSet<Digest>> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut roots = BTreeSet::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)?.take(FILES_MAX) {
        let path = entry.with_context(cannot)?.path();
        if !path.is_file() {
            continue;
        }
        let bytes = read(&path, FILE_BYTES_MAX)?;
        roots.extend(certificates(&bytes).iter().map(|der| Digest::of(der)));
    }
    if roots.is_empty() {
        bail!("no certificate in {}", folder.display());
    }
    Ok(roots)
}

fn certificates(bytes: &[u8]) -> Vec<Vec<u8>> {
    use x509_parser::prelude::{FromDer as _, Pem, X509Certificate};
    if bytes.first() == Some(&0x30) {
        return X509Certificate::from_der(bytes)
            .ok()
            .filter(|(rest, _)| rest.is_empty())
            .map(|_| bytes.to_vec())
            .into_iter()
            .collect();
    }
    let blocks = Pem::iter_from_buffer(bytes).filter_map(Result::ok);
    blocks.filter(|block| block.label == "CERTIFICATE").map(|block| block.contents).collect()
}
