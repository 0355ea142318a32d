//! Values of a policy as one line, and what their texts stand for. Compares nothing.

use holdfast_appraisal::{FactId, Value};

use super::outline::{Conditions, Noted};

/// Most values that one change shows.
const SHOWN_MAX: usize = 12;

pub(super) fn bare(values: &[String]) -> Vec<Noted> {
    values.iter().map(|value| (value.clone(), None)).collect()
}

pub(super) fn noted((value, note): &Noted) -> String {
    match note {
        Some(note) => format!("{value} ({note})"),
        None => value.clone(),
    }
}

pub(super) fn values(values: &[Noted]) -> String {
    let shown: Vec<String> = values.iter().take(SHOWN_MAX).map(noted).collect();
    let more = values.len().saturating_sub(SHOWN_MAX);
    if more > 0 { format!("[{}, and {more} more]", shown.join(", ")) } else { shown.join(", ") }
}

pub(super) fn spelt(conditions: &Conditions) -> String {
    let all = conditions.iter().map(|((fact, operator), operands)| format!("{fact} {operator} {}", values(operands)));
    all.collect::<Vec<_>>().join("; ")
}

pub(super) fn number(fact: &str, values: &[Noted]) -> Option<Value> {
    let [(text, _)] = values else { return None };
    Value::parse(FactId::parse(fact)?.definition().value_type, text)
}

pub(super) fn seconds(values: &[String]) -> Option<u64> {
    let [text] = values else { return None };
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}
