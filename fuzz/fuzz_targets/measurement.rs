//! Firmware and images that somebody else made: whatever the bytes, they are measured or refused.
#![no_main]

use holdfast_evidence::crypto::HashAlg;
use holdfast_measurement::eif::Eif;
use holdfast_measurement::snp::{CpuSignature, Launch, Vmm};
use holdfast_measurement::tdx::{PageOrder, mrtd};
use holdfast_measurement::uki::Uki;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let cpu = CpuSignature::new(0);
    let launch = Launch { firmware: bytes, kernel: None, vcpus: 2, cpu, guest_features: 1, vmm: Vmm::Qemu };
    let _ = launch.measure();
    let _ = mrtd(bytes, PageOrder::EachPage);
    let _ = Eif::parse(bytes).map(|eif| eif.pcrs());
    if let Ok(uki) = Uki::parse(bytes, 0) {
        let _ = uki.image().authenticode(HashAlg::Sha256);
        let _ = uki.pcr9(HashAlg::Sha256);
        let _ = uki.pcr11(HashAlg::Sha256, &[]);
    }
});
