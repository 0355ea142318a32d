//! JSON that is harmless wherever it is shown.

/// JSON with everything but printable ASCII and line feeds as `\u` escapes: what machines wrote is harmless at a terminal
/// and in a log, and the same to whoever parses it. Outside of strings JSON has nothing that this touches.
#[must_use]
pub fn ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, '\n' | ' '..='~') {
            ascii.push(c);
        } else {
            let mut units = [0; 2];
            ascii.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::ascii;

    #[test]
    fn json_is_ascii_and_parses_to_the_same() {
        let text = "a\"\\ \u{1b}[31m \u{7f} \u{9b}2J \u{202e} é \u{1f600}\r\n";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let escaped = ascii(&json);
        assert!(escaped.chars().all(|c| matches!(c, '\n' | ' '..='~')), "{escaped}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&escaped).unwrap(), [text]);
    }
}
