//! TOML that people read: strings, comments and lists of noted values, with everything that a stranger may have written
//! in them as escapes. Reads nothing; whoever writes a document reads it back before it counts.

use std::fmt::Write as _;

use holdfast_appraisal::Value;

use crate::output::printable;

/// Width that comments are wrapped to.
const WIDTH: usize = 110;

/// A basic string that stands for exactly this text: printable ASCII as it is, all else as escapes.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            ' '..='~' => out.push(c),
            _ => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

/// The literal of a value, as policies and reference values spell it.
pub(crate) fn literal(value: &Value) -> String {
    match value {
        Value::Bool(truth) => truth.to_string(),
        // TOML has no number beyond i64
        Value::Integer(number) | Value::Bits(number) if i64::try_from(*number).is_ok() => value.to_string(),
        Value::Integer(_)
        | Value::Bits(_)
        | Value::Version(_)
        | Value::Text(_)
        | Value::Digest(_)
        | Value::Labelled(_) => quoted(&value.to_string()),
    }
}

/// A literal inside a policy, where a text that begins with `@` would be a name.
pub(crate) fn policy_literal(value: &Value) -> String {
    match value {
        Value::Text(text) if text.starts_with('@') => quoted(&format!("@{text}")),
        other => literal(other),
    }
}

/// `{ value = …, note = … }`, or the literal alone.
pub(crate) fn noted(literal: &str, note: Option<&str>) -> String {
    match note {
        Some(note) => format!("{{ value = {literal}, note = {} }}", quoted(&printable(note))),
        None => literal.to_owned(),
    }
}

/// Lines of comment, each wrapped and in printable ASCII.
pub(crate) fn comment(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let line = printable(line);
        let mut rest = line.as_str();
        loop {
            let cut = match rest.char_indices().nth(WIDTH) {
                Some((limit, _)) => {
                    rest.get(..limit).and_then(|head| head.rfind(' ')).filter(|at| *at > 0).unwrap_or(limit)
                }
                None => rest.len(),
            };
            let (head, tail) = rest.split_at_checked(cut).unwrap_or((rest, ""));
            let _ = writeln!(out, "# {}", head.trim_end());
            rest = tail.trim_start();
            if rest.is_empty() {
                break;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_is_read_back_as_it_was() {
        for text in ["plain", "a\"b\\c", "tab\tnewline\nend", "\u{202e}\u{1b}[31m", "\u{1f600}\u{0}", "'''\"\"\""] {
            let document = format!("x = {}", quoted(text));
            assert!(document.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{document}");
            let table: toml::Table = document.parse().unwrap();
            assert_eq!(table["x"].as_str(), Some(text));
        }
    }

    #[test]
    fn a_comment_stays_a_comment() {
        let long = format!("{}\n[rule]\nownership = 1\r\u{85}x", "word ".repeat(60));
        let written = comment(&long);
        assert!(written.lines().all(|line| line.starts_with("# ")), "{written}");
        assert!(written.parse::<toml::Table>().unwrap().is_empty());
    }
}
