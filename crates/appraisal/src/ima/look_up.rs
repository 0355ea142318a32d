//! Looks up many digests of a list at once, so that memory answers for many and not for one after the other. Says which are
//! there; judges nothing.

use super::digests::{DigestSet, word};

/// Most digests that are looked up together: their number has the lowest two bytes of a key.
pub(super) const LOOK_UP_MAX: usize = 1 << 16;
/// Where in a key the number stands.
const NUMBER: u64 = LOOK_UP_MAX as u64 - 1;

/// Bits of a digest by which those that are looked up are put in groups.
const GROUP_BITS: u32 = 12;
/// Digests whose places are read before the first of them is compared.
const AHEAD: usize = 128;

/// Looks up many SHA-256 digests at once, roughly in the order of the set: one after the other leads through memory as it
/// lies, where each for itself would lead anywhere, past every cache.
#[derive(Debug, Default)]
pub(super) struct LookUp {
    keys: Vec<u64>,
    starts: Vec<u32>,
    at: Vec<u32>,
    found: Vec<bool>,
}

impl LookUp {
    /// Which of these digests, at most [`LOOK_UP_MAX`], are in one of the sets. Of what is beyond none is found.
    pub(super) fn find<'s>(&mut self, sets: impl Iterator<Item = &'s DigestSet>, digests: &[[u8; 32]]) -> &[bool] {
        self.group(digests.get(..LOOK_UP_MAX).unwrap_or(digests));
        self.found.clear();
        self.found.resize(digests.len(), false);
        for set in sets {
            for keys in self.keys.chunks(AHEAD) {
                // Nothing here waits for memory: no branch depends on what is read, so that the reads go on side by side.
                self.at.clear();
                self.at.extend(keys.iter().map(|key| set.nearest(*key)));
                for (key, at) in keys.iter().zip(&self.at) {
                    let n = usize::try_from(key & NUMBER).unwrap_or(usize::MAX);
                    if let (Some(digest), Some(found)) = (digests.get(n), self.found.get_mut(n)) {
                        *found = *found || set.is_at(*at, digest);
                    }
                }
            }
        }
        &self.found
    }

    /// Keys of the digests, the beginning of each and its number, in groups by their first bits.
    fn group(&mut self, digests: &[[u8; 32]]) {
        let group = |word: u64| usize::try_from(word >> (64 - GROUP_BITS)).unwrap_or_default();
        self.starts.clear();
        self.starts.resize(1 << GROUP_BITS, 0);
        for digest in digests {
            if let Some(count) = self.starts.get_mut(group(word(digest))) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut self.starts {
            sum += std::mem::replace(start, sum);
        }
        self.keys.clear();
        self.keys.resize(digests.len(), 0);
        for (digest, n) in digests.iter().zip(0..) {
            let word = word(digest);
            if let Some(start) = self.starts.get_mut(group(word))
                && let Some(key) = self.keys.get_mut(*start as usize)
            {
                *key = word & !NUMBER | n;
                *start += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_evidence::crypto::sha256;

    use super::*;

    fn set(count: u32) -> DigestSet {
        let lines = (0..count).map(|n| format!("{}\n", hex::encode(sha256(&[&n.to_le_bytes()]))));
        DigestSet::parse(&lines.collect::<String>()).unwrap()
    }

    #[test]
    fn what_is_beyond_one_look_up_is_not_found_and_what_is_in_several_sets_is() {
        let (set, other) = (set(40), set(60));
        let asked: Vec<[u8; 32]> = (0..LOOK_UP_MAX + 1).map(|n| sha256(&[&(n as u32 % 50).to_le_bytes()])).collect();
        let mut look_up = LookUp::default();
        let found = look_up.find([&set, &other].into_iter(), &asked);
        assert_eq!(found.iter().filter(|found| **found).count(), LOOK_UP_MAX);
        assert!(!found[LOOK_UP_MAX]);
    }

    /// Digests that somebody made to begin alike, more than are looked at by their marks.
    #[test]
    fn digests_that_share_their_beginning_are_told_apart() {
        let alike = |n: u32| [&[7; 28][..], &n.to_be_bytes()].concat();
        let lines: String = (0..200).step_by(2).map(|n| format!("{}\n", hex::encode(alike(n)))).collect();
        let set = DigestSet::parse(&lines).unwrap();
        let asked: Vec<[u8; 32]> = (0..200).map(|n| alike(n).try_into().unwrap()).collect();
        let mut look_up = LookUp::default();
        let found = look_up.find([&set].into_iter(), &asked);
        assert!(found.iter().enumerate().all(|(n, found)| *found == (n % 2 == 0)));
    }
}
