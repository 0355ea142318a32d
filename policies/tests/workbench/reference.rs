//! Imports of reference values, each with its inputs flipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_policy::exit::Exit;
use serde_json::Value;

use super::{AT, image, json, machine, policy, read, text, vectors};

fn code(report: &(Exit, Value)) -> (Exit, &str) {
    (report.0, report.1["code"].as_str().unwrap_or_default())
}

fn corim(name: &str) -> Option<PathBuf> {
    Some(vectors::folder()?.join("cvm/corim-ear").join(name))
}

#[test]
fn a_corim_file_becomes_reference_values_that_say_that_nobody_signed_them() {
    let Some(file) = corim("corim-sevsnp-valid.cbor") else { return };
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("platform.toml");
    let flags = ["reference", "from-corim", text(&file), "--write", text(&written), "--at", AT];
    let (exit, report) = json(&[&flags[..], &["--product", "genoa"]].concat());
    assert_eq!(exit, Exit::Yes);
    assert!(report["source"].as_str().unwrap().ends_with("unsigned"), "{report}");
    let text = read(&written);
    for line in [
        "snp.measurement = \"7699e6ac12ccdfd1",
        "snp.tcb.reported.bootloader = { value = 10, note = \"exactly this\" }",
        "snp.tcb.reported.microcode = { value = 84, note = \"exactly this\" }",
        "snp.firmware.committed = \"1.55.8.0\"",
        "measurement 3328 was left out: it names one chip",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let (exit, _) = json(&[&flags[..], &["--force"]].concat());
    assert_eq!(exit, Exit::Yes);
    assert!(!read(&written).contains("snp.tcb.reported"), "without a product nobody knows the components");
}

#[test]
fn what_the_profile_forbids_is_refused_under_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("x.toml");
    for (name, expected) in [
        ("NEG-corim-sevsnp-bad-refval-key.cbor", "reference.corim.measurement_key"),
        ("NEG-corim-sevsnp-bad-refval-no-key.cbor", "reference.corim.measurement_key"),
        ("NEG-corim-sevsnp-bad-ta-no-model.cbor", "reference.corim.environment"),
        ("NEG-corim-sevsnp-bad-ta-no-vendor.cbor", "reference.corim.environment"),
    ] {
        let Some(file) = corim(name) else { return };
        let report = json(&["reference", "from-corim", text(&file), "--write", text(&written)]);
        assert_eq!(code(&report), (Exit::Refused, expected), "{name}");
    }
    assert!(!written.exists());
}

