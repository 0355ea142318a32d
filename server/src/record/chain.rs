//! How entries are chained: each entry's hash covers its place, its leaf hash and the hash before it.
//!
//! The leaf hash is RFC 6962's (`SHA-256(0x00 || leaf)`), so that the same leaves can stand in a Merkle tree.

use ring::digest::{Context, SHA256};

/// What the chain hash starts with: no leaf (0x00) and no Merkle node (0x01) hashes to the same.
const CHAIN_PREFIX: [u8; 1] = [0x02];

/// Where a chain ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainHead {
    /// Entries so far; the next one's index.
    pub size: u64,
    /// Hash of the last one, zero if there is none.
    pub hash: [u8; 32],
}

impl ChainHead {
    /// The head after `leaf` is appended.
    #[must_use]
    pub fn append(&self, leaf: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&CHAIN_PREFIX);
        context.update(&self.size.to_be_bytes());
        context.update(&self.hash);
        context.update(&leaf_hash(leaf));
        Self { size: self.size.saturating_add(1), hash: finish(context) }
    }
}

/// RFC 6962 §2.1 hash of a leaf.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&[0x00]);
    context.update(leaf);
    finish(context)
}

fn finish(context: Context) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_covers_place_leaf_and_everything_before() {
        let one = ChainHead::default().append(b"a");
        let two = one.append(b"b");
        assert_eq!(two.size, 2);
        assert_ne!(two.hash, ChainHead::default().append(b"b").append(b"a").hash);
        assert_ne!(two.hash, ChainHead { size: 7, ..one }.append(b"b").hash);
        assert_ne!(one.hash, leaf_hash(b"a"));
    }

    #[test]
    fn the_leaf_hash_is_rfc_6962s() {
        assert_eq!(hex::encode(leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }
}
