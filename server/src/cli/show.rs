//! How things look at a terminal: tables, times, digests; text that machines wrote is escaped.

use comfy_table::{Table, presets};
use holdfast_evidence::tpm::event_log::escape;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A table with these headings.
pub(super) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(headings.iter().map(|heading| heading.to_uppercase()));
    table
}

/// The table's text, or `nothing` where it has no rows.
pub(super) fn rows(table: &Table, nothing: &str) -> String {
    if table.is_empty() { nothing.to_owned() } else { table.trim_fmt() }
}

/// Seconds since the epoch as RFC 3339; 0 is never.
pub(super) fn moment(seconds: i64) -> String {
    if seconds == 0 {
        return "never".to_owned();
    }
    OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Text of unknown origin, harmless at a terminal.
pub(super) fn text(untrusted: &str) -> String {
    escape(untrusted)
}

/// Lines of `key: value`; empty values are left out.
pub(super) fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
    let lines = fields.iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(key, value)| format!("{key:<width$}  {value}\n")).collect()
}

/// Reads 64 hexadecimal digits, colons allowed.
///
/// # Errors
/// What was expected.
pub(super) fn digest(text: &str) -> Result<Vec<u8>, String> {
    crate::store::Sha256::from_hex(text)
        .map(|digest| digest.0.to_vec())
        .ok_or_else(|| "expected the 64 hexadecimal digits of a SHA-256".to_owned())
}

/// Reads a moment as RFC 3339 or as seconds since the epoch.
///
/// # Errors
/// What was expected.
pub(super) fn read_moment(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    OffsetDateTime::parse(text, &Rfc3339)
        .map(OffsetDateTime::unix_timestamp)
        .map_err(|_| "expected a moment such as 2027-01-31T12:00:00Z, or seconds since the epoch".to_owned())
}

/// Reads a duration such as `90s` or `15m`, or a number of seconds.
///
/// # Errors
/// What was expected.
pub(super) fn read_seconds(text: &str) -> Result<i64, String> {
    match text.parse::<u32>() {
        Ok(seconds) => Ok(i64::from(seconds)),
        Err(_) => crate::config::seconds(text),
    }
}
