//! A floor that somebody thinks of: `snp.tcb.reported.snp=24`. It is compared as a policy would, over what the record
//! says of each machine.

use holdfast_appraisal::facts::FactId;
use holdfast_appraisal::{Value, ValueType};
use holdfast_evidence::EvidenceKind;

use super::tcb::{TcbFacts, shown_fact};

/// A floor. Numbers are least values, versions least in each component, bits all set; of words, one must be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    fact: FactId,
    wanted: Vec<Value>,
}

/// How a machine stands to a floor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotMet {
    /// It meets the floor, or is not concerned.
    No,
    /// It has this.
    By(String),
    /// Its decision on record does not say.
    Unknown,
}

/// Why a text is no floor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFloor {
    /// There is no `=`.
    #[error("{0:?} is no floor, expected fact=value such as snp.tcb.reported.snp=24")]
    Form(String),
    /// There is no such fact of a TCB.
    #[error("{0:?} is no fact of a TCB")]
    Fact(String),
    /// The value is not of the fact's type.
    #[error("{fact} wants {expected}, found {found:?}")]
    Value {
        /// The fact.
        fact: String,
        /// Its type.
        expected: &'static str,
        /// What was given.
        found: String,
    },
}

impl Floor {
    /// Reads `fact=value`; of words, several with commas between.
    ///
    /// # Errors
    /// [`BadFloor`].
    pub fn parse(text: &str) -> Result<Self, BadFloor> {
        let (name, value) = text.split_once('=').ok_or_else(|| BadFloor::Form(text.to_owned()))?;
        let fact = shown_fact(name.trim()).ok_or_else(|| BadFloor::Fact(name.trim().to_owned()))?;
        let value_type = fact.definition().value_type;
        let bad = |found: &str| BadFloor::Value {
            fact: fact.to_string(),
            expected: value_type.expected(),
            found: found.to_owned(),
        };
        let words: Vec<&str> = match value_type {
            ValueType::Text | ValueType::Digest | ValueType::Labelled => value.split(',').collect(),
            ValueType::Bool | ValueType::Integer | ValueType::Bits | ValueType::Version => vec![value],
        };
        let wanted =
            words.into_iter().map(str::trim).map(|word| Value::parse(value_type, word).ok_or_else(|| bad(word)));
        Ok(Self { fact, wanted: wanted.collect::<Result<_, _>>()? })
    }

    /// The fact, and the floor in words.
    #[must_use]
    pub fn shown(&self) -> (String, String) {
        let wanted: Vec<String> = self.wanted.iter().map(ToString::to_string).collect();
        (self.fact.to_string(), format!("at least {}", wanted.join(" or ")))
    }

    /// What a machine has that does not meet it; nothing if it does, or if its evidence is of another kind.
    #[must_use]
    pub fn not_met_by(&self, kinds: &[String], facts: &TcbFacts) -> NotMet {
        let (name, kind) = (self.fact.to_string(), self.fact.kind().as_str());
        // A paravisor's evidence speaks in the words of the hardware below it.
        let speaks = facts.keys().any(|name| name.split('.').next() == Some(kind));
        let of_kind = kinds.iter().any(|one| one == kind);
        let around = kinds.iter().any(|one| one == EvidenceKind::Azure.as_str());
        match facts.get(&name) {
            _ if facts.is_empty() && (of_kind || around) => NotMet::Unknown,
            None if speaks || of_kind => NotMet::By(format!("{name} not proven")),
            None => NotMet::No,
            Some(found) => {
                let value_type = self.fact.definition().value_type;
                let parsed: Option<Vec<Value>> = found.split(',').map(|one| Value::parse(value_type, one)).collect();
                let met = parsed.is_some_and(|values| !values.is_empty() && values.iter().all(|v| self.is_met(v)));
                if met { NotMet::No } else { NotMet::By(format!("{name} {found}")) }
            }
        }
    }

    fn is_met(&self, found: &Value) -> bool {
        self.wanted.iter().any(|wanted| match (found, wanted) {
            (Value::Integer(found), Value::Integer(least)) => found >= least,
            (Value::Version(found), Value::Version(least)) => found.each_at_least(least),
            (Value::Bits(found), Value::Bits(set)) => found & set == *set,
            (found, wanted) => found == wanted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn not_met(floor: &str, facts: &[(&str, &str)]) -> Option<String> {
        let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        match Floor::parse(floor).unwrap().not_met_by(&["snp".to_owned(), "tdx".to_owned()], &facts) {
            NotMet::No => None,
            NotMet::By(found) => Some(found),
            NotMet::Unknown => Some("unknown".to_owned()),
        }
    }

    #[test]
    fn a_floor_is_met_from_its_value_on() {
        let at = |snp: &str| not_met("snp.tcb.reported.snp=24", &[("snp.tcb.reported.snp", snp)]);
        assert_eq!(at("24"), None);
        assert_eq!(at("25"), None);
        assert_eq!(at("8").as_deref(), Some("snp.tcb.reported.snp 8"), "8 is less than 24, whatever texts say");
        let other = [("snp.product", "Milan")];
        assert_eq!(not_met("snp.tcb.reported.snp=24", &other).as_deref(), Some("snp.tcb.reported.snp not proven"));
        assert_eq!(not_met("snp.tcb.reported.snp=24", &[]).as_deref(), Some("unknown"));
    }

    #[test]
    fn versions_are_met_in_each_component_and_bits_all_together() {
        let firmware = |found| not_met("snp.firmware.current=1.55.22", &[("snp.firmware.current", found)]);
        assert_eq!(firmware("1.55.22.0"), None);
        assert!(firmware("2.10.0.0").is_some());
        let bits = |found| not_met("snp.mitigations.current=0x3", &[("snp.mitigations.current", found)]);
        assert_eq!(bits("0xb"), None);
        assert!(bits("0x9").is_some());
    }

    #[test]
    fn of_words_one_must_be_met() {
        let status = |found| not_met("tdx.tcb.status=UpToDate,SWHardeningNeeded", &[("tdx.tcb.status", found)]);
        assert_eq!(status("SWHardeningNeeded"), None);
        assert!(status("OutOfDate").is_some());
    }

    #[test]
    fn evidence_of_another_kind_is_not_concerned_and_what_stands_around_it_is() {
        let floor = Floor::parse("snp.tcb.reported.snp=24").unwrap();
        let of = |kind: &str, facts: &[(&str, &str)]| {
            let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            floor.not_met_by(&[kind.to_owned()], &facts)
        };
        assert_eq!(of("tpm", &[]), NotMet::No);
        assert_eq!(of("tdx", &[("tdx.fmspc", "00")]), NotMet::No);
        assert_eq!(of("azure", &[]), NotMet::Unknown);
        assert_eq!(of("azure", &[("tdx.fmspc", "00")]), NotMet::No);
        assert_eq!(of("azure", &[("snp.tcb.reported.snp", "8")]), NotMet::By("snp.tcb.reported.snp 8".to_owned()));
    }

    #[test]
    fn what_is_no_floor_says_why() {
        for (text, expected) in [
            ("snp.tcb.reported.snp", "no floor"),
            ("snp.measurement=00", "no fact of a TCB"),
            ("snp.tcb.reported.spn=1", "no fact of a TCB"),
            ("tdx.tcb.age_days=30", "no fact of a TCB"),
            ("snp.tcb.reported.snp=high", "a whole number"),
        ] {
            let refused = Floor::parse(text).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
