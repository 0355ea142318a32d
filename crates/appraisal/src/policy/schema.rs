//! The published JSON Schema of policies, reference-value files and cases: for editors and for other tools. The reader
//! is the authority; a test holds the two together.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::condition::operators;
use super::rule::Factor;
use crate::facts::{Definition, FactId, PCR_COUNT, REGISTRY, Shape};
use crate::value::ValueType;

/// The document that a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A policy.
    Policy,
    /// A reference-value file.
    ReferenceValues,
    /// A case.
    Case,
    /// A file of facts that cases share.
    Facts,
}

/// The schema of one kind of document, draft 2020-12.
#[must_use]
pub fn schema(subject: Subject) -> Value {
    let generator = SchemaGenerator::default();
    let schema = match subject {
        Subject::Policy => generator.into_root_schema_for::<PolicyFile>(),
        Subject::ReferenceValues => generator.into_root_schema_for::<ReferenceFile>(),
        Subject::Case => generator.into_root_schema_for::<CaseFile>(),
        Subject::Facts => generator.into_root_schema_for::<FactsFile>(),
    };
    let mut schema = schema.to_value();
    without_defaults(&mut schema);
    schema
}

/// Takes out `"default": null`, which says no more than that a key may be left out.
fn without_defaults(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.retain(|key, value| key != "default" || !value.is_null());
            object.values_mut().for_each(without_defaults);
        }
        Value::Array(array) => array.iter_mut().for_each(without_defaults),
        _ => {}
    }
}

