//! Signatures of files as `evmctl` writes them into `security.ima`, version 2, over the digest that was measured.
//! Which keys count is for the policy to say.

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::crypto::{HashAlg, PrehashKey, PublicKey};
use crate::error::{Defect, Malformed, Structure};
use crate::reader::Reader;

use super::measured::FileDigest;

/// Bytes before the signature itself: type, version, hash, key id, length.
pub const SIGNATURE_HEADER_BYTES: usize = 9;
/// `EVM_IMA_XATTR_DIGSIG`.
const DIGSIG: u8 = 3;
/// Version 2: the key id is the end of the key's subject key identifier, the signature is over the file's digest.
const VERSION: u8 = 2;
/// Longest signature: RSA of 4,096 bits.
const SIGNATURE_BYTES_MAX: usize = 512;
/// Most keys of one policy's rule.
const KEYS_MAX: usize = 64;

/// Keys whose signatures count; never empty.
#[derive(Clone, Debug)]
pub struct ImaKeys {
    keys: Vec<(PublicKey, PrehashKey)>,
}

/// Why a file's signature proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureRefused {
    /// There is none.
    #[error("not signed")]
    Absent,
    /// It is none that we read: another type or version, or not of its length.
    #[error("not a signature of version 2")]
    Form,
    /// It is over a digest of another algorithm than was measured.
    #[error("over another hash than was measured")]
    Hash,
    /// None of the keys made it.
    #[error("made by none of the keys")]
    Key,
}

impl ImaKeys {
    /// These keys; `None` for none, for more than 64, or where one is not usable.
    #[must_use]
    pub fn new(keys: Vec<PublicKey>) -> Option<Self> {
        let usable = !keys.is_empty() && keys.len() <= KEYS_MAX;
        let keys = keys.into_iter().map(|key| PrehashKey::new(&key).map(|prepared| (key, prepared)));
        let keys: Option<Vec<_>> = if usable { keys.collect() } else { None };
        keys.map(|keys| Self { keys })
    }

    /// How many there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Checks that one of the keys signed this digest. The key id in the attribute is not believed: it is four bytes that
    /// anybody may write, and the keys are few.
    ///
    /// # Errors
    /// [`SignatureRefused`].
    pub fn check(&self, digest: &FileDigest<'_>, attribute: &[u8]) -> Result<(), SignatureRefused> {
        if attribute.is_empty() {
            return Err(SignatureRefused::Absent);
        }
        let (hash, signature) = read(attribute).map_err(|_| SignatureRefused::Form)?;
        let measured = match digest {
            FileDigest::Strong(measured, bytes) if hash == kernel_id(*measured) => (*measured, *bytes),
            FileDigest::Strong(..) | FileDigest::Weak(_) => return Err(SignatureRefused::Hash),
        };
        let (hash, digest) = measured;
        let made_by = |(_, key): &(PublicKey, PrehashKey)| key.verify(hash, digest, signature).is_ok();
        if self.keys.iter().any(made_by) { Ok(()) } else { Err(SignatureRefused::Key) }
    }
}

/// The public keys of PEM text: of certificates, and bare ones. Certificates are taken at their key alone: whoever puts
/// them into a policy trusts them, whatever their dates and issuers are.
///
/// # Errors
/// [`Malformed`] for text without a key, another kind of block, or a key that is none of RSA, P-256 and P-384.
pub fn keys_of_pem(text: &[u8]) -> Result<Vec<PublicKey>, Malformed> {
    let malformed = |field, defect| Malformed { structure: Structure::Spki, field, defect };
    let blocks = pem::parse_many(text).map_err(|_| malformed("pem", Defect::Encoding))?;
    if blocks.is_empty() {
        return Err(malformed("pem", Defect::Missing));
    }
    let key = |block: &pem::Pem| match block.tag() {
        "PUBLIC KEY" => PublicKey::from_spki(block.contents()),
        "CERTIFICATE" => {
            let parsed = X509Certificate::from_der(block.contents()).ok().filter(|(rest, _)| rest.is_empty());
            let (_, certificate) = parsed.ok_or(malformed("certificate", Defect::Encoding))?;
            let key = PublicKey::from_parsed(certificate.public_key());
            key.ok_or(malformed("certificate.subjectPublicKeyInfo", Defect::Encoding))
        }
        _ => Err(malformed("pem", Defect::Unknown)),
    };
    blocks.iter().map(key).collect()
}

/// Hash and signature of the attribute.
fn read(attribute: &[u8]) -> Result<(u8, &[u8]), Malformed> {
    let mut reader = Reader::new(Structure::ImaLog, attribute);
    for (field, expected) in [("type", DIGSIG), ("version", VERSION)] {
        match reader.u8(field)? {
            found if found == expected => {}
            other => return Err(reader.value(field, other.into())),
        }
    }
    let hash = reader.u8("hash")?;
    reader.u32("keyId")?;
    let signature = reader.sized16(SIGNATURE_BYTES_MAX, "signature")?;
    reader.finish()?;
    Ok((hash, signature))
}

/// The kernel's `enum hash_algo`.
const fn kernel_id(hash: HashAlg) -> u8 {
    match hash {
        HashAlg::Sha256 => 4,
        HashAlg::Sha384 => 5,
        HashAlg::Sha512 => 6,
    }
}
