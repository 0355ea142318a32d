//! The page with the hashes of kernel, initrd and command line, as QEMU writes it and firmware checks it.

use holdfast_evidence::crypto::HashAlg;

use crate::ovmf::guid;
use crate::{Input, PAGE, Unmeasurable};

const TABLE: [u8; 16] = guid(0x9438_d606, 0x4f22, 0x4cc9, [0xb4, 0x79, 0xa7, 0x93, 0xd4, 0x11, 0xfd, 0x21]);
const KERNEL: [u8; 16] = guid(0x4de7_9437, 0xabd2, 0x427f, [0xb8, 0x35, 0xd5, 0xb1, 0x72, 0xd2, 0x04, 0x5b]);
const INITRD: [u8; 16] = guid(0x44ba_f731, 0x3a2f, 0x4bd7, [0x9a, 0xf1, 0x41, 0xe2, 0x91, 0x69, 0x78, 0x1d]);
const COMMAND_LINE: [u8; 16] = guid(0x97d0_2dd8, 0xbd20, 0x4c94, [0xaa, 0x78, 0xe7, 0x71, 0x4d, 0x36, 0xab, 0x2a]);

/// GUID, length and SHA-256 of one thing.
const ENTRY_BYTES: u16 = 16 + 2 + 32;
/// The table's own GUID and length, and three entries.
const TABLE_BYTES: u16 = 16 + 2 + 3 * ENTRY_BYTES;

/// A kernel that the hypervisor hands to the firmware.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// The file, as it is: what QEMU changes in its header is not in the hash.
    pub image: &'a [u8],
    /// The initial RAM disk; empty if there is none.
    pub initrd: &'a [u8],
    /// The command line, without the NUL that ends it and is part of what is hashed.
    pub command_line: &'a str,
}

impl Kernel<'_> {
    /// One page with the table at `offset`.
    pub(super) fn page(&self, offset: u64) -> Result<Vec<u8>, Unmeasurable> {
        let entry = |name: &[u8; 16], parts: &[&[u8]]| {
            [&name[..], &ENTRY_BYTES.to_le_bytes(), HashAlg::Sha256.digest(parts).as_bytes()].concat()
        };
        let table = [
            [&TABLE[..], &TABLE_BYTES.to_le_bytes()].concat(),
            entry(&COMMAND_LINE, &[self.command_line.as_bytes(), b"\0"]),
            entry(&INITRD, &[self.initrd]),
            entry(&KERNEL, &[self.image]),
        ];
        let size = usize::try_from(PAGE).unwrap_or(usize::MAX);
        let mut page = vec![0; usize::try_from(offset).unwrap_or(usize::MAX).min(size)];
        page.extend(table.concat());
        // QEMU writes the table padded to 16 bytes
        let padding = usize::from(TABLE_BYTES.next_multiple_of(16) - TABLE_BYTES);
        if page.len() + padding > size {
            return Err(Unmeasurable::Value { file: "firmware", field: "SEV hash table address", found: offset });
        }
        page.resize(size, 0);
        Ok(page)
    }

    /// What goes into the table.
    pub(super) fn inputs(&self) -> [Input; 3] {
        let sha256 = |parts: &[&[u8]]| Some(HashAlg::Sha256.digest(parts));
        let line = self.command_line;
        let initrd = match self.initrd.len() {
            0 => "none".to_owned(),
            size => format!("{size} bytes"),
        };
        [
            Input::new("command line", format!("{line:?} and a NUL"), sha256(&[line.as_bytes(), b"\0"])),
            Input::new("initrd", initrd, sha256(&[self.initrd])),
            Input::new("kernel", format!("{} bytes", self.image.len()), sha256(&[self.image])),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Kernel<'static> = Kernel { image: b"", initrd: b"", command_line: "" };

    #[test]
    fn the_table_stands_where_firmware_looks_for_it() {
        let page = NOTHING.page(0xc00).unwrap();
        assert_eq!(page.len(), 4096);
        assert_eq!(page[0xc00..0xc10], TABLE);
        assert_eq!(page[0xc10..0xc12], [168, 0]);
        assert!(page[..0xc00].iter().chain(&page[0xc00 + 168..]).all(|byte| *byte == 0));
    }

    #[test]
    fn a_table_across_the_end_of_its_page_is_refused() {
        assert!(NOTHING.page(4096 - 176).is_ok());
        for offset in [4096 - 168, 4096 - 100, 4096, u64::MAX] {
            assert_eq!(NOTHING.page(offset).unwrap_err().code(), "measure.value", "{offset}");
        }
    }
}
