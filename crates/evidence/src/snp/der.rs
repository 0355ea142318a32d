//! Strict DER, as little of it as AMD's certificates and lists need: their three parts, and the values of their
//! extensions. Names, dates and keys are read by the X.509 library.

/// RSASSA-PSS with SHA-384, MGF1 with SHA-384 and a salt of 48 bytes: content of the `AlgorithmIdentifier`, with the
/// trailer field written out, as AMD's older certificates have it.
const PSS_SHA384_TRAILER: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x39\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
    \xa2\x03\x02\x01\x30\xa3\x03\x02\x01\x01";
/// The same with the trailer field left out, as DER wants it.
const PSS_SHA384: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a\x30\x34\
    \xa0\x0f\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
    \xa1\x1c\x30\x1a\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08\
    \x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\
    \xa2\x03\x02\x01\x30";

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The parts of a certificate or of a revocation list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    /// What is signed, header included.
    pub(super) tbs: &'a [u8],
    /// Content of the `AlgorithmIdentifier` outside.
    pub(super) algorithm: &'a [u8],
    /// The signature.
    pub(super) signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Splits exactly these bytes.
    pub(super) fn split(der: &'a [u8]) -> Option<Self> {
        let (inside, end) = element(SEQUENCE, der)?;
        let (_, after) = element(SEQUENCE, inside)?;
        let tbs = inside.get(..inside.len() - after.len())?;
        let (algorithm, after) = element(SEQUENCE, after)?;
        let (bits, after) = element(BIT_STRING, after)?;
        let (unused, signature) = bits.split_first()?;
        (end.is_empty() && after.is_empty() && *unused == 0).then_some(Self { tbs, algorithm, signature })
    }

    /// Whether it is signed by the one algorithm that AMD uses, and says so inside as well.
    pub(super) fn is_pss_sha384(&self) -> bool {
        [PSS_SHA384, PSS_SHA384_TRAILER].contains(&self.algorithm) && self.algorithm_inside() == Some(self.algorithm)
    }

    /// The `AlgorithmIdentifier` inside, behind version and serial number, of which a list has at most the first.
    fn algorithm_inside(&self) -> Option<&'a [u8]> {
        let (mut inside, _) = element(SEQUENCE, self.tbs)?;
        for tag in [VERSION, INTEGER] {
            if let Some((_, after)) = element(tag, inside) {
                inside = after;
            }
        }
        element(SEQUENCE, inside).map(|(algorithm, _)| algorithm)
    }
}

/// An `INTEGER` from 0 to 255, in its shortest form. `0xdb` is `02 02 00 db`: the last byte alone says nothing.
pub(super) fn small_integer(der: &[u8]) -> Option<u8> {
    match der {
        [INTEGER, 1, value @ 0..=0x7f] | [INTEGER, 2, 0, value @ 0x80..=0xff] => Some(*value),
        _ => None,
    }
}

/// Content of an `OCTET STRING` of at most 127 bytes, exactly.
pub(super) fn short_octet_string(der: &[u8]) -> Option<&[u8]> {
    let (content, end) = element(OCTET_STRING, der).filter(|(content, _)| content.len() < 128)?;
    end.is_empty().then_some(content)
}

/// A printable `IA5String` of 1 to 127 characters.
pub(super) fn ia5_string(der: &[u8]) -> Option<&str> {
    let (text, end) = element(IA5_STRING, der)?;
    let is_plain = !text.is_empty() && text.len() < 128 && text.iter().all(|byte| (b' '..=b'~').contains(byte));
    if is_plain && end.is_empty() { std::str::from_utf8(text).ok() } else { None }
}

/// Content of the element with this tag at the start, and what follows it. Below 64 KiB, shortest lengths only.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let ([found, short], rest) = der.split_first_chunk()?;
    let (length, rest) = match *short {
        0..=0x7f => (usize::from(*short), rest),
        0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest)).filter(|(n, _)| *n > 0x7f)?,
        0x82 => {
            let (length, rest) = rest.split_first_chunk()?;
            Some((usize::from(u16::from_be_bytes(*length)), rest)).filter(|(n, _)| *n > 0xff)?
        }
        _ => return None,
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_in_their_shortest_form_alone() {
        assert_eq!(small_integer(&[2, 1, 0]), Some(0));
        assert_eq!(small_integer(&[2, 1, 0x7f]), Some(0x7f));
        assert_eq!(small_integer(&[2, 2, 0, 0xdb]), Some(0xdb));
        for other in [
            &[][..],
            &[0xdb],
            &[2, 1],
            &[2, 1, 0xdb],
            &[2, 2, 0, 0x7f],
            &[2, 2, 1, 0],
            &[2, 1, 0, 0],
            &[2, 0x81, 1, 0],
            &[4, 1, 0],
        ] {
            assert_eq!(small_integer(other), None, "{other:x?}");
        }
    }

    #[test]
    fn texts_are_short_and_printable() {
        assert_eq!(ia5_string(b"\x16\x05Turin"), Some("Turin"));
        for other in
            [&b"\x16\x00"[..], b"\x16\x01\n", b"\x16\x01\xff", b"\x0c\x05Turin", b"\x16\x05Turin\0", b"\x16\x06Turin"]
        {
            assert_eq!(ia5_string(other), None, "{other:x?}");
        }
    }
}
