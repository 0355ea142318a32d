//! `measure` on the command line: what it prints, what it writes, and what it says of live evidence. Reads
//! `shared/vectors`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

#[path = "../../crates/measurement/tests/image/mod.rs"]
mod image;
#[path = "../../crates/evidence/tests/vectors/mod.rs"]
mod vectors;

use std::path::{Path, PathBuf};

use clap::Parser as _;
use holdfast_appraisal::{Document, ReferenceValues};
use holdfast_policy::cli::{Cli, run};
use holdfast_policy::exit::Exit;
use serde_json::Value;

fn measure(arguments: &[&str]) -> (Exit, String) {
    let cli = Cli::try_parse_from([&["holdfast-policy", "measure"], arguments].concat()).unwrap();
    let mut out = Vec::new();
    let exit = run(&cli, &mut out).unwrap();
    (exit, String::from_utf8(out).unwrap())
}

fn json(arguments: &[&str]) -> (Exit, Value) {
    let (exit, out) = measure(&[arguments, &["--output", "json"]].concat());
    (exit, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}")))
}

/// The value of a fact in a report.
fn value<'a>(report: &'a Value, fact: &str) -> &'a str {
    let values = report["values"].as_array().unwrap();
    let found = values.iter().find(|value| value["fact"] == fact).unwrap_or_else(|| panic!("no {fact} in {report}"));
    found["value"].as_str().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn ovmf(name: &str) -> Option<PathBuf> {
    Some(vectors::folder()?.join("cvm/snp-measure").join(format!("ovmf_{name}_suffix.bin")))
}

