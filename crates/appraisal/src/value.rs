//! The values that facts have and policies expect: truth, numbers, versions, texts, digests. Knows no evidence.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use holdfast_evidence::crypto::{Digest, HashAlg};

/// Longest text fact in bytes; kernels accept command lines of at most 4,096 bytes, UTF-16 doubles it.
pub const TEXT_BYTES_MAX: usize = 16_384;

/// A dotted version of four 16-bit components, such as a TPM's `firmwareVersion`: `7.85.4555.0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u16; 4]);

/// A digest with the label that says of what: `x509:HEX` (a certificate in `db`), `db:x509:HEX` (an authority that
/// verified an image), `.linux:HEX` (a section of a UKI). The label is everything before the last colon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labelled {
    /// What the digest belongs to; never empty.
    pub label: Cow<'static, str>,
    /// The digest itself.
    pub digest: Digest,
}

/// The value of a fact, or a value that a policy expects of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Yes or no, such as whether Secure Boot is on.
    Bool(bool),
    /// A number.
    Integer(u64),
    /// 64 bits, each with a meaning of its own: no order among them, `0x3f`.
    Bits(u64),
    /// Four components, compared in order or one by one.
    Version(Version),
    /// Text as the machine said it: attacker-written, escaped wherever it is shown.
    Text(Box<str>),
    /// A bare digest.
    Digest(Digest),
    /// A digest with its label.
    Labelled(Labelled),
}

/// What kind of values a fact has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// `true` or `false`.
    Bool,
    /// A whole number from zero.
    Integer,
    /// A whole number whose bits count one by one.
    Bits,
    /// `"7.85.4555.0"`: one to four components of 16 bits; those left out are zero.
    Version,
    /// Any text.
    Text,
    /// Hex of 32, 48 or 64 bytes.
    Digest,
    /// `label:hex`.
    Labelled,
}

/// The digest of these bytes, if they are 32, 48 or 64 (SHA-256, SHA-384, SHA-512).
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Option<Digest> {
    HashAlg::ALL.into_iter().find_map(|hash| Digest::new(hash, bytes))
}

/// The digest that lower- or upper-case hex spells.
#[must_use]
pub fn digest_from_hex(text: &str) -> Option<Digest> {
    let mut bytes = [0; 64];
    let filled = bytes.get_mut(..text.len() / 2)?;
    hex::decode_to_slice(text, filled).ok()?;
    digest_of(filled)
}

impl Version {
    /// The version that a 64-bit number spells in four 16-bit components, highest first.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
        Self([
            u16::from_be_bytes([a, b]),
            u16::from_be_bytes([c, d]),
            u16::from_be_bytes([e, f]),
            u16::from_be_bytes([g, h]),
        ])
    }

    /// Reads one to four components; those left out are zero.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut components = [0_u16; 4];
        let mut parts = text.split('.');
        for (at, slot) in components.iter_mut().enumerate() {
            match parts.next() {
                Some(part) if part.bytes().all(|b| b.is_ascii_digit()) => *slot = part.parse().ok()?,
                None if at > 0 => break,
                _ => return None,
            }
        }
        parts.next().is_none().then_some(Self(components))
    }

    /// Whether each component is at least `floor`'s: the rule for TCBs, where a higher major version excuses nothing.
    #[must_use]
    pub fn each_at_least(&self, floor: &Self) -> bool {
        self.0.iter().zip(&floor.0).all(|(found, least)| found >= least)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a}.{b}.{c}.{d}")
    }
}

impl Labelled {
    /// A digest labelled `label`.
    #[must_use]
    pub fn new(label: impl Into<Cow<'static, str>>, digest: Digest) -> Self {
        Self { label: label.into(), digest }
    }

    /// Reads `label:hex`; the last colon divides.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (label, digest) = text.rsplit_once(':')?;
        let plain = !label.is_empty() && !label.chars().any(|c| c.is_control() || c.is_whitespace());
        plain.then_some(())?;
        Some(Self { label: Cow::Owned(label.to_owned()), digest: digest_from_hex(digest)? })
    }
}

impl fmt::Display for Labelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.label, self.digest)
    }
}

