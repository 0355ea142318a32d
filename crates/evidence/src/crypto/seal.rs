//! Authenticated encryption of short values that travel with a peer. Knows nothing of what it seals.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::credential::{CryptoFault, hmac, random};
use super::{HashAlg, SecureRandom};

/// Bytes that tell which key sealed a value.
pub const KEY_ID_BYTES: usize = 8;
const SALT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Bytes that a seal is longer than its content.
pub const SEAL_OVERHEAD_BYTES: usize = KEY_ID_BYTES + SALT_BYTES + TAG_BYTES;

/// A sealing key of 32 bytes, wiped when dropped.
pub struct SealKey {
    key: Zeroizing<[u8; 32]>,
    id: [u8; KEY_ID_BYTES],
}

impl SealKey {
    /// The key with these bytes, which must be random.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        let key = Zeroizing::new(key);
        let id = hmac(HashAlg::Sha256, key.as_slice(), &[b"holdfast/seal-key-id/1"]);
        Self { id: id.as_bytes().first_chunk().copied().unwrap_or_default(), key }
    }

    /// A fresh key.
    ///
    /// # Errors
    /// [`CryptoFault::Random`] if the source fails.
    pub fn generate(rng: &dyn SecureRandom) -> Result<Self, CryptoFault> {
        random(rng).map(Self::new)
    }

    /// Its name inside seals; says nothing about the key.
    #[must_use]
    pub const fn id(&self) -> [u8; KEY_ID_BYTES] {
        self.id
    }

    /// `key id ‖ salt ‖ ciphertext and tag`, with `context` authenticated along. Each seal has a key of its own,
    /// derived with a random salt, so that no number of seals wears the key out.
    ///
    /// # Errors
    /// [`CryptoFault`] if the random source fails.
    pub fn seal(&self, context: &[u8], content: &[u8], rng: &dyn SecureRandom) -> Result<Vec<u8>, CryptoFault> {
        let salt: [u8; SALT_BYTES] = random(rng)?;
        let mut sealed = Zeroizing::new(Vec::with_capacity(content.len() + TAG_BYTES));
        sealed.extend_from_slice(content);
        self.one_time(&salt)?
            .seal_in_place_append_tag(nonce(), Aad::from(context), &mut *sealed)
            .map_err(|_| CryptoFault::Key)?;
        Ok([&self.id, salt.as_slice(), sealed.as_slice()].concat())
    }

    /// Opens what [`seal`](Self::seal) made under this key and `context`; `None` for anything else.
    #[must_use]
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let sealed = sealed.strip_prefix(&self.id)?;
        let (salt, ciphertext) = sealed.split_first_chunk()?;
        let mut content = Zeroizing::new(ciphertext.to_vec());
        let length =
            self.one_time(salt).ok()?.open_in_place(nonce(), Aad::from(context), content.as_mut_slice()).ok()?.len();
        content.truncate(length);
        Some(content)
    }

    fn one_time(&self, salt: &[u8; SALT_BYTES]) -> Result<LessSafeKey, CryptoFault> {
        let derived = hmac(HashAlg::Sha256, self.key.as_slice(), &[b"holdfast/seal/1", salt]);
        UnboundKey::new(&AES_256_GCM, derived.as_bytes()).map(LessSafeKey::new).map_err(|_| CryptoFault::Key)
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(..)")
    }
}

/// Every derived key is used once, so its nonce is constant.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;

    #[test]
    fn a_seal_opens_under_its_key_and_context_only() {
        let (ours, other) = (SealKey::new([1; 32]), SealKey::new([2; 32]));
        let sealed = ours.seal(b"context", b"content", &SystemRandom::new()).unwrap();
        assert_eq!(sealed.len(), b"content".len() + SEAL_OVERHEAD_BYTES);
        assert_eq!(ours.open(b"context", &sealed).unwrap().as_slice(), b"content");
        assert!(ours.open(b"contest", &sealed).is_none());
        assert!(other.open(b"context", &sealed).is_none());
        let renamed = [&other.id()[..], &sealed[KEY_ID_BYTES..]].concat();
        assert!(other.open(b"context", &renamed).is_none());
    }

    #[test]
    fn a_seal_with_any_byte_changed_or_cut_does_not_open() {
        let key = SealKey::new([3; 32]);
        let sealed = key.seal(b"", b"content", &SystemRandom::new()).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(b"", &changed).is_none(), "byte {at}");
            assert!(key.open(b"", &sealed[..at]).is_none(), "cut at {at}");
        }
    }
}
