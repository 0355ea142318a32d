//! The forms in which tools write TPM structures: with or without length, TPM or plain, binary or PEM.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use holdfast_evidence::Malformed;
use holdfast_evidence::crypto::{HashAlg, PublicKey, SignatureAlg, SignatureValue};
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrSelection, PcrSet, Public, Signature, TPM_GENERATED};

/// Bytes of any input file that are read: a little more than the largest log.
pub(crate) const FILE_BYTES_MAX: u64 = (1 << 20) + 1;

/// The bytes of a file.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path).with_context(cannot)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(cannot)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("{} is larger than {FILE_BYTES_MAX} bytes", path.display());
    }
    Ok(bytes)
}

/// A public key as a TPM public area, or bare in PEM, which says nothing about attributes.
pub(super) enum AnyPublic {
    Tpm(Box<Public>),
    Pem(PublicKey),
}

impl AnyPublic {
    /// Reads TPM2B_PUBLIC, TPMT_PUBLIC or a PEM `PUBLIC KEY`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if !bytes.starts_with(b"-----BEGIN") {
            return Public::parse_either(bytes).map(|public| Self::Tpm(Box::new(public)));
        }
        let pem = x509_parser::pem::parse_x509_pem(bytes).map(|(_, pem)| pem.contents).unwrap_or_default();
        PublicKey::from_spki(&pem).map(Self::Pem)
    }

    pub(super) const fn key(&self) -> &PublicKey {
        match self {
            Self::Tpm(public) => public.key(),
            Self::Pem(key) => key,
        }
    }
}

/// The TPMS_ATTEST inside a TPM2B_ATTEST, or the bytes as they are.
pub(super) fn attest(bytes: &[u8]) -> &[u8] {
    match bytes.split_first_chunk::<2>() {
        Some((length, inside))
            if usize::from(u16::from_be_bytes(*length)) == inside.len()
                && !bytes.starts_with(&TPM_GENERATED.to_be_bytes()) =>
        {
            inside
        }
        _ => bytes,
    }
}

/// A TPMT_SIGNATURE; bare RSA bytes and DER ECDSA signatures are wrapped in one, with the scheme that the key has, else
/// RSASSA or ECDSA with SHA-256.
pub(super) fn signature(bytes: &[u8], key: &AnyPublic) -> Vec<u8> {
    if Signature::parse(bytes).is_ok() {
        return bytes.to_vec();
    }
    let (algorithm, hash) = scheme(key);
    match key.key() {
        PublicKey::Rsa { modulus } if bytes.len() == modulus.len() => {
            Signature::encode(algorithm, hash, SignatureValue::Rsa(bytes))
        }
        PublicKey::Ec { .. } => match ecdsa_numbers(bytes) {
            Some((r, s)) => Signature::encode(algorithm, hash, SignatureValue::Ecdsa { r, s }),
            None => bytes.to_vec(),
        },
        PublicKey::Rsa { .. } => bytes.to_vec(),
    }
}

fn scheme(key: &AnyPublic) -> (SignatureAlg, HashAlg) {
    use holdfast_evidence::tpm::Scheme;
    let usual = match key.key() {
        PublicKey::Rsa { .. } => SignatureAlg::Rsassa,
        PublicKey::Ec { .. } => SignatureAlg::Ecdsa,
    };
    match key {
        AnyPublic::Tpm(public) => match public.scheme() {
            Scheme::Signing { algorithm, hash } => (algorithm, HashAlg::from_id(hash).unwrap_or(HashAlg::Sha256)),
            Scheme::Null | Scheme::Other(_) => (usual, HashAlg::Sha256),
        },
        AnyPublic::Pem(_) => (usual, HashAlg::Sha256),
    }
}

/// `SEQUENCE { INTEGER r, INTEGER s }` of P-256 or P-384, whose lengths take one byte.
fn ecdsa_numbers(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x30, length, content @ ..] = der else { return None };
    if usize::from(*length) != content.len() || *length >= 0x80 {
        return None;
    }
    let (r, rest) = integer(content)?;
    let (s, rest) = integer(rest)?;
    rest.is_empty().then_some((r, s))
}

fn integer(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x02, length, rest @ ..] = der else { return None };
    let (number, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((number.strip_prefix(&[0]).unwrap_or(number), rest))
}

/// `sha256:0-7,11`
pub(super) fn selection(text: &str) -> Result<PcrSelection, String> {
    let expected = || "expected a bank and PCRs such as sha256:0-7,11".to_owned();
    let (bank, list) = text.split_once(':').ok_or_else(expected)?;
    let bank: Bank = bank.parse().map_err(|error| format!("{error}"))?;
    let index = |text: &str| text.parse().ok().and_then(PcrIndex::new).ok_or_else(expected);
    let mut pcrs = PcrSet::EMPTY;
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (index(first)?, index(last)?);
        if first > last {
            return Err(expected());
        }
        pcrs = PcrIndex::all().filter(|pcr| (first..=last).contains(pcr)).fold(pcrs, PcrSet::with);
    }
    Ok(PcrSelection { bank, pcrs })
}

/// `23=0011…`
pub(super) fn pcr_value(text: &str) -> Result<(PcrIndex, Vec<u8>), String> {
    let expected = || "expected a register and its value in hex, such as 23=00…00".to_owned();
    let (index, value) = text.split_once('=').ok_or_else(expected)?;
    let index = index.parse().ok().and_then(PcrIndex::new).ok_or_else(expected)?;
    Ok((index, hex::decode(value.trim_start_matches("0x")).map_err(|_| expected())?))
}

/// Hex of at least one byte.
pub(super) fn nonce(text: &str) -> Result<Nonce, String> {
    match hex::decode(text.trim().trim_start_matches("0x")) {
        Ok(bytes) if !bytes.is_empty() => Ok(Nonce(bytes)),
        Ok(_) => Err("an empty nonce matches nothing".to_owned()),
        Err(_) => Err("expected hex".to_owned()),
    }
}

/// What the quote must have signed along. (A newtype: clap takes a bare `Vec` for several values.)
#[derive(Clone, Debug)]
pub(super) struct Nonce(pub(super) Vec<u8>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selections_are_lists_of_numbers_and_ranges() {
        assert_eq!(selection("sha256:0-2,11").unwrap().to_string(), "sha256:0,1,2,11");
        for bad in ["0-7", "sha1:0", "sha256:", "sha256:7-0", "sha256:24", "sha256:0-", "sha256:a"] {
            assert!(selection(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_and_nonces_are_hex() {
        assert_eq!(pcr_value("23=0xab").unwrap(), (PcrIndex::new(23).unwrap(), vec![0xab]));
        for bad in ["23", "24=00", "=00", "1=0", "1=zz"] {
            assert!(pcr_value(bad).is_err(), "{bad}");
        }
        assert!(nonce("").is_err() && nonce("0").is_err());
        assert_eq!(nonce("0x00ff").unwrap().0, [0, 0xff]);
    }

    #[test]
    fn an_attest_is_unwrapped_only_by_a_length_that_fits() {
        let bare = [0xff, 0x54, 0x43, 0x47, 1];
        assert_eq!(attest(&bare), bare);
        assert_eq!(attest(&[&[0, 5][..], &bare].concat()), bare);
        assert_eq!(attest(&[0, 9, 1]), [0, 9, 1]);
        assert_eq!(attest(&[]), [0_u8; 0]);
    }
}