impl Value {
    /// A text value.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// Its type.
    #[must_use]
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::Bool(_) => ValueType::Bool,
            Self::Integer(_) => ValueType::Integer,
            Self::Bits(_) => ValueType::Bits,
            Self::Version(_) => ValueType::Version,
            Self::Text(_) => ValueType::Text,
            Self::Digest(_) => ValueType::Digest,
            Self::Labelled(_) => ValueType::Labelled,
        }
    }

    /// Reads a value of `value_type` from the text that stands for it in policies and fact files.
    ///
    /// `None` if the text is not of that type; booleans and integers are read from their own TOML types as well.
    #[must_use]
    pub fn parse(value_type: ValueType, text: &str) -> Option<Self> {
        match value_type {
            ValueType::Bool => text.parse().ok().map(Self::Bool),
            ValueType::Integer => number(text).map(Self::Integer),
            ValueType::Bits => number(text).map(Self::Bits),
            ValueType::Version => Version::parse(text).map(Self::Version),
            ValueType::Text => (text.len() <= TEXT_BYTES_MAX).then(|| Self::text(text)),
            ValueType::Digest => digest_from_hex(text).map(Self::Digest),
            ValueType::Labelled => Labelled::parse(text).map(Self::Labelled),
        }
    }
}

/// A whole number, decimal or behind `0x`.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

impl Hash for Value {
    /// Of a digest eight bytes are enough: it is evenly spread, and equality decides in the end.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let digest = |digest: &Digest| u64::from_le_bytes(digest.as_bytes().first_chunk().copied().unwrap_or_default());
        match self {
            Self::Bool(value) => value.hash(state),
            Self::Integer(value) | Self::Bits(value) => value.hash(state),
            Self::Version(value) => value.hash(state),
            Self::Text(value) => value.hash(state),
            Self::Digest(value) | Self::Labelled(Labelled { digest: value, .. }) => state.write_u64(digest(value)),
        }
    }
}

/// As policies write it: hex, dotted version, bare text.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Bits(value) => write!(f, "{value:#x}"),
            Self::Version(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::Digest(value) => write!(f, "{value}"),
            Self::Labelled(value) => write!(f, "{value}"),
        }
    }
}

impl ValueType {
    /// What a policy writes for it, for messages and the reference.
    #[must_use]
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Integer => "a whole number",
            Self::Bits => "a whole number such as 0x3f",
            Self::Version => "a version such as \"7.85.4555.0\"",
            Self::Text => "a text",
            Self::Digest => "hex of 32, 48 or 64 bytes",
            Self::Labelled => "label:hex, such as \"x509:…\"",
        }
    }

    /// The word for it in tables and JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Integer => "integer",
            Self::Bits => "bits",
            Self::Version => "version",
            Self::Text => "text",
            Self::Digest => "digest",
            Self::Labelled => "labelled digest",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_back_as_they_are_written() {
        let hex = "ab".repeat(32);
        for (value_type, text) in [
            (ValueType::Bool, "true".to_owned()),
            (ValueType::Integer, "42".to_owned()),
            (ValueType::Bits, "0x3f".to_owned()),
            (ValueType::Version, "7.85.4555.0".to_owned()),
            (ValueType::Text, "root=/dev/sda1 ro".to_owned()),
            (ValueType::Digest, hex.clone()),
            (ValueType::Labelled, format!("db:x509:{hex}")),
        ] {
            let value = Value::parse(value_type, &text).unwrap();
            assert_eq!((value.value_type(), value.to_string()), (value_type, text));
        }
    }

    #[test]
    fn half_values_are_no_values() {
        for (value_type, text) in [
            (ValueType::Digest, "abcd"),
            (ValueType::Digest, "zz"),
            (ValueType::Version, "1..2"),
            (ValueType::Version, "1.2.3.4.5"),
            (ValueType::Version, "+1"),
            (ValueType::Version, ""),
            (ValueType::Version, "70000"),
            (ValueType::Integer, "-1"),
            (ValueType::Labelled, "x509"),
        ] {
            assert_eq!(Value::parse(value_type, text), None, "{text}");
        }
        assert_eq!(Value::parse(ValueType::Labelled, &format!(":{}", "ab".repeat(32))), None);
    }

    #[test]
    fn a_component_below_its_floor_is_not_excused_by_a_higher_one() {
        let floor = Version([1, 5, 0, 0]);
        assert!(Version([2, 0, 0, 0]) > floor);
        assert!(!Version([2, 0, 0, 0]).each_at_least(&floor));
        assert!(Version([1, 5, 0, 1]).each_at_least(&floor));
        assert_eq!(Version::from_u64(0x0007_0055_11cb_0000), Version([7, 85, 4555, 0]));
    }
}