/// No byte of a file makes the reader fall over, and none that is cut is believed.
#[test]
fn a_spoiled_corim_file_is_refused_or_read() {
    let Some(file) = corim("corim-sevsnp-valid.cbor") else { return };
    let good = std::fs::read(&file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (spoiled, written) = (folder.path().join("x.cbor"), folder.path().join("x.toml"));
    let import = |bytes: &[u8]| {
        std::fs::write(&spoiled, bytes).unwrap();
        policy(&["reference", "from-corim", text(&spoiled), "--write", text(&written), "--force"])
    };
    for at in (0..good.len()).step_by(37) {
        let cut = import(&good[..at]).unwrap();
        assert_eq!(cut.0, Exit::Refused, "cut at {at}");
        let mut flipped = good.clone();
        flipped[at] ^= 0x41;
        let _ = import(&flipped);
    }
    assert_eq!(import(&[good.clone(), vec![0]].concat()).unwrap().0, Exit::Refused, "a byte behind it");
    assert_eq!(import(&[0x81; 4096]).unwrap().0, Exit::Refused, "arrays without end");
    assert_eq!(import(&[&[0x9b][..], &[0xff; 8]].concat()).unwrap().0, Exit::Refused, "an array of all memory");
}

/// A COSE_Sign1 over the content of an unsigned file, by a key made with openssl.
fn signed(folder: &Path, unsigned: &[u8]) -> Option<PathBuf> {
    use coset::{CborSerializable as _, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _, iana::Algorithm};
    let openssl = |arguments: &[&str]| {
        let ran = Command::new("openssl").args(arguments).current_dir(folder).output();
        ran.is_ok_and(|ran| ran.status.success())
    };
    if !openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"])
        || !openssl(&["ec", "-in", "key.pem", "-pubout", "-out", "public.pem"])
    {
        println!("skipped: openssl is not installed");
        return None;
    }
    let header = HeaderBuilder::new().algorithm(Algorithm::ES256).build();
    let sign1 = CoseSign1Builder::new().protected(header).payload(unsigned.to_vec());
    let sign1 = sign1.create_signature(&[], |message| {
        std::fs::write(folder.join("message"), message).unwrap();
        assert!(openssl(&["dgst", "-sha256", "-sign", "key.pem", "-out", "signature", "message"]));
        let der = std::fs::read(folder.join("signature")).unwrap();
        // SEQUENCE { INTEGER r, INTEGER s }, each of at most 33 bytes
        let number = |at: usize| {
            let length = usize::from(der[at + 1]);
            let digits = &der[at + 2..at + 2 + length];
            let digits = if digits.len() > 32 { &digits[1..] } else { digits };
            ([&vec![0; 32 - digits.len()], digits].concat(), at + 2 + length)
        };
        let (r, next) = number(2);
        [r, number(next).0].concat()
    });
    let sign1 = sign1.build();
    assert!(sign1.clone().to_vec().is_ok());
    let path = folder.join("signed.cbor");
    std::fs::write(&path, sign1.to_tagged_vec().unwrap()).unwrap();
    Some(path)
}

#[test]
fn a_signature_counts_only_under_the_key_that_was_given() {
    let Some(file) = corim("corim-sevsnp-valid.cbor") else { return };
    let folder = tempfile::tempdir().unwrap();
    let Some(signed) = signed(folder.path(), &std::fs::read(&file).unwrap()) else { return };
    let (key, written) = (folder.path().join("public.pem"), folder.path().join("x.toml"));
    let import = |file: &Path, key: Option<&Path>| {
        let flags = ["reference", "from-corim", text(file), "--write", text(&written), "--force"];
        let key = key.map(|key| vec!["--key", text(key)]).unwrap_or_default();
        json(&[&flags[..], &key[..]].concat())
    };
    let good = import(&signed, Some(&key));
    assert_eq!(good.0, Exit::Yes);
    assert!(good.1["source"].as_str().unwrap().contains("signed by the key"), "{}", good.1);
    let unverified = import(&signed, None);
    assert!(unverified.1["source"].as_str().unwrap().contains("NOT verified"), "{}", unverified.1);
    assert_eq!(code(&import(&file, Some(&key))), (Exit::Refused, "reference.corim.unsigned"));
    let mut bytes = std::fs::read(&signed).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let spoiled = folder.path().join("spoiled.cbor");
    std::fs::write(&spoiled, bytes).unwrap();
    assert_eq!(code(&import(&spoiled, Some(&key))), (Exit::Refused, "reference.corim.signature"));
}

/// Sections of a UKI, and what `systemd-measure sign` makes of them over a software TPM: recorded, as that tool needs one.
mod recorded {
    /// Command line and release file; the kernel is the test's.
    pub(super) const SIGNED: &str = include_str!("systemd-signed.json");
    pub(super) const KEY: &str = include_str!("systemd-key.pem");
}

fn recorded_image() -> Vec<u8> {
    let kernel = image::image(&[(".text", b"kernel")], b"", b"");
    image::uki("252", &[(".linux", &kernel), (".osrel", b"ID=x\n"), (".cmdline", b"quiet"), (".initrd", b"initrd!!")])
}

#[test]
fn a_pcr_policy_that_systemd_signed_vouches_for_its_image_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let (uki, key) = (file("linux.efi", &recorded_image()), file("key.pem", recorded::KEY.as_bytes()));
    let signatures = file("signatures.json", recorded::SIGNED.as_bytes());
    let written = folder.path().join("linux.toml");
    let import = |uki: &Path, signatures: &Path, key: &Path, more: &[&str]| {
        let flags = ["reference", "from-systemd", "--uki", text(uki), "--json", text(signatures), "--key", text(key)];
        json(&[&flags[..], &["--write", text(&written), "--force", "--at", AT], more].concat())
    };
    let (exit, report) = import(&uki, &signatures, &key, &["--phase", "ready"]);
    assert_eq!(exit, Exit::Yes, "{report}");
    let source = report["source"].as_str().unwrap();
    assert!(source.ends_with("after: enter-initrd, leave-initrd, sysinit, ready"), "{source}");
    let values = report["values"].as_array().unwrap();
    assert!(values.iter().any(|value| value["fact"] == "tpm.pcr.11" && value["note"] == "after ready"));
    assert!(values.iter().any(|value| value["fact"] == "tpm.boot.uki_sections"));
    assert_eq!(import(&uki, &signatures, &key, &["--bank", "sha384"]).0, Exit::Yes);

    let mut other = recorded_image();
    let at = other.windows(5).position(|window| window == b"quiet").unwrap();
    other[at] = b'Q';
    let other = file("other.efi", &other);
    assert_eq!(code(&import(&other, &signatures, &key, &[])), (Exit::Refused, "reference.systemd.not_this_image"));
    let no_bank = import(&uki, &signatures, &key, &["--bank", "sha512"]);
    assert_eq!(code(&no_bank), (Exit::Refused, "reference.systemd.bank"));
    let mut listed: Value = serde_json::from_str(recorded::SIGNED).unwrap();
    listed["sha256"][1]["pol"] = listed["sha256"][0]["pol"].clone();
    let swapped = file("swapped.json", listed.to_string().as_bytes());
    assert_eq!(code(&import(&uki, &swapped, &key, &[])), (Exit::Refused, "reference.systemd.signature"));
    let broken = file("broken.json", b"{\"sha256\":[{\"pcrs\":[11],\"pol\":\"00\",\"sig\":\"\"}]}");
    assert_eq!(code(&import(&uki, &broken, &key, &[])), (Exit::Refused, "reference.systemd.malformed"));
    let elsewhere = file("elsewhere.json", b"{\"sha256\":[{\"pcrs\":[7],\"pol\":\"00\",\"sig\":\"\"}]}");
    assert_eq!(code(&import(&uki, &elsewhere, &key, &[])), (Exit::Refused, "reference.systemd.nothing_signed"));
}

#[test]
fn a_golden_machine_becomes_reference_values() {
    let Some(golden) = machine("shim-grub-debian-sb") else { return };
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("debian-12.toml");
    let flags = ["reference", "from-evidence", text(&golden), "--write", text(&written), "--at", AT];
    let (exit, report) = json(&flags);
    assert_eq!(exit, Exit::Yes);
    assert!(report["source"].as_str().unwrap().contains("verified"), "{report}");
    let values = read(&written);
    assert!(values.contains("note = \"Debian Secure Boot CA\"") && values.contains("created = 2026-11-22T12:00:00Z"));
    assert!(policy(&flags).is_err(), "a file that exists is not overwritten");
    let other = golden.parent().unwrap().join("uki-nosb");
    let both = ["reference", "from-evidence", text(&golden), text(&other), "--write", text(&written), "--force"];
    assert!(policy(&both).unwrap_err().contains("booted differently"));
}
