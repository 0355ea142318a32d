//! What is learned from image files, against a log that is made of the same files by other code.

use std::path::Path;

use holdfast_evidence::crypto::{HashAlg, sha256};
use holdfast_evidence::tpm::event_log::{EventLog, EventType, Guid};
use holdfast_evidence::tpm::{Bank, PcrIndex};
use holdfast_measurement::pe::Image;
use holdfast_policy::exit::Exit;

use super::log::{Entry, bound, encode, opaque, separator, variable};
use super::{AT, image, json, policy, read, text};

/// An image with this command line.
fn image_of(line: &str) -> Vec<u8> {
    let kernel = image::image(&[(".text", b"kernel")], b"", b"");
    image::uki(
        "252",
        &[(".linux", &kernel), (".osrel", b"ID=x\n"), (".cmdline", line.as_bytes()), (".initrd", b"initrd!!")],
    )
}

/// The log of a machine that boots the image without Secure Boot.
fn boot(image: &[u8], line: &str) -> Vec<u8> {
    let kernel = image::image(&[(".text", b"kernel")], b"", b"");
    let started = |image: &[u8]| Entry {
        pcr: 4,
        kind: EventType::BOOT_SERVICES_APPLICATION,
        digest: Image::parse(image).unwrap().authenticode(HashAlg::Sha256).unwrap().as_bytes().to_vec(),
        data: b"no device path".to_vec(),
    };
    let mut log = vec![bound(0, EventType::S_CRTM_VERSION, b"1\x000\0\0\0")];
    let (global, database) = (Guid::EFI_GLOBAL, Guid::IMAGE_SECURITY_DATABASE);
    for (owner, name, data) in [
        (global, "SecureBoot", &[0][..]),
        (global, "PK", &[]),
        (global, "KEK", &[]),
        (database, "db", &[]),
        (database, "dbx", &[]),
    ] {
        log.push(bound(7, EventType::VARIABLE_DRIVER_CONFIG, &variable(owner, name, data)));
    }
    log.push(separator(7));
    log.push(bound(4, EventType::EFI_ACTION, b"Calling EFI Application from Boot Option"));
    log.extend((0..7).map(separator));
    log.push(started(image));
    for (name, contents) in
        [(".linux", kernel.as_slice()), (".osrel", b"ID=x\n"), (".cmdline", line.as_bytes()), (".initrd", b"initrd!!")]
    {
        log.push(opaque(11, EventType::IPL, format!("{name}\0").as_bytes(), name.as_bytes()));
        log.push(opaque(11, EventType::IPL, contents, name.as_bytes()));
    }
    log.push(started(&kernel));
    let options: Vec<u8> = format!("{line}\0").encode_utf16().flat_map(u16::to_le_bytes).collect();
    log.push(opaque(9, EventType::EVENT_TAG, &options, b"\xed\x22\x3b\x8f\x1a\0\0\0LOADED_IMAGE::LoadOptions\0"));
    log.push(opaque(9, EventType::EVENT_TAG, b"initrd!!", b"\xec\x22\x3b\x8f\x0d\0\0\0Linux initrd\0"));
    encode(&log)
}

fn case(folder: &Path, name: &str, log: &[u8], expect: &str) {
    std::fs::write(folder.join(format!("{name}.bin")), log).unwrap();
    let ek = "e1".repeat(32);
    let case = format!(
        "api_version = \"holdfast/1\"\nkind = \"case\"\npolicy = \"web.toml\"\nat = {AT}\n\
         [evidence]\nevent_log = \"{name}.bin\"\n[ownership]\ninventory = \"listed\"\n\
         [facts]\ntpm.machine = \"{ek}\"\ntpm.ek.spki_sha256 = \"{ek}\"\ntpm.class = \"discrete\"\n[expect]\n{expect}\n"
    );
    std::fs::write(folder.join(format!("{name}.toml")), case).unwrap();
}

const ADMITTED: &str = "decision = \"admitted\"";
const REFUSED: &str = "decision = \"refused\"\ncode = \"policy.no_rule_matched\"";

