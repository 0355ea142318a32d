//! The table that OVMF carries 32 bytes before its end: entries by GUID, from which SEV-SNP and TDX find what they
//! must measure and where. Reads the table; [`crate::snp`] and [`crate::tdx`] measure.

mod sev;
mod tdvf;

pub use sev::{SevSection, SevSectionKind};
pub use tdvf::{TdvfSection, TdvfSectionKind};

use crate::Unmeasurable;
use crate::bytes::Bytes;

/// Largest firmware: flash ends at 4 GiB and edk2's largest builds have 16 MiB.
pub const FIRMWARE_BYTES_MAX: u64 = 64 << 20;
/// Entries of the table that are looked at; edk2 has nine.
const ENTRIES_MAX: usize = 64;
/// Where the firmware ends in guest memory.
const END: u64 = 1 << 32;
/// Length and GUID that follow the contents of each entry.
const ENTRY_HEADER: u64 = 18;

/// A GUID as it stands in memory: the first three fields little-endian.
pub(crate) const fn guid(a: u32, b: u16, c: u16, rest: [u8; 8]) -> [u8; 16] {
    let ([a0, a1, a2, a3], [b0, b1], [c0, c1]) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rest;
    [a0, a1, a2, a3, b0, b1, c0, c1, r0, r1, r2, r3, r4, r5, r6, r7]
}

const TABLE_FOOTER: [u8; 16] = guid(0x96b5_82de, 0x1fb2, 0x45f7, [0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d]);
const SEV_HASH_TABLE: [u8; 16] = guid(0x7255_371f, 0x3a3b, 0x4b04, [0x92, 0x7b, 0x1d, 0xa6, 0xef, 0xa8, 0xd4, 0x54]);
const SEV_ES_RESET: [u8; 16] = guid(0x00f7_71de, 0x1a7e, 0x4fcb, [0x89, 0x0e, 0x68, 0xc7, 0x7e, 0x2f, 0xb4, 0x4e]);
const SEV_METADATA: [u8; 16] = guid(0xdc88_6566, 0x984a, 0x4798, [0xa7, 0x5e, 0x55, 0x85, 0xa7, 0xbf, 0x67, 0xcc]);
const TDX_METADATA: [u8; 16] = guid(0xe47a_6535, 0x984a, 0x4798, [0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2]);

/// A firmware image and the entries of its table.
#[derive(Clone, Debug)]
pub struct Ovmf<'a> {
    file: Bytes<'a>,
    entries: Vec<([u8; 16], &'a [u8])>,
}

impl<'a> Ovmf<'a> {
    /// Reads the table.
    ///
    /// # Errors
    /// The file is larger than [`FIRMWARE_BYTES_MAX`], has no table, or the table is broken.
    pub fn parse(firmware: &'a [u8]) -> Result<Self, Unmeasurable> {
        let file = Bytes::new("firmware", firmware);
        file.limited("size", file.len(), FIRMWARE_BYTES_MAX)?;
        let footer = file.len().checked_sub(32 + ENTRY_HEADER).ok_or(file.missing("OVMF table"))?;
        if file.array::<16>(footer + 2, "table GUID")? != TABLE_FOOTER {
            return Err(file.missing("OVMF table"));
        }
        let size = u64::from(file.u16_le(footer, "table size")?);
        let contents = size.checked_sub(ENTRY_HEADER).ok_or(file.value("table size", size))?;
        let start = footer.checked_sub(contents).ok_or(file.value("table size", size))?;
        let table = Bytes::new("firmware", file.slice(start, contents, "table")?);
        let mut entries = Vec::new();
        let mut end = table.len();
        while end >= ENTRY_HEADER {
            file.limited("table entries", entries.len() as u64, ENTRIES_MAX as u64)?;
            let header = end - ENTRY_HEADER;
            let length = u64::from(table.u16_le(header, "entry length")?);
            let name = table.array(header + 2, "entry GUID")?;
            let contents = length.checked_sub(ENTRY_HEADER).ok_or(file.value("entry length", length))?;
            let at = header.checked_sub(contents).ok_or(file.value("entry length", length))?;
            entries.push((name, table.slice(at, contents, "entry")?));
            end = at;
        }
        Ok(Self { file, entries })
    }

