//! The CBOR that documents and the device's answers are written in, on top of `ciborium`: maps in a given order, and maps
//! without a length, which `ciborium` does not write.

use ciborium::Value;

pub(super) fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

pub(super) fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing to memory does not fail.
    let _ = ciborium::into_writer(value, &mut bytes);
    bytes
}

/// A map that ends with a break in place of saying how long it is.
pub(super) fn indefinite(entries: &[(Value, Value)]) -> Vec<u8> {
    let mut bytes = vec![0xbf];
    for (key, value) in entries {
        bytes.extend(encoded(key));
        bytes.extend(encoded(value));
    }
    bytes.push(0xff);
    bytes
}
