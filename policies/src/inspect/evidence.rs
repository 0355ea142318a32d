//! Evidence that a document names: an `[evidence]` table has the flags of `inspect` as keys, with files beside the
//! document, and is verified by the very same code. Judges nothing.

use std::any::TypeId;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::{Command, CommandFactory as _, Parser};
use holdfast_appraisal::facts::TdxFact;
use holdfast_appraisal::{FactId, Facts};
use toml::{Table, Value};

use super::What;
use super::told::{Examined, Told};
use crate::output::Format;

/// The flags of one inspection, read from a table instead of a command line.
#[derive(Debug, Parser)]
#[command(name = "evidence", disable_help_subcommand = true)]
struct Asked {
    #[command(subcommand)]
    what: What,
}

/// Verifies the evidence that `table` names, with files relative to `folder`. `at` is the moment of the verification
/// where the table has none of its own.
///
/// # Errors
/// The table names an unknown kind, flag or value, or a file that cannot be read. Evidence that is refused is no error.
pub(crate) fn examine(table: &Table, folder: &Path, at: &str) -> anyhow::Result<Examined> {
    let arguments = arguments(table, folder, at)?;
    let asked = Asked::try_parse_from(arguments).map_err(|error| {
        let text = error.to_string();
        anyhow!("[evidence]: {}", text.lines().next().unwrap_or_default().trim_start_matches("error: "))
    })?;
    let mut report = Vec::new();
    let mut told = Told::new(Format::Json, &mut report);
    asked.what.run(&mut told).context("[evidence]")?;
    let mut examined = told.examined().ok_or_else(|| anyhow!("[evidence]: nothing was verified"))?;
    if let Some(facts) = &mut examined.facts {
        name_by_launch(facts);
    }
    Ok(examined)
}

/// Gives a TDX guest the name that a server gives it where its launch is registered. The other name is made of its node
/// key, of which a quote alone has nothing, and without any no policy would admit it.
fn name_by_launch(facts: &mut Facts) {
    let launch = facts.get(FactId::Tdx(TdxFact::Launch)).cloned();
    if let Some(launch) = launch.filter(|_| facts.get(FactId::Tdx(TdxFact::Instance)).is_none()) {
        facts.insert(FactId::Tdx(TdxFact::Instance), launch);
    }
}

fn arguments(table: &Table, folder: &Path, at: &str) -> anyhow::Result<Vec<String>> {
    let command = Asked::command();
    let kind = table.get("kind").and_then(Value::as_str).unwrap_or_default();
    let Some(inspection) = command.find_subcommand(kind).filter(|_| kind != "event-log") else {
        bail!("[evidence]: unknown kind {kind:?}; known: tpm, snp, tdx, nitro, nitrotpm, azure, gcp");
    };
    let mut arguments = vec!["evidence".to_owned(), kind.to_owned()];
    for (key, value) in table.iter().filter(|(key, _)| *key != "kind") {
        let flag = key.replace('_', "-");
        let is_path = path_or_not(inspection, &flag).ok_or_else(|| {
            anyhow!("[evidence]: inspect {kind} knows no {key:?}: see holdfast-policy inspect {kind} --help")
        })?;
        for text in texts(key, value)? {
            match text {
                None => arguments.push(format!("--{flag}")),
                Some(text) if is_path => arguments.push(format!("--{flag}={}", folder.join(text).display())),
                Some(text) => arguments.push(format!("--{flag}={text}")),
            }
        }
    }
    if !table.contains_key("at") {
        arguments.push(format!("--at={at}"));
    }
    Ok(arguments)
}

/// Whether the flag takes a file; `None` where there is no such flag, or none that a document may set.
fn path_or_not(inspection: &Command, flag: &str) -> Option<bool> {
    if matches!(flag, "policy" | "help" | "version") {
        return None;
    }
    let argument = inspection.get_arguments().find(|argument| argument.get_long() == Some(flag))?;
    Some(argument.get_value_parser().type_id() == TypeId::of::<PathBuf>())
}

/// The values of a key; `None` is a flag without value.
fn texts(key: &str, value: &Value) -> anyhow::Result<Vec<Option<String>>> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(Some(text.clone())),
        Value::Integer(number) => Ok(Some(number.to_string())),
        Value::Datetime(date) => Ok(Some(date.to_string())),
        Value::Boolean(_) | Value::Float(_) | Value::Array(_) | Value::Table(_) => {
            bail!("[evidence]: {key} is no text, number or date")
        }
    };
    match value {
        Value::Boolean(true) => Ok(vec![None]),
        Value::Boolean(false) => Ok(Vec::new()),
        Value::Array(values) => values.iter().map(one).collect(),
        single => one(single).map(|text| vec![text]),
    }
}
