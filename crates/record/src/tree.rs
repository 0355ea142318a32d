//! The shape of the tree: which complete subtrees a range of leaves is made of, and who is whose sibling.

use crate::hash::Hash;

/// A complete subtree: the leaves `index << level` up to `(index + 1) << level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Height above the leaves, 0 to 63.
    pub level: u8,
    /// Its place among the nodes of that height, from 0.
    pub index: u64,
}

/// Leaves from `start` up to `end`, where `start` is a multiple of a power of two not less than their number: every
/// range that a root or a proof is about is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl Range {
    /// All leaves of a tree.
    pub(crate) const fn whole(size: u64) -> Self {
        Self { start: 0, end: size }
    }

    /// The two subtrees that RFC 6962 splits more than one leaf into; `None` for one or none.
    pub(crate) fn split(self) -> Option<(Self, Self)> {
        let count = self.end.checked_sub(self.start).filter(|count| *count > 1)?;
        // The largest power of two below `count`.
        let middle = self.start.checked_add(1 << (63 - (count - 1).leading_zeros()))?;
        Some((Self { start: self.start, end: middle }, Self { start: middle, end: self.end }))
    }

    /// The complete subtrees that make it up, from left to right: one for each bit of its size.
    pub(crate) fn nodes(self) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut start = self.start;
        while let Some(count) = self.end.checked_sub(start).filter(|count| *count > 0) {
            let level = 63 - count.leading_zeros();
            nodes.push(Node { level: u8::try_from(level).unwrap_or_default(), index: start >> level });
            start = start.saturating_add(1 << level);
        }
        nodes
    }

    /// Its root, from the hashes of its nodes; `None` where one is missing.
    pub(crate) fn root(self, hash: impl Fn(Node) -> Option<Hash>) -> Option<Hash> {
        let hashes = self.nodes().into_iter().map(hash).collect::<Option<Vec<_>>>()?;
        Some(fold(&hashes))
    }
}

/// The root over complete subtrees of falling size.
pub(crate) fn fold(peaks: &[Hash]) -> Hash {
    let mut from_the_right = peaks.iter().rev();
    let last = from_the_right.next().copied().unwrap_or_else(Hash::empty);
    from_the_right.fold(last, |right, left| Hash::node(left, &right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_made_of_complete_subtrees() {
        let node = |level, index| Node { level, index };
        assert_eq!(Range::whole(0).nodes(), []);
        assert_eq!(Range::whole(7).nodes(), [node(2, 0), node(1, 2), node(0, 6)]);
        assert_eq!(Range { start: 8, end: 13 }.nodes(), [node(2, 2), node(0, 12)]);
        assert_eq!(Range::whole(u64::MAX).nodes().len(), 64);
        assert_eq!(Range::whole(1).split(), None);
        assert_eq!(Range::whole(8).split(), Some((Range::whole(4), Range { start: 4, end: 8 })));
        assert_eq!(Range::whole(5).split(), Some((Range::whole(4), Range { start: 4, end: 5 })));
    }
}
