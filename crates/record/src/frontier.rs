//! The right edge of a growing tree: as few hashes as the next append and the root need.

use crate::hash::{HASH_BYTES, Hash};
use crate::tree::{Node, fold};

/// How many leaves a tree has, and the roots of the complete subtrees that it is made of, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

/// Bytes are not the frontier of a tree of that size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tree of {size} leaves has {} peaks of {HASH_BYTES} bytes, found {found} bytes", size.count_ones())]
pub struct BadFrontier {
    /// Leaves.
    pub size: u64,
    /// Bytes that were there.
    pub found: usize,
}

impl Frontier {
    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`BadFrontier`] if there are more or fewer hashes than a tree of that size has.
    pub fn decode(size: u64, bytes: &[u8]) -> Result<Self, BadFrontier> {
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        if !rest.is_empty() || hashes.len() != size.count_ones() as usize {
            return Err(BadFrontier { size, found: bytes.len() });
        }
        Ok(Self { size, peaks: hashes.iter().copied().map(Hash).collect() })
    }

    /// The peaks' hashes, one after another.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.peaks.iter().flat_map(|hash| hash.0).collect()
    }

    /// Leaves in the tree.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        fold(&self.peaks)
    }

    /// Appends a leaf by its hash; `completed` hears of every subtree above the leaf that it completes.
    pub fn append(&mut self, leaf: Hash, mut completed: impl FnMut(Node, Hash)) {
        let mut hash = leaf;
        for level in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            hash = Hash::node(&left, &hash);
            let level = level + 1;
            completed(Node { level: u8::try_from(level).unwrap_or_default(), index: self.size >> level }, hash);
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Range;
    use std::collections::HashMap;

    /// RFC 6962 §2.1 word for word.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::empty(),
            [one] => *one,
            more => {
                let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
                Hash::node(&mth(left), &mth(right))
            }
        }
    }

    #[test]
    fn roots_and_nodes_are_those_of_the_rfc() {
        let leaves: Vec<Hash> = (0..300_u32).map(|n| Hash::leaf(&n.to_be_bytes())).collect();
        let mut frontier = Frontier::default();
        let mut nodes = HashMap::new();
        for (count, leaf) in leaves.iter().enumerate() {
            assert_eq!(frontier.root(), mth(&leaves[..count]));
            nodes.insert((0, count as u64), *leaf);
            frontier.append(*leaf, |node, hash| {
                let start = (node.index << node.level) as usize;
                assert_eq!(hash, mth(&leaves[start..start + (1 << node.level)]));
                nodes.insert((node.level, node.index), hash);
            });
            let decoded = Frontier::decode(frontier.size(), &frontier.encode());
            assert_eq!(decoded.as_ref(), Ok(&frontier));
            let root = Range::whole(frontier.size()).root(|node| nodes.get(&(node.level, node.index)).copied());
            assert_eq!(root, Some(frontier.root()));
        }
    }

    /// The roots that Certificate Transparency's own tests expect of its eight test leaves.
    #[test]
    fn roots_are_those_of_certificate_transparency() {
        let leaves =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut frontier = Frontier::default();
        for (leaf, root) in leaves.iter().zip(roots) {
            frontier.append(Hash::leaf(&hex::decode(leaf).unwrap()), |_, _| {});
            assert_eq!(frontier.root().to_string(), root);
        }
    }

    #[test]
    fn a_frontier_of_another_size_is_refused() {
        let mut frontier = Frontier::default();
        (0..5_u8).for_each(|n| frontier.append(Hash::leaf(&[n]), |_, _| {}));
        let bytes = frontier.encode();
        assert_eq!(Frontier::decode(7, &bytes), Err(BadFrontier { size: 7, found: 64 }));
        assert!(Frontier::decode(5, &bytes[..63]).is_err());
        assert!(Frontier::decode(0, &[]).is_ok());
    }
}
