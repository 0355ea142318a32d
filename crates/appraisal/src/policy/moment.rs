//! Dates and durations as policies write them. Reads no clock.

use holdfast_identity::UnixTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::document::{Node, Reader};
use crate::finding::Kind;

/// A date with time and offset; anything else is a finding.
pub(crate) fn date(reader: &mut Reader<'_>, node: &Node<'_>, what: &str) -> Option<UnixTime> {
    let spelt = node.get_ref().as_datetime().map(ToString::to_string);
    let parsed = spelt.as_deref().and_then(parse);
    if parsed.is_none() {
        let message = format!("{what} is not a date with time and offset");
        reader.add(node.span(), Kind::BadValue, message, Some(format!("write: {what} = 2026-01-31T12:00:00Z")));
    }
    parsed
}

/// Reads an RFC 3339 date, such as `2026-01-31T12:00:00Z`.
#[must_use]
pub(crate) fn parse(text: &str) -> Option<UnixTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(|date| UnixTime(date.unix_timestamp()))
}

/// An RFC 3339 date; seconds since the epoch where the year is beyond 9999.
pub(crate) fn format(time: UnixTime) -> String {
    let date = OffsetDateTime::from_unix_timestamp(time.seconds()).ok();
    date.and_then(|date| date.format(&Rfc3339).ok()).unwrap_or_else(|| time.to_string())
}

/// A duration such as `"90s"`, `"30m"`, `"2h"` or `"1d"` between `least` and `most` seconds; else a finding.
pub(crate) fn duration(reader: &mut Reader<'_>, node: &Node<'_>, what: &str, least: u32, most: u32) -> Option<u32> {
    let text = reader.string(node, what)?;
    let seconds = seconds(text).filter(|seconds| (least..=most).contains(seconds));
    if seconds.is_none() {
        let message = format!("{what} {text:?} is not a duration from {} to {}", spelt(least), spelt(most));
        let suggestion = "write a whole number and s, m, h or d: \"90s\", \"30m\", \"2h\", \"1d\"".to_owned();
        reader.add(node.span(), Kind::BadValue, message, Some(suggestion));
    }
    seconds
}

fn seconds(text: &str) -> Option<u32> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number = text.get(..text.len() - 1)?;
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<u32>().ok()?.checked_mul(unit)
}

fn spelt(seconds: u32) -> String {
    match seconds {
        s if s.is_multiple_of(86_400) => format!("{}d", s / 86_400),
        s if s.is_multiple_of(3_600) => format!("{}h", s / 3_600),
        s if s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_unit_and_do_not_overflow() {
        assert_eq!(
            [seconds("90s"), seconds("30m"), seconds("2h"), seconds("1d")],
            [90, 1_800, 7_200, 86_400].map(Some)
        );
        for text in ["", "h", "2", "-1h", "+1h", "1.5h", "2h30m", "99999999999d", "1é"] {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!([spelt(90), spelt(60), spelt(7_200), spelt(86_400)], ["90s", "1m", "2h", "1d"].map(str::to_owned));
    }

    #[test]
    fn dates_are_read_back_as_they_are_written() {
        let moment = parse("2026-01-31T12:00:00Z").unwrap();
        assert_eq!(format(moment), "2026-01-31T12:00:00Z");
        assert_eq!(parse("2026-01-31T13:00:00+01:00"), Some(moment));
        assert_eq!(parse("2026-01-31"), None);
    }
}
