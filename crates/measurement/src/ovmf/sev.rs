//! The SEV metadata of OVMF: which pages SEV-SNP measures beside the firmware itself, in the order of the table.
//! `OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm` of edk2.

use super::{Ovmf, SEV_METADATA};
use crate::{PAGE, Unmeasurable};

/// Sections that are looked at; edk2 has six.
const SECTIONS_MAX: u64 = 64;
/// Pages of all sections, 128 MiB: edk2's have half a megabyte, and each is hashed.
const PAGES_MAX: u64 = 1 << 15;

/// What a section is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SevSectionKind {
    /// Memory that firmware uses before it can validate any: zero pages.
    SecMemory,
    /// The secrets page, which the security processor fills.
    Secrets,
    /// The CPUID page, which the security processor checks.
    Cpuid,
    /// The calling area of an SVSM: a zero page.
    SvsmCallingArea,
    /// The hashes of kernel, initrd and command line.
    KernelHashes,
}

impl SevSectionKind {
    /// The name in edk2.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SecMemory => "SNP_SEC_MEM",
            Self::Secrets => "SNP_SECRETS",
            Self::Cpuid => "CPUID",
            Self::SvsmCallingArea => "SVSM_CAA",
            Self::KernelHashes => "SNP_KERNEL_HASHES",
        }
    }
}

/// Pages that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SevSection {
    /// Where they begin in guest memory.
    pub address: u64,
    /// Their bytes, a multiple of 4096.
    pub size: u64,
    /// What they are for.
    pub kind: SevSectionKind,
}

impl Ovmf<'_> {
    /// The sections of the SEV metadata, in order.
    ///
    /// # Errors
    /// There is no metadata, or it is broken, or it has a section of a kind that nobody here knows how to measure.
    pub fn sev_sections(&self) -> Result<Vec<SevSection>, Unmeasurable> {
        let file = self.file;
        let start = self.metadata(&SEV_METADATA, "SEV metadata")?;
        let signature = file.u32_le(start, "SEV metadata signature")?;
        if signature.to_le_bytes() != *b"ASEV" {
            return Err(file.value("SEV metadata signature", signature.into()));
        }
        let version = file.u32_le(start + 8, "SEV metadata version")?;
        if version != 1 {
            return Err(file.value("SEV metadata version", version.into()));
        }
        let count = u64::from(file.u32_le(start + 12, "SEV section count")?);
        file.limited("SEV section count", count, SECTIONS_MAX)?;
        let mut sections = Vec::new();
        let mut pages = 0;
        for index in 0..count {
            let at = start + 16 + 12 * index;
            let address = u64::from(file.u32_le(at, "SEV section address")?);
            let size = u64::from(file.u32_le(at + 4, "SEV section size")?);
            let kind = match file.u32_le(at + 8, "SEV section type")? {
                1 => SevSectionKind::SecMemory,
                2 => SevSectionKind::Secrets,
                3 => SevSectionKind::Cpuid,
                4 => SevSectionKind::SvsmCallingArea,
                0x10 => SevSectionKind::KernelHashes,
                other => return Err(file.value("SEV section type", other.into())),
            };
            if address % PAGE != 0 {
                return Err(file.value("SEV section address", address));
            }
            if size % PAGE != 0 || size == 0 {
                return Err(file.value("SEV section size", size));
            }
            pages += size / PAGE;
            file.limited("pages of SEV sections", pages, PAGES_MAX)?;
            sections.push(SevSection { address, size, kind });
        }
        Ok(sections)
    }
}
