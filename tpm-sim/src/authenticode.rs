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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Bank;

    /// A PE32+ image with two sections, out of order in its table, something behind them, and a certificate table.
    fn image() -> Vec<u8> {
        let mut image = vec![0u8; 0x200];
        image[..2].copy_from_slice(b"MZ");
        image[0x3c] = 0x40;
        image[0x40..0x44].copy_from_slice(b"PE\0\0");
        image[0x46] = 2; // sections
        image[0x54] = 240; // optional header
        image[0x58..0x5a].copy_from_slice(&0x20bu16.to_le_bytes());
        image[0x58 + 60..0x58 + 64].copy_from_slice(&0x200u32.to_le_bytes());
        for (section, at) in [(0x148, 0x300u32), (0x170, 0x200)] {
            image[section + 16..section + 20].copy_from_slice(&0x100u32.to_le_bytes());
            image[section + 20..section + 24].copy_from_slice(&at.to_le_bytes());
        }
        image.extend([1; 0x100]);
        image.extend([2; 0x100]);
        image.extend(b"behind the sections");
        image.extend([3; 24]);
        let security = 0x58 + 112 + 32;
        image[security + 4..security + 8].copy_from_slice(&24u32.to_le_bytes());
        image
    }

    #[test]
    fn checksum_and_certificates_are_not_covered_and_all_else_is() {
        let image = image();
        let good = digests(&image).unwrap();
        let checksum = 0x58 + 64..0x58 + 68;
        let security = 0x58 + 144..0x58 + 148;
        let certificates = image.len() - 24..image.len();
        let structure = [0..2, 0x3c..0x48, 0x54..0x5a, 0x94..0x98, 0xec..0xf0, 0x158..0x160, 0x180..0x188];
        for at in 0..image.len() {
            let mut changed = image.clone();
            changed[at] ^= 0x80;
            if structure.iter().any(|range| range.contains(&at)) {
                continue; // may make it another image or none
            }
            let free = checksum.contains(&at) || security.contains(&at) || certificates.contains(&at);
            assert_eq!(digests(&changed).as_ref() == Some(&good), free, "byte {at:#x}");
        }
    }

    #[test]
    fn sections_are_hashed_in_the_order_of_the_file() {
        let image = image();
        let parts = covered(&image).unwrap();
        assert_eq!(parts.concat().len(), image.len() - 4 - 8 - 24);
        assert_eq!(Bank::Sha256.hash(&parts[3..5]), Bank::Sha256.hash(&[&[1; 0x100], &[2; 0x100]]));
    }

    #[test]
    fn what_is_no_pe_image_has_no_digest() {
        let image = image();
        for length in [0, 1, 2, 0x3f, 0x43, 0x100, 0x1ff] {
            assert_eq!(digests(&image[..length]), None);
        }
    }
}
