//! Keys that someone claims, and keys that someone has proven to hold.

use x509_parser::certification_request::X509CertificationRequestInfo;
use x509_parser::prelude::FromDer as _;

use crate::crypto::{self, HashAlg, PublicKey, SignatureAlg, SignatureValue};
use crate::error::{Defect, Malformed, Structure};

/// Bytes of the largest request we read: an RSA-4096 key with its names.
pub const CSR_BYTES_MAX: usize = 8 << 10;

/// A public key that a peer says is its own. Proves nothing yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedKey {
    key: PublicKey,
    spki: Vec<u8>,
}

/// A public key whose private half is proven to be with the peer: by a request that it signed, or by a TPM that
/// certified it (inside `verify`). Has no other constructor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenKey {
    key: PublicKey,
    spki: Vec<u8>,
}

/// Why a request does not prove possession.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// It is no request, or its key is none of ours.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its signature algorithm is not one we accept.
    #[error("certificate request is signed with an algorithm that is not accepted")]
    Algorithm,
    /// It is not signed with the key it names.
    #[error("certificate request is not signed with the key it names")]
    Signature,
}

impl Unproven {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::Algorithm => "key.csr.algorithm",
            Self::Signature => "key.csr.signature",
        }
    }
}

impl ClaimedKey {
    /// The key in a DER `SubjectPublicKeyInfo`: P-256, P-384, RSA of 2048 to 4096 bits.
    ///
    /// # Errors
    /// [`Malformed`] for anything else, and for another encoding than DER's only one.
    pub fn from_spki(der: &[u8]) -> Result<Self, Malformed> {
        Ok(Self { key: PublicKey::from_spki(der)?, spki: der.to_vec() })
    }

    /// Checks a PKCS#10 request and proves its key. Its names and extensions are not read.
    ///
    /// # Errors
    /// [`Unproven`] if it is malformed, or not signed with the key it names.
    pub fn from_csr(der: &[u8]) -> Result<ProvenKey, Unproven> {
        ProvenKey::from_csr(der)
    }

    /// Its DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of its DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_sha256(&self) -> [u8; 32] {
        crypto::sha256(&[&self.spki])
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Only for `verify`, which has seen a TPM certify the key or the record name it.
    pub(crate) fn proven(&self) -> ProvenKey {
        ProvenKey { key: self.key.clone(), spki: self.spki.clone() }
    }
}

impl From<ProvenKey> for ClaimedKey {
    fn from(proven: ProvenKey) -> Self {
        Self { key: proven.key, spki: proven.spki }
    }
}

impl ProvenKey {
    /// Checks a PKCS#10 request and proves its key. Its names and extensions are not read.
    ///
    /// # Errors
    /// [`Unproven`] if it is malformed, or not signed with the key it names.
    pub fn from_csr(der: &[u8]) -> Result<Self, Unproven> {
        let malformed = |field, defect| Malformed { structure: Structure::Csr, field, defect };
        if der.len() > CSR_BYTES_MAX {
            return Err(malformed("request", Defect::TooLarge { found: der.len(), limit: CSR_BYTES_MAX }).into());
        }
        let request = SignedRequest::read(der).ok_or(malformed("certificationRequest", Defect::Encoding))?;
        let (rest, requested) = X509CertificationRequestInfo::from_der(request.requested)
            .map_err(|_| malformed("certificationRequestInfo", Defect::Encoding))?;
        if !rest.is_empty() {
            return Err(malformed("certificationRequestInfo", Defect::Trailing { left: rest.len() }).into());
        }
        let claimed = ClaimedKey::from_spki(requested.subject_pki.raw)?;
        let (.., algorithm, hash) = *REQUEST_ALGORITHMS
            .iter()
            .find(|(identifier, ..)| *identifier == request.algorithm)
            .ok_or(Unproven::Algorithm)?;
        let value = match algorithm {
            SignatureAlg::Ecdsa => ecdsa_value(request.signature).ok_or(Unproven::Signature)?,
            SignatureAlg::Rsassa | SignatureAlg::RsaPss => SignatureValue::Rsa(request.signature),
        };
        crypto::verify(&claimed.key, algorithm, hash, request.requested, value).map_err(|_| Unproven::Signature)?;
        Ok(claimed.proven())
    }

