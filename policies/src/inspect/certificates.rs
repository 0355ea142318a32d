//! Certificates in files and folders, PEM or DER, and the roots they make.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use holdfast_evidence::crypto::{PublicKey, sha256};
use holdfast_evidence::snp::pem_begins;
use holdfast_evidence::tpm::endorsement::{Anchor, Roots, Sha1Signatures};
use holdfast_evidence::x509::manifest::known_root;
use holdfast_evidence::{EvidenceKind, TrustClass};
use x509_parser::pem::Pem;

use super::flags::Flags;
use super::forms;

/// Files of one folder that are looked at.
const FILES_MAX: usize = 4096;

/// Every certificate in a file that somebody named as one: PEM, or DER one behind the other.
///
/// # Errors
/// A file that cannot be read, or holds none.
pub(super) fn of_file(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let found = of_bytes(&forms::read(path)?);
    if found.is_empty() {
        bail!("no certificate in {}", path.display());
    }
    Ok(found)
}

/// The same of a file that is evidence itself: what cannot be split to its end is taken as it is (a TPM's memory has its
/// own padding and headers), and is for the checks to refuse.
pub(super) fn of_evidence(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let bytes = forms::read(path)?;
    if pem_begins(&bytes).is_some() {
        return Ok(of_bytes(&bytes));
    }
    let (found, rest) = split(&bytes);
    let is_whole = !found.is_empty() && rest.iter().all(|byte| *byte == 0);
    Ok(if is_whole { found } else { vec![bytes] })
}

/// The certificates in PEM, or in DER as far as they can be split.
pub(super) fn of_bytes(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Some(text) = pem_begins(bytes).and_then(|at| bytes.get(at..)) else { return split(bytes).0 };
    let pem = Pem::iter_from_buffer(text).filter_map(Result::ok);
    pem.filter(|pem| pem.label.ends_with("CERTIFICATE")).map(|pem| pem.contents).collect()
}

/// One SEQUENCE after the other, and what is left behind them.
fn split(bytes: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    let (mut found, mut rest) = (Vec::new(), bytes);
    loop {
        let length = match rest {
            [0x30, 0x82, high, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
            [0x30, 0x81, length, ..] => 3 + usize::from(*length),
            _ => return (found, rest),
        };
        let Some((one, after)) = rest.split_at_checked(length) else { return (found, rest) };
        found.push(one.to_vec());
        rest = after;
    }
}

/// What `--roots` names: a certificate that issued itself is a root; of the others those are pinned whose issuer is not
/// there, and the rest helps to build paths.
pub(super) fn roots(path: &Path, class: TrustClass, sha1: Sha1Signatures) -> anyhow::Result<Roots> {
    let found = found(path)?;
    let subjects: Vec<Vec<u8>> = found.iter().filter_map(|(_, der)| Some(names(der)?.0)).collect();
    let mut roots = Roots::new();
    for (file, der) in found {
        let cannot = || format!("certificate in {}", file.display());
        let helps = names(&der).is_some_and(|(subject, issuer)| subject != issuer && subjects.contains(&issuer));
        if helps {
            roots.add_intermediate(&der).with_context(cannot)?;
            continue;
        }
        match Anchor::new(&der, class) {
            Ok(anchor) => roots.add(anchor.with_sha1(sha1)),
            // an EK certificate lying beside its roots
            Err(_) if path.is_dir() => {}
            Err(error) => return Err(error).with_context(cannot),
        }
    }
    Ok(roots)
}

/// The roots that evidence of this kind is checked against: those that `--roots` names, self-issued ones as roots and the
/// others to build paths; without it those among `offered` whose fingerprint we know for the kind.
///
/// # Errors
/// A file that cannot be read, or no certificate in it.
pub(super) fn trusted(flags: &Flags, kind: EvidenceKind, offered: &[Vec<u8>]) -> anyhow::Result<Roots> {
    let mut roots = Roots::new();
    let Some(path) = &flags.roots else {
        for der in offered {
            let known = known_root(&sha256(&[der])).filter(|known| known.kinds.contains(&kind));
            if let Some(anchor) = known.and_then(|known| Anchor::new(der, known.class).ok()) {
                roots.add(anchor);
            }
        }
        return Ok(roots);
    };
    for (file, der) in found(path)? {
        let cannot = || format!("certificate in {}", file.display());
        if !is_self_issued(&der) {
            roots.add_intermediate(&der).with_context(cannot)?;
            continue;
        }
        let class = known_root(&sha256(&[&der])).map_or(flags.root_class, |known| known.class);
        match Anchor::new(&der, class) {
            Ok(anchor) => roots.add(anchor),
            // something else that signed itself, lying in the folder
            Err(_) if path.is_dir() => {}
            Err(error) => return Err(error).with_context(cannot),
        }
    }
    Ok(roots)
}

/// Whether a certificate names itself as its issuer.
pub(super) fn is_self_issued(der: &[u8]) -> bool {
    names(der).is_some_and(|(subject, issuer)| subject == issuer)
}

/// The key that a certificate is for, if it is one of ours.
pub(super) fn key(der: &[u8]) -> Option<PublicKey> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    PublicKey::from_spki(certificate.public_key().raw).ok()
}

/// Certificates with the file that each is in; at least one.
fn found(path: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    if path.is_dir() {
        for file in certificate_files(path)? {
            // a folder may hold other things beside certificates
            let certificates = of_bytes(&forms::read(&file)?).into_iter().filter(|der| names(der).is_some());
            found.extend(certificates.map(|der| (file.clone(), der)));
        }
    } else {
        found.extend(of_file(path)?.into_iter().map(|der| (path.to_owned(), der)));
    }
    if found.is_empty() {
        bail!("no certificate in {}", path.display());
    }
    Ok(found)
}

/// Raw subject and issuer.
fn names(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some((certificate.subject().as_raw().to_vec(), certificate.issuer().as_raw().to_vec()))
}

/// The files of a folder by their endings, sorted.
fn certificate_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let is_certificate = path
            .extension()
            .and_then(|ending| ending.to_str())
            .is_some_and(|ending| matches!(ending.to_ascii_lowercase().as_str(), "pem" | "der" | "crt" | "cer"));
        if is_certificate && path.is_file() {
            files.push(path);
        }
    }
    if files.len() > FILES_MAX {
        bail!("more than {FILES_MAX} files in {}", folder.display());
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn der_is_split_and_a_file_without_a_certificate_is_none() {
        let one = [&[0x30, 0x82, 0x01, 0x00][..], &[1; 256]].concat();
        let short = [&[0x30, 0x81, 0x80][..], &[2; 128]].concat();
        let both = [one.clone(), short.clone()].concat();
        assert_eq!(of_file(file(&both).path()).unwrap(), [one.clone(), short.clone()]);
        assert_eq!(of_evidence(file(&both).path()).unwrap(), [one.clone(), short]);
        let padded = [one.clone(), vec![0xff; 9]].concat();
        assert_eq!(of_file(file(&padded).path()).unwrap(), [one]);
        // evidence is not cut into shape
        assert_eq!(of_evidence(file(&padded).path()).unwrap(), [padded]);
        for bad in [
            &b""[..],
            b"no certificate",
            &[0x30, 0x82, 0x01, 0x00],
            b"-----BEGIN X509 CRL-----\nAAEC\n-----END X509 CRL-----\n",
        ] {
            let file = file(bad);
            let error = of_file(file.path()).unwrap_err().to_string();
            assert_eq!(error, format!("no certificate in {}", file.path().display()));
        }
    }
}
