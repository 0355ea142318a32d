//! What ships: every case holds, lint is content, the schema describes it, the reference names it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests read files and fail loudly")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use holdfast_appraisal::decision::Verdict;
use holdfast_appraisal::decision::explanation::Answer;
use holdfast_appraisal::facts::registry;
use holdfast_appraisal::policy::schema::{Subject, schema};
use holdfast_evidence::EvidenceKind;
use holdfast_policy::cli::main;
use holdfast_policy::exit::Exit;
use holdfast_policy::files::{bundle, kind, text, toml_files};
use holdfast_policy::test::{CaseResult, run_folder};
use serde_json::{Value, json};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("shipped")
}

fn reference() -> String {
    text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/policy.md")).unwrap()
}

#[test]
fn every_case_of_the_shipped_policies_holds() {
    let reports = run_folder(&shipped()).unwrap();
    for report in &reports {
        assert_eq!(report.result, CaseResult::Passed, "{report:#?}");
    }
    assert!(reports.len() >= 30);
}

/// What is decided and what is explained are the same answers: a rule that reads as satisfied admits, and no other does.
#[test]
fn the_explanation_of_every_case_says_what_was_decided() {
    for report in run_folder(&shipped()).unwrap() {
        let (decision, told) = (report.decision.unwrap(), report.explanation.unwrap());
        let good: Vec<&str> = told
            .rules
            .iter()
            .filter(|rule| matches!(rule.answer, Answer::Holds | Answer::Waived))
            .map(|rule| rule.name.as_str())
            .collect();
        let denied = told.denies.iter().any(|deny| deny.answer != Answer::Differs);
        match &decision {
            Verdict::Admit(grant) => {
                assert_eq!((good, denied, &*told.decision), (vec![grant.rule.as_str()], false, "admitted"));
            }
            Verdict::AwaitsApproval(_) => assert!(good.is_empty() && !denied, "{told}"),
            Verdict::Refuse(rejection) => {
                assert!(good.is_empty() || rejection.code != "policy.no_rule_matched", "{told}");
                assert_eq!(denied, rejection.code.starts_with("policy.den"), "{told}");
            }
        }
    }
}

#[test]
fn lint_is_content_with_everything_that_ships() {
    let files = toml_files(&shipped()).unwrap();
    let arguments = ["holdfast-policy", "lint"].into_iter().map(Into::into);
    assert_eq!(main(arguments.chain(files.into_iter().map(Into::into))), Exit::Yes);
}

