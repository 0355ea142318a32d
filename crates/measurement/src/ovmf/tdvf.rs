//! The TDX metadata of OVMF: which pages the TDX module adds to a guest, and which of them it measures.
//! Intel TDX Virtual Firmware Design Guide, "TDVF descriptor".

use super::{Ovmf, TDX_METADATA};
use crate::{PAGE, Unmeasurable};

/// Sections that are looked at; edk2 has six.
const SECTIONS_MAX: u64 = 64;
/// Pages of all sections that a guest begins with, 128 MiB: each is hashed.
const PAGES_MAX: u64 = 1 << 15;

/// What a section is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TdvfSectionKind {
    /// The boot firmware volume: code.
    Bfv,
    /// The configuration firmware volume: variables.
    Cfv,
    /// The hand-off block, which the hypervisor fills.
    TdHob,
    /// Memory for stack and heap, zero.
    TemporaryMemory,
    /// Memory that is given without being measured.
    PermanentMemory,
    /// The payload.
    Payload,
    /// Parameters of the payload.
    PayloadParameters,
    /// Another type.
    Other(u32),
}

impl TdvfSectionKind {
    /// The name in the design guide.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bfv => "BFV",
            Self::Cfv => "CFV",
            Self::TdHob => "TD_HOB",
            Self::TemporaryMemory => "TempMem",
            Self::PermanentMemory => "PermMem",
            Self::Payload => "Payload",
            Self::PayloadParameters => "PayloadParam",
            Self::Other(_) => "other",
        }
    }
}

/// Pages of the guest before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TdvfSection<'a> {
    /// What they are for.
    pub kind: TdvfSectionKind,
    /// Where they begin in guest memory.
    pub address: u64,
    /// Their bytes, a multiple of 4096.
    pub size: u64,
    /// What of the firmware they hold; zeros follow.
    pub contents: &'a [u8],
    /// `MR.EXTEND`: the contents are measured, not only that the page is there.
    pub is_extended: bool,
    /// `PAGE.AUG`: the pages are added later, and nothing about them is measured.
    pub is_added_later: bool,
}

impl<'a> Ovmf<'a> {
    /// The sections of the TDX metadata, in order.
    ///
    /// # Errors
    /// There is no metadata, or it is broken.
    pub fn tdvf_sections(&self) -> Result<Vec<TdvfSection<'a>>, Unmeasurable> {
        let file = self.file;
        let start = self.metadata(&TDX_METADATA, "TDX metadata")?;
        let signature = file.u32_le(start, "TDX metadata signature")?;
        if signature.to_le_bytes() != *b"TDVF" {
            return Err(file.value("TDX metadata signature", signature.into()));
        }
        let version = file.u32_le(start + 8, "TDX metadata version")?;
        if version != 1 {
            return Err(file.value("TDX metadata version", version.into()));
        }
        let count = u64::from(file.u32_le(start + 12, "TDX section count")?);
        file.limited("TDX section count", count, SECTIONS_MAX)?;
        let mut sections = Vec::new();
        let mut pages = 0_u64;
        for index in 0..count {
            let section = self.tdvf_section(start + 16 + 32 * index)?;
            if !section.is_added_later {
                pages = pages.saturating_add(section.size / PAGE);
                file.limited("pages of TDX sections", pages, PAGES_MAX)?;
            }
            sections.push(section);
        }
        Ok(sections)
    }

    fn tdvf_section(&self, at: u64) -> Result<TdvfSection<'a>, Unmeasurable> {
        let file = self.file;
        let offset = u64::from(file.u32_le(at, "TDX section offset")?);
        let raw_size = u64::from(file.u32_le(at + 4, "TDX section raw size")?);
        let address = file.u64_le(at + 8, "TDX section address")?;
        let size = file.u64_le(at + 16, "TDX section memory size")?;
        let kind = match file.u32_le(at + 24, "TDX section type")? {
            0 => TdvfSectionKind::Bfv,
            1 => TdvfSectionKind::Cfv,
            2 => TdvfSectionKind::TdHob,
            3 => TdvfSectionKind::TemporaryMemory,
            4 => TdvfSectionKind::PermanentMemory,
            5 => TdvfSectionKind::Payload,
            6 => TdvfSectionKind::PayloadParameters,
            other => TdvfSectionKind::Other(other),
        };
        let attributes = file.u32_le(at + 28, "TDX section attributes")?;
        if attributes & !3 != 0 {
            return Err(file.value("TDX section attributes", attributes.into()));
        }
        if address % PAGE != 0 || address.checked_add(size).is_none() {
            return Err(file.value("TDX section address", address));
        }
        if size % PAGE != 0 || size < raw_size {
            return Err(file.value("TDX section memory size", size));
        }
        let (is_extended, is_added_later) = (attributes & 1 != 0, attributes & 2 != 0);
        if is_extended && is_added_later {
            return Err(file.value("TDX section attributes", attributes.into()));
        }
        let contents = file.slice(offset, raw_size, "TDX section contents")?;
        Ok(TdvfSection { kind, address, size, contents, is_extended, is_added_later })
    }
}
