//! What was computed beside what live evidence says, thing by thing. The evidence is read, not verified: whoever made it
//! up can make it equal. `inspect` says whether it is genuine.

use std::io::{self, Write};

use holdfast_measurement::Register;
use serde::Serialize;

use crate::output::printable;

/// How live evidence differs.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    /// Whether nothing differs.
    equal: bool,
    /// Everything that was compared.
    compared: Vec<Compared>,
    /// What the evidence fits to instead, where that was found.
    explanations: Vec<String>,
    /// Read, not verified.
    verified: bool,
}

#[derive(Debug, Serialize)]
struct Compared {
    what: String,
    equal: bool,
    expected: String,
    found: String,
    /// What went into it, where it differs.
    #[serde(skip_serializing_if = "String::is_empty")]
    means: String,
}

impl Difference {
    pub(super) const fn new() -> Self {
        Self { equal: true, compared: Vec::new(), explanations: Vec::new(), verified: false }
    }

    pub(super) const fn is_equal(&self) -> bool {
        self.equal
    }

    /// Compares one thing; `means` says what it is made of. Returns whether it is equal.
    pub(super) fn compare(&mut self, what: &str, expected: &[u8], found: &[u8], means: &str) -> bool {
        let equal = expected == found;
        self.equal &= equal;
        let means = if equal { String::new() } else { means.to_owned() };
        let (expected, found) = (hex::encode(expected), hex::encode(found));
        self.compared.push(Compared { what: what.to_owned(), equal, expected, found, means });
        equal
    }

    /// Compares a register by the events that lead to it: the first that differs is named.
    pub(super) fn compare_events(&mut self, what: &str, expected: &Register, found: &[Vec<u8>]) {
        for (index, event) in expected.events().iter().enumerate() {
            let (name, wanted) = (format!("{what}, event {index}: {}", event.name), event.digest);
            match found.get(index) {
                Some(digest) if digest == wanted.as_bytes() => {}
                Some(digest) => {
                    self.compare(&name, wanted.as_bytes(), digest, "this is the first event that differs");
                    return;
                }
                None => {
                    self.compare(&name, wanted.as_bytes(), &[], "the log ends before this event");
                    return;
                }
            }
        }
        let more = found.get(expected.events().len()..).unwrap_or_default();
        match more.first() {
            Some(digest) => {
                let name = format!("{what}, event {}", expected.events().len());
                self.compare(&name, &[], digest, "the log has an event more than expected");
            }
            None => {
                let value = expected.value();
                self.compare(what, value.as_bytes(), value.as_bytes(), "");
            }
        }
    }

    pub(super) fn explain(&mut self, explanation: String) {
        self.explanations.push(explanation);
    }

    pub(super) fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\nlive evidence (read, not verified): {}", if self.equal { "equal" } else { "DIFFERS" })?;
        for Compared { what, equal, expected, found, means } in &self.compared {
            if *equal {
                writeln!(out, "  equal    {}", printable(what))?;
                continue;
            }
            writeln!(out, "  DIFFERS  {}", printable(what))?;
            writeln!(out, "           expected {}", if expected.is_empty() { "nothing" } else { expected })?;
            writeln!(out, "           found    {}", if found.is_empty() { "nothing" } else { found })?;
            if !means.is_empty() {
                writeln!(out, "           {}", printable(means))?;
            }
        }
        for explanation in &self.explanations {
            writeln!(out, "  {}", printable(explanation))?;
        }
        Ok(())
    }
}
