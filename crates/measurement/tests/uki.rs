//! Unified kernel images: which sections count, and what is measured of them; PCR 11 beside `systemd-measure` where that
//! is installed, and beside real boots in `shared/vectors`.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

mod image;
#[path = "../../evidence/tests/vectors/mod.rs"]
mod vectors;

use std::path::Path;
use std::process::Command;

use holdfast_evidence::crypto::{Digest, HashAlg};
use holdfast_measurement::pe::Image;
use holdfast_measurement::tdx::{DirectBoot, KernelHeader};
use holdfast_measurement::uki::{Boot, PHASES, SecureBootState, Uki, Unpredicted};
use holdfast_measurement::{Register, uki};

const OFF: SecureBootState<'static> =
    SecureBootState::Variables { enabled: false, pk: &[], kek: &[], db: &[], dbx: &[] };

fn boot<'a>(secure_boot: &'a SecureBootState<'a>) -> Boot<'a> {
    Boot { hash: HashAlg::Sha256, failed_attempts: 0, loaders: &[], secure_boot }
}

fn names(register: &Register) -> Vec<&str> {
    register.events().iter().map(|event| event.name.as_str()).collect()
}

fn kernel() -> Vec<u8> {
    image::image(&[(".text", b"kernel")], b"", b"")
}

#[test]
fn sections_are_measured_in_the_order_of_the_stub_not_of_the_file() {
    let kernel = kernel();
    let file = image::uki(
        "252",
        &[
            (".initrd", b"initrd"),
            (".cmdline", b"quiet"),
            (".osrel", b"ID=x"),
            (".uname", b"6.1"),
            (".pcrsig", b"{}"),
            (".linux", &kernel),
        ],
    );
    let uki = Uki::parse(&file, 0).unwrap();
    let measured = uki.pcr11(HashAlg::Sha256, &[]).unwrap();
    let contents: Vec<_> = names(&measured).into_iter().filter(|name| name.starts_with('.')).collect();
    assert_eq!(contents, [".linux", ".osrel", ".cmdline", ".initrd"], "252 measures no .uname");
    let newer = image::uki("257", &[(".uname", b"6.1"), (".pcrsig", b"{}"), (".linux", &kernel)]);
    let measured = Uki::parse(&newer, 0).unwrap().pcr11(HashAlg::Sha256, &[]).unwrap();
    assert_eq!(names(&measured), ["name .linux", ".linux", "name .uname", ".uname"]);
    for unknown in ["251", "253", "254.1"] {
        let file = image::uki(unknown, &[(".linux", &kernel)]);
        let refused = Uki::parse(&file, 0).unwrap().pcr11(HashAlg::Sha256, &[]).unwrap_err();
        assert!(matches!(refused, Unpredicted::Stub { .. }), "{unknown}");
    }
}

#[test]
fn a_profile_takes_the_place_of_the_base() {
    let kernel = kernel();
    let file = image::uki(
        "257",
        &[
            (".linux", &kernel),
            (".cmdline", b"base"),
            (".profile", b"ID=main"),
            (".profile", b"ID=debug"),
            (".cmdline", b"debug"),
        ],
    );
    let line = |profile| {
        let uki = Uki::parse(&file, profile).unwrap();
        let section = uki.sections().iter().find(|section| section.name == ".cmdline").unwrap();
        section.contents.to_vec()
    };
    assert_eq!(line(0), b"base");
    assert_eq!(line(1), b"debug");
    assert_eq!(Uki::parse(&file, 2).unwrap_err().code(), "measure.value");
}

#[test]
fn an_image_of_which_nobody_can_say_what_is_booted_is_refused() {
    let kernel = kernel();
    let code = |file: &[u8]| Uki::parse(file, 0).unwrap_err().code();
    assert_eq!(code(&image::uki("252", &[(".cmdline", b"quiet")])), "measure.missing");
    let twice = [(".linux", &kernel[..]), (".cmdline", b"a"), (".cmdline", b"b")];
    assert_eq!(code(&image::uki("252", &twice)), "measure.twice");
    assert_eq!(code(&image::image(&[(".linux", &kernel)], b"", b"")), "measure.missing");
}

