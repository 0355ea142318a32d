//! Detached signatures of files that people keep: Ed25519 or ECDSA P-256 over SHA-256, as `openssl pkeyutl -rawin` makes
//! them. Puts nothing before the message and decides whose key counts nowhere: both are the caller's.

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ED25519};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{BadSignature, CryptoFault, SecureRandom, sha256};

/// Longest PEM file of one key, in bytes; a P-256 key takes 180, comments before the block included in what is left.
const PEM_BYTES_MAX: usize = 16 << 10;
/// Longest signature: two numbers of 33 bytes in DER.
pub const DETACHED_SIGNATURE_BYTES_MAX: usize = 72;
/// Bytes of a P-256 point, `04 ‖ x ‖ y`.
const POINT_BYTES: usize = 65;

/// A public key that signs files.
#[derive(Clone)]
pub struct DetachedKey {
    kind: Kind,
    public: Vec<u8>,
    spki_sha256: [u8; 32],
}

/// A private key that signs files. `ring` does not wipe it, so whoever holds one drops it after its signature.
pub struct DetachedSigner(Pair);

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ed25519,
    P256,
}

/// Why a file is no such key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// Not PEM with one block of this name.
    #[error("expected one PEM block \"{expected}\"")]
    Form {
        /// What the block is called.
        expected: &'static str,
    },
    /// A key of another kind.
    #[error("expected an Ed25519 or a P-256 key")]
    Kind,
}

const PUBLIC: BadKey = BadKey::Form { expected: "PUBLIC KEY" };
const PRIVATE: BadKey = BadKey::Form { expected: "PRIVATE KEY" };

impl DetachedKey {
    /// Reads a SubjectPublicKeyInfo in PEM, one block and nothing behind it.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn from_pem(pem: &str) -> Result<Self, BadKey> {
        if pem.len() > PEM_BYTES_MAX {
            return Err(PUBLIC);
        }
        let blocks = pem::parse_many(pem).map_err(|_| PUBLIC)?;
        match blocks.as_slice() {
            [block] if block.tag() == "PUBLIC KEY" => Self::from_spki(block.contents()),
            _ => Err(PUBLIC),
        }
    }

    /// Reads a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn from_spki(der: &[u8]) -> Result<Self, BadKey> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).map_err(|_| PUBLIC)?;
        if !rest.is_empty() {
            return Err(PUBLIC);
        }
        let curve = spki.algorithm.parameters.as_ref().map(|parameters| parameters.as_oid().ok());
        let (kind, length) = match (&spki.algorithm.algorithm, curve) {
            (algorithm, None) if *algorithm == OID_SIG_ED25519 => (Kind::Ed25519, 32),
            (algorithm, Some(Some(curve))) if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve == OID_EC_P256 => {
                (Kind::P256, POINT_BYTES)
            }
            _ => return Err(BadKey::Kind),
        };
        let public = spki.subject_public_key.data.to_vec();
        if public.len() != length {
            return Err(BadKey::Kind);
        }
        Ok(Self { kind, public, spki_sha256: sha256(&[der]) })
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub const fn spki_sha256(&self) -> &[u8; 32] {
        &self.spki_sha256
    }

    /// Checks that the key signed exactly `message`: 64 bytes by Ed25519, DER by ECDSA.
    ///
    /// # Errors
    /// [`BadSignature`], whatever the reason.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let algorithm: &'static dyn VerificationAlgorithm = match self.kind {
            Kind::Ed25519 => &ED25519,
            Kind::P256 => &ECDSA_P256_SHA256_ASN1,
        };
        UnparsedPublicKey::new(algorithm, &self.public).verify(message, signature).map_err(|_| BadSignature)
    }
}

impl std::fmt::Debug for DetachedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DetachedKey({:?}, {})", self.kind, hex::encode(self.spki_sha256))
    }
}

