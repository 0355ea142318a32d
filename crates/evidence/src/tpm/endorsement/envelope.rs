//! The certificate inside what an NV index holds: behind a TCG 1.2 header, before padding, several in a row.

use super::{CERTIFICATE_BYTES_MAX, UnverifiedEk};

/// `TCG_PCCLIENT_STORED_CERT`: tag 0x1001, full certificate, size; then tag 0x1002.
const STORED_CERT: [u8; 3] = [0x10, 0x01, 0x00];
const FULL_CERT: [u8; 2] = [0x10, 0x02];

/// The DER certificate in `blob`, without header and padding.
///
/// # Errors
/// [`UnverifiedEk::Malformed`] if there is none, [`UnverifiedEk::TrailingBytes`] if more than padding follows.
pub(super) fn certificate(blob: &[u8]) -> Result<&[u8], UnverifiedEk> {
    if blob.len() > CERTIFICATE_BYTES_MAX {
        return Err(UnverifiedEk::TooLarge { found: blob.len(), limit: CERTIFICATE_BYTES_MAX });
    }
    let (body, padding) = unwrap_stored(blob)?;
    let (der, rest) = split_der(body).ok_or(UnverifiedEk::Malformed { what: "no DER sequence" })?;
    match [rest, padding].into_iter().find(|rest| !is_padding(rest)) {
        Some(trailing) => Err(UnverifiedEk::TrailingBytes { found: trailing.len() }),
        None => Ok(der),
    }
}

/// All DER certificates that stand one after the other in `blob`; ends at padding.
///
/// # Errors
/// As [`certificate`].
pub(super) fn certificates(mut blob: &[u8]) -> Result<Vec<&[u8]>, UnverifiedEk> {
    let mut found = Vec::new();
    while !is_padding(blob) {
        let (der, rest) = split_der(blob).ok_or(UnverifiedEk::Malformed { what: "chain is no DER sequence" })?;
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(UnverifiedEk::TooLarge { found: der.len(), limit: CERTIFICATE_BYTES_MAX });
        }
        found.push(der);
        blob = rest;
    }
    Ok(found)
}

/// (certificate and what follows inside the TCG 1.2 structure, what follows the structure).
fn unwrap_stored(blob: &[u8]) -> Result<(&[u8], &[u8]), UnverifiedEk> {
    let Some(rest) = blob.strip_prefix(&STORED_CERT) else { return Ok((blob, &[])) };
    let bad = UnverifiedEk::Malformed { what: "TCG 1.2 header does not fit" };
    let (size, rest) = rest.split_first_chunk::<2>().ok_or(bad.clone())?;
    let (inside, behind) = rest.split_at_checked(u16::from_be_bytes(*size).into()).ok_or(bad.clone())?;
    Ok((inside.strip_prefix(&FULL_CERT).ok_or(bad)?, behind))
}

/// Splits one DER SEQUENCE (tag, shortest definite length, contents) from the front.
fn split_der(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = match bytes {
        [0x30, 0x82, high @ 1..=0xff, low, ..] => 4 + usize::from(u16::from_be_bytes([*high, *low])),
        [0x30, 0x81, length @ 0x80..=0xff, ..] => 3 + usize::from(*length),
        [0x30, length @ 0..=0x7f, ..] => 2 + usize::from(*length),
        _ => return None,
    };
    bytes.split_at_checked(length)
}

/// NV padding: nothing, or one of `00` and `FF` to the end.
fn is_padding(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0) || bytes.iter().all(|byte| *byte == 0xff)
}
