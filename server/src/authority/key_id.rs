//! What operators, agents and the record call an authority by.

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Bytes of a subject key identifier: 20 by custom, a SHA-256 at most.
pub(super) const KEY_ID_BYTES_MAX: usize = 32;

/// The subject key identifier of an authority.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Vec<u8>);

impl KeyId {
    /// One of 1 to 32 bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=KEY_ID_BYTES_MAX).contains(&bytes.len()).then(|| Self(bytes.to_vec()))
    }

    /// Reads hexadecimal digits; colons between bytes are allowed, as `openssl x509` prints them.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        hex::decode(digits).ok().and_then(|bytes| Self::new(&bytes))
    }

    /// Of a certificate that has one.
    #[must_use]
    pub fn of(der: &[u8]) -> Option<Self> {
        subject_key(&X509Certificate::from_der(der).ok()?.1)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The subject key identifier of a certificate that has one.
pub(super) fn subject_key(certificate: &X509Certificate<'_>) -> Option<KeyId> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(found) => KeyId::new(found.0),
        _ => None,
    })
}