    /// The image.
    #[must_use]
    pub const fn contents(&self) -> &'a [u8] {
        self.file.all()
    }

    /// Where it begins in guest memory: it ends at 4 GiB.
    #[must_use]
    pub const fn address(&self) -> u64 {
        END.saturating_sub(self.file.len())
    }

    /// Where processors beyond the first start; `None` without a SEV-ES reset block.
    ///
    /// # Errors
    /// The block is shorter than the address.
    pub fn reset_address(&self) -> Result<Option<u32>, Unmeasurable> {
        self.word(&SEV_ES_RESET, "SEV-ES reset block")
    }

    /// Where the table with the hashes of kernel, initrd and command line lies in guest memory; `None` if there is no
    /// room for one.
    ///
    /// # Errors
    /// The block is shorter than the address.
    pub fn hash_table_address(&self) -> Result<Option<u32>, Unmeasurable> {
        Ok(self.word(&SEV_HASH_TABLE, "SEV hash table block")?.filter(|address| *address != 0))
    }

    fn word(&self, name: &[u8; 16], field: &'static str) -> Result<Option<u32>, Unmeasurable> {
        match self.entry(name) {
            Some(entry) => Bytes::new("firmware", entry).u32_le(0, field).map(Some),
            None => Ok(None),
        }
    }

    /// The entry nearest to the end: the one that firmware and hypervisor find first.
    fn entry(&self, name: &[u8; 16]) -> Option<&'a [u8]> {
        self.entries.iter().find(|(found, _)| found == name).map(|(_, contents)| *contents)
    }

    /// Start of the metadata whose distance from the end stands in the entry `name`.
    fn metadata(&self, name: &[u8; 16], part: &'static str) -> Result<u64, Unmeasurable> {
        let distance = self.word(name, part)?.ok_or(self.file.missing(part))?;
        self.file.len().checked_sub(distance.into()).ok_or(self.file.value(part, distance.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_table(entries: &[([u8; 16], Vec<u8>)]) -> Vec<u8> {
        let mut table = Vec::new();
        for (name, contents) in entries {
            table.extend(contents);
            table.extend(u16::try_from(contents.len() + 18).unwrap().to_le_bytes());
            table.extend(name);
        }
        let size = u16::try_from(table.len() + 18).unwrap();
        table.extend(size.to_le_bytes());
        table.extend(TABLE_FOOTER);
        table.extend([0; 32]);
        let mut firmware = vec![0; 4096 - table.len()];
        firmware.extend(table);
        firmware
    }

    #[test]
    fn entries_are_found_by_guid_from_the_end() {
        let firmware = with_table(&[
            (SEV_ES_RESET, vec![1, 0, 0, 0]),
            (SEV_HASH_TABLE, vec![0; 8]),
            (SEV_ES_RESET, vec![4, 0xb0, 0x80, 0]),
        ]);
        let ovmf = Ovmf::parse(&firmware).unwrap();
        assert_eq!(ovmf.reset_address(), Ok(Some(0x0080_b004)));
        assert_eq!(ovmf.hash_table_address(), Ok(None), "an address of zero is no table");
        assert_eq!(ovmf.address(), 0xffff_f000);
    }

    #[test]
    fn a_firmware_without_a_table_or_with_a_broken_one_is_refused() {
        let code = |firmware: &[u8]| Ovmf::parse(firmware).unwrap_err().code();
        assert_eq!(code(&[]), "measure.missing");
        assert_eq!(code(&[0; 4096]), "measure.missing");
        let good = with_table(&[(SEV_ES_RESET, vec![0; 4])]);
        let footer = good.len() - 50;
        let mut bad = good.clone();
        bad[footer..footer + 2].copy_from_slice(&17_u16.to_le_bytes());
        assert_eq!(code(&bad), "measure.value", "table shorter than its own header");
        bad[footer..footer + 2].copy_from_slice(&u16::MAX.to_le_bytes());
        assert_eq!(code(&bad), "measure.value", "table longer than the file");
        let mut bad = good;
        bad[footer - 18..footer - 16].copy_from_slice(&0_u16.to_le_bytes());
        assert_eq!(code(&bad), "measure.value", "an entry of length zero would be read for ever");
    }
}