    /// Its DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of its DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_sha256(&self) -> [u8; 32] {
        crypto::sha256(&[&self.spki])
    }

    /// The key.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// The contents of `AlgorithmIdentifier` that a request may be signed with, whole.
const REQUEST_ALGORITHMS: [(&[u8], SignatureAlg, HashAlg); 5] = [
    (b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02", SignatureAlg::Ecdsa, HashAlg::Sha256),
    (b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03", SignatureAlg::Ecdsa, HashAlg::Sha384),
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00", SignatureAlg::Rsassa, HashAlg::Sha256),
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00", SignatureAlg::Rsassa, HashAlg::Sha384),
    (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d\x05\x00", SignatureAlg::Rsassa, HashAlg::Sha512),
];

/// The three parts of a PKCS#10 request, read strictly: they are not covered by its signature, so nothing in them may
/// be open to a second spelling.
struct SignedRequest<'a> {
    /// `certificationRequestInfo`, header included: what is signed.
    requested: &'a [u8],
    /// Content of `signatureAlgorithm`.
    algorithm: &'a [u8],
    /// Content of the bit string `signature`.
    signature: &'a [u8],
}

impl<'a> SignedRequest<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let (request, end) = element(0x30, der)?;
        let (_, after) = element(0x30, request)?;
        let requested = request.get(..request.len() - after.len())?;
        let (algorithm, after) = element(0x30, after)?;
        let (signature, after) = element(0x03, after)?;
        let (unused, signature) = signature.split_first()?;
        (end.is_empty() && after.is_empty() && *unused == 0).then_some(Self { requested, algorithm, signature })
    }
}

/// Content of the DER element with this tag at the start, and what follows it. Below 64 KiB, shortest lengths only.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let ([found, short], rest) = der.split_first_chunk()?;
    let (length, rest) = match *short {
        0..=0x7f => (usize::from(*short), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest)).filter(|(n, _)| *n > 0x7f)?,
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            Some((usize::from(u16::from_be_bytes(*length)), rest)).filter(|(n, _)| *n > 0xff)?
        }
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}

/// `SEQUENCE { INTEGER r, INTEGER s }`, leading zeros of the integers removed.
pub(crate) fn ecdsa_value(der: &[u8]) -> Option<SignatureValue<'_>> {
    let (both, end) = element(0x30, der)?;
    let (r, rest) = element(0x02, both)?;
    let (s, rest) = element(0x02, rest)?;
    let zeros = |number: &[u8]| number.iter().take_while(|byte| **byte == 0).count();
    (end.is_empty() && rest.is_empty())
        .then(|| Some(SignatureValue::Ecdsa { r: r.get(zeros(r)..)?, s: s.get(zeros(s)..)? }))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(algorithm: &'static rcgen::SignatureAlgorithm) -> (Vec<u8>, Vec<u8>) {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let request = rcgen::CertificateParams::default().serialize_request(&pair).unwrap();
        (request.der().to_vec(), rcgen::PublicKeyData::subject_public_key_info(&pair))
    }

    #[test]
    fn a_request_proves_the_key_that_signed_it() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
            let (csr, spki) = request(algorithm);
            assert_eq!(ProvenKey::from_csr(&csr).unwrap().spki(), spki);
        }
    }

    #[test]
    fn a_request_for_an_ed25519_key_is_refused() {
        let (csr, _) = request(&rcgen::PKCS_ED25519);
        assert_eq!(ProvenKey::from_csr(&csr).unwrap_err().code(), "key.spki.malformed");
    }

    #[test]
    fn a_request_with_any_byte_changed_proves_nothing() {
        let (csr, spki) = request(&rcgen::PKCS_ECDSA_P256_SHA256);
        for at in 0..csr.len() {
            for bit in [1, 0x80] {
                let mut changed = csr.clone();
                changed[at] ^= bit;
                assert!(ProvenKey::from_csr(&changed).is_err(), "byte {at}");
            }
            assert!(ProvenKey::from_csr(&csr[..at]).is_err());
        }
        assert!(ProvenKey::from_csr(&[csr, vec![0]].concat()).is_err());
        assert!(ClaimedKey::from_spki(&spki[..spki.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_request_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = ProvenKey::from_csr(&bytes);
        }
    }
}
