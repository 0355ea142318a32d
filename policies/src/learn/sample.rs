//! A sample: what one machine, or one set of files, says, with names for its values. Generalises nothing.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use holdfast_appraisal::case::{Case, FACTS_KIND, KIND as CASE_KIND};
use holdfast_appraisal::{Document, Fact, FactId, Facts, Value, ValueType};
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tpm::Bank;
use holdfast_evidence::tpm::event_log::boot::load_options_digest;

use super::folder;
use crate::files;
use crate::inspect::{self, Examined, Verdict};

/// The word under `kind` in a file that names evidence and nothing else.
pub(crate) const EVIDENCE_KIND: &str = "evidence";

/// Names for values, for people: a file's path, a certificate's subject. Proven by nothing.
pub(super) type Notes = BTreeMap<(FactId, Value), String>;

/// What one machine or one set of files says.
pub(crate) struct Sample {
    /// A name that policies may use.
    pub(crate) name: String,
    /// Where it comes from and how far it is verified, in words.
    pub(crate) source: String,
    pub(crate) facts: Facts,
    pub(crate) notes: Notes,
    /// Whether the order of what was started is not known, as it cannot be of files.
    pub(crate) is_unordered: bool,
    /// What the registers will be, with the word for when: for reference, never a condition.
    pub(crate) predicted: Vec<(FactId, Value, String)>,
}

impl Sample {
    /// The values of a fact, if it is proven.
    pub(crate) fn values(&self, id: FactId) -> Option<&[Value]> {
        self.facts.get(id).map(|fact| fact.values.as_slice())
    }

    /// The kind of evidence that it is of, by the facts that are there: a TPM's where nothing else speaks.
    pub(crate) fn kind(&self) -> EvidenceKind {
        let outer = [EvidenceKind::Azure, EvidenceKind::Gcp, EvidenceKind::NitroTpm, EvidenceKind::Nitro];
        let others = outer.into_iter().chain([EvidenceKind::Snp, EvidenceKind::Tdx]);
        others.into_iter().find(|kind| self.facts.speak_of(*kind)).unwrap_or(EvidenceKind::Tpm)
    }

    /// Reads a sample: a folder of evidence files, a file of kind `evidence`, `facts` or `case`, or a firmware log.
    ///
    /// # Errors
    /// A file cannot be read, or the evidence is refused: nothing is learned from a machine that would not be verified.
    pub(crate) fn read(path: &Path, bank: Bank, at: &str) -> anyhow::Result<Self> {
        let place = || path.display().to_string();
        let name = name(path);
        if path.is_dir() {
            let found = folder::recognise(path).with_context(place)?;
            let mut sample = match &found.evidence {
                Some(table) => Self::verified(name, table, &found.folder, at).with_context(place)?,
                None => Self::of_log(name, &found.log.clone().unwrap_or_default(), bank).with_context(place)?,
            };
            sample.resolve_command_lines(bank, &found.command_lines);
            super::notes::add(&mut sample, found.log.as_deref());
            return Ok(sample);
        }
        if path.extension().is_none_or(|extension| extension != "toml") {
            let mut sample = Self::of_log(name, &folder::log(path)?, bank).with_context(place)?;
            super::notes::add(&mut sample, Some(&folder::log(path)?));
            return Ok(sample);
        }
        let text = files::text(path)?;
        let document = Document { name: &place(), text: &text };
        match files::kind(&text).as_deref() {
            Some(FACTS_KIND) => {
                let facts = Case::parse_facts(document).map_err(|findings| files::words(&findings))?;
                Ok(Self::new(name, "a file of facts, which nobody signed".to_owned(), facts))
            }
            Some(EVIDENCE_KIND | CASE_KIND) => {
                let table: toml::Table = text.parse().with_context(place)?;
                let evidence = table.get("evidence").and_then(toml::Value::as_table);
                let Some(evidence) = evidence else { bail!("{}: no [evidence]", place()) };
                let folder = path.parent().unwrap_or_else(|| Path::new(""));
                let at = table.get("at").map_or_else(|| at.to_owned(), ToString::to_string);
                let log = evidence.get("event_log").and_then(toml::Value::as_str);
                let log = log.map(|log| folder::log(&folder.join(log))).transpose()?;
                let mut sample = match (evidence.contains_key("kind"), &log) {
                    (false, Some(log)) => Self::of_log(name, log, bank).with_context(place)?,
                    _ => Self::verified(name, evidence, folder, &at).with_context(place)?,
                };
                super::notes::add(&mut sample, log.as_deref());
                Ok(sample)
            }
            _ => {
                bail!("{} is neither evidence nor facts: expected kind = \"evidence\", \"facts\" or \"case\"", place())
            }
        }
    }

