//! Whose a certificate is: an endorsement certificate that was offered with it. Each of them is activated, or nobody is
//! admitted.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;

use super::names::TpmNaming;
use crate::crypto::{HashAlg, PublicKey};
use crate::tpm::ek::EkIdentity;
use crate::tpm::endorsement::certificate_in;

/// An endorsement certificate by everything that others name it by.
#[derive(Debug)]
pub(super) struct Holder<'a> {
    der: &'a [u8],
    certificate: X509Certificate<'a>,
}

impl<'a> Holder<'a> {
    /// The holder behind a certificate as read, which was verified as that of `ek`.
    pub(super) fn of(ek: &EkIdentity, certificate: &'a [u8]) -> Option<Self> {
        let der = certificate_in(certificate).ok()?;
        if crate::crypto::sha256(&[der]) != ek.certificate_sha256 {
            return None;
        }
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Some(Self { der, certificate })
    }

    /// Whether this is the certificate with exactly that issuer, by the bytes of its name, and that serial number.
    pub(super) fn is_issued_as(&self, issuer: &[u8], serial: &[u8]) -> bool {
        self.certificate.issuer().as_raw() == issuer
            && without_zeros(self.certificate.raw_serial()) == without_zeros(serial)
    }

    /// Whether the digest is that of the certificate.
    pub(super) fn has_digest(&self, alg: HashAlg, digest: &[u8]) -> bool {
        alg.digest(&[self.der]).as_bytes() == digest
    }

    /// Whether the digest is that of its `SubjectPublicKeyInfo`.
    pub(super) fn has_key_digest(&self, alg: HashAlg, digest: &[u8]) -> bool {
        alg.digest(&[self.certificate.public_key().raw]).as_bytes() == digest
    }

    /// Whether the certificate is for that key.
    pub(super) fn has_key(&self, key: &PublicKey) -> bool {
        PublicKey::from_parsed(self.certificate.public_key()).as_ref() == Some(key)
    }

    /// Whether it is the one that a device certificate names.
    pub(super) fn is_named(&self, naming: &TpmNaming) -> bool {
        match naming {
            TpmNaming::EkCertificate(digest) => hex::encode(crate::crypto::sha256(&[self.der])) == *digest,
            TpmNaming::EkSerial { authority, serial } => {
                let authority_of =
                    self.certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                        ParsedExtension::AuthorityKeyIdentifier(id) => {
                            id.key_identifier.as_ref().map(|id| hex::encode(id.0))
                        }
                        _ => None,
                    });
                let digits = hex::encode(without_zeros(self.certificate.raw_serial()));
                authority_of.as_ref() == Some(authority)
                    && digits.trim_start_matches('0') == serial.trim_start_matches('0')
            }
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
