//! Tiles and entry bundles, as `c2sp.org/tlog-tiles` names and encodes them. Knows no directory and no URL but their
//! relative paths.

mod tiler;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

use crate::hash::{HASH_BYTES, Hash};
use crate::tree::{Node, fold};

pub use tiler::Tiler;

/// Hashes of a full tile, and entries of a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Levels of the tree that one tile spans.
pub const TILE_HEIGHT: u8 = 8;
/// Levels of tiles that a tree of any size that we count can have.
pub const TILE_LEVELS: u8 = 8;

/// Some of the hashes of one tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    /// Its level among tiles: its hashes are of nodes at eight times that height.
    pub level: u8,
    /// Its place within the level.
    pub index: u64,
    /// Hashes, 1 to 256; fewer than 256 make a partial tile.
    pub width: u16,
}

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// `checkpoint`.
    Checkpoint,
    /// `tile/<L>/<N>[.p/<W>]`.
    Tile(Tile),
    /// `tile/entries/<N>[.p/<W>]`; its level is 0.
    Entries(Tile),
}

impl Tile {
    /// The tile at `level` and `index` in a tree of `size` entries, partial if the tree fills no more; `None` if it is
    /// empty.
    #[must_use]
    pub fn of_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let hashes = size.checked_shr(u32::from(level.checked_mul(TILE_HEIGHT)?))?;
        let width = hashes.checked_sub(index.checked_mul(TILE_WIDTH)?)?.min(TILE_WIDTH);
        let width = u16::try_from(width).ok().filter(|width| *width > 0)?;
        Some(Self { level, index, width })
    }

    /// All tiles of a tree of `size` entries that are not those of its first `before` entries, level by level. The
    /// caller bounds how many that is.
    pub fn between(before: u64, size: u64) -> impl Iterator<Item = Self> {
        (0..TILE_LEVELS).flat_map(move |level| {
            let shift = u32::from(level * TILE_HEIGHT);
            let (before, size_there) = (before >> shift, size >> shift);
            let first = if before < size_there { before / TILE_WIDTH } else { u64::MAX };
            let end = size_there.div_ceil(TILE_WIDTH);
            (first..end).filter_map(move |index| Self::of_tree(level, index, size))
        })
    }

    /// Whether it has all its hashes.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width as u64 == TILE_WIDTH
    }

    /// Index of its first hash among its level's.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.index.saturating_mul(TILE_WIDTH)
    }

    /// The node that its hash at `place` is of.
    #[must_use]
    pub const fn node(&self, place: u64) -> Node {
        Node { level: self.level.saturating_mul(TILE_HEIGHT), index: self.start().saturating_add(place) }
    }

    fn name(&self) -> String {
        let mut groups = Vec::new();
        let mut rest = self.index;
        loop {
            groups.push(format!("{:03}", rest % 1000));
            rest /= 1000;
            if rest == 0 {
                break;
            }
        }
        groups.reverse();
        let mut name = groups.join("/x");
        if groups.len() > 1 {
            name.insert(0, 'x');
            // Only the last group has no `x`.
            if let Some(last) = name.rfind("/x") {
                name.remove(last + 1);
            }
        }
        if self.is_full() { name } else { format!("{name}.p/{}", self.width) }
    }

    fn parse(level: u8, name: &str) -> Option<Self> {
        let (name, width) = match name.split_once(".p/") {
            Some((name, width)) => (name, number(width, TILE_WIDTH - 1).filter(|width| *width > 0)?),
            None => (name, TILE_WIDTH),
        };
        let mut index = 0_u64;
        let mut groups = name.split('/').peekable();
        while let Some(group) = groups.next() {
            let digits = if groups.peek().is_some() { group.strip_prefix('x')? } else { group };
            if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
        }
        let tile = Self { level, index, width: u16::try_from(width).ok()? };
        // One spelling alone: no group of zeros in front.
        (tile.name() == format!("{name}{}", if tile.is_full() { String::new() } else { format!(".p/{width}") }))
            .then_some(tile)
    }
}

