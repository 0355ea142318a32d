//! The few DER shapes that a leaf certificate is made of. Writes only; reading is x509-parser's.

use time::OffsetDateTime;

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Appends one element: tag, length, and the parts of its content one after another.
pub(super) fn element(out: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(tag);
    let bytes = length.to_be_bytes();
    match length {
        0..0x80 => out.extend_from_slice(bytes.last_chunk::<1>().map_or(&[], |last| last)),
        0x80..0x100 => {
            out.push(0x81);
            out.extend_from_slice(bytes.last_chunk::<1>().map_or(&[], |last| last));
        }
        0x100..0x1_0000 => {
            out.push(0x82);
            out.extend_from_slice(bytes.last_chunk::<2>().map_or(&[], |last| last));
        }
        // A certificate of ours is far below 64 KiB: 32 DNS names and an ID of 2 KiB.
        _ => {
            out.push(0x84);
            out.extend_from_slice(bytes.last_chunk::<4>().map_or(&[], |last| last));
        }
    }
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// One element by itself.
pub(super) fn of(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut out = Vec::with_capacity(length + 6);
    element(&mut out, tag, parts);
    out
}

/// Appends a moment as RFC 5280 wants it: UTCTime up to 2049, GeneralizedTime from 2050 on.
pub(super) fn time(out: &mut Vec<u8>, at: OffsetDateTime) {
    let year = at.year();
    let mut text = Vec::with_capacity(15);
    let tag = if (1950..2050).contains(&year) {
        UTC_TIME
    } else {
        digits(&mut text, year / 100);
        GENERALIZED_TIME
    };
    digits(&mut text, year % 100);
    for number in [u8::from(at.month()), at.day(), at.hour(), at.minute(), at.second()] {
        digits(&mut text, i32::from(number));
    }
    text.push(b'Z');
    element(out, tag, &[&text]);
}

/// Two decimal digits.
fn digits(out: &mut Vec<u8>, number: i32) {
    let number = u8::try_from(number.rem_euclid(100)).unwrap_or_default();
    out.push(b'0' + number / 10);
    out.push(b'0' + number % 10);
}