#[test]
fn a_policy_from_an_image_admits_its_boot_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (line, file) = ("root=/dev/vda2 ro", folder.path().join("linux.efi"));
    std::fs::write(&file, image_of(line)).unwrap();
    let flags = ["learn", "--name", "web", "--uki", text(&file), "--secure-boot", "off", "--at", AT];
    policy(&[&flags[..], &["--out", text(folder.path())]].concat()).unwrap();
    case(folder.path(), "same", &boot(&image_of(line), line), ADMITTED);
    let other = "root=/dev/vda2 rw";
    case(folder.path(), "another-line", &boot(&image_of(other), other), REFUSED);
    // the image is the same, and the kernel was given something else beside it
    let relabelled = boot(&image_of(line), other);
    case(folder.path(), "another-line-from-outside", &relabelled, REFUSED);
    let (exit, report) = json(&["test", text(folder.path())]);
    assert_eq!((exit, &report["passed"]), (Exit::Yes, &5.into()), "{report}");
}

#[test]
fn registers_are_predicted_as_the_log_replays() {
    let folder = tempfile::tempdir().unwrap();
    let (line, file) = ("quiet", folder.path().join("linux.efi"));
    let image = image_of(line);
    std::fs::write(&file, &image).unwrap();
    let written = folder.path().join("linux.toml");
    let flags = ["reference", "from-uki", text(&file), "--write", text(&written), "--at", AT];
    let (exit, report) = json(&[&flags[..], &["--phase", "ready"]].concat());
    assert_eq!(exit, Exit::Yes);
    let log = boot(&image, line);
    let log = EventLog::parse(&log).unwrap();
    let replay = log.replay(Bank::Sha256).unwrap();
    let value = |fact: &str| {
        let values = report["values"].as_array().unwrap();
        values.iter().find(|value| value["fact"] == fact).map(|value| value["value"].as_str().unwrap().to_owned())
    };
    for pcr in [4, 9, 12] {
        let expected = replay.value(PcrIndex::new(pcr).unwrap()).to_string();
        assert_eq!(value(&format!("tpm.pcr.{pcr}")), Some(expected), "PCR {pcr}");
    }
    // the log ends before systemd's phases
    let sections = replay.value(PcrIndex::new(11).unwrap());
    let mut phases = *sections.as_bytes().first_chunk::<32>().unwrap();
    assert!(read(&written).contains(&format!("tpm.pcr.11 = {sections}")), "{}", read(&written));
    for phase in ["enter-initrd", "leave-initrd", "sysinit", "ready"] {
        phases = sha256(&[&phases, &sha256(&[phase.as_bytes()])]);
    }
    assert_eq!(value("tpm.pcr.11"), Some(hex::encode(phases)));
}

#[test]
fn a_kernel_under_grub_is_learned_from_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let images = ["shimx64.efi", "grubx64.efi", "vmlinuz"]
        .map(|name| file(name, &image::image(&[(".text", name.as_bytes())], b"", b"")));
    let (initrd, config) = (file("initrd.img", b"initrd"), file("grub.cfg", b"linux /vmlinuz quiet"));
    let [shim, grub, kernel] = images;
    let flags =
        ["learn", "--name", "debian", "--kernel", text(&kernel), "--initrd", text(&initrd), "--append", "quiet"];
    let more = ["--loader", text(&shim), "--grub", text(&grub), "--at", AT, "--out", text(folder.path())];
    let error = policy(&[&flags[..], &more[..]].concat()).unwrap_err();
    assert!(error.contains("--grub-file"), "{error}");
    policy(&[&flags[..], &more[..], &["--grub-file", text(&config)]].concat()).unwrap();
    let learned = read(&folder.path().join("debian.toml"));
    assert!(learned.contains("tpm.boot.applications = { exactly = \"@debian-values\" }"), "{learned}");
    let values = read(&folder.path().join("debian-values.toml"));
    for noted in ["note = \"shimx64.efi\"", "note = \"grub.cfg\"", "\"/vmlinuz quiet\"", "note = \"initrd.img\""] {
        assert!(values.contains(noted), "{noted} is not in\n{values}");
    }
}
