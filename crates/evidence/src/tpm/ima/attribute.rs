//! `security.ima` and what stands in its place in an entry: which kind of signature, by which key, over what. Verifies
//! nothing.

use super::measured::{DigestOf, FileDigest};
use super::verified::SignatureRefused;
use crate::crypto::{Digest, HashAlg};
use crate::error::{Malformed, Structure};
use crate::reader::Reader;

/// `EVM_IMA_XATTR_DIGSIG`: a signature over the digest of a file's content.
const DIGSIG: u8 = 3;
/// `EVM_XATTR_PORTABLE_DIGSIG`: over a file's metadata. It proves no content.
const PORTABLE: u8 = 5;
/// `IMA_VERITY_DIGSIG`: over the digest that fs-verity made of a file.
const VERITY: u8 = 6;
/// Longest signature: RSA of 4,096 bits.
const SIGNATURE_BYTES_MAX: usize = 512;

/// Whether the kernel would write these bytes as the signature of a file: where it finds an attribute of another kind, it
/// writes nothing.
pub(super) fn is_of_a_file(attribute: &[u8]) -> bool {
    matches!(attribute.first(), Some(&(DIGSIG | PORTABLE | VERITY)))
}

/// A signature, read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    kind: u8,
    version: u8,
    hash: u8,
    /// The end of the signing key's identifier.
    pub(super) key_id: [u8; 4],
    pub(super) signature: &'a [u8],
}

impl<'a> Attribute<'a> {
    pub(super) fn read(attribute: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::ImaLog, attribute);
        let (kind, version) = (reader.u8("type")?, reader.u8("version")?);
        // Version 2 is over the digest alone, so that it must not stand for one of fs-verity.
        match (kind, version) {
            (DIGSIG, 2 | 3) | (VERITY, 3) => {}
            (DIGSIG | VERITY, other) => return Err(reader.value("version", other.into())),
            (other, _) => return Err(reader.value("type", other.into())),
        }
        let hash = reader.u8("hash")?;
        let key_id = reader.array("keyId")?;
        let signature = reader.sized16(SIGNATURE_BYTES_MAX, "signature")?;
        reader.finish()?;
        Ok(Self { kind, version, hash, key_id, signature })
    }

    /// The hash that was signed, if this is a signature over such a digest: of version 2 the digest itself, of version 3
    /// a hash over kind, algorithm and digest (the kernel's `struct ima_file_id`).
    pub(super) fn signed(&self, digest: &FileDigest<'_>, of: DigestOf) -> Result<(HashAlg, Digest), SignatureRefused> {
        match (self.kind, of) {
            (DIGSIG, DigestOf::Content | DigestOf::Unsaid) | (VERITY, DigestOf::Verity | DigestOf::Unsaid) => {}
            _ => return Err(SignatureRefused::Hash),
        }
        let (hash, bytes) = match digest {
            FileDigest::Strong(hash, bytes) if self.hash == kernel_id(*hash) => (*hash, *bytes),
            FileDigest::Strong(..) | FileDigest::Weak(_) => return Err(SignatureRefused::Hash),
        };
        let signed = match self.version {
            2 => Digest::new(hash, bytes).ok_or(SignatureRefused::Hash)?,
            _ => hash.digest(&[&[self.kind, self.hash], bytes]),
        };
        Ok((hash, signed))
    }
}

/// The kernel's `enum hash_algo`.
const fn kernel_id(hash: HashAlg) -> u8 {
    match hash {
        HashAlg::Sha256 => 4,
        HashAlg::Sha384 => 5,
        HashAlg::Sha512 => 6,
    }
}