#[test]
fn every_shipped_policy_says_what_it_is_for() {
    for path in toml_files(&shipped()).unwrap() {
        if kind(&text(&path).unwrap()).as_deref() == Some("policy") {
            let policy = bundle(&path).unwrap().parse().unwrap();
            assert!(!policy.description().is_empty(), "{}", path.display());
            assert_eq!(Some(policy.version().name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
        }
    }
}

#[test]
fn the_reference_lists_every_fact_and_no_other() {
    let page = reference();
    let listed: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .filter(|name| EvidenceKind::ALL.iter().any(|kind| name.starts_with(&format!("{kind}."))))
        .collect();
    let known: BTreeSet<&str> = registry().map(|fact| fact.name).collect();
    assert_eq!(listed, known);
    let page = page.replace('`', "");
    for fact in registry() {
        assert!(
            page.contains(fact.description),
            "the reference describes {} otherwise: {}",
            fact.name,
            fact.description
        );
    }
}

/// The policies and other documents in the reference are real ones.
#[test]
fn the_examples_of_the_reference_are_read() {
    let page = reference();
    let examples: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .filter(|e| e.contains("api_version"))
        .collect();
    assert!(examples.len() >= 3, "found {} examples", examples.len());
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for (at, example) in examples.iter().enumerate() {
        let name = example
            .lines()
            .find_map(|line| line.strip_prefix("# "))
            .map_or_else(|| format!("{at}.toml"), str::to_owned);
        let path = folder.path().join(name);
        std::fs::write(&path, example).unwrap();
        paths.push(path);
    }
    let arguments = ["holdfast-policy", "lint"].into_iter().map(Into::into);
    assert_eq!(main(arguments.chain(paths.into_iter().map(Into::into))), Exit::Yes);
    assert!(run_folder(folder.path()).unwrap().iter().all(|report| report.result == CaseResult::Passed));
}

#[test]
fn the_schema_describes_everything_that_ships() {
    for path in toml_files(&shipped()).unwrap() {
        let text = text(&path).unwrap();
        let subject = match kind(&text).as_deref() {
            Some("policy") => Subject::Policy,
            Some("reference-values") => Subject::ReferenceValues,
            Some("case") => Subject::Case,
            Some("facts") => Subject::Facts,
            other => panic!("{}: kind {other:?}", path.display()),
        };
        let schema = schema(subject);
        let document = to_json(&toml::Value::Table(text.parse().unwrap()));
        if let Err(problem) = validate(&schema, &schema, &document, "") {
            panic!("{}: {problem}", path.display());
        }
        let mut strange = document.clone();
        strange["strange"] = json!(1);
        assert!(validate(&schema, &schema, &strange, "").is_err());
    }
}

#[test]
fn the_published_schemas_are_those_of_this_version() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    for (name, subject) in [
        ("policy", Subject::Policy),
        ("reference-values", Subject::ReferenceValues),
        ("case", Subject::Case),
        ("facts", Subject::Facts),
    ] {
        let published = std::fs::read_to_string(folder.join(format!("{name}.schema.json"))).unwrap();
        let is = serde_json::from_str::<Value>(&published).is_ok_and(|published| published == schema(subject));
        assert!(is, "run: holdfast-policy schema {name} > policies/schema/{name}.schema.json");
    }
}

/// Editors need all of it: the dialect, a name, a title; and a line in each document that says where the schema is.
#[test]
fn schemas_are_named_and_every_shipped_document_names_its_own() {
    for (kind, subject) in [
        ("policy", Subject::Policy),
        ("reference-values", Subject::ReferenceValues),
        ("case", Subject::Case),
        ("facts", Subject::Facts),
    ] {
        let schema = schema(subject);
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert_eq!(schema["$id"], format!("urn:holdfast:schema:1:{kind}"));
        assert!(schema["title"].as_str().is_some_and(|title| title.starts_with("Holdfast")), "{kind}");
    }
    for path in toml_files(&shipped()).unwrap() {
        let text = text(&path).unwrap();
        let named = text.lines().next().and_then(|line| line.strip_prefix("#:schema "));
        let named = named.unwrap_or_else(|| panic!("{}: no #:schema in its first line", path.display()));
        let file = path.parent().unwrap().join(named);
        let kind = kind(&text).unwrap();
        assert!(file.is_file() && file.ends_with(format!("schema/{kind}.schema.json")), "{}", path.display());
    }
}

/// Each shipped policy has a page that names it.
#[test]
fn the_index_of_policies_links_a_page_for_each() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/policies");
    let index = text(&docs.join("README.md")).unwrap();
    for path in toml_files(&shipped()).unwrap().iter().filter(|path| path.parent() == Some(&shipped())) {
        let name = path.file_stem().unwrap().to_string_lossy();
        let row = index.lines().find(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the index"));
        let page = row.rsplit_once("](").and_then(|(_, rest)| rest.split_once(')')).unwrap().0;
        assert!(text(&docs.join(page)).unwrap().contains(&*name), "{page} does not speak of {name}");
    }
}

fn to_json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(truth) => json!(truth),
        toml::Value::Datetime(date) => json!(date.to_string()),
        toml::Value::Array(values) => values.iter().map(to_json).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
        }
    }
}

/// As much of JSON Schema as ours uses, patterns and formats left out.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let Some(rules) = schema.as_object() else { return Ok(()) };
    for (rule, wanted) in rules {
        let holds = match rule.as_str() {
            "$ref" => {
                let name = wanted.as_str().and_then(|path| path.strip_prefix("#/$defs/")).unwrap();
                validate(root, &root["$defs"][name], value, at)?;
                true
            }
            "anyOf" => wanted.as_array().unwrap().iter().any(|schema| validate(root, schema, value, at).is_ok()),
            "const" => value == wanted,
            "enum" => wanted.as_array().unwrap().contains(value),
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|wanted| is(value, wanted)),
                wanted => is(value, wanted),
            },
            "required" => wanted.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
            "properties" => {
                for (key, inner) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = wanted.get(key) {
                        validate(root, schema, inner, &format!("{at}/{key}"))?;
                    }
                }
                true
            }
            "additionalProperties" if *wanted == json!(false) => {
                let known = &schema["properties"];
                value.as_object().is_none_or(|object| object.keys().all(|key| known.get(key).is_some()))
            }
            "items" => {
                for inner in value.as_array().into_iter().flatten() {
                    validate(root, wanted, inner, &format!("{at}/[]"))?;
                }
                true
            }
            "minItems" => value.as_array().is_none_or(|array| array.len() as u64 >= wanted.as_u64().unwrap()),
            "minProperties" => value.as_object().is_none_or(|object| object.len() as u64 >= wanted.as_u64().unwrap()),
            _ => true,
        };
        if !holds {
            return Err(format!("{at}: {rule} {wanted} does not hold of {value}"));
        }
    }
    Ok(())
}

fn is(value: &Value, wanted: &Value) -> bool {
    match wanted.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "null" => value.is_null(),
        other => panic!("type {other}"),
    }
}