impl Resource {
    /// Reads a path below the log's prefix.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        if path == "checkpoint" {
            return Some(Self::Checkpoint);
        }
        let (level, name) = path.strip_prefix("tile/")?.split_once('/')?;
        if level == "entries" {
            return Tile::parse(0, name).map(Self::Entries);
        }
        let level = u8::try_from(number(level, 63)?).ok()?;
        Tile::parse(level, name).map(Self::Tile)
    }
}

/// The path below the log's prefix.
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => f.write_str("checkpoint"),
            Self::Tile(tile) => write!(f, "tile/{}/{}", tile.level, tile.name()),
            Self::Entries(tile) => write!(f, "tile/entries/{}", tile.name()),
        }
    }
}

/// A decimal number of at most `max` without leading zeros.
fn number(text: &str, max: u64) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number <= max)
}

/// Tiles at hand, from which nodes at any height are computed.
#[derive(Clone, Debug, Default)]
pub struct TileHashes(BTreeMap<(u8, u64), Vec<Hash>>);

impl TileHashes {
    /// The tiles of a tree of `size` entries that `nodes` are computed from.
    #[must_use]
    pub fn needed(nodes: &[Node], size: u64) -> BTreeSet<Tile> {
        let tiles = nodes.iter().filter_map(|node| {
            let (level, first, _) = place(*node)?;
            Tile::of_tree(level, first / TILE_WIDTH, size)
        });
        tiles.collect()
    }

    /// Takes a tile's hashes.
    pub fn insert(&mut self, tile: Tile, hashes: Vec<Hash>) {
        self.0.insert((tile.level, tile.index), hashes);
    }

    /// The hash of a node; `None` if its tile is not here or does not reach so far.
    #[must_use]
    pub fn hash(&self, node: Node) -> Option<Hash> {
        let (level, first, count) = place(node)?;
        let tile = self.0.get(&(level, first / TILE_WIDTH))?;
        let start = usize::try_from(first % TILE_WIDTH).ok()?;
        let hashes = tile.get(start..start.checked_add(count)?)?;
        Some(complete(hashes))
    }
}

/// In which level of tiles a node's hashes are, the first one's index there, and how many they are.
fn place(node: Node) -> Option<(u8, u64, usize)> {
    let within = node.level % TILE_HEIGHT;
    let first = node.index.checked_mul(1 << within)?;
    Some((node.level / TILE_HEIGHT, first, 1 << within))
}

/// The root over a power of two of hashes.
fn complete(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level.chunks(2).map(fold).collect();
    }
    level.first().copied().unwrap_or_else(Hash::empty)
}

/// A tile's bytes.
#[must_use]
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// Reads a tile of exactly that width; `None` for other bytes.
#[must_use]
pub fn decode_tile(tile: Tile, bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    let fits = rest.is_empty() && hashes.len() == usize::from(tile.width);
    fits.then(|| hashes.iter().copied().map(Hash).collect())
}

/// Bytes of an entry bundle: each entry after its length in two bytes. `None` if an entry is longer than 65,535.
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend_from_slice(&u16::try_from(entry.len()).ok()?.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    Some(bytes)
}

/// Reads a bundle of exactly that many entries; `None` for other bytes.
#[must_use]
pub fn decode_bundle(width: u16, mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    for _ in 0..width {
        let (length, rest) = bytes.split_first_chunk()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry.to_vec());
        bytes = rest;
    }
    bytes.is_empty().then_some(entries)
}

