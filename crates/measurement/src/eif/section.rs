//! The sections of an enclave image: one after the other behind the header, whose table must say the same.

use crate::Unmeasurable;
use crate::bytes::Bytes;

use super::HEADER_BYTES;

/// Sections that the header has room for.
const SECTIONS_MAX: u64 = 32;
const SECTION_HEADER_BYTES: u64 = 12;

/// What a section holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SectionKind {
    /// The kernel.
    Kernel,
    /// Its command line.
    CommandLine,
    /// A RAM disk.
    RamDisk,
    /// Signatures over PCR 0.
    Signature,
    /// JSON about the build; measured by nothing.
    Metadata,
}

impl SectionKind {
    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::CommandLine => "command line",
            Self::RamDisk => "RAM disk",
            Self::Signature => "signature",
            Self::Metadata => "metadata",
        }
    }
}

/// A section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// What it holds.
    pub kind: SectionKind,
    /// Its bytes.
    pub contents: &'a [u8],
}

/// All sections, to the last byte of the file.
pub(super) fn sections(file: Bytes<'_>) -> Result<Vec<Section<'_>>, Unmeasurable> {
    let count = u64::from(file.u16_be(26, "number of sections")?);
    file.limited("number of sections", count, SECTIONS_MAX)?;
    let mut sections = Vec::new();
    let mut at = HEADER_BYTES;
    for index in 0..count {
        let (offset, size) =
            (file.u64_be(28 + 8 * index, "section offset")?, file.u64_be(28 + 256 + 8 * index, "section size")?);
        if offset != at {
            return Err(file.value("section offset", offset));
        }
        let kind = match file.u16_be(at, "section type")? {
            1 => SectionKind::Kernel,
            2 => SectionKind::CommandLine,
            3 => SectionKind::RamDisk,
            4 => SectionKind::Signature,
            5 => SectionKind::Metadata,
            other => return Err(file.value("section type", other.into())),
        };
        if file.u64_be(at + 4, "section size")? != size {
            return Err(file.value("section size", size));
        }
        let contents = file.slice(at + SECTION_HEADER_BYTES, size, "section contents")?;
        at += SECTION_HEADER_BYTES + size;
        sections.push(Section { kind, contents });
    }
    if at != file.len() {
        return Err(file.value("end of sections", at));
    }
    Ok(sections)
}

/// CRC-32 of IEEE 802.3, over the parts in order.
pub(super) fn crc32(parts: &[&[u8]]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|index| {
        let start = u32::try_from(index).unwrap_or_default();
        (0..8).fold(start, |crc, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 })
    });
    let step = |crc: u32, byte: &u8| {
        let [low, ..] = crc.to_le_bytes();
        table.get(usize::from(low ^ byte)).copied().unwrap_or_default() ^ crc >> 8
    };
    !parts.iter().copied().flatten().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(super::crc32(&[b"1234", b"56789"]), 0xcbf4_3926);
    }
}
