//! An operator's files of endorsements, cut into what the server takes: certificates and CRLs in DER, documents in JSON.
//! What they are, the server says.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use holdfast_protocol::admin::EndorsementFile;

/// Names by which they go in a directory.
const SUFFIXES: &[&str] = &["pem", "crt", "cer", "der", "crl", "json"];
/// Bytes of the largest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads a file, or everything below a directory that goes by one of the names.
pub(super) fn read(path: &Path, files: &mut Vec<EndorsementFile>) -> anyhow::Result<()> {
    if path.is_dir() {
        let mut inside: Vec<PathBuf> = std::fs::read_dir(path)?.flatten().map(|entry| entry.path()).collect();
        inside.sort();
        for path in inside {
            let suffix = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            if path.is_dir() || SUFFIXES.contains(&suffix.as_str()) {
                read(&path, files)?;
            }
        }
        return Ok(());
    }
    let name = path.display().to_string();
    let length = std::fs::metadata(path).with_context(|| name.clone())?.len();
    if length > FILE_BYTES_MAX {
        bail!("{name}: {length} bytes, limit {FILE_BYTES_MAX}");
    }
    let bytes = std::fs::read(path).with_context(|| name.clone())?;
    cut(name, bytes, files)
}

fn cut(name: String, bytes: Vec<u8>, files: &mut Vec<EndorsementFile>) -> anyhow::Result<()> {
    if bytes.starts_with(b"\x30") {
        files.push(EndorsementFile { name, content: bytes });
        return Ok(());
    }
    let text = bytes.trim_ascii();
    if text.starts_with(b"{") {
        if text.starts_with(b"{\"format\":\"holdfast-endorsements") {
            bail!("{name}: is a bundle of endorsements: import it with --bundle");
        }
        files.push(EndorsementFile { name, content: bytes });
        return Ok(());
    }
    // A CRL as a PCCS gives it.
    if let Ok(der) = hex::decode(text)
        && !der.is_empty()
    {
        files.push(EndorsementFile { name, content: der });
        return Ok(());
    }
    let before = files.len();
    for pem in x509_parser::pem::Pem::iter_from_buffer(&bytes) {
        files.push(EndorsementFile { name: name.clone(), content: pem.with_context(|| name.clone())?.contents });
    }
    if files.len() == before {
        bail!("{name}: neither DER nor PEM nor JSON");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut files = Vec::new();
        cut("f".to_owned(), bytes.to_vec(), &mut files).unwrap();
        files.into_iter().map(|file| file.content).collect()
    }

    #[test]
    fn every_form_is_cut_into_pieces() {
        assert_eq!(pieces(&[0x30, 1, 0]), [[0x30, 1, 0]]);
        assert_eq!(pieces(b"300100\n"), [[0x30, 1, 0]]);
        assert_eq!(pieces(b" {\"tcbInfo\":1}"), [b" {\"tcbInfo\":1}"]);
        let pem = b"-----BEGIN CERTIFICATE-----\nMAEA\n-----END CERTIFICATE-----\n";
        assert_eq!(pieces(&[pem.as_slice(), pem].concat()).len(), 2);
        let bundle = b"{\"format\":\"holdfast-endorsements/1\"}".to_vec();
        for none in [bundle, b"certificate".to_vec(), Vec::new()] {
            assert!(cut("f".to_owned(), none, &mut Vec::new()).is_err());
        }
    }
}
