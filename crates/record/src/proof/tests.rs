//! Proofs of every shape in small trees, and each way to spoil one.

use super::*;
use crate::frontier::Frontier;
use std::collections::HashMap;

struct Grown {
    leaves: Vec<Hash>,
    roots: Vec<Hash>,
    nodes: HashMap<(u8, u64), Hash>,
}

fn grown(size: u64) -> Grown {
    let mut frontier = Frontier::default();
    let mut grown = Grown { leaves: Vec::new(), roots: vec![frontier.root()], nodes: HashMap::new() };
    for n in 0..size {
        let leaf = Hash::leaf(&n.to_be_bytes());
        grown.leaves.push(leaf);
        grown.nodes.insert((0, n), leaf);
        frontier.append(leaf, |node, hash| {
            grown.nodes.insert((node.level, node.index), hash);
        });
        grown.roots.push(frontier.root());
    }
    grown
}

impl Grown {
    fn hash(&self, node: Node) -> Option<Hash> {
        self.nodes.get(&(node.level, node.index)).copied()
    }
}

#[test]
fn every_entry_of_every_small_tree_has_a_proof_that_fits_nothing_else() {
    let grown = grown(70);
    for size in 1..=70 {
        let root = grown.roots[size as usize];
        for index in 0..size {
            let proof = InclusionProof::new(index, size, |node| grown.hash(node)).unwrap();
            let leaf = grown.leaves[index as usize];
            assert_eq!(proof.verify(leaf, root), Ok(()), "{index} of {size}");
            let expected = InclusionProof::nodes(index, size);
            assert!(expected.iter().all(|node| grown.hash(*node).is_some()));
            assert_eq!(proof.verify(Hash::leaf(b"other"), root), Err(BadProof::Root));
            assert_eq!(proof.verify(leaf, Hash::leaf(b"other")), Err(BadProof::Root));
            let moved = InclusionProof { index: (index + 1) % size, ..proof.clone() };
            assert!(size == 1 || moved.verify(leaf, root).is_err(), "{index} of {size} elsewhere");
            for place in 0..proof.path.len() {
                let mut spoilt = proof.clone();
                spoilt.path[place].0[place % 32] ^= 1;
                assert_eq!(spoilt.verify(leaf, root), Err(BadProof::Root));
                let mut short = proof.clone();
                short.path.remove(place);
                assert!(short.verify(leaf, root).is_err());
            }
            let mut long = proof.clone();
            long.path.push(leaf);
            assert!(matches!(long.verify(leaf, root), Err(BadProof::Length { .. } | BadProof::Root)));
        }
        let beyond = InclusionProof { index: size, size, path: Vec::new() };
        assert_eq!(beyond.verify(root, root), Err(BadProof::Place));
        assert_eq!(InclusionProof::new(size, size, |node| grown.hash(node)), None);
    }
    let nothing = InclusionProof { index: 0, size: 0, path: Vec::new() };
    assert_eq!(nothing.verify(Hash::empty(), Hash::empty()), Err(BadProof::Place));
}

#[test]
fn every_small_tree_is_consistent_with_every_earlier_one_and_no_other() {
    let grown = grown(70);
    for second in 0..=70 {
        for first in 0..=second {
            let proof = ConsistencyProof::new(first, second, |node| grown.hash(node)).unwrap();
            let (earlier, later) = (grown.roots[first as usize], grown.roots[second as usize]);
            assert_eq!(proof.verify(earlier, later), Ok(()), "{first} of {second}");
            if first > 0 {
                assert!(proof.verify(Hash::leaf(b"other"), later).is_err(), "{first} of {second}");
                assert!(proof.verify(earlier, Hash::leaf(b"other")).is_err(), "{first} of {second}");
            }
            for place in 0..proof.path.len() {
                let mut spoilt = proof.clone();
                spoilt.path[place].0[place % 32] ^= 1;
                assert!(spoilt.verify(earlier, later).is_err());
                let mut short = proof.clone();
                short.path.remove(place);
                assert!(short.verify(earlier, later).is_err());
            }
            let mut long = proof.clone();
            long.path.push(earlier);
            assert!(long.verify(earlier, later).is_err());
        }
    }
    assert_eq!(ConsistencyProof::new(2, 1, |node| grown.hash(node)), None);
    let shrunk = ConsistencyProof { first: 2, second: 1, path: Vec::new() };
    assert_eq!(shrunk.verify(grown.roots[2], grown.roots[1]), Err(BadProof::Place));
}

#[test]
fn a_proof_in_a_tree_of_the_largest_size_takes_as_many_nodes_as_it_has_levels() {
    assert!(InclusionProof::nodes(0, u64::MAX).len() <= 64 * 2);
    assert!(siblings(u64::MAX - 1, u64::MAX).len() <= PATH_MAX);
    assert!(siblings(0, u64::MAX).len() <= PATH_MAX);
    assert!(differences(u64::MAX - 1, u64::MAX).len() <= PATH_MAX + 1);
}

#[test]
fn a_proof_reads_back_from_json_in_base64() {
    let grown = grown(5);
    let proof = InclusionProof::new(3, 5, |node| grown.hash(node)).unwrap();
    let json = serde_json::to_value(&proof).unwrap();
    assert_eq!(json["path"][0], proof.path[0].to_base64());
    assert_eq!(serde_json::from_value::<InclusionProof>(json.clone()).unwrap(), proof);
    let mut other = json;
    other["more"] = 1.into();
    assert!(serde_json::from_value::<InclusionProof>(other).is_err());
}