#[test]
fn the_launch_digest_is_the_published_one_and_each_input_is_shown() {
    let Some(ovmf) = ovmf("AmdSev") else { return };
    let line = "console=ttyS0 loglevel=7";
    let flags = ["snp", "--ovmf", text(&ovmf), "--kernel", "/dev/null", "--initrd", "/dev/null", "--append", line];
    let flags = [&flags[..], &["--vcpus", "1", "--vcpu-type", "EPYC-v4", "--guest-features", "0x21"]].concat();
    let (exit, report) = json(&flags);
    assert_eq!(exit, Exit::Yes);
    assert_eq!(
        value(&report, "snp.measurement"),
        "803f691094946e42068aaa3a8f9e26a5c89f36f7b73ecfb28c653360fe4b3aba7e534442e7e1e17895dfe778d0228977"
    );
    let names: Vec<&str> = report["inputs"].as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
    for name in ["firmware", "command line", "initrd", "kernel", "SNP_KERNEL_HASHES", "vcpu 0", "guest features", "vmm"]
    {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let (_, out) = measure(&flags);
    assert!(out.contains("console=ttyS0 loglevel=7") && out.contains("0x21"), "{out}");
    let ec2 = ["snp", "--ovmf", text(&ovmf), "--kernel", "/dev/null", "--vcpus", "1", "--vmm", "ec2"];
    assert!(value(&json(&ec2).1, "snp.measurement").starts_with("7d3756157c805bf6"));
}

#[test]
fn a_kernel_that_the_firmware_would_not_measure_is_an_error() {
    let Some(ovmf) = ovmf("OvmfX64") else { return };
    let flags = ["snp", "--ovmf", text(&ovmf), "--vcpus", "1", "--vcpu-type", "EPYC-v4", "--kernel", "/dev/null"];
    let (exit, report) = json(&flags);
    assert_eq!((exit, &report["code"]), (Exit::Refused, &"measure.snp.no_kernel_hashes".into()));
    let (_, out) = measure(&flags);
    assert!(out.contains("would not be measured"), "{out}");
}

#[test]
fn reference_values_are_written_once_and_can_be_read() {
    let Some(ovmf) = ovmf("OvmfX64") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guest-1.toml");
    let flags = ["snp", "--ovmf", text(&ovmf), "--vcpus", "1", "--vcpu-type", "EPYC-v4", "--write", text(&file)];
    let (exit, report) = json(&flags);
    assert_eq!(exit, Exit::Yes);
    let written = std::fs::read_to_string(&file).unwrap();
    let values = ReferenceValues::parse(Document { name: "guest-1.toml", text: &written }).unwrap();
    let fact = holdfast_appraisal::FactId::parse("snp.measurement").unwrap();
    assert_eq!(values.name, "guest-1");
    assert_eq!(values.get(fact).unwrap()[0].value.to_string(), value(&report, "snp.measurement"));
    let cli = Cli::try_parse_from([&["holdfast-policy", "measure"], &flags[..]].concat()).unwrap();
    assert!(run(&cli, &mut Vec::new()).is_err(), "a file that exists is not overwritten");
}

/// A report with these fields and nothing else that anybody verified.
fn report(measurement: &str, host_data: [u8; 32]) -> Vec<u8> {
    let mut report = vec![0; 1184];
    report[0] = 2;
    report[0x34] = 1;
    report[0x90..0x90 + 48].copy_from_slice(&hex::decode(measurement).unwrap());
    report[0xc0..0xe0].copy_from_slice(&host_data);
    report
}

#[test]
fn the_input_that_differs_is_found() {
    let Some(ovmf) = ovmf("AmdSev") else { return };
    let folder = tempfile::tempdir().unwrap();
    let live = folder.path().join("report.bin");
    let host_data = "11".repeat(32);
    let base =
        |vcpus| ["snp", "--ovmf", text(&ovmf), "--kernel", "/dev/null", "--vcpus", vcpus, "--vcpu-type", "EPYC-v4"];
    let diff = |flags: &[&str]| {
        let shared = ["--host-data", &host_data, "--diff-report", text(&live)];
        let (exit, report) = json(&[flags, &shared].concat());
        (exit, report["difference"].clone())
    };
    let measured = json(&[&base("4")[..], &["--guest-features", "0x21"]].concat()).1;
    std::fs::write(&live, report(value(&measured, "snp.measurement"), [0x11; 32])).unwrap();
    let (exit, difference) = diff(&[&base("4")[..], &["--guest-features", "0x21"]].concat());
    assert_eq!((exit, &difference["equal"]), (Exit::Yes, &true.into()), "{difference}");
    for (flags, found) in [
        (base("2").to_vec(), "it is what is measured with --guest-features 0x21 and --vcpus 4"),
        ([&base("4")[..], &["--guest-features", "0x1"]].concat(), "it is what is measured with --guest-features 0x21"),
        ([&base("1")[..], &["--guest-features", "0x21"]].concat(), "it is what is measured with --vcpus 4"),
    ] {
        let (exit, difference) = diff(&flags);
        assert_eq!(exit, Exit::Refused);
        assert_eq!(difference["explanations"][0], found, "{difference}");
        assert_eq!(difference["verified"], false, "nobody verified the report");
    }
    std::fs::write(&live, report(value(&measured, "snp.measurement"), [0x12; 32])).unwrap();
    let (exit, difference) = diff(&[&base("4")[..], &["--guest-features", "0x21"]].concat());
    assert_eq!(exit, Exit::Refused);
    let differing: Vec<_> = difference["compared"].as_array().unwrap().iter().filter(|c| c["equal"] == false).collect();
    assert_eq!(differing.len(), 1);
    assert_eq!(differing[0]["what"], "snp.host_data");
}

#[test]
fn a_launch_has_the_digest_that_is_registered() {
    let Some(ovmf) = ovmf("OvmfX64") else { return };
    let host_data = "ab".repeat(32);
    let flags = ["snp", "--ovmf", text(&ovmf), "--vcpus", "1", "--vcpu-type", "EPYC-v4", "--host-data", &host_data];
    let report = json(&flags).1;
    let measurement = hex::decode(value(&report, "snp.measurement")).unwrap();
    let launch = holdfast_evidence::SnpLaunch {
        measurement: measurement.try_into().unwrap(),
        host_data: [0xab; 32],
        id_key_digest: [0; 48],
    };
    assert_eq!(report["launch"], hex::encode(launch.digest()));
}

#[test]
fn real_evidence_of_other_machines_differs_in_what_it_is_made_of() {
    let Some(vectors) = vectors::folder() else { return };
    let cvm = vectors.join("cvm");
    let ovmf = ovmf("OvmfX64").unwrap();
    let live = cvm.join("snp-milan-vlek-aws/report.bin");
    let flags = ["snp", "--ovmf", text(&ovmf), "--vcpus", "2", "--vmm", "ec2-2026", "--diff-report", text(&live)];
    let (exit, report) = json(&flags);
    assert_eq!(exit, Exit::Refused);
    assert!(report["difference"]["compared"][0]["found"].as_str().unwrap().starts_with("8922ebbdd00ec2c5"));
}

/// An image by the letter of the format, with a checksum that fits.
fn eif() -> Vec<u8> {
    let sections: [(u16, &[u8]); 4] = [(1, b"kernel"), (2, b"reboot=k"), (3, b"init"), (3, b"application")];
    let mut header = [&b".eif"[..], &[0, 4, 0, 0], &[0; 16], &[0, 0, 0, 4]].concat();
    let (mut offsets, mut sizes, mut body) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, contents) in sections {
        offsets.extend(u64::try_from(548 + body.len()).unwrap().to_be_bytes());
        sizes.extend(u64::try_from(contents.len()).unwrap().to_be_bytes());
        body.extend(
            [&kind.to_be_bytes()[..], &[0, 0], &u64::try_from(contents.len()).unwrap().to_be_bytes(), contents]
                .concat(),
        );
    }
    offsets.resize(256, 0);
    sizes.resize(256, 0);
    header.extend([offsets, sizes, vec![0; 4]].concat());
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    let checksum = !header.iter().chain(&body).fold(u32::MAX, step);
    [header, checksum.to_be_bytes().to_vec(), body].concat()
}

