//! Digests of good files, by the million: sorted, with an index over their first bits. Built once for all policies, and
//! versions of them, that name a file of the same text, and shared by every appraisal.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use holdfast_evidence::crypto::{HashAlg, sha256};

/// Most bytes of one file of digests: a million lines of 64 digits take 66 MB, and paths on most of them fit beside.
pub const DIGESTS_BYTES_MAX: usize = 96 << 20;
/// Most digests of one file.
pub const DIGESTS_MAX: usize = 1_500_000;
/// Digests that share one place of the index, on average. Fewer cost memory, more cost comparisons.
const PER_PLACE: usize = 4;
/// Most digests of one place whose marks are compared; beyond these, which nobody has by chance, they are searched.
const FEW: usize = 32;
/// Most bits that the index takes of a digest.
const INDEX_BITS_MAX: u32 = 24;

/// A set of file digests. Never empty.
#[derive(Debug)]
pub struct DigestSet {
    sha256: Table<32>,
    sha384: Table<48>,
    sha512: Table<64>,
}

/// A line that is no digest, or a file that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadDigests {
    /// The line, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl fmt::Display for BadDigests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem)
    }
}

/// The sets that somebody holds, by the hash of their text. Says nothing that the text does not: it saves the memory of a
/// second copy, some 35 MB for a million digests.
static HELD: Mutex<BTreeMap<[u8; 32], Weak<DigestSet>>> = Mutex::new(BTreeMap::new());

impl DigestSet {
    /// The set of this text: the one that another policy holds already, or read anew.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn shared(text: &str) -> Result<Arc<Self>, BadDigests> {
        let name = sha256(&[text.as_bytes()]);
        let held = || HELD.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = held().get(&name).and_then(Weak::upgrade) {
            return Ok(set);
        }
        let set = Arc::new(Self::parse(text)?);
        let mut held = held();
        held.retain(|_, set| set.strong_count() > 0);
        // Somebody may have read the same meanwhile.
        let other = held.get(&name).and_then(Weak::upgrade);
        Ok(other.unwrap_or_else(|| {
            held.insert(name, Arc::downgrade(&set));
            set
        }))
    }

    /// Reads lines as `sha256sum` prints them, `digest  path`, the algorithm in front or not (`sha256:digest  path`), with
    /// empty lines and lines that begin with `#`. The paths are for people: a digest counts wherever the file lies.
    ///
    /// # Errors
    /// [`BadDigests`]: the first line that is no digest of SHA-256, SHA-384 or SHA-512, or an empty file.
    pub fn parse(text: &str) -> Result<Self, BadDigests> {
        let whole = |problem| BadDigests { line: 0, problem };
        if text.len() > DIGESTS_BYTES_MAX {
            return Err(whole("file is larger than 96 MiB"));
        }
        let (mut sha256, mut sha384, mut sha512) = (Vec::new(), Vec::new(), Vec::new());
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |problem| BadDigests { line: at + 1, problem };
            let word = line.split_ascii_whitespace().next().unwrap_or_default();
            let (algorithm, digits) = match word.split_once(':') {
                Some((algorithm, digits)) => (Some(algorithm), digits),
                None => (None, word),
            };
            let hash = HashAlg::ALL.into_iter().find(|hash| hash.size() * 2 == digits.len());
            match (hash, algorithm) {
                (Some(hash), Some(said)) if hash.as_str() != said => {
                    return Err(bad("the digest is not of the algorithm in front of it"));
                }
                (Some(HashAlg::Sha256), _) => sha256.push(decoded(digits).ok_or(bad("not a hexadecimal digest"))?),
                (Some(HashAlg::Sha384), _) => sha384.push(decoded(digits).ok_or(bad("not a hexadecimal digest"))?),
                (Some(HashAlg::Sha512), _) => sha512.push(decoded(digits).ok_or(bad("not a hexadecimal digest"))?),
                (None, _) if digits.len() == 40 => {
                    return Err(bad("a SHA-1 digest: two files can be made to share one"));
                }
                (None, _) => return Err(bad("not a digest of SHA-256, SHA-384 or SHA-512")),
            }
            if sha256.len() + sha384.len() + sha512.len() > DIGESTS_MAX {
                return Err(bad("more than 1,500,000 digests"));
            }
        }
        let set = Self { sha256: Table::new(sha256), sha384: Table::new(sha384), sha512: Table::new(sha512) };
        if set.len() == 0 { Err(whole("no digest in it: nothing could be allowed by it")) } else { Ok(set) }
    }

    /// How many distinct digests there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.sha256.digests.len() + self.sha384.digests.len() + self.sha512.digests.len()
    }

    /// Bytes that it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.sha256.bytes() + self.sha384.bytes() + self.sha512.bytes() + size_of::<Self>()
    }

    /// Where the SHA-256 digest stands that begins like this key, if there is one: elsewhere, anything.
    pub(super) fn nearest(&self, key: u64) -> u32 {
        self.sha256.nearest(key)
    }

    /// Whether this SHA-256 digest is in it, most probably there.
    pub(super) fn is_at(&self, at: u32, digest: &[u8; 32]) -> bool {
        self.sha256.is_at(at, digest)
    }

    /// Whether this digest is in it.
    #[must_use]
    pub fn contains(&self, hash: HashAlg, digest: &[u8]) -> bool {
        match hash {
            HashAlg::Sha256 => self.sha256.contains(digest),
            HashAlg::Sha384 => self.sha384.contains(digest),
            HashAlg::Sha512 => self.sha512.contains(digest),
        }
    }
}

