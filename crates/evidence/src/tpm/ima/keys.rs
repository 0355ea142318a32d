//! Keys that sign files: read from certificates and bare keys, in PEM or DER, and called by the four bytes that a
//! signature names them by. Which keys count is for the policy to say.

use std::sync::Arc;

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::verified::Verified;
use crate::crypto::{PrehashKey, PublicKey, sha1_of_key, sha256};
use crate::error::{Defect, Malformed, Structure};

/// Most keys of one policy's rule.
pub const IMA_KEYS_MAX: usize = 64;
/// Longest key or certificate in DER.
const DER_BYTES_MAX: usize = 64 << 10;

/// A key, and by which four bytes signatures name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    key: PublicKey,
    ids: Vec<[u8; 4]>,
}

impl From<PublicKey> for SigningKey {
    /// A bare key: named by the end of its SHA-1, as `evmctl` computes it.
    fn from(key: PublicKey) -> Self {
        let ids = vec![end(&sha1_of_key(&key.subject_public_key()))];
        Self { key, ids }
    }
}

impl SigningKey {
    /// The key of a certificate in DER; named by its subject key identifier too, whatever that was made of.
    fn of_certificate(der: &[u8]) -> Result<Self, Malformed> {
        let malformed = |field| Malformed { structure: Structure::Spki, field, defect: Defect::Encoding };
        let parsed = X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty());
        let (_, certificate) = parsed.ok_or(malformed("certificate"))?;
        let key = PublicKey::from_parsed(certificate.public_key());
        let mut key = Self::from(key.ok_or(malformed("certificate.subjectPublicKeyInfo"))?);
        for extension in certificate.extensions() {
            if let ParsedExtension::SubjectKeyIdentifier(identifier) = extension.parsed_extension()
                && identifier.0.len() >= 4
                && !key.ids.contains(&end(identifier.0))
            {
                key.ids.push(end(identifier.0));
            }
        }
        Ok(key)
    }

    /// The key itself.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// The last four bytes.
fn end(bytes: &[u8]) -> [u8; 4] {
    bytes.last_chunk().copied().unwrap_or_default()
}

/// Keys whose signatures count, ready to verify; never empty. Copies share what was verified once.
#[derive(Clone, Debug)]
pub struct ImaKeys {
    pub(super) keys: Arc<[Ready]>,
    pub(super) verified: Arc<Verified>,
}

#[derive(Debug)]
pub(super) struct Ready {
    ids: Vec<[u8; 4]>,
    pub(super) spki_sha256: [u8; 32],
    pub(super) key: PrehashKey,
}

impl ImaKeys {
    /// These keys; `None` for none, for more than [`IMA_KEYS_MAX`], or where one is not usable.
    #[must_use]
    pub fn new(keys: Vec<SigningKey>) -> Option<Self> {
        if keys.is_empty() || keys.len() > IMA_KEYS_MAX {
            return None;
        }
        let ready = |SigningKey { key, ids }| {
            Some(Ready { ids, spki_sha256: sha256(&[&key.spki()]), key: PrehashKey::new(&key)? })
        };
        let keys: Option<Vec<Ready>> = keys.into_iter().map(ready).collect();
        Some(Self { keys: keys?.into(), verified: Arc::default() })
    }

    /// How many there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys of this name: one, if nobody made two of one name.
    pub(super) fn named(&self, id: [u8; 4]) -> impl Iterator<Item = &Ready> {
        self.keys.iter().filter(move |key| key.ids.contains(&id))
    }
}

/// The public keys of PEM text: of certificates, and bare ones. Certificates are taken at their key alone: whoever puts
/// them into a policy trusts them, whatever their dates and issuers are.
///
/// # Errors
/// [`Malformed`] for text without a key, another kind of block, or a key that is none of RSA, P-256 and P-384.
pub fn keys_of_pem(text: &[u8]) -> Result<Vec<SigningKey>, Malformed> {
    let malformed = |defect| Malformed { structure: Structure::Spki, field: "pem", defect };
    let blocks = pem::parse_many(text).map_err(|_| malformed(Defect::Encoding))?;
    if blocks.is_empty() {
        return Err(malformed(Defect::Missing));
    }
    let key = |block: &pem::Pem| match block.tag() {
        "PUBLIC KEY" => PublicKey::from_spki(block.contents()).map(SigningKey::from),
        "CERTIFICATE" => SigningKey::of_certificate(block.contents()),
        _ => Err(malformed(Defect::Unknown)),
    };
    blocks.iter().map(key).collect()
}

/// PEM of one certificate or public key in DER, as kernels and `evmctl` keep them (`x509_evm.der`); `None` for anything
/// else. So that a policy and its files are text, whatever they were read from.
#[must_use]
pub fn pem_of_der(der: &[u8]) -> Option<String> {
    if der.len() > DER_BYTES_MAX {
        return None;
    }
    let tag = if SigningKey::of_certificate(der).is_ok() {
        "CERTIFICATE"
    } else if PublicKey::from_spki(der).is_ok() {
        "PUBLIC KEY"
    } else {
        return None;
    };
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    Some(pem::encode_config(&pem::Pem::new(tag, der), config))
}
