//! The primitives of credential activation: KDFa, KDFe, RSAES-OAEP, ECDH, AES-CFB, HMAC. Encrypts, never decrypts.

use ring::{agreement, hmac};
use rsa::rand_core;
use zeroize::Zeroizing;

use super::{Curve, HashAlg, Hasher, PublicKey, SecureRandom};

/// Our own side failed: the random source, or a key that the library refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CryptoFault {
    /// No random bytes came.
    #[error("random source failed")]
    Random,
    /// The key is no key (a point off its curve, an even modulus, a private key that cannot be read).
    #[error("key is not valid")]
    Key,
}

impl CryptoFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Random => "crypto.random",
            Self::Key => "crypto.key",
        }
    }
}

/// Bytes that are wiped when dropped.
pub type Secret = Zeroizing<Vec<u8>>;

/// Fills `to` with random bytes.
///
/// # Errors
/// [`CryptoFault::Random`] if the source fails.
pub fn fill(rng: &dyn SecureRandom, to: &mut [u8]) -> Result<(), CryptoFault> {
    rng.fill(to).map_err(|_| CryptoFault::Random)
}

/// `N` random bytes.
///
/// # Errors
/// [`CryptoFault::Random`] if the source fails.
pub fn random<const N: usize>(rng: &dyn SecureRandom) -> Result<[u8; N], CryptoFault> {
    let mut bytes = [0; N];
    fill(rng, &mut bytes)?;
    Ok(bytes)
}

/// HMAC over the parts in order.
#[must_use]
pub fn hmac(hash: HashAlg, key: &[u8], parts: &[&[u8]]) -> super::Digest {
    let key = hmac::Key::new(hmac_algorithm(hash), key);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    super::Digest::copied(context.sign().as_ref())
}

/// KDFa: SP 800-108 in counter mode with HMAC, as TPM 2.0 Part 1 defines it. `label` comes without its NUL.
/// Returns `bits` rounded up to bytes, the surplus high bits cleared.
#[must_use]
pub fn kdfa(hash: HashAlg, key: &[u8], label: &str, context_u: &[u8], context_v: &[u8], bits: u32) -> Secret {
    derive(bits, |counter| {
        let parts = [&counter[..], label.as_bytes(), &[0], context_u, context_v, &bits.to_be_bytes()];
        hmac(hash, key, &parts)
    })
}

/// KDFe: the concatenation KDF of SP 800-56A with a hash, as TPM 2.0 Part 1 defines it. `label` comes without its NUL.
#[must_use]
pub fn kdfe(hash: HashAlg, z: &[u8], label: &str, party_u: &[u8], party_v: &[u8], bits: u32) -> Secret {
    derive(bits, |counter| {
        let mut hasher = Hasher::new(hash);
        for part in [&counter[..], z, label.as_bytes(), &[0], party_u, party_v] {
            hasher.update(part);
        }
        hasher.finish()
    })
}

/// RSAES-OAEP with `hash` for label and mask, of a message of at most the hash's size. `label` comes without its NUL,
/// which is part of what is hashed.
///
/// # Errors
/// [`CryptoFault`] if the key is refused or the random source fails.
pub fn oaep_encrypt(
    modulus: &[u8],
    hash: HashAlg,
    label: &str,
    message: &[u8],
    rng: &dyn SecureRandom,
) -> Result<Vec<u8>, CryptoFault> {
    let mut seed = Zeroizing::new([0u8; 64]);
    let seed = seed.get_mut(..hash.size()).ok_or(CryptoFault::Random)?;
    fill(rng, seed)?;
    oaep_encrypt_seeded(modulus, hash, label, message, seed)
}

fn oaep_encrypt_seeded(
    modulus: &[u8],
    hash: HashAlg,
    label: &str,
    message: &[u8],
    seed: &[u8],
) -> Result<Vec<u8>, CryptoFault> {
    use rsa::sha2::{Sha256, Sha384, Sha512};

    let key = rsa::RsaPublicKey::new(rsa::BigUint::from_bytes_be(modulus), super::key::RSA_EXPONENT.into())
        .map_err(|_| CryptoFault::Key)?;
    let label = format!("{label}\0");
    let padding = match hash {
        HashAlg::Sha256 => rsa::Oaep::new_with_label::<Sha256, _>(label),
        HashAlg::Sha384 => rsa::Oaep::new_with_label::<Sha384, _>(label),
        HashAlg::Sha512 => rsa::Oaep::new_with_label::<Sha512, _>(label),
    };
    let mut drawn = Drawn { left: seed, exhausted: false };
    let encrypted = key.encrypt(&mut drawn, padding, message).map_err(|_| CryptoFault::Key)?;
    if drawn.exhausted { Err(CryptoFault::Random) } else { Ok(encrypted) }
}

