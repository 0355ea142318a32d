//! Draws RSA keys, which ring does not. Uses none: signing is ring's, in time that does not depend on the key.

use rsa::pkcs8::EncodePrivateKey as _;

use super::{CryptoFault, SecureRandom, Zeroizing};

/// Bits of the RSA keys that are drawn here.
pub const RSA_KEY_BITS: usize = 2048;

/// A new RSA key of [`RSA_KEY_BITS`] with exponent 65537, as PKCS#8 DER. Takes a good part of a second.
///
/// # Errors
/// [`CryptoFault::Key`] if none was found, [`CryptoFault::Random`] if the source fails at the start.
pub fn rsa_key(rng: &dyn SecureRandom) -> Result<Zeroizing<Vec<u8>>, CryptoFault> {
    rng.fill(&mut [0; 32]).map_err(|_| CryptoFault::Random)?;
    // Both forms wipe themselves when they are dropped.
    let key = rsa::RsaPrivateKey::new(&mut Source(rng), RSA_KEY_BITS).map_err(|_| CryptoFault::Key)?;
    let document = key.to_pkcs8_der().map_err(|_| CryptoFault::Key)?;
    Ok(Zeroizing::new(document.as_bytes().to_vec()))
}

/// A source of random numbers as the RSA crate wants one.
struct Source<'a>(&'a dyn SecureRandom);

impl rsa::rand_core::RngCore for Source<'_> {
    fn next_u32(&mut self) -> u32 {
        rsa::rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rsa::rand_core::impls::next_u64_via_fill(self)
    }

    #[expect(clippy::expect_used, reason = "the trait has no other way to say that the system has no random numbers")]
    fn fill_bytes(&mut self, to: &mut [u8]) {
        self.try_fill_bytes(to).expect("random numbers");
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.0.fill(to).map_err(|_| rsa::rand_core::Error::new(CryptoFault::Random))
    }
}

impl rsa::rand_core::CryptoRng for Source<'_> {}