#[test]
fn an_enclave_differs_in_the_register_of_the_part_that_differs() {
    let folder = tempfile::tempdir().unwrap();
    let (image, written) = (folder.path().join("app.eif"), folder.path().join("app.toml"));
    std::fs::write(&image, eif()).unwrap();
    let (exit, report) = json(&["eif", text(&image), "--write", text(&written)]);
    assert_eq!(exit, Exit::Yes);
    assert_eq!(value(&report, "nitro.pcr.0").len(), 96);
    assert!(std::fs::read_to_string(&written).unwrap().contains("nitro.pcr.2 = "));
    let Some(vectors) = vectors::folder() else { return };
    let nitro = vectors.join("cvm/nitro");
    let (exit, report) = json(&["eif", text(&image), "--diff-document", text(&nitro.join("veracruz-2022.cose"))]);
    assert_eq!(exit, Exit::Refused);
    let compared = report["difference"]["compared"].as_array().unwrap();
    assert!(compared[0]["found"].as_str().unwrap().starts_with("22f9e1c949208da5"));
    assert_eq!(compared[2]["means"], "a RAM disk after the first differs: the application");
    assert_eq!(compared[3]["equal"], true, "nobody signed either: PCR 8 is zero");
    let (_, report) =
        json(&["eif", text(&image), "--diff-document", text(&nitro.join("NEG-evervault-2022-debug.cose"))]);
    let explanation = report["difference"]["explanations"][0].as_str().unwrap();
    assert!(explanation.contains("debug mode"), "{explanation}");
}

