//! The explanation for a person: one tree, indented, with everything that came from evidence escaped. The same text
//! wherever a decision is shown.

use std::fmt;

use holdfast_identity::UnixTime;

use super::explanation::{
    AlternativeEntry, Answer, Check, ConditionEntry, DenyEntry, EventEntry, Explanation, Origin, Proven, RuleEntry,
    ValueEntry, WaiverEntry,
};
use crate::finding::escaped;
use crate::policy::moment;

/// Most characters of expected and found on one line.
const LINE_MAX: usize = 240;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", escaped(&self.decision))?;
        if let Some(code) = &self.code {
            write!(f, ": {}", escaped(code))?;
        }
        let digest = self.policy_digest.get(..12).unwrap_or(&self.policy_digest);
        let at = moment::format(UnixTime(self.at));
        if self.policy.is_empty() {
            write!(f, "\nno policy was asked, at {at}")?;
        } else {
            write!(f, "\npolicy {} ({}), at {at}", escaped(&self.policy), escaped(digest))?;
        }
        for check in &self.problems {
            check.line(f, "  ")?;
        }
        for deny in &self.denies {
            deny.line(f)?;
        }
        for waiver in &self.waivers {
            write!(f, "\n  {waiver}")?;
        }
        for rule in &self.rules {
            let nearest = self.nearest.as_ref().filter(|nearest| nearest.rule == rule.name);
            rule.line(f, nearest.map(|nearest| nearest.alternative.as_deref()))?;
        }
        if !self.changes.is_empty() {
            f.write_str("\nwhat would have to change:")?;
            for change in &self.changes {
                write!(f, "\n  - {}", escaped(change))?;
            }
        }
        if !self.origins.is_empty() {
            f.write_str("\nwhere the good values come from:")?;
            for origin in &self.origins {
                write!(f, "\n  {origin}")?;
            }
        }
        if self.left_out > 0 {
            write!(f, "\n({} more conditions and values are left out)", self.left_out)?;
        }
        Ok(())
    }
}

impl Check {
    fn line(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        write!(f, "\n{indent}{:5} {}", self.answer.mark(), escaped(&self.subject))?;
        outcome(f, indent, self.answer, self.code.as_deref(), &self.expected, &self.found)
    }
}

/// One line for what holds; expected and found below each other for what does not.
fn outcome(
    f: &mut fmt::Formatter<'_>,
    indent: &str,
    answer: Answer,
    code: Option<&str>,
    expected: &str,
    found: &str,
) -> fmt::Result {
    if answer == Answer::Holds {
        return write!(f, ": {}", beginning(found));
    }
    if let Some(code) = code {
        write!(f, "  {}", escaped(code))?;
    }
    write!(f, "\n{indent}        expected {}\n{indent}        found    {}", beginning(expected), beginning(found))
}

/// A long list's beginning; what differs of it stands below, each value on its line.
fn beginning(text: &str) -> String {
    match text.char_indices().nth(LINE_MAX) {
        Some((at, _)) => format!("{}…", escaped(text.get(..at).unwrap_or_default())),
        None => escaped(text),
    }
}

impl DenyEntry {
    fn line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, reason) = (escaped(&self.name), escaped(&self.reason));
        match self.answer {
            Answer::Differs | Answer::Waived => write!(f, "\n  {:5} deny list {name}: does not apply", "[no]")?,
            Answer::Holds => write!(f, "\n  {:5} deny list {name}: refuses the machine: {reason}", "[YES]")?,
            Answer::NotProven => write!(f, "\n  {:5} deny list {name}: cannot be ruled out: {reason}", "[?]")?,
        }
        self.conditions.iter().try_for_each(|condition| condition.line(f, "    "))
    }
}

