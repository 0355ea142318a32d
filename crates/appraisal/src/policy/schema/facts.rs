//! Schemas of tables of facts: with conditions in policies, with values in reference-value files and cases.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::facts::{Definition, FactId, Shape, registry};
use crate::policy::condition::operators;
use crate::policy::pattern::PATTERN_BYTES_MAX;
use crate::value::ValueType;

/// Facts with conditions, nested or by their full names.
pub(super) struct Conditions;
/// Facts with values, nested or by their full names.
pub(super) struct Values;

impl JsonSchema for Conditions {
    fn schema_name() -> Cow<'static, str> {
        "Conditions".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        facts(&mut |fact| condition(generator, fact))
    }
}

impl JsonSchema for Values {
    fn schema_name() -> Cow<'static, str> {
        "Values".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        facts(&mut |fact| {
            let one = value(generator, fact.definition().value_type);
            let name = format!("{}s", definition_name(fact.definition().value_type));
            define(generator, &name, || json!({ "anyOf": [one, { "type": "array", "items": one }] }))
        })
    }
}

/// What may be demanded of facts of this one's type and shape.
fn condition(generator: &mut SchemaGenerator, fact: FactId) -> Value {
    let Definition { value_type, shape, .. } = fact.definition();
    let one = value(generator, *value_type);
    let many = define(
        generator,
        "SetOfValues",
        || json!({ "anyOf": [{ "type": "string", "pattern": "^@" }, { "type": "array", "minItems": 1 }] }),
    );
    let operand = |operator: &str| match operator {
        "matches" | "none_matches" => json!({ "type": "string", "minLength": 1, "maxLength": PATTERN_BYTES_MAX }),
        "equals" | "at_least" | "at_most" | "each_at_least" | "all_bits" => one.clone(),
        _ => many.clone(),
    };
    let properties: Map<String, Value> =
        operators(fact).iter().map(|operator| ((*operator).to_owned(), operand(operator))).collect();
    let tests =
        json!({ "type": "object", "properties": properties, "additionalProperties": false, "minProperties": 1 });
    let plural = match shape {
        Shape::One => "",
        Shape::Set => "Set",
        Shape::List => "List",
    };
    let name = format!("{}{plural}Condition", definition_name(*value_type));
    define(generator, &name, || match shape {
        Shape::One => json!({ "anyOf": [one, tests] }),
        Shape::Set | Shape::List => tests.clone(),
    })
}

/// A value, bare, with a note, or the name of a set.
fn value(generator: &mut SchemaGenerator, value_type: ValueType) -> Value {
    define(generator, definition_name(value_type), || {
        let bare = match value_type {
            ValueType::Bool => json!({ "type": "boolean" }),
            ValueType::Integer | ValueType::Bits => json!({ "type": "integer", "minimum": 0 }),
            ValueType::Version => json!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]+){0,3}$" }),
            ValueType::Text => json!({ "type": "string" }),
            ValueType::Digest => {
                json!({ "type": "string", "pattern": "^([0-9a-fA-F]{64}|[0-9a-fA-F]{96}|[0-9a-fA-F]{128})$" })
            }
            ValueType::Labelled => json!({ "type": "string", "pattern": "^\\S+:[0-9a-fA-F]{64,128}$" }),
        };
        let noted = json!({
            "type": "object", "properties": { "value": bare, "note": { "type": "string" } },
            "required": ["value"], "additionalProperties": false,
        });
        json!({ "anyOf": [bare, noted, { "type": "string", "pattern": "^@[^@]" }] })
    })
}

const fn definition_name(value_type: ValueType) -> &'static str {
    match value_type {
        ValueType::Bool => "Truth",
        ValueType::Integer => "Number",
        ValueType::Bits => "Bits",
        ValueType::Version => "Version",
        ValueType::Text => "Text",
        ValueType::Digest => "Digest",
        ValueType::Labelled => "LabelledDigest",
    }
}

/// A reference to the definition of that name, which is made once.
fn define(generator: &mut SchemaGenerator, name: &str, schema: impl FnOnce() -> Value) -> Value {
    let reference = json!({ "$ref": format!("#/$defs/{name}") });
    let definitions = generator.definitions_mut();
    if !definitions.contains_key(name) {
        definitions.insert(name.to_owned(), schema());
    }
    reference
}

/// The facts that a definition stands for: one, or one per PCR.
pub(super) fn members(definition: &'static Definition) -> impl Iterator<Item = FactId> {
    let count = definition.members;
    let family = definition.family().unwrap_or(definition.name);
    let name = move |pcr: u8| if count > 1 { format!("{family}.{pcr}") } else { family.to_owned() };
    (0..count).filter_map(move |pcr| FactId::parse(&name(pcr)))
}

/// An object whose properties are the facts, both nested and under their full names.
fn facts(of: &mut dyn FnMut(FactId) -> Value) -> Schema {
    let mut root = Map::new();
    for fact in registry().flat_map(members) {
        let (name, mut schema) = (fact.to_string(), of(fact));
        if let Some(object) = schema.as_object_mut() {
            object.insert("description".to_owned(), fact.definition().description.into());
        }
        let mut level = &mut root;
        let mut parts = name.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                level.insert(part.to_owned(), schema.clone());
                break;
            }
            let inner = level.entry(part).or_insert_with(
                || json!({ "type": "object", "properties": {}, "additionalProperties": false, "minProperties": 1 }),
            );
            let Some(properties) = inner.get_mut("properties").and_then(Value::as_object_mut) else { break };
            level = properties;
        }
        root.insert(name, schema);
    }
    json_schema!({ "type": "object", "properties": root, "additionalProperties": false, "minProperties": 1 })
}
