//! The one place that touches ring, rsa, aes, subtle and zeroize. Everything else in this crate asks here, so that
//! another provider can take their place.

pub mod credential;
mod detached;
mod ed25519;
mod hash;
mod key;
mod prehash;
mod private_key;
mod rsa_key;
pub mod seal;
mod signature;

pub use credential::{CryptoFault, Secret};
pub use detached::{BadKey, DETACHED_SIGNATURE_BYTES_MAX, DetachedKey, DetachedSigner};
pub use ed25519::{Ed25519Key, verify_ed25519};
pub use hash::{Digest, HashAlg, Hasher};
pub use key::{Curve, PublicKey, RSA_EXPONENT};
pub use prehash::PrehashKey;
pub use private_key::{KeyKind, PrivateKey};
pub use ring::rand::SecureRandom;
pub use rsa_key::{RSA_KEY_BITS, rsa_key};
pub use seal::SealKey;
pub use signature::{BadSignature, SignatureAlg, SignatureValue, verify, verify_pss, verify_pss_sha384};
pub use zeroize::Zeroizing;

use subtle::ConstantTimeEq as _;

/// Whether two byte strings are equal, in time that depends on their lengths alone. Empty strings equal nothing:
/// an expected value that is missing must never match one that is missing too.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    !a.is_empty() && bool::from(a.ct_eq(b))
}

/// SHA-1 over the parts in order: the template hash in the kernel's list of measurements, which banks that the kernel
/// cannot serve are extended with. For nothing else: SHA-1 is no [`HashAlg`].
#[must_use]
pub(crate) fn sha1_of_template(parts: &[&[u8]]) -> [u8; 20] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().first_chunk().copied().unwrap_or_default()
}

/// SHA-1 of a public key: the names that certificates (RFC 5280) and signed files call keys by. A name proves nothing.
#[must_use]
pub(crate) fn sha1_of_key(key: &[u8]) -> [u8; 20] {
    sha1_of_template(&[key])
}

/// SHA-256 over the parts in order.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let digest = HashAlg::Sha256.digest(parts);
    digest.as_bytes().first_chunk().copied().unwrap_or_default()
}
