//! The Authenticode digest of a PE image: the file without its checksum, its certificate table and the directory entry
//! that points to it. This is what firmware measures into PCR 4.

use crate::digest::Digests;

const CHECKSUM_IN_OPTIONAL_HEADER: usize = 64;
const DIRECTORIES_PE32: usize = 96;
const DIRECTORIES_PE32_PLUS: usize = 112;
const SECURITY_DIRECTORY: usize = 4;
const SECTION_BYTES: usize = 40;

/// The digests of a PE image in all banks; `None` if the bytes are no PE image.
pub(crate) fn digests(image: &[u8]) -> Option<Digests> {
    let parts = covered(image)?;
    Some(Digests::of_parts(&parts))
}

/// The parts of the image that the digest covers, in order.
fn covered(image: &[u8]) -> Option<Vec<&[u8]>> {
    if image.get(..2)? != b"MZ" {
        return None;
    }
    let coff = u32_at(image, 0x3c)?.checked_add(4)?;
    if image.get(coff - 4..coff)? != b"PE\0\0" {
        return None;
    }
    let sections = usize::from(u16_at(image, coff + 2)?);
    let optional_bytes = usize::from(u16_at(image, coff + 16)?);
    let optional = coff + 20;
    let directories = match u16_at(image, optional)? {
        0x10b => DIRECTORIES_PE32,
        0x20b => DIRECTORIES_PE32_PLUS,
        _ => return None,
    };
    let headers_end = u32_at(image, optional + 60)?;
    let checksum = optional + CHECKSUM_IN_OPTIONAL_HEADER;
    let security = optional + directories + SECURITY_DIRECTORY * 8;
    let table_bytes = u32_at(image, security + 4)?;
    let mut parts =
        vec![image.get(..checksum)?, image.get(checksum + 4..security)?, image.get(security + 8..headers_end)?];
    let table = optional + optional_bytes;
    let mut raw: Vec<(usize, usize)> = Vec::with_capacity(sections);
    for number in 0..sections {
        let section = table + number * SECTION_BYTES;
        let (size, at) = (u32_at(image, section + 16)?, u32_at(image, section + 20)?);
        if size != 0 {
            raw.push((at, size));
        }
    }
    raw.sort_unstable();
    let mut hashed = headers_end;
    for (at, size) in raw {
        parts.push(image.get(at..at.checked_add(size)?)?);
        hashed = hashed.checked_add(size)?;
    }
    let end = image.len().checked_sub(table_bytes)?;
    if hashed < end {
        parts.push(image.get(hashed..end)?);
    }
    Some(parts)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|field| u16::from_le_bytes(*field))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|field| u32::from_le_bytes(*field) as usize)
}
