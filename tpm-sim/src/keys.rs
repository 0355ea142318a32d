//! Secure Boot certificates and keys of files by name: the same name gives the same, byte for byte, on every machine and in
//! every run, so that reference values computed once stay right. Certificates are Ed25519, because its signatures are
//! deterministic; files are signed by P-256, as kernels verify it, with nonces made from key and digest.

use base64::Engine as _;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Signature, SigningKey};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose, SerialNumber,
    date_time_ymd,
};

use crate::digest::Bank;
use crate::error::SimError;

/// PKCS#8 version 1 of an Ed25519 key, up to its 32 bytes.
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// SubjectPublicKeyInfo of a P-256 key, up to its point.
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Who signs files for the kernel's IMA.
pub(crate) struct FileSigner(SigningKey);

/// The public key of this name, PEM: for `keys` of a policy's `ima` table.
///
/// # Errors
/// [`SimError::Profile`] for a name that gives no key.
pub fn file_signer_pem(name: &str) -> Result<String, SimError> {
    Ok(FileSigner::named(name)?.public_key_pem())
}

impl FileSigner {
    /// The key of this name.
    pub(crate) fn named(name: &str) -> Result<Self, SimError> {
        let seed = Bank::Sha256.hash(&[b"holdfast-tpm-sim file signer\0", name.as_bytes()]);
        let key = SigningKey::from_slice(&seed);
        key.map(Self).map_err(|_| SimError::Profile { origin: name.to_owned(), problem: "names no key".to_owned() })
    }

    /// `security.ima` of a file of this digest: type 3, version 2, SHA-256, the key's id, the signature.
    pub(crate) fn attribute(&self, sha256: &[u8]) -> Result<Vec<u8>, SimError> {
        let signed: Result<Signature, _> = self.0.sign_prehash(sha256);
        let unsigned = |_| SimError::Profile { origin: "signer".to_owned(), problem: "cannot sign".to_owned() };
        let signature = signed.map_err(unsigned)?.to_der();
        let id = Bank::Sha1.hash(&[&self.point()]);
        let length = u16::try_from(signature.as_bytes().len()).unwrap_or_default().to_be_bytes();
        let id = id.get(16..).unwrap_or_default();
        Ok([&[3, 2, 4], id, &length, signature.as_bytes()].concat())
    }

    /// The public key as PEM, for a policy's `keys`.
    fn public_key_pem(&self) -> String {
        let spki = [P256_SPKI.as_slice(), &self.point()].concat();
        let text = base64::engine::general_purpose::STANDARD.encode(spki);
        let (first, second) = text.split_at_checked(64).unwrap_or((&text, ""));
        format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n")
    }

    fn point(&self) -> Vec<u8> {
        self.0.verifying_key().to_encoded_point(false).as_bytes().to_vec()
    }
}

/// The self-signed certificate of this common name, DER.
pub(crate) fn certificate(name: &str) -> Result<Vec<u8>, SimError> {
    let seed = Bank::Sha256.hash(&[b"holdfast-tpm-sim certificate\0", name.as_bytes()]);
    let pkcs8 = [ED25519_PKCS8.as_slice(), &seed].concat();
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_slice().into(), &rcgen::PKCS_ED25519)?;
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Holdfast Simulator");
    params.distinguished_name.push(DnType::CommonName, name);
    let serial = Bank::Sha256.hash(&[b"holdfast-tpm-sim serial\0", name.as_bytes()]);
    params.serial_number =
        Some(SerialNumber::from(u64::from_be_bytes(serial.first_chunk().copied().unwrap_or([1; 8])) >> 1));
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2054, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    Ok(params.self_signed(&key)?.der().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_always_gives_the_same_certificate() {
        assert_eq!(certificate("db").unwrap(), certificate("db").unwrap());
        assert_ne!(certificate("db").unwrap(), certificate("dbx").unwrap());
    }
}
