//! PE/COFF images: the headers that matter for loading and hashing, the sections, the attached signatures.
//! Microsoft PE Format; reads what a file says and loads nothing.

mod authenticode;
mod certificates;

pub use certificates::AttachedSignature;

use crate::Unmeasurable;
use crate::bytes::Bytes;

/// Largest image: a kernel image with a large initrd.
pub const IMAGE_BYTES_MAX: u64 = 2 << 30;
/// Sections that are looked at; the format allows 96.
const SECTIONS_MAX: u64 = 96;

/// Entries of the data directory; firmware starts no image that has more.
const DIRECTORIES_MAX: u64 = 16;

/// An image and where its parts are.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    file: Bytes<'a>,
    /// Offset of the checksum, which no digest covers.
    checksum: u64,
    /// Offset of the entry of the data directory that says where the signatures are; `None` if it has no such entry.
    security: Option<u64>,
    /// Bytes of all headers.
    headers: u64,
    sections: Vec<Section<'a>>,
}

/// One section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    name: [u8; 8],
    /// Bytes in memory.
    size: u32,
    /// Offset in the file.
    offset: u32,
    /// All bytes in the file, padding included.
    raw: &'a [u8],
}

impl<'a> Section<'a> {
    /// Its name without the zeros behind; `None` if it is not ASCII.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let end = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        std::str::from_utf8(self.name.get(..end)?).ok().filter(|name| name.is_ascii())
    }

    /// What of the file is in memory once it is loaded.
    #[must_use]
    pub fn contents(&self) -> &'a [u8] {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        self.raw.get(..size).unwrap_or(self.raw)
    }

    /// Zeros that follow the contents in memory.
    #[must_use]
    pub fn zeros(&self) -> u64 {
        u64::from(self.size).saturating_sub(self.contents().len() as u64)
    }
}

impl<'a> Image<'a> {
    /// Reads the headers.
    ///
    /// # Errors
    /// Not a PE image of a kind that UEFI starts, or one whose parts lie outside the file.
    pub fn parse(image: &'a [u8]) -> Result<Self, Unmeasurable> {
        let file = Bytes::new("PE image", image);
        file.limited("size", file.len(), IMAGE_BYTES_MAX)?;
        if file.slice(0, 2, "DOS header").ok() != Some(b"MZ") {
            return Err(file.missing("DOS header"));
        }
        let header = u64::from(file.u32_le(0x3c, "PE header offset")?);
        if file.slice(header, 4, "PE header").ok() != Some(b"PE\0\0") {
            return Err(file.missing("PE header"));
        }
        let count = u64::from(file.u16_le(header + 6, "number of sections")?);
        file.limited("number of sections", count, SECTIONS_MAX)?;
        let optional = header + 24;
        let optional_size = u64::from(file.u16_le(header + 20, "optional header size")?);
        let directory = match file.u16_le(optional, "optional header magic")? {
            0x20b => optional + 112,
            0x10b => optional + 96,
            other => return Err(file.value("optional header magic", other.into())),
        };
        let entries = u64::from(file.u32_le(directory - 4, "data directory size")?);
        if entries > DIRECTORIES_MAX || directory + 8 * entries > optional + optional_size {
            return Err(file.value("data directory size", entries));
        }
        let headers = u64::from(file.u32_le(optional + 60, "headers size")?);
        let table = optional + optional_size;
        if headers < table + 40 * count {
            return Err(file.value("headers size", headers));
        }
        file.slice(0, headers, "headers")?;
        let sections = (0..count).map(|index| Self::section(file, table + 40 * index)).collect::<Result<_, _>>()?;
        let security = (entries > 4).then_some(directory + 8 * 4);
        Ok(Self { file, checksum: optional + 64, security, headers, sections })
    }

    fn section(file: Bytes<'a>, at: u64) -> Result<Section<'a>, Unmeasurable> {
        let name = file.array(at, "section name")?;
        let size = file.u32_le(at + 8, "section virtual size")?;
        let raw_size = file.u32_le(at + 16, "section raw size")?;
        let offset = file.u32_le(at + 20, "section offset")?;
        let raw = match raw_size {
            0 => &[],
            length => file.slice(offset.into(), length.into(), "section contents")?,
        };
        Ok(Section { name, size, offset, raw })
    }

    /// The sections, in the order of their table.
    #[must_use]
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// Place and size of the attached signatures, as the data directory claims.
    fn attached(&self) -> Result<(u64, u64), Unmeasurable> {
        match self.security {
            Some(entry) => {
                let place = self.file.u32_le(entry, "signature offset")?;
                let size = self.file.u32_le(entry + 4, "signature size")?;
                Ok((place.into(), size.into()))
            }
            None => Ok((0, 0)),
        }
    }
}
