//! The little DER that rcgen does not write, and PEM read back.

use base64::Engine;

pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
pub(crate) const OID: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
const INTEGER: u8 = 0x02;

/// Tag, length, contents.
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = contents.len().to_be_bytes();
    let significant = length.iter().skip_while(|byte| **byte == 0).copied();
    match contents.len() {
        #[expect(clippy::cast_possible_truncation, reason = "below 128")]
        short @ 0..=127 => out.push(short as u8),
        _ => {
            let bytes: Vec<u8> = significant.collect();
            #[expect(clippy::cast_possible_truncation, reason = "at most eight")]
            out.push(0x80 | bytes.len() as u8);
            out.extend(bytes);
        }
    }
    out.extend_from_slice(contents);
    out
}

/// An INTEGER that is not negative, from its big-endian bytes.
pub(crate) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let mut value: Vec<u8> = bytes.iter().skip_while(|byte| **byte == 0).copied().collect();
    if value.first().is_none_or(|first| *first >= 0x80) {
        value.insert(0, 0);
    }
    element(INTEGER, &value)
}

/// What others name a certificate by.
#[derive(Debug)]
pub(crate) struct CertificateFields<'a> {
    /// Contents of `serialNumber`.
    pub(crate) serial: &'a [u8],
    /// `issuer`, header included.
    pub(crate) issuer: &'a [u8],
    /// `subject`, header included.
    pub(crate) subject: &'a [u8],
    /// keyIdentifier of authorityKeyIdentifier; empty if there is none.
    pub(crate) authority: &'a [u8],
}

/// Reads a certificate that this simulator made.
pub(crate) fn certificate_fields(certificate: &[u8]) -> Option<CertificateFields<'_>> {
    let (_, body, _) = split(certificate)?;
    let (_, tbs, _) = split(body)?;
    let (_, _, rest) = split(tbs)?; // version
    let (_, serial, rest) = split(rest)?;
    let (_, _, rest) = split(rest)?; // signature
    let (issuer, _, rest) = split(rest)?;
    let (_, _, rest) = split(rest)?; // validity
    let (subject, _, rest) = split(rest)?;
    // 2.5.29.35 in an extension that is not critical, and [0] in its sequence
    let at = rest.windows(5).position(|bytes| bytes == [OID, 3, 0x55, 0x1d, 0x23]);
    let authority = at.and_then(|at| {
        let (_, octets, _) = split(rest.get(at + 5..)?)?;
        let (_, sequence, _) = split(octets)?;
        split(sequence).map(|(_, id, _)| id)
    });
    Some(CertificateFields { serial, issuer, subject, authority: authority.unwrap_or_default() })
}

/// The first element whole, its contents, and what follows.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (header, length) = match bytes {
        [_, length @ 0..=0x7f, ..] => (2, usize::from(*length)),
        [_, 0x81, length, ..] => (3, usize::from(*length)),
        [_, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        _ => return None,
    };
    let (whole, rest) = bytes.split_at_checked(header + length)?;
    Some((whole, whole.get(header..)?, rest))
}

/// The DER of the first PEM block.
pub(crate) fn from_pem(text: &str) -> Option<Vec<u8>> {
    let body: String = text
        .lines()
        .skip_while(|line| !line.starts_with("-----BEGIN"))
        .skip(1)
        .take_while(|line| !line.starts_with("-----END"))
        .map(str::trim)
        .collect();
    base64::engine::general_purpose::STANDARD.decode(body).ok().filter(|der| !der.is_empty())
}

/// One PEM block, lines of 64 characters.
pub(crate) fn to_pem(label: &str, der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for (at, character) in body.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            out.push('\n');
        }
        out.push(character);
    }
    out + &format!("\n-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(element(SEQUENCE, &[]), [0x30, 0]);
        assert_eq!(element(SEQUENCE, &[7; 127])[..2], [0x30, 127]);
        assert_eq!(element(SEQUENCE, &[7; 128])[..3], [0x30, 0x81, 128]);
        assert_eq!(element(SEQUENCE, &[7; 300])[..4], [0x30, 0x82, 1, 44]);
    }

    #[test]
    fn integers_stay_positive() {
        assert_eq!(unsigned(&[0, 0, 1]), [2, 1, 1]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[0]), [2, 1, 0]);
    }
}
