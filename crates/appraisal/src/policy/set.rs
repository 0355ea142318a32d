//! A set of expected values, hashed once when the policy is read. Never empty.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::facts::read::Noted;
use crate::value::Value;

/// Distinct expected values, at least one.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    values: Vec<Noted>,
    places: HashMap<Value, usize, BuildHasherDefault<Fold>>,
}

impl Set {
    /// The distinct values among `values`; `None` if there are none.
    pub(crate) fn new(values: Vec<Noted>) -> Option<Self> {
        let mut set = Self { values: Vec::with_capacity(values.len()), places: HashMap::default() };
        for noted in values {
            if !set.places.contains_key(&noted.value) {
                let place = set.values.len();
                set.places.insert(noted.value.clone(), place);
                if let Some(digest) = noted.digest {
                    set.places.insert(Value::Digest(digest), place);
                }
                set.values.push(noted);
            }
        }
        (!set.values.is_empty()).then_some(set)
    }

    pub(crate) fn contains(&self, value: &Value) -> bool {
        self.places.contains_key(value)
    }

    /// Place of `value` in the order of the policy.
    pub(crate) fn place(&self, value: &Value) -> Option<usize> {
        self.places.get(value).copied()
    }

    /// The values in the order of the policy.
    pub(crate) fn values(&self) -> &[Noted] {
        &self.values
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn is_subset_of(&self, other: &Self) -> bool {
        self.values.iter().all(|noted| other.contains(&noted.value))
    }

    /// Whether all its values are among `found`, and how many of `found` are not in it.
    pub(crate) fn covered_by(&self, found: &[Value]) -> (bool, usize) {
        // The same values in the same order, as equal machines have them, and perhaps more behind.
        let begins = found
            .get(..self.values.len())
            .is_some_and(|head| self.values.iter().zip(head).all(|(noted, value)| noted.value == *value));
        if begins {
            let rest = found.get(self.values.len()..).unwrap_or_default();
            return (true, rest.iter().filter(|value| !self.contains(value)).count());
        }
        let mut seen = vec![false; self.values.len()];
        let (mut covered, mut strangers) = (0, 0);
        for value in found {
            match self.place(value).and_then(|place| seen.get_mut(place)) {
                Some(slot) if !*slot => {
                    *slot = true;
                    covered += 1;
                }
                Some(_) => {}
                None => strangers += 1,
            }
        }
        (covered == self.values.len(), strangers)
    }
}

impl PartialEq for Set {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.is_subset_of(other)
    }
}

/// A fast hash. The table holds the policy's own values and its size is fixed, so nobody can make it collide by what
/// they present: at worst a look-up walks the policy's own collisions.
#[derive(Default)]
pub(crate) struct Fold(u64);

impl Fold {
    fn mix(&mut self, word: u64) {
        // The multiplier of FxHash; the rotation brings high bits down between words.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0_u8; 8];
            for (slot, byte) in word.iter_mut().zip(chunk) {
                *slot = *byte;
            }
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<Noted> {
        texts.iter().map(|text| Noted::bare(Value::text(text))).collect()
    }

    #[test]
    fn no_set_is_empty_and_none_holds_a_value_twice() {
        assert!(Set::new(Vec::new()).is_none());
        assert_eq!(Set::new(texts(&["a", "b", "a"])).unwrap().len(), 2);
    }

    #[test]
    fn coverage_counts_each_value_once() {
        let set = Set::new(texts(&["a", "b"])).unwrap();
        let found = |texts: &[&str]| texts.iter().map(|text| Value::text(text)).collect::<Vec<_>>();
        assert_eq!(set.covered_by(&found(&["a", "a"])), (false, 0));
        assert_eq!(set.covered_by(&found(&["b", "c", "a", "d"])), (true, 2));
        assert_eq!(set.covered_by(&[]), (false, 0));
    }
}
