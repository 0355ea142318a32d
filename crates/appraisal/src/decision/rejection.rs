//! Why a machine is not admitted: the nearest alternative, and for each difference what was expected and found.

use std::fmt;

use serde::Serialize;

use super::PolicyVersion;
use crate::finding::escaped;

/// A refusal, or an admission that waits for an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// Stable code of the whole.
    pub code: &'static str,
    /// Name and digest of the policy.
    pub policy: PolicyVersion,
    /// The nearest rule (of a deny list: the entry that matched).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The nearest alternative of that rule, where it has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alternative: Option<String>,
    /// What differs from the nearest alternative.
    pub differences: Vec<Difference>,
    /// Every other rule and alternative, and the codes of what differs from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Considered>,
}

/// A rule or alternative that came less near.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Considered {
    /// Name of the rule.
    pub rule: String,
    /// Name of the alternative, where the rule has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alternative: Option<String>,
    /// Codes of its differences, in the order of the policy.
    pub codes: Vec<&'static str>,
}

/// One condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Stable code, such as `policy.fact.differs`.
    pub code: &'static str,
    /// The fact, where the condition is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fact: Option<String>,
    /// Line of the condition in the policy, from 1; 0 where it has none.
    pub line: usize,
    /// What the policy wants, in short.
    pub expected: String,
    /// What the evidence proves, in short.
    pub found: String,
    /// Values that are expected and not there, or there and not expected, with the event of each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<ValueDifference>,
}

/// One value of a fact that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValueDifference {
    /// The value expected in this place; absent if none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What the policy or its reference values note about the expected value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_note: Option<String>,
    /// The value found; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// The event that proves the value found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<EventFound>,
}

/// The event behind a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventFound {
    /// Place in the log, from 0.
    pub index: u32,
    /// PCR that it extended.
    pub pcr: u8,
    /// Type, as the log names it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digest in the quoted bank, hex.
    pub digest: String,
    /// What the event says of itself; proven by nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Rejection {
    /// A refusal of the evidence itself, before any rule was asked.
    pub(crate) fn of_evidence(code: &'static str, policy: PolicyVersion, found: String) -> Self {
        let expected = "evidence that verifies".to_owned();
        let difference = Difference { code, fact: None, line: 0, expected, found, values: Vec::new() };
        Self { code, policy, rule: None, alternative: None, differences: vec![difference], others: Vec::new() }
    }

    /// Codes of the differences from the nearest alternative.
    pub fn because(&self) -> impl Iterator<Item = &'static str> {
        self.differences.iter().map(|difference| difference.code)
    }
}

/// Several lines for an operator; what came from evidence is escaped.
impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by policy {}", self.code, self.policy)?;
        match (&self.rule, &self.alternative) {
            (Some(rule), Some(alternative)) => write!(f, ", nearest: rule {rule}, alternative {alternative}")?,
            (Some(rule), None) => write!(f, ", nearest: rule {rule}")?,
            (None, _) => {}
        }
        for difference in &self.differences {
            write!(f, "\n{difference}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", self.code)?;
        if let Some(fact) = &self.fact {
            write!(f, " {fact}")?;
        }
        if self.line > 0 {
            write!(f, " (policy line {})", self.line)?;
        }
        write!(f, "\n    expected {}\n    found    {}", escaped(&self.expected), escaped(&self.found))?;
        for value in &self.values {
            write!(f, "\n{value}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ValueDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noted = |f: &mut fmt::Formatter<'_>| match &self.expected_note {
            Some(note) => write!(f, " ({})", escaped(note)),
            None => Ok(()),
        };
        if let (Some(missing), None) = (&self.expected, &self.found) {
            write!(f, "    lacks    {}", escaped(missing))?;
            return noted(f);
        }
        match &self.event {
            Some(EventFound { index, pcr, kind, hint, .. }) => {
                write!(f, "    event {index}, PCR {pcr}, {}", escaped(kind))?;
                if let Some(hint) = hint {
                    write!(f, ", says {:?}", escaped(hint))?;
                }
            }
            None => f.write_str("    no event")?,
        }
        let expected = self.expected.as_deref().unwrap_or("nothing");
        let found = self.found.as_deref().unwrap_or("nothing");
        write!(f, "\n      expected {}", escaped(expected))?;
        noted(f)?;
        write!(f, "\n      found    {}", escaped(found))
    }
}
