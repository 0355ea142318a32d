//! Times in tokens: seconds since the epoch, fractions allowed (RFC 7519, NumericDate), and how far clocks may differ.

use holdfast_identity::UnixTime;
use serde_json::Value;

use crate::jws::BadToken;

/// How much later than its end a token may still count, and how much earlier than its start, in seconds: what clocks of
/// machines that keep time differ by, many times over.
pub const LEEWAY_SECONDS_MAX: u8 = 60;

/// How far the clock of whoever made a token may differ from ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leeway(u8);

impl Leeway {
    /// Clocks agree.
    pub const NONE: Self = Self(0);

    /// As many seconds, but never more than [`LEEWAY_SECONDS_MAX`].
    #[must_use]
    pub fn seconds(seconds: u8) -> Self {
        Self(seconds.min(LEEWAY_SECONDS_MAX))
    }

    fn get(self) -> i64 {
        i64::from(self.0)
    }
}

/// The second in which a NumericDate lies; `None` for anything that is no number, or none of this era.
pub(crate) fn numeric_date(value: &Value) -> Option<UnixTime> {
    // The last second of the year 9999: within it every f64 is exact to the second.
    const LAST: i64 = 253_402_300_799;
    #[expect(clippy::cast_possible_truncation, reason = "compared with the bounds before")]
    let seconds = match (value.as_i64(), value.as_f64()) {
        (Some(seconds), _) => seconds,
        (None, Some(seconds)) if (0.0..=LAST as f64).contains(&seconds) => seconds.floor() as i64,
        _ => return None,
    };
    (0..=LAST).contains(&seconds).then_some(UnixTime(seconds))
}

/// Checks `exp`, which must be there, and `nbf`, which may. Returns the end.
pub(crate) fn check(
    claims: &serde_json::Map<String, Value>,
    now: UnixTime,
    leeway: Leeway,
) -> Result<UnixTime, BadToken> {
    let expires = claims.get("exp").and_then(numeric_date).ok_or(BadToken::Expiry)?;
    if now >= expires.plus(leeway.get()) {
        return Err(BadToken::Expired { at: expires });
    }
    if let Some(start) = claims.get("nbf") {
        let start = numeric_date(start).ok_or(BadToken::NotBefore)?;
        if now.plus(leeway.get()) < start {
            return Err(BadToken::NotYet { at: start });
        }
    }
    Ok(expires)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judge(claims: &Value, now: i64, leeway: u8) -> Result<UnixTime, BadToken> {
        check(claims.as_object().unwrap(), UnixTime(now), Leeway::seconds(leeway))
    }

    #[test]
    fn the_end_is_the_first_second_that_does_not_count() {
        let claims = json!({ "exp": 1000 });
        assert_eq!(judge(&claims, 999, 0), Ok(UnixTime(1000)));
        assert_eq!(judge(&claims, 1000, 0), Err(BadToken::Expired { at: UnixTime(1000) }));
        assert_eq!(judge(&claims, 1059, 60), Ok(UnixTime(1000)));
        assert_eq!(judge(&claims, 1060, 60), Err(BadToken::Expired { at: UnixTime(1000) }));
        assert_eq!(
            judge(&claims, 1060, 255),
            Err(BadToken::Expired { at: UnixTime(1000) }),
            "never more than a minute"
        );
    }

    #[test]
    fn a_start_is_heeded_where_there_is_one() {
        let claims = json!({ "exp": 1000, "nbf": 900.5 });
        assert_eq!(judge(&claims, 899, 0), Err(BadToken::NotYet { at: UnixTime(900) }));
        assert_eq!(judge(&claims, 899, 1), Ok(UnixTime(1000)));
        assert_eq!(judge(&json!({ "exp": 1000, "nbf": "0" }), 950, 0), Err(BadToken::NotBefore));
    }

    #[test]
    fn only_numbers_of_this_era_are_times() {
        for wrong in [json!("1000"), json!(null), json!(-1), json!(1e300), json!(u64::MAX), json!([1000]), json!(-0.5)]
        {
            assert_eq!(judge(&json!({ "exp": wrong }), 1, 0), Err(BadToken::Expiry), "{wrong}");
        }
        assert_eq!(judge(&json!({}), 1, 0), Err(BadToken::Expiry));
        assert_eq!(judge(&json!({ "exp": 1000.9 }), 999, 0), Ok(UnixTime(1000)));
    }
}
