//! A file of reference values before it is written: its values, notes and remarks, and the report about it. Imports nothing
//! itself.

use std::fmt::Write as _;
use std::io::Write;

use anyhow::Context as _;
use holdfast_appraisal::facts::Shape;
use holdfast_appraisal::{Document, FactId, ReferenceValues, Value};
use serde::Serialize;

use super::{Destination, Refused};
use crate::exit::Exit;
use crate::files;
use crate::learn::{self, NotedFact, NotedValue};
use crate::output::{Format, json, printable};
use crate::toml_text::{comment, literal, noted, quoted};

/// What an import came to.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Where the values come from, and how far that was verified.
    pub(super) source: String,
    values: Vec<NotedFact>,
    /// What was left out and why, and what else whoever reads the file should know.
    pub(super) remarks: Vec<String>,
}

/// An import, or its refusal.
pub(super) type Made = Result<Draft, Refused>;

impl Draft {
    pub(super) fn new(source: String) -> Self {
        Self { source, ..Self::default() }
    }

    /// Adds a value of a fact.
    pub(super) fn add(&mut self, fact: FactId, value: Value, note: Option<String>) {
        match self.values.iter_mut().find(|(known, _)| *known == fact) {
            Some((_, values)) => values.push((value, note)),
            None => self.values.push((fact, vec![(value, note)])),
        }
    }

    /// Facts with one value that have several: alternatives, which stand in a file each.
    fn divide(&mut self) {
        let (kept, several) = std::mem::take(&mut self.values).into_iter().partition(|(fact, values)| {
            let one = values.first().map(|(value, _)| value);
            fact.definition().shape != Shape::One || values.iter().all(|(value, _)| Some(value) == one)
        });
        self.values = kept;
        for (fact, values) in &mut self.values {
            if fact.definition().shape == Shape::One {
                values.truncate(1);
            }
        }
        let several: Vec<NotedFact> = several;
        for (fact, values) in several {
            let values: Vec<String> = values.iter().map(|(value, _)| value.to_string()).collect();
            self.remarks.push(format!("{fact} has several values, each for a file of its own: {}", values.join(", ")));
        }
    }

    fn text(&self, name: &str, description: &str, created: &str) -> String {
        let mut text = format!("api_version = \"holdfast/1\"\nkind = \"reference-values\"\nname = {}\n", quoted(name));
        if !description.is_empty() {
            let _ = writeln!(text, "description = {}", quoted(description));
        }
        let _ = writeln!(text, "source = {}\ncreated = {created}\n\n[values]", quoted(&printable(&self.source)));
        for (fact, values) in &self.values {
            let value = |(value, note): &NotedValue| noted(&literal(value), note.as_deref());
            match (values.as_slice(), fact.definition().shape) {
                ([one], Shape::One) => {
                    let _ = writeln!(text, "{fact} = {}", value(one));
                }
                (many, _) => {
                    let lines: Vec<String> = many.iter().map(|one| format!("  {},\n", value(one))).collect();
                    let _ = writeln!(text, "{fact} = [\n{}]", lines.concat());
                }
            }
        }
        if !self.remarks.is_empty() {
            text.push('\n');
        }
        self.remarks.iter().for_each(|remark| text.push_str(&comment(remark)));
        text
    }
}

#[derive(Serialize)]
struct Report<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<String>,
    source: &'r str,
    values: Vec<Shown>,
    remarks: &'r [String],
}

#[derive(Serialize)]
struct Shown {
    fact: String,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// Writes the file, after it was read back, and reports.
pub(super) fn conclude(to: &Destination, made: Made, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut draft = match made {
        Ok(draft) => draft,
        Err(refused) => return refuse(&refused, format, out),
    };
    draft.divide();
    let mut written = None;
    if !draft.values.is_empty() {
        let created = learn::created(to.at)?;
        let stem = to.write.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = to.name.clone().unwrap_or_else(|| learn::named(&stem));
        let text = draft.text(&name, &to.description, &created);
        let shown = to.write.display().to_string();
        ReferenceValues::parse(Document { name: &shown, text: &text })
            .map_err(|findings| files::words(&findings))
            .context("what was imported makes no file of reference values")?;
        files::create_all(&[(to.write.clone(), text)], to.force)?;
        written = Some(shown);
    }
    let values = draft.values.iter().flat_map(|(fact, values)| {
        values.iter().map(|(value, note)| Shown {
            fact: fact.to_string(),
            value: printable(&value.to_string()),
            note: note.as_deref().map(printable),
        })
    });
    let remarks: Vec<String> = draft.remarks.iter().map(|remark| printable(remark)).collect();
    let source = printable(&draft.source);
    let exit = if written.is_some() { Exit::Yes } else { Exit::Incomplete };
    let report =
        Report { code: None, detail: None, written, source: &source, values: values.collect(), remarks: &remarks };
    match format {
        Format::Json => json(out, &report)?,
        Format::Text => {
            match &report.written {
                Some(path) => writeln!(out, "wrote {}", printable(path))?,
                None => writeln!(out, "nothing was written: no value came out")?,
            }
            writeln!(out, "source  {source}")?;
            for Shown { fact, value, note } in &report.values {
                writeln!(
                    out,
                    "  {fact} = {value}{}",
                    note.as_ref().map(|note| format!("  ({note})")).unwrap_or_default()
                )?;
            }
            remarks.iter().try_for_each(|remark| writeln!(out, "note    {remark}"))?;
        }
    }
    Ok(exit)
}

fn refuse(refused: &Refused, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let detail = printable(&refused.detail);
    match format {
        Format::Json => json(
            out,
            &Report {
                code: Some(refused.reason.code()),
                detail: Some(&detail),
                written: None,
                source: "",
                values: Vec::new(),
                remarks: &[],
            },
        )?,
        Format::Text => writeln!(out, "refused\ncode    {}\ndetail  {detail}", refused.reason.code())?,
    }
    Ok(Exit::Refused)
}