#[test]
fn a_kernel_image_is_compared_event_by_event_with_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = image::image(&[(".text", b"kernel")], b"", b"");
    let file = folder.path().join("linux.efi");
    let sections = [(".linux", &kernel[..]), (".osrel", b"ID=x"), (".cmdline", b"quiet"), (".initrd", b"initrd")];
    std::fs::write(&file, image::uki("252.39", &sections)).unwrap();
    let written = folder.path().join("linux.toml");
    let (exit, report) = json(&["uki", text(&file), "--phase", "ready", "--write", text(&written)]);
    assert_eq!(exit, Exit::Yes);
    let written = std::fs::read_to_string(&written).unwrap();
    for fact in ["tpm.pcr.4", "tpm.pcr.7", "tpm.pcr.9", "tpm.pcr.11", "tpm.pcr.12", "tpm.boot.applications"] {
        assert!(written.contains(&format!("{fact} = ")), "{fact} is not in\n{written}");
    }
    assert_ne!(value(&report, "tpm.pcr.11"), value(&json(&["uki", text(&file), "--phase", "sysinit"]).1, "tpm.pcr.11"));
    let Some(vectors) = vectors::folder() else { return };
    let log = vectors.join("vm/uki-nosb/binary_bios_measurements");
    let (exit, report) = json(&["uki", text(&file), "--diff-event-log", text(&log)]);
    assert_eq!(exit, Exit::Refused);
    let compared = report["difference"]["compared"].as_array().unwrap();
    let differing: Vec<&str> =
        compared.iter().filter(|c| c["equal"] == false).map(|c| c["what"].as_str().unwrap()).collect();
    assert_eq!(differing, ["PCR 4, event 2: UKI", "PCR 9, event 0: command line", "PCR 11, event 1: .linux"]);
    let document = vectors.join("cvm/nitrotpm/attestation-doc.cose");
    let flags = ["uki", text(&file), "--bank", "sha384", "--facts", "nitrotpm", "--diff-document", text(&document)];
    let (exit, report) = json(&flags);
    assert_eq!(exit, Exit::Refused);
    assert_eq!(value(&report, "nitrotpm.pcr.12"), "0".repeat(96));
    let pcr12 = report["difference"]["compared"].as_array().unwrap().iter().find(|c| c["what"] == "PCR 12").unwrap();
    assert_eq!(pcr12["equal"], true);
}

#[test]
fn a_td_is_compared_with_its_quote() {
    let firmware = Path::new("/usr/share/ovmf/OVMF.fd");
    if !firmware.exists() {
        println!("skipped: Debian's package ovmf is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("td.toml");
    let id = "cd".repeat(48);
    let (exit, report) = json(&["tdx", "--ovmf", text(firmware), "--mrconfigid", &id, "--write", text(&written)]);
    assert_eq!(exit, Exit::Yes);
    assert_eq!(value(&report, "tdx.mrconfigid"), id);
    assert!(report["not_predicted"].as_array().unwrap().iter().any(|not| not["register"] == "RTMR 0"));
    let Some(vectors) = vectors::folder() else { return };
    let quote = vectors.join("cvm/tdx/v4-mrconfigid-nonzero/quote.bin");
    let (exit, report) = json(&["tdx", "--ovmf", text(firmware), "--mrconfigid", &id, "--diff-quote", text(&quote)]);
    assert_eq!(exit, Exit::Refused);
    let compared = report["difference"]["compared"].as_array().unwrap();
    assert_eq!(compared[1]["what"], "tdx.mrconfigid");
    assert!(compared[1]["found"].as_str().unwrap().starts_with("889abf47"), "{report}");
}

#[test]
fn what_a_file_says_reaches_no_terminal_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = image::image(&[(".text", b"kernel")], b"", b"");
    let file = folder.path().join("linux.efi");
    let sections = [(".linux", &kernel[..]), (".cmdline", "\u{1b}[31m\u{202e}x\nfake = 1".as_bytes())];
    std::fs::write(&file, image::uki("252", &sections)).unwrap();
    let (_, out) = measure(&["uki", text(&file)]);
    assert!(out.chars().all(|c| c == '\n' || (' '..='~').contains(&c)), "{out:?}");
    assert!(!out.lines().any(|line| line.starts_with("fake")), "{out}");
}
