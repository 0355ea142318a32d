//! Signatures over a digest whose message nobody has: IMA measures a file's digest, and the signature is over that.
//! Signs nothing.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rsa::sha2::{Sha256, Sha384, Sha512};

use super::signature::BadSignature;
use super::{Curve, HashAlg, PublicKey};

/// A public key made ready to verify signatures over digests.
#[derive(Clone, Debug)]
pub struct PrehashKey(Key);

#[derive(Clone, Debug)]
enum Key {
    Rsa(Box<rsa::RsaPublicKey>),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

impl PrehashKey {
    /// The key; `None` for a point that is not on its curve.
    #[must_use]
    pub fn new(key: &PublicKey) -> Option<Self> {
        let key = match key {
            PublicKey::Rsa { modulus } => {
                let modulus = rsa::BigUint::from_bytes_be(modulus);
                Key::Rsa(Box::new(rsa::RsaPublicKey::new(modulus, super::key::RSA_EXPONENT.into()).ok()?))
            }
            PublicKey::Ec { curve: Curve::P256, point } => {
                Key::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?)
            }
            PublicKey::Ec { curve: Curve::P384, point } => {
                Key::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?)
            }
        };
        Some(Self(key))
    }

    /// Verifies that the key signed exactly this digest: RSASSA-PKCS1-v1_5 with the hash named in it, or ECDSA in DER.
    ///
    /// # Errors
    /// [`BadSignature`], whatever the reason.
    pub fn verify(&self, hash: HashAlg, digest: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        if digest.len() != hash.size() {
            return Err(BadSignature);
        }
        let verified = match &self.0 {
            Key::Rsa(key) => {
                let scheme = match hash {
                    HashAlg::Sha256 => rsa::Pkcs1v15Sign::new::<Sha256>(),
                    HashAlg::Sha384 => rsa::Pkcs1v15Sign::new::<Sha384>(),
                    HashAlg::Sha512 => rsa::Pkcs1v15Sign::new::<Sha512>(),
                };
                key.verify(scheme, digest, signature).is_ok()
            }
            Key::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
            Key::P384(key) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()),
        };
        if verified { Ok(()) } else { Err(BadSignature) }
    }
}
