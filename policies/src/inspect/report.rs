//! What an inspection found out: named checks, a verdict, and the evidence itself for people and programs.

use std::collections::BTreeMap;
use std::io::{self, Write};

use holdfast_evidence::tpm::event_log::{EventLog, EventView};
use holdfast_evidence::tpm::{Bank, PcrValues};
use serde::Serialize;

use super::ima::MeasuredFiles;
use crate::exit::Exit;
use crate::output::{Format, ascii, json};

/// How one check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// Its input was not given, or an earlier check failed.
    NotAsked,
}

/// One check.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) result: Outcome,
    /// Why it failed.
    pub(super) code: Option<&'static str>,
}

/// A code and its words, of whatever error.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

macro_rules! refusal_from {
    ($($error:ty),*) => {$(
        impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self { code: error.code(), detail: error.to_string() }
            }
        }
    )*};
}
refusal_from!(
    holdfast_evidence::Malformed,
    holdfast_evidence::tpm::Unverified,
    holdfast_evidence::tpm::ima::ImaRefused,
    holdfast_evidence::snp::Unverified,
    holdfast_evidence::tdx::Unverified,
    holdfast_evidence::azure::Unverified,
    holdfast_evidence::gcp::Unverified,
    holdfast_evidence::nitro::Unverified,
    holdfast_evidence::nitrotpm::Unverified,
    holdfast_evidence::nitrotpm::QuoteRefused,
    holdfast_evidence::tpm::endorsement::UnverifiedEk,
    holdfast_evidence::tpm::event_log::MalformedLog,
    holdfast_evidence::tpm::event_log::UnprovenBoot
);

/// All checks of an inspection, in the order in which they are shown; none is left out because it was not asked.
#[derive(Clone, Debug)]
pub(super) struct Checks {
    checks: Vec<Check>,
    first: Option<Refusal>,
    /// Checks that could not be answered, and why.
    open: Vec<(&'static str, String)>,
    /// What whoever reads the verdict should know, and no check says.
    remarks: Vec<String>,
}

impl Checks {
    pub(super) fn new(names: &[&'static str]) -> Self {
        let checks = names.iter().map(|name| Check { name, result: Outcome::NotAsked, code: None }).collect();
        Self { checks, first: None, open: Vec::new(), remarks: Vec::new() }
    }

    /// Notes how the check `name` ended, and hands on what it made.
    pub(super) fn note<T>(&mut self, name: &str, result: Result<T, impl Into<Refusal>>) -> Option<T> {
        let (outcome, refusal, made) = match result {
            Ok(made) => (Outcome::Passed, None, Some(made)),
            Err(error) => (Outcome::Failed, Some(error.into()), None),
        };
        if let Some(check) = self.checks.iter_mut().find(|check| check.name == name) {
            check.result = outcome;
            check.code = refusal.as_ref().map(|refusal| refusal.code);
        }
        self.first = self.first.take().or(refusal);
        made
    }

    /// Says why the check `name` has no answer: it stays as one that was not asked.
    pub(super) fn leave_open(&mut self, name: &'static str, why: String) {
        self.open.push((name, why));
    }

    /// Adds words to the report that change nothing in the verdict.
    pub(super) fn remark(&mut self, words: String) {
        self.remarks.push(words);
    }

    pub(super) fn all_passed(&self, names: &[&str]) -> bool {
        let passed = |name: &str| self.checks.iter().any(|c| c.name == name && c.result == Outcome::Passed);
        names.iter().all(|name| passed(name))
    }

    /// The first check that failed.
    pub(super) const fn refusal(&self) -> Option<&Refusal> {
        self.first.as_ref()
    }

    /// What is missing of `needed`: why a check has no answer, and the names of those that were not asked.
    pub(super) fn missing(&self, needed: &[&str]) -> String {
        let not_asked = self.checks.iter().filter(|check| check.result == Outcome::NotAsked).map(|check| check.name);
        let (open, silent): (Vec<_>, Vec<_>) = not_asked
            .filter(|name| needed.contains(name))
            .map(|name| self.open.iter().find(|(open, _)| *open == name).map_or(Err(name), |(_, why)| Ok(why.clone())))
            .partition(Result::is_ok);
        let silent: Vec<&str> = silent.into_iter().filter_map(Result::err).collect();
        let silent = (!silent.is_empty()).then(|| format!("not asked: {}", silent.join(", ")));
        open.into_iter().filter_map(Result::ok).chain(silent).collect::<Vec<_>>().join("; ")
    }
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Everything that evidence must show was asked and passed.
    Verified,
    /// Some check failed.
    Refused,
    /// Nothing failed, and not everything was asked.
    Incomplete,
    /// A log alone: it leads to these registers. Nobody signed them.
    Replayed,
}

impl Verdict {
    pub(super) const fn exit(self) -> Exit {
        match self {
            Self::Verified | Self::Replayed => Exit::Yes,
            Self::Refused => Exit::Refused,
            Self::Incomplete => Exit::Incomplete,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Refused => "refused",
            Self::Incomplete => "incomplete",
            Self::Replayed => "replayed",
        }
    }
}

/// One event, as JSON has it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ShownEvent {
    index: u32,
    pcr: u32,
    #[serde(rename = "type")]
    kind: String,
    digest: Option<String>,
    /// Escaped text, a stranger's word.
    description: String,
    /// Whether the digest covers what is described.
    bound: bool,
}

impl From<EventView> for ShownEvent {
    fn from(view: EventView) -> Self {
        Self {
            index: view.index,
            pcr: view.pcr,
            kind: view.kind,
            digest: view.digest.map(|digest| digest.to_string()),
            description: view.description,
            bound: view.is_data_bound,
        }
    }
}

/// All events of a log in one bank.
pub(super) fn shown_events(log: &EventLog<'_>, bank: Bank) -> Vec<ShownEvent> {
    log.views(bank).map(ShownEvent::from).collect()
}

/// Register values by number.
pub(super) fn shown_pcrs(values: &PcrValues) -> BTreeMap<u8, String> {
    values.iter().map(|(pcr, value)| (pcr.get(), value.to_string())).collect()
}

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) verdict: Verdict,
    pub(super) checks: Vec<Check>,
    /// Code of the first check that failed.
    pub(super) code: Option<&'static str>,
    /// Its words, or what is missing.
    pub(super) detail: Option<String>,
    /// What is good to know beside the checks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remarks: Vec<String>,
    /// Proven facts by name.
    pub(super) facts: serde_json::Value,
    /// What the policy made of the facts, where one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decision: Option<serde_json::Value>,
    /// What the kernel's list of measured files says, where one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) measured_files: Option<MeasuredFiles>,
    /// Bank of `pcrs` and `events`.
    pub(super) bank: Option<&'static str>,
    /// Values that the quote proves, by register.
    pub(super) pcrs: BTreeMap<u8, String>,
    pub(super) events: Vec<ShownEvent>,
}