/// The first eight bytes: two digests of a set that share them are somebody's work.
pub(super) fn word<const N: usize>(digest: &[u8; N]) -> u64 {
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

fn decoded<const N: usize>(digits: &str) -> Option<Lined<N>> {
    let mut digest = [0; N];
    hex::decode_to_slice(digits, &mut digest).ok()?;
    Some(Lined(digest))
}

/// A digest that lies in one line of the cache, and not in two: of 48 bytes it takes 64.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(align(32))]
struct Lined<const N: usize>([u8; N]);

/// Digests of one length, sorted, and where those begin that share their first bits.
#[derive(Debug)]
struct Table<const N: usize> {
    digests: Box<[Lined<N>]>,
    /// Two bytes of each, behind those that the places go by: small enough to be near, so that of the digests themselves only
    /// the right one is read.
    marks: Box<[u16]>,
    /// One more than there are places: the digests of place `p` stand from `starts[p]` to `starts[p + 1]`.
    starts: Box<[u32]>,
    /// How far the first 32 bits are shifted to give the place.
    shift: u32,
}

impl<const N: usize> Table<N> {
    fn new(mut digests: Vec<Lined<N>>) -> Self {
        digests.sort_unstable();
        digests.dedup();
        let places = (digests.len() / PER_PLACE).max(1).next_power_of_two();
        let bits = places.trailing_zeros().min(INDEX_BITS_MAX);
        let shift = 32 - bits;
        let mut starts = vec![0_u32; (1 << bits) + 1];
        for digest in &digests {
            if let Some(count) = starts.get_mut(place(word(&digest.0), shift) + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let marks = digests.iter().map(|digest| mark(word(&digest.0))).collect();
        Self { digests: digests.into_boxed_slice(), marks, starts: starts.into_boxed_slice(), shift }
    }

    fn bytes(&self) -> usize {
        self.digests.len() * (size_of::<Lined<N>>() + size_of::<u16>()) + self.starts.len() * size_of::<u32>()
    }

    /// From where to where those stand that share the first bits of this word.
    fn place(&self, word: u64) -> (u32, u32) {
        match self.starts.get(place(word, self.shift)..) {
            Some([start, end, ..]) => (*start, *end),
            _ => (0, 0),
        }
    }

    fn holds(&self, digest: &[u8; N]) -> bool {
        let (start, end) = self.place(word(digest));
        let few = self.digests.get(start as usize..end as usize).unwrap_or_default();
        few.binary_search_by(|held| held.0.cmp(digest)).is_ok()
    }

    /// Where one stands that begins like this key, if there is one: elsewhere, anything.
    fn nearest(&self, key: u64) -> u32 {
        let (start, end) = self.place(key);
        let few = self.marks.get(start as usize..(end as usize).min(start as usize + FEW)).unwrap_or_default();
        let (mut nearest, wanted) = (start, mark(key));
        for (held, at) in few.iter().zip(start..) {
            nearest = if *held == wanted { at } else { nearest };
        }
        nearest
    }

    /// Whether the set holds it, most probably there.
    fn is_at(&self, at: u32, digest: &[u8; N]) -> bool {
        // Another may begin alike, or not be among the few.
        self.digests.get(at as usize).is_some_and(|held| held.0 == *digest) || self.holds(digest)
    }

    fn contains(&self, digest: &[u8]) -> bool {
        <&[u8; N]>::try_from(digest).is_ok_and(|digest| self.holds(digest))
    }
}

fn place(word: u64, shift: u32) -> usize {
    usize::try_from((word >> 32).checked_shr(shift).unwrap_or(0)).unwrap_or_default()
}

/// Bytes 4 and 5.
fn mark(word: u64) -> u16 {
    u16::try_from(word >> 16 & 0xffff).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::look_up::LookUp;
    use super::*;
    use holdfast_evidence::crypto::sha256;

    fn text(count: u32) -> String {
        (0..count).map(|n| format!("{}  /file/{n}\n", hex::encode(sha256(&[&n.to_le_bytes()])))).collect()
    }

    #[test]
    fn what_is_in_the_file_is_found_and_nothing_else() {
        for count in [1, 2, 3, 100, 5_000] {
            let set = DigestSet::parse(&text(count)).unwrap();
            assert_eq!(set.len(), count as usize);
            let asked: Vec<[u8; 32]> = (0..count + 50).map(|n| sha256(&[&n.to_le_bytes()])).collect();
            let mut look_up = LookUp::default();
            let found = look_up.find([&set].into_iter(), &asked).to_vec();
            for (n, digest) in asked.iter().enumerate() {
                assert_eq!(found[n], n < count as usize);
                assert_eq!(set.contains(HashAlg::Sha256, digest), found[n]);
            }
            assert!(!set.contains(HashAlg::Sha384, &asked[0]));
            assert!(!set.contains(HashAlg::Sha256, &asked[0][..31]));
        }
    }

    #[test]
    fn digests_that_begin_alike_are_told_apart() {
        let alike = |last: u8| [[7; 31].as_slice(), &[last]].concat();
        let lines: String = (0..200).step_by(2).map(|last| format!("{}\n", hex::encode(alike(last)))).collect();
        let set = DigestSet::parse(&lines).unwrap();
        for last in 0..200 {
            let digest: [u8; 32] = alike(last).try_into().unwrap();
            assert_eq!(set.contains(HashAlg::Sha256, &digest), last % 2 == 0);
            assert_eq!(LookUp::default().find([&set].into_iter(), &[digest]), [last % 2 == 0]);
        }
    }

    #[test]
    fn the_same_text_is_held_once_as_long_as_anybody_holds_it() {
        let lines = text(70);
        let (first, second) = (DigestSet::shared(&lines).unwrap(), DigestSet::shared(&lines).unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &DigestSet::shared(&text(71)).unwrap()));
        let held = Arc::downgrade(&first);
        drop((first, second));
        assert!(held.upgrade().is_none());
        assert_eq!(DigestSet::shared(&lines).unwrap().len(), 70);
        assert!(DigestSet::shared("nonsense").is_err());
    }

    #[test]
    fn a_digest_takes_less_than_36_bytes() {
        let set = DigestSet::parse(&text(50_000)).unwrap();
        assert!(set.bytes() < 36 * set.len(), "{} bytes", set.bytes());
    }

    #[test]
    fn every_form_is_read_and_twice_is_once() {
        let digest = "ab".repeat(32);
        let lines = format!(
            "# made on 2026-01-31\n\n{digest}  /usr/bin/a\nsha256:{digest} */b\r\nsha512:{}\n",
            "cd".repeat(64)
        );
        let set = DigestSet::parse(&lines).unwrap();
        assert_eq!(set.len(), 2);
        assert!(set.contains(HashAlg::Sha512, &[0xcd; 64]));
    }

    #[test]
    fn what_is_no_digest_is_refused_with_its_line() {
        let good = format!("{}\n", "ab".repeat(32));
        for (line, expected) in [
            ("ab".repeat(20), 2),
            (format!("sha1:{}", "ab".repeat(20)), 2),
            (format!("sha384:{}", "ab".repeat(32)), 2),
            ("zz".repeat(32), 2),
            ("/usr/bin/a".to_owned(), 2),
        ] {
            assert_eq!(DigestSet::parse(&format!("{good}{line}\n")).unwrap_err().line, expected, "{line}");
        }
        assert_eq!(DigestSet::parse("# nothing\n").unwrap_err().line, 0);
    }
}
