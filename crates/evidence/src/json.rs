//! JSON that every reader reads alike: no name twice in one object, at any depth; where it is to be hashed and decided on, no
//! number either that readers round. Says nothing of what is in it, of blanks or of order.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

/// Why bytes are no such object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJson {
    /// Not JSON, too deep (127 levels), or something behind it.
    #[error("expected JSON and nothing behind it")]
    Syntax,
    /// A name stands twice in one object.
    #[error("a name stands twice in one object")]
    Twice,
    /// JSON, but no object.
    #[error("expected a JSON object")]
    Object,
}

impl BadJson {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Syntax => "json.syntax",
            Self::Twice => "json.twice",
            Self::Object => "json.object",
        }
    }
}

/// Reads one object, and all of `bytes`, whose length the caller has bounded.
///
/// # Errors
/// [`BadJson`].
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, BadJson> {
    match read(bytes, Numbers::All) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(BadJson::Object),
        Err(error) if error.classify() == Category::Data => Err(BadJson::Twice),
        Err(_) => Err(BadJson::Syntax),
    }
}

/// Reads one value, and all of `bytes`, without a number with a fraction or out of the range of 64 bits: what is hashed, and
/// then decided on.
///
/// # Errors
/// What is wrong with it, and where.
pub fn plain(bytes: &[u8]) -> Result<Value, String> {
    read(bytes, Numbers::Whole).map_err(|error| error.to_string())
}

fn read(bytes: &[u8], numbers: Numbers) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { numbers }.deserialize(&mut deserializer)?;
    deserializer.end().map(|()| value)
}

/// Which numbers there may be.
#[derive(Clone, Copy)]
enum Numbers {
    All,
    Whole,
}

/// A value that is read so.
#[derive(Clone, Copy)]
struct Strict {
    numbers: Numbers,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        // The parser bounds the depth.
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value without a name that is there twice")
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

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        match self.numbers {
            Numbers::All => Ok(value.into()),
            Numbers::Whole => Err(E::custom("a number with a fraction, an exponent, or more than 64 bits")),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(element) = elements.next_element_seed(self)? {
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
            let value = members.next_value_seed(self)?;
            found.insert(name, value);
        }
        Ok(Value::Object(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_reads_as_everybody_reads_it() {
        let text = r#"{"a":[1,-2,1.5,18446744073709551615,true,null,"x\u00e9"],"b":{"a":{}}}"#;
        assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn plain_values_read_as_everybody_reads_them() {
        let text = r#"{"a":[1,-2,18446744073709551615,-9223372036854775808,true,null,"x\u00e9"],"b":{"a":{}}}"#;
        assert_eq!(plain(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn numbers_that_readers_round_are_refused() {
        for number in
            ["1.0", "1.5", "1e2", "1E2", "-0", "-0.0", "18446744073709551616", "-9223372036854775809", "1e400"]
        {
            assert!(plain(number.as_bytes()).is_err(), "{number}");
            assert!(plain(format!("{{\"a\":[{number}]}}").as_bytes()).is_err(), "{number}");
        }
    }

    #[test]
    fn a_name_twice_is_refused_at_every_depth_and_however_it_is_spelled() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":[{"a":1,"b":2,"a":3}]}"#, r#"{"a":1,"\u0061":1}"#, r#"{"":1,"":1}"#] {
            assert_eq!(object(text.as_bytes()), Err(BadJson::Twice), "{text}");
            assert!(plain(text.as_bytes()).unwrap_err().contains("twice"), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded_and_nothing_follows() {
        assert_eq!(object("{\"a\":".repeat(100_000).as_bytes()), Err(BadJson::Syntax));
        assert!(plain("[".repeat(100_000).as_bytes()).is_err());
        for text in ["", "{} {}", "{}x", "{\"a\":1e400}", "\u{feff}{}", "{'a':1}"] {
            assert_eq!(object(text.as_bytes()), Err(BadJson::Syntax), "{text:?}");
            assert!(plain(text.as_bytes()).is_err(), "{text:?}");
        }
        for text in ["[]", "1", "null", "\"{}\""] {
            assert_eq!(object(text.as_bytes()), Err(BadJson::Object), "{text:?}");
        }
    }
}
