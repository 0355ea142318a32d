//! Signatures attached to an image: what stands in them, for what firmware then measures into PCR 7. Verifies none:
//! firmware does, and refuses the image.

use super::Image;
use crate::Unmeasurable;

/// Signatures that are looked at.
const SIGNATURES_MAX: u64 = 16;
/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`.
const PKCS_SIGNED_DATA: u16 = 2;

/// One PKCS#7 signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedSignature<'a> {
    /// The certificates in it, DER, in its own order.
    pub certificates: Vec<&'a [u8]>,
}

impl<'a> Image<'a> {
    /// The attached signatures, none if the image is not signed.
    ///
    /// # Errors
    /// The table of signatures is broken.
    pub fn signatures(&self) -> Result<Vec<AttachedSignature<'a>>, Unmeasurable> {
        let (mut at, size) = self.attached()?;
        let end = at + size;
        let mut signatures = Vec::new();
        while size > 0 && at < end {
            let length = u64::from(self.file.u32_le(at, "signature length")?);
            if length < 8 || at + length > end {
                return Err(self.file.value("signature length", length));
            }
            self.file.limited("signatures", signatures.len() as u64 + 1, SIGNATURES_MAX)?;
            if self.file.u16_le(at + 6, "signature type")? == PKCS_SIGNED_DATA {
                let contents = self.file.slice(at + 8, length - 8, "signature")?;
                let certificates =
                    certificates(contents).ok_or(self.file.missing("PKCS#7 structure in its signature"))?;
                signatures.push(AttachedSignature { certificates });
            }
            at += length.next_multiple_of(8);
        }
        Ok(signatures)
    }
}

/// The certificates of a PKCS#7 `SignedData`, RFC 2315: `ContentInfo { oid, [0] SignedData { version, digests, content,
/// [0] certificates, … } }`.
fn certificates(der: &[u8]) -> Option<Vec<&[u8]>> {
    let (content_info, _) = element(der, 0x30)?;
    let (_, rest) = element(content_info, 0x06)?;
    let (explicit, _) = element(rest, 0xa0)?;
    let (signed, _) = element(explicit, 0x30)?;
    let (_, rest) = element(signed, 0x02)?;
    let (_, rest) = element(rest, 0x31)?;
    let (_, rest) = element(rest, 0x30)?;
    let Some((mut list, _)) = element(rest, 0xa0) else { return Some(Vec::new()) };
    let mut certificates = Vec::new();
    while !list.is_empty() {
        let (_, rest) = element(list, 0x30)?;
        certificates.push(list.get(..list.len() - rest.len())?);
        list = rest;
    }
    Some(certificates)
}

/// Contents of one DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = der else { return None };
    if *found != tag {
        return None;
    }
    let (length, rest) = match length {
        short @ 0..=0x7f => (usize::from(*short), rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            if bytes.is_empty() || bytes.len() > 4 {
                return None;
            }
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    rest.split_at_checked(length)
}
