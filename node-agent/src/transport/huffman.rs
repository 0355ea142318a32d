//! The part of HPACK's Huffman code (RFC 7541, appendix B) that authorities are written in: all codes of at most eight
//! bits. Decodes and rewrites in place; encodes nothing, and leaves alone what holds a rarer symbol.

/// The symbols by the length of their codes: the code is canonical, so that the first code of each length and the
/// order of the symbols say it all.
const LENGTHS: [(u32, u32, &[u8]); 4] = [
    (5, 0x00, b"012aceiost"),
    (6, 0x14, b" %-./3456789=A_bdfghlmnpru"),
    (7, 0x5c, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, 0xf8, b"&*,;XZ"),
];
/// The longest padding: fewer than eight bits, all ones.
const PADDING_BITS_MAX: usize = 7;

/// One symbol of a coded string.
struct Symbol {
    byte: u8,
    /// Where its code starts, in bits from the start of the string.
    at: usize,
    /// Bits of its code.
    length: usize,
}

/// The bit at `at`, counted from the most significant one of the first byte.
fn bit(coded: &[u8], at: usize) -> Option<u32> {
    let byte = coded.get(at / 8)?;
    Some(u32::from(byte >> (7 - at % 8)) & 1)
}

/// The code of `byte` and its bits, where it has one of at most eight.
fn code_of(byte: u8) -> Option<(u32, usize)> {
    LENGTHS.iter().find_map(|(length, first, symbols)| {
        let place = symbols.iter().position(|symbol| *symbol == byte)?;
        Some((first + u32::try_from(place).ok()?, usize::try_from(*length).ok()?))
    })
}

/// The symbols of `coded`; `None` for a symbol with a longer code, or for a padding that is none.
fn symbols(coded: &[u8]) -> Option<Vec<Symbol>> {
    let bits = coded.len() * 8;
    let mut found = Vec::new();
    let mut at = 0;
    while at < bits {
        let mut code = 0;
        let mut taken = 0;
        let symbol = loop {
            let Some(next) = bit(coded, at + taken) else { break None };
            code = code << 1 | next;
            taken += 1;
            let here = LENGTHS.iter().find(|(length, ..)| usize::try_from(*length).ok() == Some(taken));
            if let Some((_, first, symbols)) = here
                && let Some(place) = code.checked_sub(*first)
                && let Some(byte) = symbols.get(usize::try_from(place).ok()?)
            {
                break Some(*byte);
            }
            if taken == 8 {
                return None;
            }
        };
        match symbol {
            Some(byte) => found.push(Symbol { byte, at, length: taken }),
            // The string ends here: what is left must be padding.
            None if taken <= PADDING_BITS_MAX && code == (1 << taken) - 1 => break,
            None => return None,
        }
        at += taken;
    }
    Some(found)
}

/// The text that `coded` stands for; `None` where it holds a symbol with a code of more than eight bits, or is damaged.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    Some(symbols(coded)?.into_iter().map(|symbol| symbol.byte).collect())
}

/// Rewrites `coded` in place by `replace`, symbol by symbol, as long as each new symbol's code is as long as the old
/// one's; a symbol for which it is not stays.
pub(super) fn rewrite(coded: &mut [u8], replace: impl Fn(u8) -> u8) {
    for symbol in symbols(coded).unwrap_or_default() {
        let new = replace(symbol.byte);
        let Some((code, length)) = code_of(new) else { continue };
        if new == symbol.byte || length != symbol.length {
            continue;
        }
        for place in 0..length {
            let at = symbol.at + place;
            let Some(byte) = coded.get_mut(at / 8) else { continue };
            let mask = 1 << (7 - at % 8);
            if code >> (length - 1 - place) & 1 == 1 {
                *byte |= mask;
            } else {
                *byte &= !mask;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7541, C.4.1 and C.6.1: values as the standard encodes them.
    const EXAMPLES: [(&str, &str); 4] = [
        ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
        ("a8eb10649cbf", "no-cache"),
        ("6402", "302"),
        ("aec3771a4b", "private"),
    ];

    #[test]
    fn the_standards_examples_decode() {
        for (coded, text) in EXAMPLES {
            assert_eq!(decode(&hex::decode(coded).unwrap()).unwrap(), text.as_bytes(), "{coded}");
        }
    }

    #[test]
    fn rewriting_keeps_the_length_and_all_other_symbols() {
        for (coded, text) in EXAMPLES {
            let mut bytes = hex::decode(coded).unwrap();
            rewrite(&mut bytes, |byte| if byte == b'.' || byte == b'-' { b'%' } else { byte });
            assert_eq!(bytes.len() * 2, coded.len());
            assert_eq!(decode(&bytes).unwrap(), text.replace(['.', '-'], "%").as_bytes());
        }
    }

    #[test]
    fn a_replacement_of_another_length_is_not_made() {
        let before = hex::decode("a8eb10649cbf").unwrap();
        let mut bytes = before.clone();
        rewrite(&mut bytes, |_| b'X');
        assert_eq!(bytes, before);
    }

    #[test]
    fn long_codes_and_false_padding_are_left_alone() {
        // '!' has ten bits; eight ones are no padding; zeros are none either.
        for coded in ["fe3f", "ff", "a8eb10649cbfff", "f1e3c2e5f23a6ba0ab90f400"] {
            let bytes = hex::decode(coded).unwrap();
            let mut rewritten = bytes.clone();
            rewrite(&mut rewritten, |_| b'-');
            if decode(&bytes).is_none() {
                assert_eq!(rewritten, bytes, "{coded}");
            }
        }
        assert!(decode(&[0xfe, 0x3f]).is_none() && decode(&[0xff]).is_none());
    }
}