/// An ephemeral key's point `04 ‖ x ‖ y` and the x coordinate that it shares with the peer's key.
pub struct Agreed {
    /// The ephemeral public key.
    pub ephemeral: PublicKey,
    /// The x coordinate of the shared point, padded to the field's width.
    pub shared_x: Secret,
}

/// One-pass Diffie-Hellman with a fresh ephemeral key on the peer's curve.
///
/// # Errors
/// [`CryptoFault::Key`] if the peer's point is not on its curve, [`CryptoFault::Random`] without randomness.
pub fn agree(curve: Curve, point: &[u8], rng: &dyn SecureRandom) -> Result<Agreed, CryptoFault> {
    let algorithm = match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
    };
    let private = agreement::EphemeralPrivateKey::generate(algorithm, rng).map_err(|_| CryptoFault::Random)?;
    let public = private.compute_public_key().map_err(|_| CryptoFault::Random)?;
    let ephemeral = PublicKey::Ec { curve, point: public.as_ref().to_vec() };
    let peer = agreement::UnparsedPublicKey::new(algorithm, point);
    let shared_x = agreement::agree_ephemeral(private, &peer, |x| Zeroizing::new(x.to_vec()));
    Ok(Agreed { ephemeral, shared_x: shared_x.map_err(|_| CryptoFault::Key)? })
}

/// AES-CFB128 with a zero IV, in place. `key` has 16 or 32 bytes.
///
/// # Errors
/// [`CryptoFault::Key`] for another length of key.
pub fn aes_cfb_encrypt(key: &[u8], bytes: &mut [u8]) -> Result<(), CryptoFault> {
    use cfb_mode::cipher::{AsyncStreamCipher as _, KeyIvInit as _};

    match key.len() {
        16 => cfb_mode::Encryptor::<aes::Aes128>::new_from_slices(key, &[0; 16])
            .map_err(|_| CryptoFault::Key)?
            .encrypt(bytes),
        32 => cfb_mode::Encryptor::<aes::Aes256>::new_from_slices(key, &[0; 16])
            .map_err(|_| CryptoFault::Key)?
            .encrypt(bytes),
        _ => return Err(CryptoFault::Key),
    }
    Ok(())
}

const fn hmac_algorithm(hash: HashAlg) -> hmac::Algorithm {
    match hash {
        HashAlg::Sha256 => hmac::HMAC_SHA256,
        HashAlg::Sha384 => hmac::HMAC_SHA384,
        HashAlg::Sha512 => hmac::HMAC_SHA512,
    }
}

/// Concatenates blocks for counters 1, 2, … until `bits` are there.
fn derive(bits: u32, block: impl Fn([u8; 4]) -> super::Digest) -> Secret {
    let length = bits.div_ceil(8) as usize;
    let mut derived = Zeroizing::new(Vec::with_capacity(length + 64));
    let mut counter = 1u32;
    while derived.len() < length {
        derived.extend_from_slice(block(counter.to_be_bytes()).as_bytes());
        counter += 1;
    }
    derived.truncate(length);
    if let (Some(first), 1..) = (derived.first_mut(), bits % 8) {
        *first &= (1 << (bits % 8)) - 1;
    }
    derived
}

/// Random bytes drawn beforehand, handed to the rsa crate, which has no way to say that a source failed.
struct Drawn<'a> {
    left: &'a [u8],
    exhausted: bool,
}

impl rand_core::RngCore for Drawn<'_> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, to: &mut [u8]) {
        match self.left.split_at_checked(to.len()) {
            Some((taken, left)) => {
                to.copy_from_slice(taken);
                self.left = left;
            }
            None => self.exhausted = true,
        }
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(to);
        Ok(())
    }
}

impl rand_core::CryptoRng for Drawn<'_> {}
