//! Ed25519 (RFC 8032): the one kind of key that this workspace also signs with below its programs, for logs that sign
//! what they say. Draws no randomness: a key is made from its seed.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::{BadSignature, CryptoFault};

/// A private key, held as its seed and wiped when dropped.
pub struct Ed25519Key {
    seed: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl Ed25519Key {
    /// The key with this seed, which must be random.
    ///
    /// # Errors
    /// [`CryptoFault::Key`] if it cannot be used.
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Result<Self, CryptoFault> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| CryptoFault::Key)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| CryptoFault::Key)?;
        Ok(Self { seed, public })
    }

    /// The public key, as RFC 8032 encodes it.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The seed, for the file that keeps it.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Signs `message`.
    ///
    /// # Errors
    /// [`CryptoFault::Key`] if the key cannot be used.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; 64], CryptoFault> {
        // ring's key pair does not wipe itself, so it lives no longer than one signature.
        let pair = Ed25519KeyPair::from_seed_unchecked(self.seed.as_slice()).map_err(|_| CryptoFault::Key)?;
        pair.sign(message).as_ref().try_into().map_err(|_| CryptoFault::Key)
    }
}

impl std::fmt::Debug for Ed25519Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ed25519Key(..)")
    }
}

/// Verifies that the holder of `public` signed exactly `message`.
///
/// # Errors
/// [`BadSignature`].
pub fn verify_ed25519(public: &[u8; 32], message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).map_err(|_| BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032 §7.1, test 2.
    #[test]
    fn signatures_are_those_of_the_rfc() {
        let seed: [u8; 32] = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
            .unwrap()
            .try_into()
            .unwrap();
        let key = Ed25519Key::from_seed(Zeroizing::new(seed)).unwrap();
        assert_eq!(hex::encode(key.public()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = key.sign(&[0x72]).unwrap();
        assert_eq!(
            hex::encode(signature),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
        assert_eq!(verify_ed25519(key.public(), &[0x72], &signature), Ok(()));
        assert_eq!(verify_ed25519(key.public(), &[0x73], &signature), Err(BadSignature));
        let mut other = *key.public();
        other[0] ^= 1;
        assert_eq!(verify_ed25519(&other, &[0x72], &signature), Err(BadSignature));
    }
}
