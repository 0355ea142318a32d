//! Proofs: that an entry is in a tree, and that a later tree begins with an earlier one (RFC 6962 §2.1.1, §2.1.2).
//!
//! Whoever makes one says first which nodes it takes, fetches them from wherever they are kept, and then makes it;
//! verifying takes nothing but the proof, as RFC 9162 §2.1.3.2 and §2.1.4.2 write it down.

use serde::{Deserialize, Serialize};

use crate::hash::Hash;
use crate::tree::{Node, Range};

/// Hashes of a path at most: a tree has 64 levels.
pub const PATH_MAX: usize = 64;

/// Proof that the entry at `index` is in the tree of `size` entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    /// The entry's place, from 0.
    pub index: u64,
    /// Entries in the tree.
    pub size: u64,
    /// From the leaf's sibling to the root's child.
    pub path: Vec<Hash>,
}

/// Proof that the tree of `second` entries begins with the tree of `first`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// Entries in the earlier tree.
    pub first: u64,
    /// Entries in the later tree.
    pub second: u64,
    /// As RFC 6962 orders them.
    pub path: Vec<Hash>,
}

/// A proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// Index or sizes cannot be.
    #[error("proof is about a place outside of its tree")]
    Place,
    /// More or fewer hashes than such a proof has.
    #[error("proof has {found} hashes, which is not what a tree of {size} entries has there")]
    Length {
        /// Entries in the tree.
        size: u64,
        /// Hashes in the proof.
        found: usize,
    },
    /// It leads to another root.
    #[error("proof leads to another root")]
    Root,
}

impl BadProof {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Place => "record.proof.place",
            Self::Length { .. } => "record.proof.length",
            Self::Root => "record.proof.root",
        }
    }
}

impl InclusionProof {
    /// The nodes that the proof takes.
    #[must_use]
    pub fn nodes(index: u64, size: u64) -> Vec<Node> {
        siblings(index, size).into_iter().flat_map(Range::nodes).collect()
    }

    /// Makes it; `None` if there is no such entry, or a node is missing.
    #[must_use]
    pub fn new(index: u64, size: u64, hash: impl Fn(Node) -> Option<Hash>) -> Option<Self> {
        if index >= size {
            return None;
        }
        let path = siblings(index, size).into_iter().map(|range| range.root(&hash)).collect::<Option<_>>()?;
        Some(Self { index, size, path })
    }

    /// Verifies that the entry with the hash `leaf` is in the tree with this `root`.
    ///
    /// # Errors
    /// [`BadProof`].
    pub fn verify(&self, leaf: Hash, root: Hash) -> Result<(), BadProof> {
        let length = BadProof::Length { size: self.size, found: self.path.len() };
        let mut place = self.index;
        let mut last = self.size.checked_sub(1).filter(|last| place <= *last).ok_or(BadProof::Place)?;
        let mut hash = leaf;
        for sibling in &self.path {
            if last == 0 {
                return Err(length);
            }
            if place & 1 == 1 || place == last {
                hash = Hash::node(sibling, &hash);
                while place & 1 == 0 && place != 0 {
                    (place, last) = (place >> 1, last >> 1);
                }
            } else {
                hash = Hash::node(&hash, sibling);
            }
            (place, last) = (place >> 1, last >> 1);
        }
        match last {
            0 if hash == root => Ok(()),
            0 => Err(BadProof::Root),
            _ => Err(length),
        }
    }
}

impl ConsistencyProof {
    /// The nodes that the proof takes.
    #[must_use]
    pub fn nodes(first: u64, second: u64) -> Vec<Node> {
        differences(first, second).into_iter().flat_map(Range::nodes).collect()
    }

    /// Makes it; `None` if the earlier tree is larger, or a node is missing.
    #[must_use]
    pub fn new(first: u64, second: u64, hash: impl Fn(Node) -> Option<Hash>) -> Option<Self> {
        if first > second {
            return None;
        }
        let path = differences(first, second).into_iter().map(|range| range.root(&hash)).collect::<Option<_>>()?;
        Some(Self { first, second, path })
    }

    /// Verifies that the tree with the root `second` begins with the one with the root `first`. Every tree begins with
    /// the empty one.
    ///
    /// # Errors
    /// [`BadProof`].
    pub fn verify(&self, first: Hash, second: Hash) -> Result<(), BadProof> {
        let length = BadProof::Length { size: self.second, found: self.path.len() };
        if self.first > self.second {
            return Err(BadProof::Place);
        }
        if self.first == 0 || self.first == self.second {
            let same = if self.first == 0 { first == Hash::empty() } else { first == second };
            return match (self.path.is_empty(), same) {
                (false, _) => Err(length),
                (true, false) => Err(BadProof::Root),
                (true, true) => Ok(()),
            };
        }
        let (mut place, mut last) = (self.first - 1, self.second - 1);
        while place & 1 == 1 {
            (place, last) = (place >> 1, last >> 1);
        }
        let mut path = self.path.iter();
        // An earlier tree that is one complete subtree of the later one is its own first hash.
        let start = if self.first.is_power_of_two() { first } else { *path.next().ok_or(length)? };
        let (mut earlier, mut later) = (start, start);
        for hash in path {
            if last == 0 {
                return Err(length);
            }
            if place & 1 == 1 || place == last {
                earlier = Hash::node(hash, &earlier);
                later = Hash::node(hash, &later);
                while place & 1 == 0 && place != 0 {
                    (place, last) = (place >> 1, last >> 1);
                }
            } else {
                later = Hash::node(&later, hash);
            }
            (place, last) = (place >> 1, last >> 1);
        }
        match last {
            0 if earlier == first && later == second => Ok(()),
            0 => Err(BadProof::Root),
            _ => Err(length),
        }
    }
}

/// The nodes that the root of the first `size` entries takes.
#[must_use]
pub fn root_nodes(size: u64) -> Vec<Node> {
    Range::whole(size).nodes()
}

/// The root of the first `size` entries; `None` if a node is missing.
#[must_use]
pub fn root(size: u64, hash: impl Fn(Node) -> Option<Hash>) -> Option<Hash> {
    Range::whole(size).root(hash)
}

/// RFC 6962 §2.1.1: what is beside the way from the root to a leaf, the leaf's sibling first.
fn siblings(index: u64, size: u64) -> Vec<Range> {
    let mut siblings = Vec::new();
    let mut range = Range::whole(size);
    while let Some((left, right)) = range.split() {
        (range, _) = if index < left.end { (left, siblings.push(right)) } else { (right, siblings.push(left)) };
    }
    siblings.reverse();
    siblings
}

/// RFC 6962 §2.1.2: what the two trees have in common, and what the later one has besides.
fn differences(first: u64, second: u64) -> Vec<Range> {
    let mut found = Vec::new();
    if first == 0 || first >= second {
        return found;
    }
    let mut range = Range::whole(second);
    while range.end != first {
        let Some((left, right)) = range.split() else { break };
        (range, _) = if first <= left.end { (left, found.push(right)) } else { (right, found.push(left)) };
    }
    // A subtree that is the whole earlier tree needs no telling: the verifier has its root.
    if range.start != 0 {
        found.push(range);
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests;
