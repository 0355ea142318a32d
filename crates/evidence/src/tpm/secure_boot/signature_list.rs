//! `EFI_SIGNATURE_LIST`: the format of PK, KEK, db and dbx. UEFI specification, "Signature Database".

use crate::crypto::sha256;
use crate::tpm::event_log::Guid;

/// Entries of one variable that are read. The longest dbx seen has 521.
const ENTRIES_MAX: usize = 16_384;

/// What an entry of a signature database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureKind {
    /// A DER certificate (`EFI_CERT_X509_GUID`).
    X509,
    /// The SHA-256 Authenticode digest of an image (`EFI_CERT_SHA256_GUID`).
    Sha256,
    /// The SHA-256 of a certificate's TBS bytes and a revocation time (`EFI_CERT_X509_SHA256_GUID`).
    X509Sha256,
    /// A kind that we know by its GUID alone.
    Other(Guid),
}

const X509: Guid =
    Guid([0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72]);
const SHA256: Guid =
    Guid([0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28]);
const X509_SHA256: Guid =
    Guid([0x92, 0xa4, 0xd2, 0x3b, 0xc0, 0x96, 0x79, 0x40, 0xb4, 0x20, 0xfc, 0xf9, 0x8e, 0xf1, 0x03, 0xed]);

impl SignatureKind {
    fn of(guid: Guid) -> Self {
        match guid {
            X509 => Self::X509,
            SHA256 => Self::Sha256,
            X509_SHA256 => Self::X509Sha256,
            other => Self::Other(other),
        }
    }

    /// The name in policies: `x509`, `sha256`, `x509_sha256` or `other`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X509 => "x509",
            Self::Sha256 => "sha256",
            Self::X509Sha256 => "x509_sha256",
            Self::Other(_) => "other",
        }
    }
}

/// One entry of a signature database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignatureEntry {
    /// What it is.
    pub kind: SignatureKind,
    /// Who put it there; firmware and tools choose it freely.
    pub owner: Guid,
    /// For [`SignatureKind::Sha256`] the image digest itself, for all others the SHA-256 of the entry's data (of the
    /// DER certificate for [`SignatureKind::X509`]).
    pub sha256: [u8; 32],
}

impl SignatureEntry {
    fn new(kind: SignatureKind, owner: Guid, data: &[u8]) -> Self {
        let sha256 = match (kind, data.try_into()) {
            (SignatureKind::Sha256, Ok(digest)) => digest,
            _ => sha256(&[data]),
        };
        Self { kind, owner, sha256 }
    }
}

/// Reads a variable's contents to the last byte.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Vec<SignatureEntry>, &'static str> {
    // the smallest entry is 48 bytes long, and most of a long database consists of them
    let mut entries = Vec::with_capacity(bytes.len() / 48);
    while !bytes.is_empty() {
        let (kind, rest) = bytes.split_first_chunk::<16>().ok_or("list header is cut")?;
        let (sizes, _) = rest.split_first_chunk::<12>().ok_or("list header is cut")?;
        let [a, b, c] = sizes_of(sizes);
        let (list, tail) = bytes.split_at_checked(a).ok_or("list is longer than the variable")?;
        let body = list.get(28..).and_then(|body| body.get(b..)).ok_or("list is shorter than its header")?;
        if c <= 16 || body.len() % c != 0 {
            return Err("list is no whole number of entries");
        }
        let kind = SignatureKind::of(Guid(*kind));
        if kind == SignatureKind::Sha256 && c != 48 {
            return Err("digest entry is not 32 bytes long");
        }
        for entry in body.chunks_exact(c) {
            let (owner, data) = entry.split_first_chunk::<16>().ok_or("entry without owner")?;
            if entries.len() >= ENTRIES_MAX {
                return Err("too many entries");
            }
            entries.push(SignatureEntry::new(kind, Guid(*owner), data));
        }
        bytes = tail;
    }
    Ok(entries)
}

/// `SignatureListSize`, `SignatureHeaderSize`, `SignatureSize`.
fn sizes_of(bytes: &[u8; 12]) -> [usize; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l]]
        .map(|size| usize::try_from(u32::from_le_bytes(size)).unwrap_or(usize::MAX))
}
