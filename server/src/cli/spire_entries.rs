//! What `spire-server entry show -output json` prints, as far as an import looks at it.
//!
//! protobuf's JSON with the names of the `.proto`, fields without value included, 64-bit numbers as texts, absent messages
//! left out or `null`. What a later SPIRE adds is kept by its name, and is no obstacle while it says nothing.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// The whole output.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    pub(super) entries: Vec<SpireEntry>,
}

/// One registration entry of SPIRE's.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SpireEntry {
    pub(super) id: String,
    pub(super) spiffe_id: SpireId,
    pub(super) parent_id: SpireId,
    pub(super) selectors: Vec<SpireSelector>,
    #[serde(default, deserialize_with = "number")]
    pub(super) x509_svid_ttl: i64,
    #[serde(default, deserialize_with = "number")]
    pub(super) jwt_svid_ttl: i64,
    #[serde(default)]
    pub(super) federates_with: Vec<String>,
    #[serde(default)]
    pub(super) hint: String,
    #[serde(default)]
    pub(super) admin: bool,
    #[serde(default)]
    pub(super) downstream: bool,
    #[serde(default)]
    pub(super) store_svid: bool,
    #[serde(default)]
    pub(super) dns_names: Vec<String>,
    #[serde(default, deserialize_with = "number")]
    pub(super) expires_at: i64,
    #[serde(default, deserialize_with = "number")]
    pub(super) created_at: i64,
    #[serde(default, deserialize_with = "attributes")]
    pub(super) additional_attributes: Attributes,
    /// `revision_number`, which is the server's own, and what this version has never heard of.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// SPIRE's tunables of an entry.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Attributes {
    /// Nothing is lost without it.
    #[serde(default, rename = "disable_x509_svid_prefetch")]
    _disable_x509_svid_prefetch: IgnoredAny,
    #[serde(default)]
    pub(super) jwt_svid_include_jti: bool,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// A SPIFFE ID in two parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub(super) struct SpireId {
    trust_domain: String,
    path: String,
}

impl SpireId {
    /// What follows the trust domain.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for SpireId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}{}", self.trust_domain, self.path)
    }
}

/// A selector in two parts.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SpireSelector {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) value: String,
}

impl fmt::Display for SpireSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

impl SpireEntry {
    /// Fields that say something and that nobody here has heard of.
    pub(super) fn unheard_of(&self) -> impl Iterator<Item = String> {
        let says = |(_, value): &(&String, &Value)| says_something(value);
        let known = |(name, _): &(&String, &Value)| name.as_str() != "revision_number";
        let own = self.rest.iter().filter(known).filter(says).map(|(name, _)| name.clone());
        let attributes = self.additional_attributes.rest.iter().filter(says);
        own.chain(attributes.map(|(name, _)| format!("additional_attributes.{name}")))
    }
}

/// Whether a value is another than that of a field nobody has set.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(set) => *set,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty() && text != "0",
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => fields.values().any(says_something),
    }
}

/// Those there are; none for `null`.
fn attributes<'de, D: Deserializer<'de>>(from: D) -> Result<Attributes, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// A number, or a text of one.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(from)?;
    let number = match &value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| de::Error::custom(format!("expected a number, found {value}")))
}

/// Reads the output.
///
/// # Errors
/// What is wrong with it, by line and column.
pub(super) fn parse(text: &str) -> serde_json::Result<Shown> {
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(more: &str) -> SpireEntry {
        let text = format!(
            r#"{{"entries":[{{"admin":false,"created_at":"1678731397","dns_names":[],"downstream":false,
            "expires_at":"0","federates_with":[],"hint":"","id":"e1","jwt_svid_ttl":0,
            "parent_id":{{"path":"/spire/agent/x509pop/1","trust_domain":"example.org"}},"revision_number":"3",
            "selectors":[{{"type":"unix","value":"uid:1000"}}],
            "spiffe_id":{{"path":"/web","trust_domain":"example.org"}},"store_svid":false,"x509_svid_ttl":600{more}}}],
            "next_page_token":""}}"#
        );
        parse(&text).unwrap().entries.remove(0)
    }

    #[test]
    fn numbers_come_as_numbers_and_as_texts() {
        let read = entry("");
        assert_eq!((read.x509_svid_ttl, read.created_at, read.expires_at), (600, 1_678_731_397, 0));
        assert_eq!(read.parent_id.to_string(), "spiffe://example.org/spire/agent/x509pop/1");
        assert_eq!(read.selectors[0].to_string(), "unix:uid:1000");
    }

    #[test]
    fn what_a_later_version_adds_counts_where_it_says_something() {
        let unheard = |more: &str| entry(more).unheard_of().collect::<Vec<_>>();
        assert_eq!(unheard(""), [""; 0]);
        assert_eq!(unheard(r#","new":false,"more":"0","list":[],"deep":{"a":""}"#), [""; 0]);
        assert_eq!(unheard(r#","new":true,"more":"x""#), ["more", "new"]);
        assert_eq!(
            unheard(r#","additional_attributes":null,"other_message":null"#),
            [""; 0],
            "a message nobody has set"
        );
        let attributes = r#","additional_attributes":{"disable_x509_svid_prefetch":true,"glow":true}"#;
        assert_eq!(unheard(attributes), ["additional_attributes.glow"]);
    }

    #[test]
    fn other_documents_are_refused() {
        for text in ["", "[]", "{}", r#"{"entries":[{}]}"#, r#"{"entries":[{"id":"a","spiffe_id":"spiffe://td/a"}]}"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
