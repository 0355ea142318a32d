//! Tiles as they fill: leaf hashes go in one after another, each tile comes out when it is full.

use super::{TILE_HEIGHT, TILE_LEVELS, TILE_WIDTH, Tile, TileHashes};
use crate::frontier::Frontier;
use crate::hash::Hash;
use crate::proof;

/// A growing tree with the tiles on its right edge.
#[derive(Clone, Debug, Default)]
pub struct Tiler {
    frontier: Frontier,
    /// Hashes of each level's last tile, as far as it has any.
    open: [Vec<Hash>; TILE_LEVELS as usize],
}

impl Tiler {
    /// A tree of `size` entries whose partial tiles are at hand; `None` if one is missing or does not fit.
    #[must_use]
    pub fn resumed(size: u64, tiles: &TileHashes) -> Option<Self> {
        let mut tiler = Self::default();
        for (level, open) in (0..TILE_LEVELS).zip(&mut tiler.open) {
            let count = size >> (u32::from(level) * u32::from(TILE_HEIGHT));
            let start = count - count % TILE_WIDTH;
            let node = |index| crate::Node { level: level * TILE_HEIGHT, index };
            *open = (start..count).map(|index| tiles.hash(node(index))).collect::<Option<_>>()?;
        }
        let peaks = proof::root_nodes(size).into_iter().map(|node| tiles.hash(node)).collect::<Option<Vec<_>>>()?;
        tiler.frontier = Frontier::decode(size, &super::encode_tile(&peaks)).ok()?;
        Some(tiler)
    }

    /// The tree so far.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Appends a leaf by its hash; `full` takes each tile that it fills.
    pub fn append(&mut self, leaf: Hash, mut full: impl FnMut(Tile, Vec<Hash>)) {
        let size = self.frontier.size();
        let open = &mut self.open;
        let mut take = |level: u8, index: u64, hash: Hash| {
            let Some(held) = open.get_mut(usize::from(level)) else { return };
            held.push(hash);
            if held.len() as u64 >= TILE_WIDTH {
                let tile = Tile { level, index: index / TILE_WIDTH, width: TILE_WIDTH as u16 };
                full(tile, std::mem::take(held));
            }
        };
        take(0, size, leaf);
        self.frontier.append(leaf, |node, hash| {
            if node.level % TILE_HEIGHT == 0 {
                take(node.level / TILE_HEIGHT, node.index, hash);
            }
        });
    }

    /// The partial tiles of the tree as it is.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        let size = self.frontier.size();
        (0..TILE_LEVELS).zip(&self.open).filter(|(_, hashes)| !hashes.is_empty()).filter_map(move |(level, hashes)| {
            let index = (size >> (u32::from(level) * u32::from(TILE_HEIGHT))) / TILE_WIDTH;
            Some((Tile { level, index, width: u16::try_from(hashes.len()).ok()? }, hashes.as_slice()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_tiles_that_come_out_are_those_of_the_tree_and_a_resumed_one_goes_on_alike() {
        let leaf = |n: u64| Hash::leaf(&n.to_be_bytes());
        let (end, stops) = (66_000, [0, 1, 255, 256, 257, 511, 65_535, 65_536, 65_537, 65_999]);
        let mut tiler = Tiler::default();
        let mut out: BTreeMap<Tile, Vec<Hash>> = BTreeMap::new();
        for n in 0..=end {
            if stops.contains(&n) || n == end {
                let mut held = TileHashes::default();
                let mut all = out.clone();
                all.extend(tiler.partial().map(|(tile, hashes)| (tile, hashes.to_vec())));
                assert!(all.keys().copied().eq(Tile::between(0, n)), "at {n}");
                all.into_iter().for_each(|(tile, hashes)| held.insert(tile, hashes));
                let resumed = Tiler::resumed(n, &held).unwrap();
                assert_eq!(resumed.frontier(), tiler.frontier());
                assert!(resumed.partial().eq(tiler.partial()));
                tiler = resumed;
            }
            tiler.append(leaf(n), |tile, hashes| drop(out.insert(tile, hashes)));
        }
        assert!(Tiler::resumed(5, &TileHashes::default()).is_none());
        assert!(Tiler::resumed(0, &TileHashes::default()).is_some());
    }
}
