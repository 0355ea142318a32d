//! Moments on the command line. The only place of this program that reads the clock.

use std::time::SystemTime;

use holdfast_identity::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment that a flag names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub UnixTime);

/// Reads an RFC 3339 date, such as `2026-01-31T12:00:00Z`.
///
/// # Errors
/// What is wrong with it, in the words of the flag's error.
pub fn parse(text: &str) -> Result<Moment, String> {
    let date = OffsetDateTime::parse(text, &Rfc3339);
    let date = date.map_err(|_| "expected a date such as 2026-01-31T12:00:00Z".to_owned())?;
    Ok(Moment(UnixTime(date.unix_timestamp())))
}

/// Now, by the machine's clock.
#[must_use]
pub fn now() -> Moment {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment(UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX)))
}

/// As people read it, in UTC.
#[must_use]
pub fn format(moment: UnixTime) -> String {
    let date = OffsetDateTime::from_unix_timestamp(moment.seconds()).ok();
    date.and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_else(|| moment.seconds().to_string())
}
