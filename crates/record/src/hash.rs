//! RFC 6962 §2.1 hashes: of leaves, of nodes, of the tree without a leaf.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_evidence::crypto::sha256;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a hash.
pub(crate) const HASH_BYTES: usize = 32;

/// A node of the tree, SHA-256. In JSON it is base64, as in checkpoints and proofs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; HASH_BYTES]);

impl Hash {
    /// The root of the tree without a leaf: SHA-256 over nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self(sha256(&[]))
    }

    /// The hash of a leaf: `SHA-256(0x00 ‖ leaf)`.
    #[must_use]
    pub fn leaf(leaf: &[u8]) -> Self {
        Self(sha256(&[&[0x00], leaf]))
    }

    /// The hash of a node over its two children: `SHA-256(0x01 ‖ left ‖ right)`.
    #[must_use]
    pub fn node(left: &Self, right: &Self) -> Self {
        let mut input = [1; 1 + 2 * HASH_BYTES];
        let (first, second) = input.split_at_mut(1 + HASH_BYTES);
        if let Some(first) = first.get_mut(1..) {
            first.copy_from_slice(&left.0);
        }
        second.copy_from_slice(&right.0);
        Self(sha256(&[&input]))
    }

    /// Reads 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Standard base64 with padding.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads standard base64 of exactly 32 bytes.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        // The engine takes no other spelling of the same bytes: padding and trailing bits are checked.
        (text.len() == 44).then(|| STANDARD.decode(text).ok()).flatten().and_then(|bytes| Self::from_bytes(&bytes))
    }
}

/// Lower-case hex.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_base64())
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_base64(&text).ok_or_else(|| serde::de::Error::custom("expected 32 bytes in standard base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the first Certificate Transparency implementation.
    #[test]
    fn hashes_are_those_of_certificate_transparency() {
        assert_eq!(Hash::empty().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(Hash::leaf(b"").to_string(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        let two = Hash::node(&Hash::leaf(b""), &Hash::leaf(&[0]));
        assert_eq!(two.to_string(), "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125");
    }

    #[test]
    fn base64_has_one_spelling() {
        let hash = Hash::leaf(b"a");
        let text = hash.to_base64();
        assert_eq!(Hash::from_base64(&text), Some(hash));
        for bad in [text.trim_end_matches('='), &format!("{text}\n"), &text.replace('=', "!"), ""] {
            assert_eq!(Hash::from_base64(bad), None, "{bad}");
        }
        assert_eq!(Hash::from_base64("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="), None, "trailing bits");
    }
}