impl RuleEntry {
    /// `nearest` if the rule came nearest, with the alternative that did.
    fn line(&self, f: &mut fmt::Formatter<'_>, nearest: Option<Option<&str>>) -> fmt::Result {
        write!(f, "\n  {:5} rule {} (policy line {})", self.answer.mark(), escaped(&self.name), self.line)?;
        if nearest == Some(None) {
            f.write_str("  <- nearest")?;
        }
        self.checks.iter().try_for_each(|check| check.line(f, "    "))?;
        self.conditions.iter().try_for_each(|condition| condition.line(f, "    "))?;
        for alternative in &self.alternatives {
            alternative.line(f, nearest == Some(Some(&alternative.name)))?;
        }
        Ok(())
    }
}

impl AlternativeEntry {
    fn line(&self, f: &mut fmt::Formatter<'_>, nearest: bool) -> fmt::Result {
        let name = escaped(&self.name);
        write!(f, "\n    {:5} alternative {name} (policy line {}", self.answer.mark(), self.line)?;
        if let Some(from) = self.valid_from {
            write!(f, ", from {}", moment::format(UnixTime(from)))?;
        }
        if let Some(until) = self.valid_until {
            write!(f, ", until {}", moment::format(UnixTime(until)))?;
        }
        f.write_str(if nearest { ")  <- nearest" } else { ")" })?;
        self.checks.iter().try_for_each(|check| check.line(f, "      "))?;
        self.conditions.iter().try_for_each(|condition| condition.line(f, "      "))
    }
}

impl ConditionEntry {
    fn line(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        write!(f, "\n{indent}{:5} {} (policy line {})", self.answer.mark(), escaped(&self.fact), self.line)?;
        outcome(f, indent, self.answer, self.code.as_deref(), &self.expected, &self.found)?;
        if let Some(provenance) = self.provenance.as_deref().filter(|word| *word != "hardware") {
            write!(f, "  (provenance: {})", escaped(provenance))?;
        }
        if !self.origins.is_empty() {
            let names: Vec<String> = self.origins.iter().map(|name| format!("@{}", escaped(name))).collect();
            write!(f, "  (good values: {})", names.join(", "))?;
        }
        if let Some(waiver) = &self.waived_by {
            write!(f, "  (waived by {})", escaped(waiver))?;
        }
        if !self.events.is_empty() {
            let events: Vec<String> = self.events.iter().map(u32::to_string).collect();
            write!(f, "  (proven by event {})", events.join(", "))?;
        }
        self.values.iter().try_for_each(|value| value.line(f, indent))
    }
}

impl ValueEntry {
    fn line(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let noted = self.note.as_deref().map(|note| format!(" ({})", escaped(note))).unwrap_or_default();
        match (&self.expected, &self.found) {
            (Some(expected), Some(found)) => write!(
                f,
                "\n{indent}        - expected {}{noted}\n{indent}          found    {}",
                escaped(expected),
                escaped(found)
            )?,
            (Some(expected), None) => write!(f, "\n{indent}        - lacks    {}{noted}", escaped(expected))?,
            (None, Some(found)) => write!(f, "\n{indent}        - strange  {}", escaped(found))?,
            (None, None) => {}
        }
        match &self.event {
            Some(event) => write!(f, "\n{indent}          {event}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for EventEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} in PCR {}, digest {}", self.index, self.pcr, escaped(&self.digest))?;
        f.write_str(match self.proven {
            Proven::Digest => ": proven is the digest alone",
            Proven::Contents => ": proven are its contents",
        })?;
        write!(f, "; it calls itself {}", escaped(&self.kind))?;
        match &self.hint {
            Some(hint) => write!(f, " {:?}", escaped(hint)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for WaiverEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name, owner) = (escaped(&self.kind), escaped(&self.name), escaped(&self.owner));
        let until = moment::format(UnixTime(self.valid_until));
        let facts = escaped(&self.facts.join(", "));
        write!(f, "{kind} {name} of {owner} until {until}: {facts} may differ: {}", escaped(&self.reason))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}: {}", escaped(&self.name), escaped(&self.file))?;
        let words = [
            ("made", &self.created),
            ("signed by key", &self.signed_by),
            ("source:", &self.source),
            ("says:", &self.description),
        ];
        for (word, text) in words {
            if !text.is_empty() {
                write!(f, ", {word} {}", escaped(text))?;
            }
        }
        Ok(())
    }
}
