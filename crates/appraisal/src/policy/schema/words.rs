//! Schemas of the places where one of a few words stands.

use std::borrow::Cow;

use holdfast_evidence::{EvidenceKind, TrustClass};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::facts::members;
use crate::facts::registry;
use crate::policy::rule::Factor;

pub(super) struct Ownership;
pub(super) struct TrustClasses;
pub(super) struct Evidence;
pub(super) struct Selectors;
pub(super) struct Sets;

fn one_or_several(words: &[String]) -> Schema {
    json_schema!({ "anyOf": [
        { "enum": words },
        { "type": "array", "items": { "enum": words }, "minItems": 1, "uniqueItems": true },
    ] })
}

impl JsonSchema for Ownership {
    fn schema_name() -> Cow<'static, str> {
        "Ownership".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        one_or_several(&Factor::ALL.map(|factor| factor.as_str().to_owned()))
    }
}

impl JsonSchema for TrustClasses {
    fn schema_name() -> Cow<'static, str> {
        "TrustClasses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        one_or_several(&TrustClass::ALL.map(|class| class.as_str().to_owned()))
    }
}

impl JsonSchema for Evidence {
    fn schema_name() -> Cow<'static, str> {
        "Evidence".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        one_or_several(&EvidenceKind::ALL.map(|kind| kind.as_str().to_owned()))
    }
}

impl JsonSchema for Selectors {
    fn schema_name() -> Cow<'static, str> {
        "Selectors".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = registry().filter(|definition| definition.selector.is_some()).flat_map(members);
        one_or_several(&names.map(|fact| fact.to_string()).collect::<Vec<_>>())
    }
}

impl JsonSchema for Sets {
    fn schema_name() -> Cow<'static, str> {
        "Sets".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": "array", "minItems": 1 } })
    }
}