impl DetachedSigner {
    /// Reads a PKCS#8 key in PEM, one block and nothing behind it. What is copied on the way is wiped.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn from_pem(pem: &str, rng: &dyn SecureRandom) -> Result<Self, BadKey> {
        if pem.len() > PEM_BYTES_MAX {
            return Err(PRIVATE);
        }
        let mut blocks = pem::parse_many(pem).map_err(|_| PRIVATE)?;
        let (Some(block), true) = (blocks.pop(), blocks.is_empty()) else { return Err(PRIVATE) };
        let is_key = block.tag() == "PRIVATE KEY";
        let der = super::Zeroizing::new(block.into_contents());
        if !is_key {
            return Err(PRIVATE);
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            return Ok(Self(Pair::Ed25519(pair)));
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, rng);
        pair.map(|pair| Self(Pair::P256(pair))).map_err(|_| BadKey::Kind)
    }

    /// Its public key.
    ///
    /// # Errors
    /// [`CryptoFault::Key`] if it has none.
    pub fn key(&self) -> Result<DetachedKey, CryptoFault> {
        // SubjectPublicKeyInfo of Ed25519 (RFC 8410) up to the key.
        const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        let spki = match &self.0 {
            Pair::Ed25519(pair) => [&ED25519_PREFIX[..], pair.public_key().as_ref()].concat(),
            Pair::P256(pair) => {
                let coordinates = pair.public_key().as_ref().get(1..).and_then(|both| both.split_at_checked(32));
                let (x, y) = coordinates.ok_or(CryptoFault::Key)?;
                super::PublicKey::ec(super::Curve::P256, x, y).ok_or(CryptoFault::Key)?.spki()
            }
        };
        DetachedKey::from_spki(&spki).map_err(|_| CryptoFault::Key)
    }

    /// Signs `message`.
    ///
    /// # Errors
    /// [`CryptoFault::Key`] if the key cannot be used.
    pub fn sign(&self, message: &[u8], rng: &dyn SecureRandom) -> Result<Vec<u8>, CryptoFault> {
        match &self.0 {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::P256(pair) => {
                let signed = pair.sign(rng, message).map_err(|_| CryptoFault::Key)?;
                Ok(signed.as_ref().to_vec())
            }
        }
    }
}

impl std::fmt::Debug for DetachedSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DetachedSigner(..)")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
    use ring::rand::SystemRandom;

    use super::*;

    #[test]
    fn a_signature_is_of_one_key_over_one_message() {
        let rng = SystemRandom::new();
        for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256] {
            let (pair, other) = (KeyPair::generate_for(algorithm).unwrap(), KeyPair::generate_for(algorithm).unwrap());
            let key = DetachedKey::from_pem(&pair.public_key_pem()).unwrap();
            let signer = DetachedSigner::from_pem(&pair.serialize_pem(), &rng).unwrap();
            assert_eq!(signer.key().unwrap().spki_sha256(), key.spki_sha256());
            let mut signature = signer.sign(b"message", &rng).unwrap();
            assert!(signature.len() <= DETACHED_SIGNATURE_BYTES_MAX);
            assert_eq!(key.verify(b"message", &signature), Ok(()));
            assert_eq!(key.verify(b"massage", &signature), Err(BadSignature));
            let other = DetachedKey::from_pem(&other.public_key_pem()).unwrap();
            assert_eq!(other.verify(b"message", &signature), Err(BadSignature));
            *signature.last_mut().unwrap() ^= 1;
            assert_eq!(key.verify(b"message", &signature), Err(BadSignature));
            assert_eq!(key.verify(b"message", &[]), Err(BadSignature));
        }
    }

    #[test]
    fn other_keys_and_other_files_are_no_keys() {
        let rng = SystemRandom::new();
        let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(DetachedKey::from_pem(&p384.public_key_pem()).unwrap_err(), BadKey::Kind);
        assert_eq!(DetachedKey::from_pem(&p384.serialize_pem()).unwrap_err(), PUBLIC);
        assert_eq!(DetachedKey::from_pem("").unwrap_err(), PUBLIC);
        let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        assert_eq!(DetachedKey::from_pem(&p256.public_key_pem().repeat(2)).unwrap_err(), PUBLIC);
        assert_eq!(DetachedSigner::from_pem(&p384.serialize_pem(), &rng).unwrap_err(), BadKey::Kind);
        assert_eq!(DetachedSigner::from_pem(&p256.public_key_pem(), &rng).unwrap_err(), PRIVATE);
        let long = format!("{}{}", " ".repeat(PEM_BYTES_MAX), p256.public_key_pem());
        assert_eq!(DetachedKey::from_pem(&long).unwrap_err(), PUBLIC);
    }
}
