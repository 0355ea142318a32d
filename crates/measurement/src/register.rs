//! What was measured, by name, and the registers that are extended with it. A register is a PCR or an RTMR.

use holdfast_evidence::crypto::{Digest, HashAlg};

/// One thing that goes into a digest, for people to compare with what they think they launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What it is: `firmware`, `kernel`, `vcpu 0`.
    pub name: String,
    /// Its value where it is a number or a text, its place and size where it is memory.
    pub detail: String,
    /// Its own digest, where it has contents.
    pub digest: Option<Digest>,
}

impl Input {
    pub(crate) fn new(name: impl Into<String>, detail: impl Into<String>, digest: Option<Digest>) -> Self {
        Self { name: name.into(), detail: detail.into(), digest }
    }
}

/// One extend of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What is measured.
    pub name: String,
    /// The digest that is extended.
    pub digest: Digest,
}

/// A register that starts at zero and is extended by events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    hash: HashAlg,
    value: Digest,
    events: Vec<Event>,
}

impl Register {
    /// A register of zeros.
    #[must_use]
    pub const fn new(hash: HashAlg) -> Self {
        Self { hash, value: Digest::zero(hash), events: Vec::new() }
    }

    /// Extends with a digest.
    pub fn extend(&mut self, name: impl Into<String>, digest: Digest) {
        self.value = self.value.extended(self.hash, digest.as_bytes());
        self.events.push(Event { name: name.into(), digest });
    }

    /// Extends with the digest of `contents`.
    pub fn measure(&mut self, name: impl Into<String>, contents: &[u8]) {
        self.extend(name, self.hash.digest(&[contents]));
    }

    /// Its hash.
    #[must_use]
    pub const fn hash(&self) -> HashAlg {
        self.hash
    }

    /// Its value now.
    #[must_use]
    pub const fn value(&self) -> Digest {
        self.value
    }

    /// What it was extended with, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_is_the_hash_of_its_old_value_and_the_digest() {
        let mut register = Register::new(HashAlg::Sha256);
        assert!(register.value().is_zero());
        register.measure("a", b"a");
        let a = HashAlg::Sha256.digest(&[b"a"]);
        assert_eq!(register.value(), HashAlg::Sha256.digest(&[&[0; 32], a.as_bytes()]));
        assert_eq!(register.events(), [Event { name: "a".to_owned(), digest: a }]);
    }
}