#[test]
fn firmware_measures_the_kernel_too_where_the_stub_lets_it() {
    let kernel = kernel();
    let started = |version, secure_boot: &SecureBootState<'_>| {
        let file = image::uki(version, &[(".linux", &kernel)]);
        let pcr4 = Uki::parse(&file, 0).unwrap().pcr4(&boot(secure_boot)).unwrap();
        names(&pcr4).into_iter().skip(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let on = SecureBootState::Only { enabled: true };
    assert_eq!(started("252", &OFF), ["UKI", ".linux"]);
    assert_eq!(started("252", &on), ["UKI"]);
    assert_eq!(started("257", &OFF), ["UKI", ".linux"]);
    assert_eq!(started("258", &OFF), ["UKI"]);
    let file = image::uki("252", &[(".linux", &kernel)]);
    let loaders = [Image::parse(&kernel).unwrap()];
    let boot = Boot { loaders: &loaders, failed_attempts: 1, ..boot(&on) };
    let pcr4 = Uki::parse(&file, 0).unwrap().pcr4(&boot).unwrap();
    assert_eq!(names(&pcr4)[2..], ["the application came back", "firmware calls an application", "loader 0", "UKI"]);
}

#[test]
fn the_initrd_is_what_the_stub_hands_over() {
    let kernel = kernel();
    let initrd = |version, sections: &[(&str, &[u8])]| {
        let all = [&[(".linux", &kernel[..]), (".cmdline", b"quiet ")], sections].concat();
        let file = image::uki(version, &all);
        let pcr9 = Uki::parse(&file, 0).unwrap().pcr9(HashAlg::Sha256)?;
        Ok::<_, Unpredicted>(pcr9.events().iter().map(|event| event.digest).collect::<Vec<_>>())
    };
    let line: Vec<u8> = "quiet\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let line = HashAlg::Sha256.digest(&[&line]);
    assert_eq!(initrd("252", &[]), Ok(vec![line]));
    let plain = HashAlg::Sha256.digest(&[b"initrd"]);
    assert_eq!(initrd("252", &[(".initrd", b"initrd")]), Ok(vec![line, plain]));
    let with_key = initrd("252", &[(".initrd", b"initrd"), (".pcrpkey", b"key")]).unwrap();
    assert_ne!(with_key[1], plain);
    let with_release = initrd("257", &[(".initrd", b"initrd"), (".osrel", b"ID=x")]).unwrap();
    assert_ne!(with_release[1], plain);
    assert_eq!(initrd("259", &[]), Err(Unpredicted::Stub { release: 259 }), "a secret is added at each boot");
    let file = image::uki("252", &[(".linux", &kernel)]);
    let refused = Uki::parse(&file, 0).unwrap().pcr9(HashAlg::Sha256).unwrap_err();
    assert_eq!(refused, Unpredicted::NoCommandLine);
}

/// `systemd-measure calculate` over the same sections, by bank and phase.
#[test]
fn pcr_11_is_what_systemd_measure_calculates() {
    let tool = ["/usr/lib/systemd/systemd-measure", "/lib/systemd/systemd-measure"];
    let Some(tool) = tool.into_iter().find(|path| Path::new(path).exists()) else {
        println!("skipped: systemd-measure is not installed");
        return;
    };
    let version = Command::new(tool).arg("--version").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let version = version.split_whitespace().nth(1).unwrap().to_owned();
    let kernel = kernel();
    let sections: [(&str, &[u8]); 5] = [
        (".linux", &kernel),
        (".osrel", b"ID=x\n"),
        (".cmdline", b"quiet"),
        (".initrd", b"initrd"),
        (".pcrpkey", b"-----BEGIN PUBLIC KEY-----\n"),
    ];
    let file = image::uki(&version, &sections);
    let uki = Uki::parse(&file, 0).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (phases, argument) in
        [(&PHASES[..0], ""), (&PHASES[..1], "enter-initrd"), (&PHASES[..4], "enter-initrd:leave-initrd:sysinit:ready")]
    {
        let mut command = Command::new(tool);
        command.args(["calculate", "--bank=sha256", "--bank=sha384", &format!("--phase={argument}")]);
        for (name, contents) in sections {
            let path = folder.path().join(&name[1..]);
            std::fs::write(&path, contents).unwrap();
            command.arg(format!("--{}={}", &name[1..], path.display()));
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = String::from_utf8(output.stdout).unwrap();
        for hash in [HashAlg::Sha256, HashAlg::Sha384] {
            let Ok(ours) = uki.pcr11(hash, phases) else {
                println!("skipped: systemd {version} is not known here");
                return;
            };
            let line = format!("11:{hash}={}", ours.value());
            assert!(output.lines().any(|theirs| theirs == line), "{line} is not in\n{output}");
        }
    }
}

/// Value of a register in `pcrs.txt`, which tpm2_pcrread wrote.
fn pcr(folder: &Path, number: u32) -> Digest {
    let text = std::fs::read_to_string(folder.join("pcrs.txt")).unwrap();
    let bank = text.split("sha256:").nth(1).unwrap();
    let line = bank.lines().find(|line| line.trim_start().split(':').next().unwrap().trim() == number.to_string());
    let value = hex::decode(line.unwrap().split("0x").nth(1).unwrap().trim()).unwrap();
    Digest::new(HashAlg::Sha256, &value).unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::new(HashAlg::Sha256, &hex::decode(text).unwrap()).unwrap()
}

#[test]
fn registers_of_real_boots_follow_from_the_digests_of_their_images() {
    let Some(vectors) = vectors::folder() else { return };
    // image, kernel in it where firmware measured that too
    let boots = [
        ("uki-nosb", "eb63543aed66a5193ac3c4efdbed3c87767b49ed7649a26d2db442c374330618", true),
        ("uki-sb-snakeoil", "1b4bc46f44ab5125a6f0f867c1b75cd6a3294b5e1a002ee850a47c012ec097fa", false),
    ];
    for (name, image, kernel) in boots {
        let folder = vectors.join("vm").join(name);
        let mut pcr4 = Register::new(HashAlg::Sha256);
        pcr4.measure("call", b"Calling EFI Application from Boot Option");
        pcr4.measure("separator", &[0; 4]);
        pcr4.extend("UKI", digest(image));
        if kernel {
            pcr4.extend(".linux", digest("5f21ff2c0d5d899842b28a8b19901ba72cf7a7ab93c02a77fadc6ff72be85b31"));
        }
        assert_eq!(pcr4.value(), pcr(&folder, 4), "{name}");
        let mut pcr11 = Register::new(HashAlg::Sha256);
        let line = if kernel {
            "b5b9ee056641475c752f9b566f8ebfe4bf85dd5e03b155c3387fb03ea8b0b1dd"
        } else {
            "4deaad526011a091f4887404722ba56f223d50f3c00de8d78944add97e828b76"
        };
        for (section, contents) in [
            (".linux", "51349501a3d1ff83836437d2b365fd2d57f2feb8642d315e5181dec23d4c3275"),
            (".osrel", "59a77b5f2666d9c85c489bd1911a6eebbd91ef22fe48b90a3b75f1b21f3844d4"),
            (".cmdline", line),
            (".initrd", "16b1cb06fc0349c6242b7f79cde42c5d9f67b03dbfb1bfd0267d79e023591e82"),
        ] {
            pcr11.measure("name", format!("{section}\0").as_bytes());
            pcr11.extend(section, digest(contents));
        }
        assert_eq!(pcr11.value(), pcr(&folder, 11), "{name}");
    }
}

#[test]
fn command_lines_of_real_boots_are_measured_as_here() {
    let Some(vectors) = vectors::folder() else { return };
    // the section of this boot ends with a space, which /proc/cmdline does not show
    let line = std::fs::read_to_string(vectors.join("vm/uki-nosb/cmdline")).unwrap();
    let kernel = kernel();
    let section = format!("{} ", line.trim());
    let file = image::uki("252", &[(".linux", &kernel), (".cmdline", section.as_bytes())]);
    let pcr9 = Uki::parse(&file, 0).unwrap().pcr9(HashAlg::Sha256).unwrap();
    let expected = digest("f59a394251773067b118917de97e530f5cf1668d1c44e49f5936891d38bd0bd6");
    assert_eq!(pcr9.events()[0].digest, expected);
    let line = std::fs::read_to_string(vectors.join("vm/direct-kernel/qemu-append.txt")).unwrap();
    let command_line = line.trim_end_matches('\n');
    let boot = DirectBoot { kernel: &kernel, initrd: b"initrd", command_line, header: KernelHeader::AsIs };
    let expected = digest("6b2baf27ae20f2adcf236884d7e920038ecb828ae9bf26b277cecb97b9baca30");
    assert_eq!(HashAlg::Sha256.digest(&[&boot.load_options()]), expected);
}

#[test]
fn pcr_7_of_a_real_boot_follows_from_its_variables() {
    let Some(vectors) = vectors::folder() else { return };
    let log = std::fs::read(vectors.join("vm/uki-sb-snakeoil/binary_bios_measurements")).unwrap();
    let variable = |name: &str| -> Vec<u8> {
        // UEFI_VARIABLE_DATA: owner, two lengths, name, contents
        let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = u64::try_from(name.len()).unwrap().to_le_bytes();
        let at =
            (16..log.len()).find(|at| log[*at..].starts_with(&length) && log[at + 16..].starts_with(&wide)).unwrap();
        let size = usize::try_from(u64::from_le_bytes(log[at + 8..at + 16].try_into().unwrap())).unwrap();
        log[at + 16 + wide.len()..][..size].to_vec()
    };
    let (pk, kek, db, dbx) = (variable("PK"), variable("KEK"), variable("db"), variable("dbx"));
    let secure_boot = SecureBootState::Variables { enabled: true, pk: &pk, kek: &kek, db: &db, dbx: &dbx };
    // signed by the certificate that is the one entry of db: list header of 28 bytes, owner of 16, certificate
    let signed = [&[0x02, 1, 1, 0x31, 0, 0x30, 2, 0x06, 0][..], &der(0xa0, &db[44..]), &[0x31, 0]].concat();
    let content = [&[0x06, 1, 42][..], &der(0xa0, &der(0x30, &signed))].concat();
    let pkcs7 = der(0x30, &content);
    let mut signature = [&u32::try_from(8 + pkcs7.len()).unwrap().to_le_bytes()[..], &[0, 2, 2, 0], &pkcs7].concat();
    signature.resize(signature.len().next_multiple_of(8), 0);
    let (kernel, magic) = (kernel(), image::magic("252"));
    let sections = [(".sdmagic", magic.as_bytes()), (".linux", &kernel)];
    let file = image::image(&sections, b"", &signature);
    let uki = Uki::parse(&file, 0).unwrap();
    assert_eq!(uki::authority(uki.image(), &db).unwrap().certificate, &db[44..]);
    let pcr7 = uki.pcr7(&boot(&secure_boot)).unwrap();
    assert_eq!(pcr7.value(), pcr(&vectors.join("vm/uki-sb-snakeoil"), 7));
    let unsigned = image::image(&sections, b"", b"");
    let refused = Uki::parse(&unsigned, 0).unwrap().pcr7(&boot(&secure_boot)).unwrap_err();
    assert_eq!(refused, Unpredicted::NoAuthority { image: "the UKI" });
    let off = uki.pcr7(&boot(&OFF)).unwrap();
    assert_eq!(off.value(), pcr(&vectors.join("vm/uki-nosb"), 7));
}

/// A DER element of up to 64 KiB.
fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).unwrap().to_be_bytes();
    [&[tag, 0x82][..], &length, contents].concat()
}
