//! Durations as operators write them: `90s`, `15m`, `2h`, `7d`.

/// Seconds of `text`.
///
/// # Errors
/// What was expected, and what was found.
pub(crate) fn seconds(text: &str) -> Result<i64, String> {
    let expected = || format!("expected a duration such as \"90s\", \"15m\" or \"2h\", found {text:?}");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(expected()),
    };
    let number = text.get(..text.len() - 1).and_then(|digits| digits.parse::<u32>().ok()).ok_or_else(expected)?;
    Ok(i64::from(number) * unit)
}