/// One text, or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "read by schemars alone")]
enum Texts {
    One(String),
    Many(#[schemars(length(min = 1))] Vec<String>),
}

macro_rules! documents {
    ($($(#[$attribute:meta])* $name:ident { $($(#[$field_attribute:meta])* $field:ident: $type:ty,)* })*) => {$(
        #[derive(JsonSchema)]
        $(#[$attribute])*
        #[schemars(deny_unknown_fields)]
        #[expect(dead_code, reason = "read by schemars alone")]
        struct $name { $($(#[$field_attribute])* $field: $type,)* }
    )*};
}

documents! {
    /// Which machines get an identity, and which. See docs/reference/policy.md.
    #[schemars(title = "Holdfast policy, version 1")]
    PolicyFile {
        #[schemars(extend("const" = crate::API_VERSION))]
        api_version: String,
        #[schemars(extend("const" = super::KIND))]
        kind: String,
        name: Name,
        description: Option<String>,
        /// The bank whose PCRs are quoted; sha256 if not given.
        #[schemars(extend("enum" = ["sha256", "sha384", "sha512"]))]
        pcr_bank: Option<String>,
        /// Files of reference values beside the policy; "@name" refers to their values.
        reference_values: Option<Texts>,
        /// Named sets of values; "@name" refers to them.
        #[schemars(schema_with = "sets", default)]
        sets: Option<()>,
        /// What is refused whatever the rules say.
        #[schemars(length(min = 1))]
        deny: Option<Vec<DenyEntry>>,
        /// The admitting rules; the first that is satisfied counts.
        #[schemars(length(min = 1))]
        rule: Vec<RuleEntry>,
        /// What rules issue that do not say otherwise.
        issue: Option<IssueEntry>,
    }
    /// One admitting rule.
    RuleEntry {
        name: Name,
        description: Option<String>,
        /// Why the machine is ours; of several, all must hold.
        #[schemars(schema_with = "ownership")]
        ownership: (),
        /// Why any genuine device is admitted; only with "any-genuine-device".
        ownership_reason: Option<String>,
        /// The classes of roots that are admitted.
        #[schemars(schema_with = "trust_classes")]
        trust_classes: (),
        #[schemars(schema_with = "conditions", default)]
        require: Option<()>,
        /// Of several, one must hold beside `require`.
        #[schemars(length(min = 1))]
        alternative: Option<Vec<AlternativeEntry>>,
        issue: Option<IssueEntry>,
    }
    /// One of several states that a rule admits.
    AlternativeEntry {
        name: Name,
        description: Option<String>,
        /// First moment at which it counts: a TOML date with time and offset.
        #[schemars(extend("format" = "date-time"))]
        valid_from: Option<String>,
        /// First moment at which it does not count any more.
        #[schemars(extend("format" = "date-time"))]
        valid_until: Option<String>,
        #[schemars(schema_with = "conditions")]
        require: (),
    }
    /// One entry of the deny list.
    DenyEntry {
        name: Name,
        /// Why, for whoever is refused.
        reason: String,
        #[schemars(schema_with = "conditions")]
        when: (),
    }
    /// What is issued.
    IssueEntry {
        /// Path of the node ID below /holdfast/node/; {tpm.machine} stands for the machine.
        #[schemars(regex(pattern = "^/holdfast/node(/([A-Za-z0-9._-]+|\\{[a-z0-9_.]+\\}))+$"))]
        node_id: Option<String>,
        /// Facts that become selectors of the node.
        #[schemars(schema_with = "selectors", default)]
        selectors: Option<()>,
        svid_ttl: Option<Duration>,
        max_evidence_age: Option<Duration>,
    }
    /// Good values of facts, apart from the policies that use them.
    #[schemars(title = "Holdfast reference values, version 1")]
    ReferenceFile {
        #[schemars(extend("const" = crate::API_VERSION))]
        api_version: String,
        #[schemars(extend("const" = crate::reference::KIND))]
        kind: String,
        name: Name,
        description: Option<String>,
        /// Where the values come from.
        source: Option<String>,
        #[schemars(extend("format" = "date-time"))]
        created: Option<String>,
        #[schemars(schema_with = "values")]
        values: (),
    }
    /// A machine's facts, the operator's records, a moment, and the decision that is expected.
    #[schemars(title = "Holdfast policy case, version 1")]
    CaseFile {
        #[schemars(extend("const" = crate::API_VERSION))]
        api_version: String,
        #[schemars(extend("const" = crate::case::KIND))]
        kind: String,
        description: Option<String>,
        /// The policy that is tested, beside the case.
        policy: String,
        /// The moment of the decision.
        #[schemars(extend("format" = "date-time"))]
        at: String,
        trust_domain: Option<String>,
        /// A file of facts to start from.
        base: Option<String>,
        evidence: Option<EvidenceEntry>,
        #[schemars(schema_with = "values", default)]
        facts: Option<()>,
        /// Facts of the base that are not proven here.
        without: Option<Texts>,
        /// PCRs that were extended and that no event explains.
        unexplained_pcrs: Option<Vec<u8>>,
        ownership: Option<OwnershipEntry>,
        expect: ExpectEntry,
    }
    /// Evidence whose facts are taken as proven.
    EvidenceEntry {
        /// A firmware log, as the kernel's binary_bios_measurements, beside the case.
        event_log: Option<String>,
        #[schemars(extend("enum" = ["sha256", "sha384", "sha512"]))]
        pcr_bank: Option<String>,
    }
    /// What the operator's records say.
    OwnershipEntry {
        #[schemars(extend("enum" = ["not-listed", "listed"]))]
        inventory: Option<String>,
        #[schemars(extend("enum" = ["not-given", "given", "denied"]))]
        approval: Option<String>,
    }
    /// What must come out.
    ExpectEntry {
        #[schemars(extend("enum" = ["admitted", "awaits-approval", "refused"]))]
        decision: String,
        /// Code of the refusal.
        code: Option<String>,
        /// Codes of the differences from the nearest alternative, all of them.
        because: Option<Texts>,
        rule: Option<String>,
        alternative: Option<String>,
        node_id: Option<String>,
        selectors: Option<Texts>,
    }
    /// Facts that several cases share.
    #[schemars(title = "Holdfast facts for cases, version 1")]
    FactsFile {
        #[schemars(extend("const" = crate::API_VERSION))]
        api_version: String,
        #[schemars(extend("const" = crate::case::FACTS_KIND))]
        kind: String,
        description: Option<String>,
        #[schemars(schema_with = "values", default)]
        facts: Option<()>,
        unexplained_pcrs: Option<Vec<u8>>,
    }
}

/// A name.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "read by schemars alone")]
struct Name(#[schemars(regex(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$"))] String);

/// A whole number and s, m, h or d.
#[derive(JsonSchema)]
#[schemars(transparent)]
#[expect(dead_code, reason = "read by schemars alone")]
struct Duration(#[schemars(regex(pattern = "^[0-9]+[smhd]$"))] String);

fn one_or_several(words: &[&str]) -> Schema {
    json_schema!({ "anyOf": [
        { "enum": words },
        { "type": "array", "items": { "enum": words }, "minItems": 1, "uniqueItems": true },
    ] })
}

fn ownership(_: &mut SchemaGenerator) -> Schema {
    one_or_several(&Factor::ALL.map(Factor::as_str))
}

fn trust_classes(_: &mut SchemaGenerator) -> Schema {
    one_or_several(&holdfast_evidence::TrustClass::ALL.map(holdfast_evidence::TrustClass::as_str))
}

fn selectors(_: &mut SchemaGenerator) -> Schema {
    let names = REGISTRY.iter().filter(|definition| definition.selector.is_some()).flat_map(members);
    let names: Vec<String> = names.map(|fact| fact.to_string()).collect();
    one_or_several(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

fn sets(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": { "type": "array", "minItems": 1 } })
}

/// Facts with conditions, nested or by their full names.
fn conditions(_: &mut SchemaGenerator) -> Schema {
    facts(&|fact| {
        let definition = fact.definition();
        let one = value(definition.value_type);
        let many = json!({ "anyOf": [{ "type": "string", "pattern": "^@" }, { "type": "array", "minItems": 1 }] });
        let operand = |operator: &str| match operator {
            "equals" | "at_least" | "at_most" | "each_at_least" => one.clone(),
            _ => many.clone(),
        };
        let properties: Map<String, Value> =
            operators(fact).iter().map(|operator| ((*operator).to_owned(), operand(operator))).collect();
        let tests = json!({
            "type": "object", "properties": properties, "additionalProperties": false, "minProperties": 1,
        });
        match definition.shape {
            Shape::One => json!({ "description": definition.description, "anyOf": [one, tests] }),
            Shape::Set | Shape::List => json!({ "description": definition.description, "anyOf": [tests] }),
        }
    })
}

/// Facts with values, nested or by their full names.
fn values(_: &mut SchemaGenerator) -> Schema {
    facts(&|fact| {
        let definition = fact.definition();
        let one = value(definition.value_type);
        json!({ "description": definition.description, "anyOf": [one, { "type": "array", "items": one }] })
    })
}

/// A value, bare, with a note, or the name of a set.
fn value(value_type: ValueType) -> Value {
    let bare = match value_type {
        ValueType::Bool => json!({ "type": "boolean" }),
        ValueType::Integer => json!({ "type": "integer", "minimum": 0 }),
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
}

fn members(definition: &'static Definition) -> impl Iterator<Item = FactId> {
    let count = if definition.is_family() { PCR_COUNT } else { 1 };
    let family = definition.family().unwrap_or(definition.name);
    let name = move |pcr: u8| if count > 1 { format!("{family}.{pcr}") } else { family.to_owned() };
    (0..count).filter_map(move |pcr| FactId::parse(&name(pcr)))
}

/// An object whose properties are the facts, both nested and under their full names.
fn facts(of: &dyn Fn(FactId) -> Value) -> Schema {
    let mut root = Map::new();
    for fact in REGISTRY.iter().flat_map(members) {
        let (name, schema) = (fact.to_string(), of(fact));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::policy::{issue, read, rule};

    fn keys(schema: &Value) -> BTreeSet<&str> {
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn the_schema_knows_the_keys_that_the_reader_knows() {
        let policy = schema(Subject::Policy);
        let defs = &policy["$defs"];
        for (schema, known) in [
            (&policy, read::KEYS),
            (&defs["RuleEntry"], rule::RULE_KEYS),
            (&defs["AlternativeEntry"], rule::ALTERNATIVE_KEYS),
            (&defs["DenyEntry"], rule::DENY_KEYS),
            (&defs["IssueEntry"], issue::KEYS),
            (&schema(Subject::ReferenceValues), crate::reference::KEYS),
            (&schema(Subject::Case), crate::case::KEYS),
            (&schema(Subject::Facts), crate::case::FACTS_KEYS),
        ] {
            assert_eq!(keys(schema), known.iter().copied().collect(), "{}", schema["title"]);
            assert_eq!(schema["additionalProperties"], false);
        }
    }

    #[test]
    fn every_fact_is_there_nested_and_by_its_full_name() {
        let policy = schema(Subject::Policy);
        let facts = &policy["$defs"]["RuleEntry"]["properties"]["require"];
        for name in crate::facts::all_names() {
            let nested = name.split('.').fold(facts, |level, part| &level["properties"][part]);
            assert!(nested["description"].is_string() && *nested == facts["properties"][&name], "{name}");
        }
    }
}
