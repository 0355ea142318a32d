//! SHA-256, SHA-384, SHA-512, and digests as small values without allocation. SHA-1 is not here.

use std::fmt;
use std::str::FromStr;

use ring::digest;

use crate::class::UnknownName;

/// A hash that we accept. A PCR bank is named by its hash, so this is also [`crate::tpm::Bank`]. SHA-1 has no variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashAlg {
    /// `TPM_ALG_SHA256`, 0x000b, 32 bytes.
    Sha256,
    /// `TPM_ALG_SHA384`, 0x000c, 48 bytes.
    Sha384,
    /// `TPM_ALG_SHA512`, 0x000d, 64 bytes.
    Sha512,
}

impl HashAlg {
    /// All of them, shortest first.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The `TPM_ALG_ID`.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
        }
    }

    /// The hash with this `TPM_ALG_ID`; `None` for SHA-1 and everything else.
    #[must_use]
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x000b => Some(Self::Sha256),
            0x000c => Some(Self::Sha384),
            0x000d => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Bytes of a digest.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The name in policies and on command lines: `sha256`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Digest over the parts in order.
    #[must_use]
    pub fn digest(self, parts: &[&[u8]]) -> Digest {
        if let [whole] = parts {
            return Digest::copied(digest::digest(self.ring(), whole).as_ref());
        }
        let mut hasher = Hasher::new(self);
        for part in parts {
            hasher.update(part);
        }
        hasher.finish()
    }

    /// The digest of `bytes`, at the beginning of `to`: for long chains, without a value in between. What does not fit
    /// into `to` is left out.
    pub(crate) fn digest_to(self, bytes: &[u8], to: &mut [u8]) {
        copy(digest::digest(self.ring(), bytes).as_ref(), to);
    }

    /// Extends a PCR in place: `buffer` holds its value and behind it what extends it.
    pub(crate) fn extend_in(self, buffer: &mut [u8; 128]) {
        let extended = digest::digest(self.ring(), buffer.get(..2 * self.size()).unwrap_or_default());
        copy(extended.as_ref(), buffer);
    }

    pub(crate) fn ring(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

impl FromStr for HashAlg {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|hash| hash.as_str() == name)
            .ok_or(UnknownName { what: "hash", expected: "sha256, sha384, sha512" })
    }
}

impl fmt::Display for HashAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A hash in progress.
#[derive(Clone)]
pub struct Hasher(digest::Context);

impl Hasher {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new(hash: HashAlg) -> Self {
        Self(digest::Context::new(hash.ring()))
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was added.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest::copied(self.0.finish().as_ref())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher(..)")
    }
}

/// A digest of 32, 48 or 64 bytes, held without allocation. Public by nature: compare secrets with
/// [`equal`](crate::crypto::equal).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    // Bytes beyond `length` are zero, so the derived comparisons hold.
    bytes: [u8; 64],
    length: u8,
}

impl Digest {
    /// A digest of `hash` from its bytes; `None` if the length is another.
    #[must_use]
    pub fn new(hash: HashAlg, bytes: &[u8]) -> Option<Self> {
        (bytes.len() == hash.size()).then(|| Self::copied(bytes))
    }

    /// All bytes zero: a PCR before its first extend.
    #[must_use]
    pub const fn zero(hash: HashAlg) -> Self {
        Self { bytes: [0; 64], length: length_of(hash) }
    }

    /// All bytes `FF`: what PCR 17 to 22 hold after a reset, and what a violation extends.
    #[must_use]
    pub fn ones(hash: HashAlg) -> Self {
        let mut digest = Self::zero(hash);
        digest.bytes.iter_mut().take(hash.size()).for_each(|byte| *byte = 0xff);
        digest
    }

    /// Its 32, 48 or 64 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Whether every byte is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == 0)
    }

    /// What a PCR of `bank` that holds this value holds after being extended with `with`.
    #[must_use]
    pub fn extended(&self, bank: HashAlg, with: &[u8]) -> Self {
        bank.digest(&[self.as_bytes(), with])
    }

    pub(crate) fn copied(from: &[u8]) -> Self {
        let mut digest = Self { bytes: [0; 64], length: 0 };
        let length = from.len().min(digest.bytes.len());
        if let (Some(to), Some(from)) = (digest.bytes.get_mut(..length), from.get(..length)) {
            to.copy_from_slice(from);
            digest.length = u8::try_from(length).unwrap_or_default();
        }
        digest
    }
}

/// The size that counts in long chains is known to the compiler: then a copy is a few instructions, and no call.
fn copy(from: &[u8], to: &mut [u8]) {
    match (<&[u8; 32]>::try_from(from), to.first_chunk_mut::<32>()) {
        (Ok(from), Some(to)) => *to = *from,
        _ => to.iter_mut().zip(from).for_each(|(to, from)| *to = *from),
    }
}

const fn length_of(hash: HashAlg) -> u8 {
    match hash {
        HashAlg::Sha256 => 32,
        HashAlg::Sha384 => 48,
        HashAlg::Sha512 => 64,
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Lower-case hex.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_the_size_of_their_hash() {
        for hash in HashAlg::ALL {
            assert_eq!(hash.digest(&[b"a", b"b"]).as_bytes().len(), hash.size());
            assert_eq!(hash.digest(&[b"a", b"b"]), hash.digest(&[b"ab"]));
            assert_eq!(Digest::zero(hash).as_bytes().len(), hash.size());
            assert_eq!(Digest::ones(hash).as_bytes(), vec![0xff; hash.size()]);
            assert_eq!(HashAlg::from_id(hash.id()), Some(hash));
        }
        assert_eq!(
            HashAlg::Sha256.digest(&[b"abc"]).to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn sha1_is_no_hash_of_ours() {
        assert_eq!(HashAlg::from_id(4), None);
        assert!("sha1".parse::<HashAlg>().is_err());
        assert!(Digest::new(HashAlg::Sha256, &[0; 20]).is_none());
    }
}