    pub(super) fn new(name: String, source: String, facts: Facts) -> Self {
        Self { name, source, facts, notes: Notes::new(), is_unordered: false, predicted: Vec::new() }
    }

    fn verified(name: String, table: &toml::Table, folder: &Path, at: &str) -> anyhow::Result<Self> {
        let kind = table.get("kind").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
        match inspect::examine(table, folder, at)? {
            Examined { refusal: Some(refusal), .. } => {
                bail!("the evidence is refused: {} ({})", refusal.code, refusal.detail)
            }
            Examined { facts: Some(facts), verdict, missing, .. } => {
                let how = match (verdict, missing) {
                    (Verdict::Verified, _) | (_, None) => "verified".to_owned(),
                    (_, Some(missing)) => format!("verified, but for {missing}"),
                };
                Ok(Self::new(name, format!("evidence of kind {kind}, {how}"), facts))
            }
            Examined { facts: None, .. } => bail!("the evidence proves nothing"),
        }
    }

    fn of_log(name: String, log: &[u8], bank: Bank) -> anyhow::Result<Self> {
        match Case::facts_of_log(log, bank) {
            Ok(facts) => {
                Ok(Self::new(name, "a firmware log that no quote vouches for, taken as true".to_owned(), facts))
            }
            Err((code, detail)) => bail!("the log is refused: {code} ({detail})"),
        }
    }

    /// Where the log holds only the digest of a command line, puts in the text that gives it, if one of `candidates` does.
    fn resolve_command_lines(&mut self, bank: Bank, candidates: &[String]) {
        let id = FactId::CommandLines;
        let Some(fact) = self.facts.get(id).cloned() else { return };
        let spelt = |value: &Value| -> Value {
            let Value::Digest(digest) = value else { return value.clone() };
            let fitting = candidates.iter().find(|text| load_options_digest(bank, text) == *digest);
            fitting.map_or_else(|| value.clone(), |text| Value::text(text))
        };
        let values = fact.values.iter().map(spelt).collect();
        self.facts.insert(id, Fact { values, ..fact });
    }
}

/// Whether every value is of the fact's own type, so that a policy can say it: a text of which only the digest is known is
/// not.
pub(super) fn is_spelt(id: FactId, values: &[Value]) -> bool {
    let wanted: ValueType = id.definition().value_type;
    values.iter().all(|value| value.value_type() == wanted)
}

/// The file's or folder's name, as far as policies may say it.
pub(crate) fn name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let stem = if path.is_dir() { path.file_name() } else { path.file_stem() };
    named(&stem.unwrap_or_default().to_string_lossy())
}

/// The text as a name: lower-case letters, digits and `-`.
pub(crate) fn named(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' | '.' | '_' => name.push(c),
            _ if !name.ends_with('-') => name.push('-'),
            _ => {}
        }
    }
    let name: String = name.trim_start_matches(['-', '.', '_']).chars().take(40).collect();
    let name = name.trim_end_matches(['-', '.', '_']);
    if name.is_empty() { "sample".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_becomes_one_that_policies_can_say() {
        for (text, expected) in
            [("uki-nosb", "uki-nosb"), ("Rack 3/ü\n[x]", "rack-3-x"), ("..", "sample"), ("", "sample")]
        {
            assert_eq!(named(text), expected, "{text}");
        }
        assert!(named(&"x".repeat(500)).len() <= 40);
    }
}
