//! CBOR of CoRIM files as values that are asked for by key: size and depth are bounded, and whatever has another shape than
//! asked is refused under one code. Knows no CoRIM.

use ciborium::Value;

use super::Refused;

/// Deepest nesting: CoRIM has some ten levels.
const DEPTH_MAX: usize = 32;

/// The one item that `bytes` are; nothing may follow it.
pub(super) fn parse(bytes: &[u8], what: &str) -> Result<Value, Refused> {
    let mut rest = bytes;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX)
        .map_err(|_| malformed(what, "no CBOR, or too deep"))?;
    if rest.is_empty() { Ok(value) } else { Err(malformed(what, "bytes follow it")) }
}

pub(super) fn malformed(what: &str, why: &str) -> Refused {
    Refused::new("reference.corim.malformed", format!("{what}: {why}"))
}

/// What a tag is around, whatever stands around that tag.
pub(super) fn untagged(value: &Value, tag: u64) -> Option<&Value> {
    match value {
        Value::Tag(found, inside) if *found == tag => Some(inside),
        _ => None,
    }
}

pub(super) fn array<'v>(value: &'v Value, what: &str) -> Result<&'v [Value], Refused> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| malformed(what, "expected an array"))
}

pub(super) fn bytes<'v>(value: &'v Value, what: &str) -> Result<&'v [u8], Refused> {
    value.as_bytes().map(Vec::as_slice).ok_or_else(|| malformed(what, "expected bytes"))
}

/// A map whose keys are numbers or texts, each once.
pub(super) struct Map<'v>(&'v [(Value, Value)]);

impl<'v> Map<'v> {
    pub(super) fn of(value: &'v Value, what: &str) -> Result<Self, Refused> {
        let entries = value.as_map().ok_or_else(|| malformed(what, "expected a map"))?;
        for (at, (key, _)) in entries.iter().enumerate() {
            if entries.iter().take(at).any(|(other, _)| other == key) {
                return Err(malformed(what, "a key stands in it twice"));
            }
        }
        Ok(Self(entries))
    }

    pub(super) fn get(&self, key: i64) -> Option<&'v Value> {
        let is_key = |found: &Value| found.as_integer().is_some_and(|found| found == key.into());
        self.0.iter().find(|(found, _)| is_key(found)).map(|(_, value)| value)
    }

    pub(super) fn required(&self, key: i64, what: &str) -> Result<&'v Value, Refused> {
        self.get(key).ok_or_else(|| malformed(what, &format!("key {key} is missing")))
    }
}
