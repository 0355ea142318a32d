//! SEV-SNP launch digests: against the published expected ones, and against the `sev` crate over many launches.
//! Reads `shared/vectors`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

#[path = "../../evidence/tests/vectors/mod.rs"]
mod vectors;

use std::path::{Path, PathBuf};

use holdfast_measurement::snp::{IdAuth, IdBlock, Kernel, Launch, Vmm, firmware_digest};
use sev::measurement::snp::{SnpMeasurementArgs, snp_calc_launch_digest};
use sev::measurement::vcpu_types::CpuType;
use sev::measurement::vmsa::{GuestFeatures, VMMType};

fn file(name: &str) -> Option<(PathBuf, Vec<u8>)> {
    let path = vectors::folder()?.join("cvm/snp-measure").join(name);
    let bytes = std::fs::read(&path).unwrap();
    Some((path, bytes))
}

const EMPTY: Option<Kernel<'static>> = Some(Kernel { image: b"", initrd: b"", command_line: "" });
const LINE: Option<Kernel<'static>> =
    Some(Kernel { image: b"", initrd: b"", command_line: "console=ttyS0 loglevel=7" });

/// Digests of `PROVENANCE.md` and of virtee/sev-snp-measure's tests at the commit named there, vCPU type EPYC-v4.
#[allow(clippy::type_complexity, reason = "one row a digest")]
const EXPECTED: &[(&str, u32, u64, Option<Kernel<'static>>, Vmm, &str)] = &[
    (
        "AmdSev",
        1,
        0x1,
        EMPTY,
        Vmm::Qemu,
        "ddc5224521617a536ee7ce9dd6224d1b58a8d4fda1c741f3ac99fc4bfa04ba6e9fc98646d4a07a9079397fa3852819b5",
    ),
    (
        "AmdSev",
        1,
        0x21,
        EMPTY,
        Vmm::Qemu,
        "329c8ce0972ae52343b64d34a434a86f245dfd74f5ed7aae15d22efc78fb9683632b9b50e4e1d7fa41179ef98a7ef198",
    ),
    (
        "AmdSev",
        1,
        0x21,
        LINE,
        Vmm::Qemu,
        "803f691094946e42068aaa3a8f9e26a5c89f36f7b73ecfb28c653360fe4b3aba7e534442e7e1e17895dfe778d0228977",
    ),
    (
        "AmdSev",
        4,
        0x21,
        EMPTY,
        Vmm::Qemu,
        "4953b1fb416fa874980e8442b3706d345926d5f38879134e00813c5d7abcbe78eafe7b422907be0b4698e2414a631942",
    ),
    (
        "AmdSev",
        1,
        0x1,
        EMPTY,
        Vmm::Ec2,
        "7d3756157c805bf6adf617064c8552e8c1688fa1c8756f11cbf56ba5d25c9270fb69c0505c1cbe1c5c66c0e34c6ed3be",
    ),
    (
        "AmdSev",
        1,
        0x1,
        EMPTY,
        Vmm::Ec2Since2026,
        "0883bd0eeb716e65b7b977a321c278d1e51b33b5c655fab985443bbcc65c086b9c15e8a0bd8811050dec7e24964e5056",
    ),
    (
        "AmdSev",
        1,
        0x21,
        EMPTY,
        Vmm::Ec2Since2026,
        "0ce9ccc06bab55eebe8abc234f3df6514883977a68a591b71052498ab52b2f1aa415db338033946ef93aa8278c0d67fb",
    ),
    (
        "AmdSev",
        1,
        0x1,
        EMPTY,
        Vmm::Gce,
        "5da7106cf14cf46b1725ebab123eb9e53bd46a1e9f400cd0c08e7827b04b688ea8b4e403c8404efed4397ea5d5d0722e",
    ),
    (
        "AmdSev",
        4,
        0x1,
        EMPTY,
        Vmm::Gce,
        "5c5debf100fc339f90276e761ee1f1658d08922c3b20e2a2e6c7a6c3370b2452a15a00eae11886a93d6fd1e7ab81e29d",
    ),
    (
        "AmdSev",
        1,
        0x1,
        None,
        Vmm::Qemu,
        "19358ba9a7615534a9a1e2f0dfc29384dcd4dcb7062ff9c6013b26869a5fc6ecabe033c48dd6f6db5d6d76e7c5df632d",
    ),
    (
        "AmdSev",
        1,
        0x21,
        None,
        Vmm::Qemu,
        "e1e1ca029dd7973ab9513295be68198472dcd4fc834bd9af9b63f6e8a1674dbf281a9278a4a2ebe0eed9f22adbcd0e2b",
    ),
    (
        "OvmfX64",
        1,
        0x1,
        None,
        Vmm::Qemu,
        "da0296de8193586a5512078dcd719eccecbd87e2b825ad4148c44f665dc87df21e5b49e21523a9ad993afdb6a30b4005",
    ),
    (
        "OvmfX64",
        1,
        0x21,
        None,
        Vmm::Qemu,
        "28797ae0afaba4005a81e629acebfb59e6687949d6be44007cd5506823b0dd66f146aaae26ff291eed7b493d8a64c385",
    ),
    (
        "OvmfX64",
        1,
        0x1,
        None,
        Vmm::Gce,
        "8a7a9fdc03cea7aef4657c9778048411f87ca280e0939c44c582dc63b4b71faedb861dad4f1cbfc0db471995127fdb6c",
    ),
];

#[test]
fn the_digests_are_the_published_ones() {
    for (firmware, vcpus, guest_features, kernel, vmm, expected) in EXPECTED {
        let Some((_, bytes)) = file(&format!("ovmf_{firmware}_suffix.bin")) else { return };
        let (vcpus, guest_features, kernel, vmm) = (*vcpus, *guest_features, *kernel, *vmm);
        let launch = Launch { firmware: &bytes, kernel, vcpus, cpu: "EPYC-v4".parse().unwrap(), guest_features, vmm };
        let measured = launch.measure().unwrap();
        assert_eq!(hex::encode(measured.digest), *expected, "{firmware} {vcpus} {guest_features:#x} {vmm:?}");
    }
}

#[test]
fn the_digest_of_the_firmware_alone_is_the_published_one() {
    let Some((_, firmware)) = file("ovmf_AmdSev_suffix.bin") else { return };
    assert_eq!(
        hex::encode(firmware_digest(&firmware).unwrap()),
        "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa16aff8c374c2a55c467a50da6d466b74"
    );
}

#[test]
fn a_kernel_that_the_firmware_would_not_measure_is_refused() {
    let Some((_, firmware)) = file("ovmf_OvmfX64_suffix.bin") else { return };
    let cpu = "EPYC-v4".parse().unwrap();
    let launch = Launch { firmware: &firmware, kernel: EMPTY, vcpus: 1, cpu, guest_features: 0x21, vmm: Vmm::Qemu };
    assert_eq!(launch.measure().unwrap_err().code(), "measure.snp.no_kernel_hashes");
    for vcpus in [0, 4097] {
        let launch = Launch { kernel: None, vcpus, ..launch };
        assert!(launch.measure().is_err(), "{vcpus} processors");
    }
}

#[test]
fn each_input_changes_the_digest() {
    let Some((_, firmware)) = file("ovmf_AmdSev_suffix.bin") else { return };
    let mut other_firmware = firmware.clone();
    other_firmware[0] ^= 1;
    let kernel = Kernel { image: b"kernel", initrd: b"initrd", command_line: "quiet" };
    let with = |kernel| Some(kernel);
    let cpu = "EPYC-Milan".parse().unwrap();
    let base = Launch { firmware: &firmware, kernel: Some(kernel), vcpus: 2, cpu, guest_features: 1, vmm: Vmm::Qemu };
    let others = [
        Launch { firmware: &other_firmware, ..base },
        Launch { kernel: None, ..base },
        Launch { kernel: with(Kernel { image: b"other", ..kernel }), ..base },
        Launch { kernel: with(Kernel { initrd: b"other", ..kernel }), ..base },
        Launch { kernel: with(Kernel { initrd: b"", ..kernel }), ..base },
        Launch { kernel: with(Kernel { command_line: "quiet ", ..kernel }), ..base },
        Launch { vcpus: 3, ..base },
        Launch { cpu: "EPYC-Genoa".parse().unwrap(), ..base },
        Launch { guest_features: 0x21, ..base },
        Launch { vmm: Vmm::Ec2, ..base },
        Launch { vmm: Vmm::Ec2Since2026, ..base },
        Launch { vmm: Vmm::Gce, ..base },
        Launch { vmm: Vmm::Krun, ..base },
    ];
    let digests: std::collections::BTreeSet<_> =
        [base].iter().chain(&others).map(|launch| launch.measure().unwrap().digest).collect();
    assert_eq!(digests.len(), 1 + others.len());
}

#[test]
fn every_launch_is_measured_as_the_sev_crate_measures_it() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, contents: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, contents).unwrap();
        path
    };
    let kernel = Kernel { image: b"a kernel", initrd: b"an initrd", command_line: "root=/dev/vda ro" };
    let (kernel_file, initrd_file) = (write("kernel", kernel.image), write("initrd", kernel.initrd));
    let cpus = [
        CpuType::Epyc,
        CpuType::EpycV4,
        CpuType::EpycIBPB,
        CpuType::EpycRome,
        CpuType::EpycMilanV2,
        CpuType::EpycGenoa,
        CpuType::EpycTurinV2,
    ];
    let vmms = [(Vmm::Qemu, VMMType::QEMU), (Vmm::Ec2, VMMType::EC2), (Vmm::Krun, VMMType::KRUN)];
    let mut compared = 0;
    for name in ["ovmf_AmdSev_suffix.bin", "ovmf_OvmfX64_suffix.bin"] {
        let Some((path, firmware)) = file(name) else { return };
        for cpu in cpus {
            for (vmm, their_vmm) in vmms {
                for (vcpus, features, with_kernel) in
                    [(1, 1, true), (1, 0x21, false), (5, 1, true), (255, 0x401, false)]
                {
                    let with_kernel = with_kernel && name.contains("AmdSev");
                    let theirs = their_digest(
                        &path,
                        vcpus,
                        cpu,
                        features,
                        their_vmm,
                        with_kernel.then_some((&kernel_file, &initrd_file)),
                        kernel.command_line,
                    );
                    let launch = Launch {
                        firmware: &firmware,
                        kernel: with_kernel.then_some(kernel),
                        vcpus,
                        cpu: cpu.to_string().parse().unwrap(),
                        guest_features: features,
                        vmm,
                    };
                    assert_eq!(hex::encode(launch.measure().unwrap().digest), theirs, "{name} {cpu} {vmm:?} {vcpus}");
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 2 * 7 * 3 * 4);
}

fn their_digest(
    firmware: &Path,
    vcpus: u32,
    vcpu_type: CpuType,
    features: u64,
    vmm: VMMType,
    kernel: Option<(&PathBuf, &PathBuf)>,
    line: &str,
) -> String {
    let digest = snp_calc_launch_digest(SnpMeasurementArgs {
        vcpus,
        vcpu_type,
        ovmf_file: firmware.to_owned(),
        guest_features: GuestFeatures(features),
        kernel_file: kernel.map(|(kernel, _)| kernel.clone()),
        initrd_file: kernel.map(|(_, initrd)| initrd.clone()),
        append: kernel.map(|_| line),
        ovmf_hash_str: None,
        vmm_type: Some(vmm),
    });
    digest.unwrap().get_hex_ld()
}

#[test]
fn the_keys_of_an_id_authentication_are_read_and_its_signatures_checked() {
    let Some((_, bytes)) = file("id_auth_block.bin") else { return };
    let id_auth = IdAuth::parse(&bytes).unwrap();
    // SHA-384 of the keys' 0x404 bytes, by sha384sum
    let digests = (id_auth.id_key_digest().unwrap(), id_auth.author_key_digest().unwrap().unwrap());
    println!("{} {}", hex::encode(digests.0), hex::encode(digests.1));
    assert_eq!(
        hex::encode(digests.0),
        "59fb2c686dfa4fef49f38339aa775c90051c28d57383ddc3baf3b5eb4b1496df3b0dbbdcbae5fe27677a644820773fe2"
    );
    assert_eq!(
        hex::encode(digests.1),
        "eed81169fb0cb5e0ec34794f128fd4e0c4a46f67c65a1adfa81fcb24bcc088c272369b7ffc3eb2b6af6a4284a1b36c5f"
    );
    let block = IdBlock { measurement: [0; 48], family_id: [0; 16], image_id: [0; 16], guest_svn: 0, policy: 0x30000 };
    assert_eq!(block.encode().len(), 96);
    assert_eq!(id_auth.verify(&block).unwrap_err().signature, "the signature over the ID block");
    for (at, code) in [(0, "measure.value"), (0x240, "measure.value"), (0x8, "measure.value"), (0xfff, "measure.value")]
    {
        let mut bad = bytes.clone();
        bad[at] ^= 0x40;
        assert_eq!(IdAuth::parse(&bad).unwrap_err().code(), code, "byte {at:#x}");
    }
    assert!(IdAuth::parse(&bytes[1..]).is_err());
}
