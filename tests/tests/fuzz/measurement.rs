//! Firmware and images that are measured before they run.

use holdfast_evidence::crypto;
use holdfast_measurement::eif::Eif;
use holdfast_measurement::snp::{CpuSignature, Launch, Vmm};
use holdfast_measurement::tdx::{PageOrder, mrtd};
use holdfast_measurement::uki::Uki;

use super::fuzz;

/// Firmware of one page with a table of one SEV section, an enclave image, a unified kernel image.
fn measured() -> Vec<Vec<u8>> {
    let guid = |text: &str| hex::decode(text).unwrap();
    let entry = |contents: &[u8], name: &str| {
        [contents, &u16::try_from(contents.len() + 18).unwrap().to_le_bytes(), &guid(name)].concat()
    };
    let sev =
        [&b"ASEV"[..], &[28, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0], &[0, 0, 0x80, 0, 0, 0x10, 0, 0, 1, 0, 0, 0]].concat();
    let tdx = [
        &b"TDVF"[..],
        &[48, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0],
        &[0; 8],
        &[0, 0, 1, 0, 0, 0, 0, 0],
        &[0, 0x10, 0, 0, 0, 0, 0, 0],
        &[3, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let entries = [
        entry(&4096_u32.to_le_bytes(), "6665 88dc4a989847a75e5585a7bf67cc".replace(' ', "").as_str()),
        entry(&4068_u32.to_le_bytes(), "35657ae44a989847865e4685a7bf8ec2"),
        entry(&0x80_b004_u32.to_le_bytes(), "de71f7007e1acb4f890e68c77e2fb44e"),
    ]
    .concat();
    let table = entry(&entries, "de82b596b21ff745baeaa366c55a082d");
    let mut firmware = [sev, tdx].concat();
    firmware.resize(4096 - 32 - table.len(), 0);
    firmware.extend([&table[..], &[0; 32]].concat());
    let mut eif = [&b".eif"[..], &[0, 4], &[0; 542]].concat();
    eif.extend([0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7]);
    let mut uki = vec![0; 2048];
    let mut put = |at: usize, bytes: &[u8]| uki[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &[0x80]);
    put(0x80, b"PE\0\0\x64\x86\x02");
    put(0x94, &[240]);
    put(0x98, &[0x0b, 2]);
    put(0x98 + 60, &[0, 4]);
    put(0x98 + 108, &[16]);
    put(0x188, b".sdmagic\x30\0\0\0\0\x10\0\0\x40\0\0\0\0\x04\0\0");
    put(0x1b0, b".linux\0\0\x40\0\0\0\0\x20\0\0\x40\0\0\0\x40\x04\0\0");
    put(0x400, b"#### LoaderInfo: systemd-stub 257 ####");
    vec![firmware, eif, uki]
}

fn launch(firmware: &[u8]) -> Launch<'_> {
    let cpu = CpuSignature::new(0);
    Launch { firmware, kernel: None, vcpus: 2, cpu, guest_features: 1, vmm: Vmm::Qemu }
}

#[test]
fn firmware_and_images_that_are_measured() {
    let seeds = measured();
    assert!(launch(&seeds[0]).measure().is_ok() && mrtd(&seeds[0], PageOrder::EachPage).is_ok());
    assert!(Uki::parse(&seeds[2], 0).is_ok(), "{:?}", Uki::parse(&seeds[2], 0));
    fuzz("measured", &seeds, |bytes| {
        let _ = launch(bytes).measure();
        let _ = mrtd(bytes, PageOrder::EachPage);
        let _ = Eif::parse(bytes).map(|eif| eif.pcrs());
        if let Ok(uki) = Uki::parse(bytes, 0) {
            let _ = uki.image().authenticode(crypto::HashAlg::Sha256);
            let _ = uki.image().signatures();
            let _ = uki.pcr9(crypto::HashAlg::Sha256);
            let _ = uki.pcr11(crypto::HashAlg::Sha256, &[]);
        }
    });
}
