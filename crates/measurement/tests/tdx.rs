//! TDX measurements of firmware that the test writes, and of Debian's where it is installed.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

mod image;

use holdfast_evidence::crypto::HashAlg;
use holdfast_measurement::tdx::{DirectBoot, KernelHeader, PageOrder, mrtd};

/// A section: offset, raw size, address, memory size, type, attributes.
type Section = (u32, u32, u64, u64, u32, u32);

/// Firmware of two pages: contents, then metadata and the table in the second.
fn firmware(sections: &[Section]) -> Vec<u8> {
    let mut file: Vec<u8> = (0..4096_u32).flat_map(|n| [u8::try_from(n % 251).unwrap()]).collect();
    file.extend(b"TDVF");
    file.extend(0_u32.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend(u32::try_from(sections.len()).unwrap().to_le_bytes());
    for (offset, raw, address, size, kind, attributes) in sections {
        file.extend(offset.to_le_bytes());
        file.extend(raw.to_le_bytes());
        file.extend(address.to_le_bytes());
        file.extend(size.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(attributes.to_le_bytes());
    }
    let metadata_guid = "35657ae44a98984786 5e4685a7bf8ec2".replace(' ', "");
    let footer_guid = "de82b596b21ff745baeaa366c55a082d";
    let mut table = 4096_u32.to_le_bytes().to_vec();
    table.extend(22_u16.to_le_bytes());
    table.extend(hex::decode(metadata_guid).unwrap());
    table.extend(40_u16.to_le_bytes());
    table.extend(hex::decode(footer_guid).unwrap());
    file.resize(8192 - 32 - table.len(), 0);
    file.extend(table);
    file.resize(8192, 0);
    file
}

fn operation(name: &[u8], address: u64) -> Vec<u8> {
    let mut operation = name.to_vec();
    operation.resize(16, 0);
    operation.extend(address.to_le_bytes());
    operation.resize(128, 0);
    operation
}

const SECTIONS: [Section; 3] =
    [(0, 4096, 0xffff_0000, 8192, 0, 1), (0, 0, 0x80_0000, 4096, 3, 0), (0, 0, 0x1_0000_0000, 1 << 40, 4, 2)];

#[test]
fn pages_are_added_and_measured_in_the_order_of_the_hypervisor() {
    let firmware = firmware(&SECTIONS);
    let page = |address| operation(b"MEM.PAGE.ADD", address);
    let chunks = |address: u64, contents: &[u8]| -> Vec<u8> {
        (0..16)
            .flat_map(|chunk| {
                let at = chunk * 256;
                [operation(b"MR.EXTEND", address + at as u64), contents[at..at + 256].to_vec()].concat()
            })
            .collect()
    };
    let (first, second) = (&firmware[..4096], &[0; 4096]);
    let each_page = [
        page(0xffff_0000),
        chunks(0xffff_0000, first),
        page(0xffff_1000),
        chunks(0xffff_1000, second),
        page(0x80_0000),
    ];
    let each_section = [
        page(0xffff_0000),
        page(0xffff_1000),
        chunks(0xffff_0000, first),
        chunks(0xffff_1000, second),
        page(0x80_0000),
    ];
    for (order, operations) in [(PageOrder::EachPage, each_page), (PageOrder::EachSection, each_section)] {
        let expected = HashAlg::Sha384.digest(&[&operations.concat()]);
        assert_eq!(mrtd(&firmware, order).unwrap().digest, expected.as_bytes(), "{order:?}");
    }
}

#[test]
fn broken_metadata_is_refused() {
    let code = |sections: &[Section]| mrtd(&firmware(sections), PageOrder::EachPage).unwrap_err().code();
    assert_eq!(code(&[(0, 4096, 0x1001, 4096, 0, 1)]), "measure.value", "address within a page");
    assert_eq!(code(&[(0, 4096, 0x1000, 4097, 0, 1)]), "measure.value", "size of half a page");
    assert_eq!(code(&[(0, 8192, 0x1000, 4096, 0, 1)]), "measure.value", "more contents than memory");
    assert_eq!(code(&[(0, 4096, 0x1000, 4096, 0, 4)]), "measure.value", "unknown attribute");
    assert_eq!(code(&[(0, 4096, 0x1000, 4096, 0, 3)]), "measure.value", "measured and added later");
    assert_eq!(code(&[(u32::MAX, 4096, 0x1000, 4096, 0, 1)]), "measure.truncated", "contents outside the file");
    assert_eq!(code(&[(0, 0, 0, 1 << 50, 3, 0)]), "measure.too_large", "a petabyte");
    assert_eq!(code(&[(0, 0, u64::MAX - 0xfff, 0x2000, 3, 2)]), "measure.value", "beyond the last address");
}

/// Digests by an independent calculation over Debian's ovmf 2022.11-6+deb12u2.
#[test]
fn the_firmware_of_debian_measures_as_another_program_says() {
    let Ok(firmware) = std::fs::read("/usr/share/ovmf/OVMF.fd") else {
        println!("skipped: Debian's package ovmf is not installed");
        return;
    };
    let version = "fa0dd56f4e3156e03cb377d56b5785bda51999a9c01fcf4e3d00e8848d6fe02a94d95e2c1fab707a000bb08674a7ce6a";
    if HashAlg::Sha384.digest(&[&firmware]).to_string() != version {
        println!("skipped: another version of Debian's package ovmf");
        return;
    }
    let digest = |order| hex::encode(mrtd(&firmware, order).unwrap().digest);
    assert_eq!(
        digest(PageOrder::EachPage),
        "4c7206f0f483c524f12c366c711e9049030a8d47c471ee5aa9c4999a08de4057fb887fed0744d5631a212967fb231c47"
    );
    assert_eq!(
        digest(PageOrder::EachSection),
        "acccbcc870a381adab0d3919d90a7f268ac3b0364771f202ed4bb4e892d045b33db3b32e6924cba830a724eed443f7e1"
    );
}

/// A kernel that is a PE image, with the boot header of protocol 2.15.
fn kernel() -> Vec<u8> {
    let mut file = image::image(&[(".text", &[1; 4096])], b"", b"");
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    file[0x211] = 1;
    file
}

#[test]
fn what_qemu_fills_into_the_header_is_measured() {
    let kernel = kernel();
    let boot = |header| DirectBoot { kernel: &kernel, initrd: &[0; 5000], command_line: "quiet", header };
    let as_is = boot(KernelHeader::AsIs).measure().unwrap();
    let patched = boot(KernelHeader::Patched { memory: 2 << 30 }).measure().unwrap();
    assert_ne!(as_is.rtmr1.value(), patched.rtmr1.value());
    assert_eq!(as_is.rtmr2, patched.rtmr2);
    // loader, heap, command line; initrd as high as 2 GiB less the ACPI tables allow
    let mut expected = kernel.clone();
    expected[0x210] = 0xb0;
    expected[0x211] = 0x81;
    expected[0x218..0x21c].copy_from_slice(&0x37ff_e000_u32.to_le_bytes());
    expected[0x21c..0x220].copy_from_slice(&5000_u32.to_le_bytes());
    expected[0x224..0x228].copy_from_slice(&0xfe00_u32.to_le_bytes());
    expected[0x228..0x22c].copy_from_slice(&0x20000_u32.to_le_bytes());
    let by_hand = DirectBoot { kernel: &expected, ..boot(KernelHeader::AsIs) };
    assert_eq!(
        by_hand.kernel_digest(HashAlg::Sha384),
        boot(KernelHeader::Patched { memory: 2 << 30 }).kernel_digest(HashAlg::Sha384)
    );
    let no_kernel = DirectBoot { kernel: b"MZ", ..boot(KernelHeader::Patched { memory: 2 << 30 }) };
    assert_eq!(no_kernel.measure().unwrap_err().code(), "measure.missing");
}