impl Report {
    /// A report without facts yet; `needed` are the checks whose absence makes a verdict incomplete.
    pub(super) fn new(verdict: Verdict, checks: Checks, needed: &[&str]) -> Self {
        let missing = match verdict {
            Verdict::Incomplete => Some(checks.missing(needed)),
            Verdict::Verified | Verdict::Refused | Verdict::Replayed => None,
        };
        let refusal = checks.first.clone().filter(|_| verdict == Verdict::Refused);
        Self {
            verdict,
            code: refusal.as_ref().map(|refusal| refusal.code),
            detail: refusal.map(|refusal| refusal.detail).or(missing),
            checks: checks.checks,
            remarks: checks.remarks,
            facts: serde_json::Value::Object(serde_json::Map::new()),
            decision: None,
            measured_files: None,
            bank: None,
            pcrs: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn write(&self, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Json => json(out, self),
            Format::Text => self.write_text(out),
        }
    }

    fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.verdict.as_str())?;
        if let Some(code) = self.code {
            writeln!(out, "code    {code}")?;
        }
        if let Some(detail) = &self.detail {
            // a policy's refusal quotes what the machine said, escaped, over several lines
            writeln!(out, "detail  {detail}")?;
        }
        for remark in &self.remarks {
            writeln!(out, "note    {remark}")?;
        }
        writeln!(out, "\nchecks")?;
        for check in &self.checks {
            let result = match check.result {
                Outcome::Passed => "passed",
                Outcome::Failed => "FAILED",
                Outcome::NotAsked => "not asked",
            };
            writeln!(out, "  {:16} {result:10} {}", check.name, check.code.unwrap_or_default())?;
        }
        if let Some(facts) = self.facts.as_object().filter(|facts| !facts.is_empty()) {
            writeln!(out, "\nfacts")?;
            for (name, value) in facts {
                let value = value.get("value").unwrap_or(value);
                writeln!(out, "  {name} = {}", ascii(&value.to_string()))?;
            }
        }
        if let Some(measured) = &self.measured_files {
            writeln!(out, "\nmeasured files")?;
            let lines = serde_json::to_value(measured).unwrap_or_default();
            for (name, value) in lines.as_object().into_iter().flatten() {
                writeln!(out, "  {name} = {}", ascii(&value.to_string()))?;
            }
        }
        if let (Some(bank), false) = (self.bank, self.pcrs.is_empty()) {
            writeln!(out, "\n{bank}")?;
            for (pcr, value) in &self.pcrs {
                writeln!(out, "  {pcr:2}  {value}")?;
            }
        }
        if !self.events.is_empty() {
            writeln!(out, "\nevents (* the digest covers what is described)")?;
            for event in &self.events {
                let digest = event.digest.as_deref().unwrap_or("-");
                let bound = if event.bound { "*" } else { " " };
                writeln!(
                    out,
                    "{:4} {:3} {:32} {digest} {bound} {}",
                    event.index, event.pcr, event.kind, event.description
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_gives_the_code() {
        let mut checks = Checks::new(&["a", "b"]);
        checks.note::<()>("b", Err(Refusal { code: "first", detail: "1".to_owned() }));
        checks.note::<()>("a", Err(Refusal { code: "second", detail: "2".to_owned() }));
        let report = Report::new(Verdict::Refused, checks, &[]);
        assert_eq!((report.code, report.detail.as_deref()), (Some("first"), Some("1")));
        assert_eq!(report.checks[0].code, Some("second"));
    }

    #[test]
    fn what_was_not_asked_is_named() {
        let mut checks = Checks::new(&["a", "b"]);
        checks.note("a", Ok::<_, Refusal>(()));
        let report = Report::new(Verdict::Incomplete, checks, &["a", "b"]);
        assert_eq!(report.detail.as_deref(), Some("not asked: b"));
    }
}
