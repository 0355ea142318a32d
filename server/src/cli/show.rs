//! How things look at a terminal: tables, times, digests; text that machines wrote is escaped.

use comfy_table::{Table, presets};
use holdfast_evidence::tpm::event_log::escape;
use time::format_description::{StaticFormatDescription, well_known::Rfc3339};
use time::macros::format_description;
use time::{Date, OffsetDateTime};

/// `full-date` of RFC 3339.
const FULL_DATE: StaticFormatDescription = format_description!("[year]-[month]-[day]");

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

/// Reads a moment as RFC 3339, with a time or as a date alone, or as seconds since the epoch. A date is its first second,
/// in UTC.
///
/// # Errors
/// What was expected.
pub(super) fn read_moment(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    if let Ok(date) = Date::parse(text, &FULL_DATE) {
        return Ok(date.midnight().assume_utc().unix_timestamp());
    }
    OffsetDateTime::parse(text, &Rfc3339).map(OffsetDateTime::unix_timestamp).map_err(|_| {
        "expected a date such as 2027-01-31 (UTC), a moment such as 2027-01-31T12:00:00Z, or seconds since the epoch".to_owned()
    })
}

/// Reads the end of a period: as [`read_moment`] does, but a date is the end of its day.
///
/// # Errors
/// What was expected.
pub(super) fn read_end(text: &str) -> Result<i64, String> {
    match Date::parse(text, &FULL_DATE) {
        Ok(date) => Ok(date.midnight().assume_utc().unix_timestamp().saturating_add(86_400)),
        Err(_) => read_moment(text),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_its_first_second_and_as_an_end_the_end_of_its_day() {
        let newyear = read_moment("2026-01-01T00:00:00Z").unwrap();
        assert_eq!(read_moment("2026-01-01"), Ok(newyear));
        assert_eq!(read_end("2025-12-31"), Ok(newyear));
        assert_eq!(read_end("2026-01-01T00:00:00Z"), Ok(newyear));
        assert_eq!(read_moment("2026-01-01T01:00:00+01:00"), Ok(newyear));
        assert_eq!((read_moment("1767225600"), read_end("1767225600")), (Ok(newyear), Ok(newyear)));
        for wrong in ["2026-1-1", "2026-02-30", "01.01.2026", "2026-01-01T", "today", ""] {
            assert!(read_moment(wrong).is_err() && read_end(wrong).is_err(), "{wrong}");
        }
    }
}
