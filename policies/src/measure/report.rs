//! What was computed: inputs, registers, values by the names of facts, what is not predicted, and what live evidence says.

use std::io::{self, Write};

use holdfast_measurement::{Input, Register, Unmeasurable};
use serde::Serialize;

use super::difference::Difference;
use crate::exit::Exit;
use crate::output::{Format, ascii, json, printable};

/// The whole report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// What was measured: `snp`, `eif`, `uki`, `tdx`.
    pub(super) kind: &'static str,
    /// Values by the names that facts have in policies.
    pub(super) values: Vec<Value>,
    /// What went in.
    pub(super) inputs: Vec<ShownInput>,
    /// Registers with the events that lead to their values.
    pub(super) registers: Vec<ShownRegister>,
    /// Values of a register as it grows while the machine boots.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) phases: Vec<Phase>,
    /// The digest under which this launch is registered, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) launch: Option<String>,
    /// The ID block that the ID key signs, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id_block: Option<String>,
    /// What does not follow from the files.
    pub(super) not_predicted: Vec<NotPredicted>,
    /// What people should know of the choices that were made.
    pub(super) notes: Vec<String>,
    /// The file of reference values that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) written: Option<String>,
    /// How live evidence differs, where it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) difference: Option<Difference>,
}

/// One fact, and what it must be.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Value {
    /// The fact.
    pub(super) fact: String,
    /// Its values: one, or a list in order.
    pub(super) value: Expected,
}

/// One value or a list.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Expected {
    One(String),
    List(Vec<Noted>),
}

/// A value in a list, with what it is of.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Noted {
    pub(super) value: String,
    pub(super) note: String,
}

/// One input.
#[derive(Debug, Serialize)]
pub(super) struct ShownInput {
    name: String,
    detail: String,
    digest: Option<String>,
}

/// One register.
#[derive(Debug, Serialize)]
pub(super) struct ShownRegister {
    pub(super) name: String,
    hash: &'static str,
    value: String,
    events: Vec<ShownEvent>,
}

/// One extend.
#[derive(Debug, Serialize)]
struct ShownEvent {
    name: String,
    digest: String,
}

/// A register after one phase of the boot.
#[derive(Debug, Serialize)]
pub(super) struct Phase {
    /// The register and the phase.
    pub(super) after: String,
    pub(super) value: String,
}

/// What does not follow from the files, and why.
#[derive(Debug, Serialize)]
pub(super) struct NotPredicted {
    register: String,
    why: String,
}

impl From<&Input> for ShownInput {
    fn from(input: &Input) -> Self {
        let digest = input.digest.map(|digest| digest.to_string());
        Self { name: input.name.clone(), detail: input.detail.clone(), digest }
    }
}

impl Report {
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            kind,
            values: Vec::new(),
            inputs: Vec::new(),
            registers: Vec::new(),
            phases: Vec::new(),
            launch: None,
            id_block: None,
            not_predicted: Vec::new(),
            notes: Vec::new(),
            written: None,
            difference: None,
        }
    }

    pub(super) fn input(&mut self, name: &str, detail: String, digest: Option<String>) {
        self.inputs.push(ShownInput { name: name.to_owned(), detail, digest });
    }

    pub(super) fn value(&mut self, fact: impl Into<String>, value: impl Into<String>) {
        self.values.push(Value { fact: fact.into(), value: Expected::One(value.into()) });
    }

    /// The value of a fact that has one.
    pub(super) fn one(&self, fact: &str) -> Option<&String> {
        self.values.iter().find(|value| value.fact == fact).and_then(|value| match &value.value {
            Expected::One(one) => Some(one),
            Expected::List(_) => None,
        })
    }

    pub(super) fn list(&mut self, fact: impl Into<String>, list: Vec<Noted>) {
        self.values.push(Value { fact: fact.into(), value: Expected::List(list) });
    }

    pub(super) fn register(&mut self, name: impl Into<String>, register: &Register) {
        let events = register.events().iter();
        self.registers.push(ShownRegister {
            name: name.into(),
            hash: register.hash().as_str(),
            value: register.value().to_string(),
            events: events
                .map(|event| ShownEvent { name: event.name.clone(), digest: event.digest.to_string() })
                .collect(),
        });
    }

    pub(super) fn not_predicted(&mut self, register: impl Into<String>, why: impl ToString) {
        self.not_predicted.push(NotPredicted { register: register.into(), why: why.to_string() });
    }

    /// Writes the report; the exit code says whether live evidence, if there was any, is as expected.
    ///
    /// # Errors
    /// The writer's own.
    pub(super) fn finish(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        match format {
            Format::Json => {
                let mut document = Vec::new();
                json(&mut document, self)?;
                out.write_all(ascii(&String::from_utf8_lossy(&document)).as_bytes())?;
            }
            Format::Text => self.write_text(out)?,
        }
        let differs = self.difference.as_ref().is_some_and(|difference| !difference.is_equal());
        Ok(if differs { Exit::Refused } else { Exit::Yes })
    }

    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        for value in &self.values {
            match &value.value {
                Expected::One(one) => writeln!(out, "{} = {one}", value.fact)?,
                Expected::List(list) => {
                    writeln!(out, "{}", value.fact)?;
                    for item in list {
                        writeln!(out, "  {}  {}", item.value, printable(&item.note))?;
                    }
                }
            }
        }
        if !self.inputs.is_empty() {
            writeln!(out, "\nmeasured inputs")?;
        }
        for ShownInput { name, detail, digest } in &self.inputs {
            writeln!(out, "  {name:18} {}", printable(detail))?;
            if let Some(digest) = digest {
                writeln!(out, "  {:18} {digest}", "")?;
            }
        }
        for register in &self.registers {
            writeln!(out, "\n{} ({})", register.name, register.hash)?;
            for event in &register.events {
                writeln!(out, "  {}  {}", event.digest, printable(&event.name))?;
            }
            writeln!(out, "  {}  = {}", register.value, register.name)?;
        }
        if !self.phases.is_empty() {
            writeln!(out)?;
        }
        for Phase { after, value } in &self.phases {
            writeln!(out, "  {value}  = {after}")?;
        }
        for (name, value) in [("launch", &self.launch), ("ID block", &self.id_block)] {
            if let Some(value) = value {
                writeln!(out, "\n{name}\n  {value}")?;
            }
        }
        if !self.not_predicted.is_empty() {
            writeln!(out, "\nnot predicted")?;
        }
        for NotPredicted { register, why } in &self.not_predicted {
            writeln!(out, "  {register:8} {why}")?;
        }
        if !self.notes.is_empty() {
            writeln!(out)?;
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        if let Some(written) = &self.written {
            writeln!(out, "\nwritten: {}", printable(written))?;
        }
        if let Some(difference) = &self.difference {
            difference.write_text(out)?;
        }
        Ok(())
    }
}

/// Writes why files cannot be measured.
///
/// # Errors
/// The writer's own.
pub(super) fn unmeasurable(error: &Unmeasurable, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match format {
        Format::Json => json(out, &serde_json::json!({ "code": error.code(), "detail": error.to_string() }))?,
        Format::Text => writeln!(out, "cannot be measured\ncode    {}\ndetail  {error}", error.code())?,
    }
    Ok(Exit::Refused)
}
