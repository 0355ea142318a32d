//! JSON that every reader reads alike: no name twice in one object, no number with a fraction or out of the range of 64
//! bits. What is hashed, and then decided on, is read here and nowhere else. Says nothing of blanks or of order.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A value that was read so.
struct Plain(Value);

/// Reads one document, and all of it.
///
/// # Errors
/// What is wrong with it, and where.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice::<Plain>(bytes).map(|plain| plain.0).map_err(|error| error.to_string())
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The parser bounds the depth.
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without fractions and without a name that is there twice")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Err(E::custom("a number with a fraction, an exponent, or more than 64 bits"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(Plain(element)) = elements.next_element()? {
            found.push(element);
        }
        Ok(Value::Array(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut found = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if found.contains_key(&name) {
                return Err(A::Error::custom(format!("the name {name:?} is there twice")));
            }
            let Plain(value) = members.next_value()?;
            found.insert(name, value);
        }
        Ok(Value::Object(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_read_as_everybody_reads_them() {
        let text = r#"{"a":[1,-2,18446744073709551615,-9223372036854775808,true,null,"x\u00e9"],"b":{"a":{}}}"#;
        assert_eq!(read(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn a_name_twice_is_refused_at_every_depth_and_however_it_is_spelled() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"a":3}"#,
            r#"[[{"x":{"a":1,"a":1}}]]"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"":1,"":1}"#,
        ] {
            assert!(read(text.as_bytes()).unwrap_err().contains("twice"), "{text}");
        }
    }

    #[test]
    fn numbers_that_readers_round_are_refused() {
        for number in
            ["1.0", "1.5", "1e2", "1E2", "-0", "-0.0", "18446744073709551616", "-9223372036854775809", "1e400"]
        {
            assert!(read(number.as_bytes()).is_err(), "{number}");
            assert!(read(format!("{{\"a\":[{number}]}}").as_bytes()).is_err(), "{number}");
        }
    }

    #[test]
    fn depth_is_bounded_and_nothing_follows() {
        assert!(read("[".repeat(100_000).as_bytes()).is_err());
        assert!(read("{\"a\":".repeat(100_000).as_bytes()).is_err());
        for text in ["", "{} {}", "{}x", "nul", "\u{feff}{}"] {
            assert!(read(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
