//! Private keys that sign tokens: P-256 with SHA-256, P-384 with SHA-384, RSA with PKCS#1 v1.5 and SHA-256, in the bare
//! form of JWS (RFC 7518), r before s. Keeps no key: who draws one gets its bytes, and wipes them.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};

use super::{CryptoFault, Curve, PublicKey, SecureRandom, Zeroizing, rsa_key};

/// A kind of key that can be drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// NIST P-256.
    #[default]
    EcP256,
    /// NIST P-384.
    EcP384,
    /// RSA of 2048 bits.
    Rsa2048,
}

/// A private key that can sign. `Debug` shows the public half's kind alone.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ec(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
}

impl PrivateKey {
    /// Draws a key and returns its PKCS#8 DER. An RSA key takes a good part of a second.
    ///
    /// # Errors
    /// [`CryptoFault`].
    pub fn draw(kind: KeyKind, rng: &dyn SecureRandom) -> Result<Zeroizing<Vec<u8>>, CryptoFault> {
        let algorithm = match kind {
            KeyKind::EcP256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            KeyKind::EcP384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
            KeyKind::Rsa2048 => return rsa_key(rng),
        };
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, rng).map_err(|_| CryptoFault::Random)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// Reads PKCS#8 DER of a kind that [`PublicKey`] has.
    ///
    /// # Errors
    /// [`CryptoFault::Key`] for anything else.
    pub fn from_pkcs8(der: &[u8], rng: &dyn SecureRandom) -> Result<Self, CryptoFault> {
        let curves: [(Curve, &EcdsaSigningAlgorithm); 2] =
            [(Curve::P256, &ECDSA_P256_SHA256_FIXED_SIGNING), (Curve::P384, &ECDSA_P384_SHA384_FIXED_SIGNING)];
        for (curve, algorithm) in curves {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(algorithm, der, rng) {
                let point = pair.public_key().as_ref().get(1..);
                let (x, y) = point.and_then(|p| p.split_at_checked(curve.field_size())).ok_or(CryptoFault::Key)?;
                let public = PublicKey::ec(curve, x, y).ok_or(CryptoFault::Key)?;
                return Ok(Self { pair: Pair::Ec(Box::new(pair)), public });
            }
        }
        let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| CryptoFault::Key)?;
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
        if e != [1, 0, 1] {
            return Err(CryptoFault::Key);
        }
        let public = PublicKey::rsa(&n).ok_or(CryptoFault::Key)?;
        Ok(Self { pair: Pair::Rsa(Box::new(pair)), public })
    }

    /// Its public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message` by the one algorithm of its kind.
    ///
    /// # Errors
    /// [`CryptoFault`] if the key cannot be used.
    pub fn sign(&self, message: &[u8], rng: &dyn SecureRandom) -> Result<Vec<u8>, CryptoFault> {
        match &self.pair {
            Pair::Ec(pair) => Ok(pair.sign(rng, message).map_err(|_| CryptoFault::Key)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, rng, message, &mut signature).map_err(|_| CryptoFault::Key)?;
                Ok(signature)
            }
        }
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({:?})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::super::{HashAlg, SignatureAlg, SignatureValue, verify};
    use super::*;

    #[test]
    fn what_a_drawn_key_signs_its_public_half_verifies() {
        let rng = SystemRandom::new();
        for (kind, hash) in [
            (KeyKind::EcP256, HashAlg::Sha256),
            (KeyKind::EcP384, HashAlg::Sha384),
            (KeyKind::Rsa2048, HashAlg::Sha256),
        ] {
            let der = PrivateKey::draw(kind, &rng).unwrap();
            let key = PrivateKey::from_pkcs8(&der, &rng).unwrap();
            let signature = key.sign(b"message", &rng).unwrap();
            let (algorithm, value) = match kind {
                KeyKind::Rsa2048 => (SignatureAlg::Rsassa, SignatureValue::Rsa(&signature)),
                KeyKind::EcP256 | KeyKind::EcP384 => {
                    let (r, s) = signature.split_at(signature.len() / 2);
                    (SignatureAlg::Ecdsa, SignatureValue::Ecdsa { r, s })
                }
            };
            assert_eq!(verify(key.public(), algorithm, hash, b"message", value), Ok(()), "{kind:?}");
            assert!(verify(key.public(), algorithm, hash, b"massage", value).is_err(), "{kind:?}");
            assert_eq!(PrivateKey::from_pkcs8(&der[1..], &rng).unwrap_err(), CryptoFault::Key);
        }
    }
}