/// Bytes of an entry bundle at most.
pub const BUNDLE_BYTES_MAX: usize = TILE_WIDTH as usize * (2 + u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontier::Frontier;
    use crate::proof;

    fn tile(level: u8, index: u64, width: u16) -> Tile {
        Tile { level, index, width }
    }

    #[test]
    fn paths_are_those_of_the_standard() {
        for (resource, path) in [
            (Resource::Checkpoint, "checkpoint"),
            (Resource::Tile(tile(0, 0, 256)), "tile/0/000"),
            (Resource::Tile(tile(0, 1_234_067, 256)), "tile/0/x001/x234/067"),
            (Resource::Tile(tile(3, 999, 1)), "tile/3/999.p/1"),
            (Resource::Tile(tile(63, 1000, 255)), "tile/63/x001/000.p/255"),
            (Resource::Entries(tile(0, 12, 112)), "tile/entries/012.p/112"),
            (Resource::Entries(tile(0, u64::MAX, 256)), "tile/entries/x018/x446/x744/x073/x709/x551/615"),
        ] {
            assert_eq!(resource.to_string(), path);
            assert_eq!(Resource::parse(path), Some(resource));
        }
        for bad in [
            "",
            "/checkpoint",
            "checkpoint/",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/0/0",
            "tile/0/0000",
            "tile/0/x000/000",
            "tile/0/000/000",
            "tile/0/x001/x000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/+1",
            "tile/0/000.p/1/",
            "tile/0/+00",
            "tile/0/..",
            "tile/entries/../checkpoint",
            "tile/entries/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(Resource::parse(bad), None, "{bad}");
        }
    }

    /// The example of the standard: a tree of 70,000 entries.
    #[test]
    fn a_tree_has_the_tiles_that_the_standard_says() {
        let tiles: Vec<Tile> = Tile::between(0, 70_000).collect();
        let of = |level, full| tiles.iter().filter(|tile| tile.level == level && tile.is_full() == full).count();
        assert_eq!((of(0, true), of(1, true), of(2, true)), (273, 1, 0));
        let partial: Vec<_> = tiles.iter().filter(|tile| !tile.is_full()).copied().collect();
        assert_eq!(partial, [tile(0, 273, 112), tile(1, 1, 17), tile(2, 0, 1)]);
        assert_eq!(Tile::between(0, 256).collect::<Vec<_>>(), [tile(0, 0, 256), tile(1, 0, 1)]);
        assert_eq!(Tile::between(256, 257).collect::<Vec<_>>(), [tile(0, 1, 1)]);
        assert_eq!(Tile::between(255, 256).collect::<Vec<_>>(), [tile(0, 0, 256), tile(1, 0, 1)]);
        assert_eq!(Tile::between(7, 7).count(), 0);
        assert_eq!(Tile::of_tree(0, 1, 256), None);
        assert_eq!(Tile::of_tree(9, 0, u64::MAX), None);
    }

    #[test]
    fn any_node_is_computed_from_its_tile() {
        let size = 70_000_u64;
        let mut frontier = Frontier::default();
        let mut tiles = TileHashes::default();
        let mut nodes = BTreeMap::new();
        for n in 0..size {
            let leaf = Hash::leaf(&n.to_be_bytes());
            nodes.insert(Node { level: 0, index: n }, leaf);
            frontier.append(leaf, |node, hash| {
                nodes.insert(node, hash);
            });
        }
        for tile in Tile::between(0, size) {
            let hashes: Vec<Hash> = (0..u64::from(tile.width)).map(|n| nodes[&tile.node(n)]).collect();
            assert_eq!(decode_tile(tile, &encode_tile(&hashes)), Some(hashes.clone()));
            tiles.insert(tile, hashes);
        }
        for (node, hash) in nodes.iter().step_by(97).chain(nodes.iter().rev().take(50)) {
            assert_eq!(tiles.hash(*node), Some(*hash), "{node:?}");
        }
        assert_eq!(proof::root(size, |node| tiles.hash(node)), Some(frontier.root()));
        let needed = TileHashes::needed(&proof::root_nodes(size), size);
        assert_eq!(needed.into_iter().collect::<Vec<_>>(), [tile(0, 273, 112), tile(1, 1, 17), tile(2, 0, 1)]);
    }

    #[test]
    fn a_bundle_reads_back_and_a_cut_or_longer_one_does_not() {
        let entries: Vec<&[u8]> = vec![b"", b"a", &[7; 65_535]];
        let bytes = encode_bundle(entries.iter().copied()).unwrap();
        assert_eq!(decode_bundle(3, &bytes).unwrap(), entries);
        assert_eq!(&bytes[..5], [0, 0, 0, 1, b'a']);
        assert_eq!(decode_bundle(2, &bytes), None);
        assert_eq!(decode_bundle(4, &bytes), None);
        assert_eq!(decode_bundle(3, &bytes[..bytes.len() - 1]), None);
        assert_eq!(encode_bundle([[0; 65_536].as_slice()]), None);
    }
}
