//! What one entry of a waiver's `facts` loosens: the requirements on a fact, or one operator of it. What a rule denies
//! (`none_of`, `none_matches`, `forbidden_events`) is loosened only where its operator is named. Reads entries; whether
//! the fact may be named at all is the waiver's.

use std::fmt;
use std::ops::Range;

use super::condition::{ALL, Condition, Test, operators};
use crate::document::Reader;
use crate::facts::FactId;
use crate::facts::read::suggestion;
use crate::finding::Kind;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loosened {
    pub(crate) fact: FactId,
    /// The only operator that is meant; of several none is a denial.
    pub(crate) operator: Option<&'static str>,
}

impl Loosened {
    /// Reads `fact` or `fact.operator`.
    pub(super) fn read(reader: &mut Reader<'_>, name: &str, span: Range<usize>) -> Option<Self> {
        if let Some(fact) = FactId::parse(name) {
            return Some(Self { fact, operator: None });
        }
        let parts = name.rsplit_once('.').and_then(|(fact, operator)| Some((FactId::parse(fact)?, operator)));
        let Some((fact, operator)) = parts else {
            let message = format!("unknown fact \"{name}\" under facts");
            reader.add(span, Kind::UnknownFact, message, Some(suggestion(name)));
            return None;
        };
        let fitting = operators(fact);
        if let Some(operator) = fitting.iter().copied().find(|fits| *fits == operator) {
            return Some(Self { fact, operator: Some(operator) });
        }
        let (kind, message) = if ALL.contains(&operator) {
            (Kind::OperatorDoesNotFit, format!("operator \"{operator}\" does not fit \"{fact}\""))
        } else {
            (Kind::UnknownFact, format!("unknown fact or operator \"{name}\" under facts"))
        };
        let suggestion = format!("operators that fit \"{fact}\": {}", fitting.join(", "));
        reader.add(span, kind, message, Some(suggestion));
        None
    }

    /// Whether the condition is among what this names.
    pub(crate) fn covers(&self, condition: &Condition) -> bool {
        self.fact == condition.fact
            && match self.operator {
                Some(operator) => operator == condition.test.operator(),
                None => !condition.test.denies(),
            }
    }
}

/// As policies write it.
impl fmt::Display for Loosened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operator {
            Some(operator) => write!(f, "{}.{operator}", self.fact),
            None => write!(f, "{}", self.fact),
        }
    }
}

impl Test {
    /// The operator, as policies write it.
    pub(crate) const fn operator(&self) -> &'static str {
        match self {
            Self::Equals(_) => "equals",
            Self::OneOf(_) => "one_of",
            Self::NoneOf(_) => "none_of",
            Self::AtLeast(_) => "at_least",
            Self::AtMost(_) => "at_most",
            Self::EachAtLeast(_) => "each_at_least",
            Self::AllBits(_) => "all_bits",
            Self::SubsetOf(_) => "subset_of",
            Self::SupersetOf(_) => "superset_of",
            Self::Exactly(_) => "exactly",
            Self::Sequence(_) => "sequence",
            Self::AnyOf(_) => "any_of",
            Self::Matches(_) => "matches",
            Self::NoneMatches(_) => "none_matches",
        }
    }

    /// Whether it says what must not be, rather than what must.
    pub(crate) const fn denies(&self) -> bool {
        match self {
            Self::NoneOf(_) | Self::NoneMatches(_) => true,
            Self::Equals(_)
            | Self::OneOf(_)
            | Self::AtLeast(_)
            | Self::AtMost(_)
            | Self::EachAtLeast(_)
            | Self::AllBits(_)
            | Self::SubsetOf(_)
            | Self::SupersetOf(_)
            | Self::Exactly(_)
            | Self::Sequence(_)
            | Self::AnyOf(_)
            | Self::Matches(_) => false,
        }
    }
}
