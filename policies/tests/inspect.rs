//! `holdfast-policy inspect` on real evidence: the verdicts that its provenance gives, and every input flipped alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

mod machine;

use holdfast_policy::cli;
use holdfast_policy::exit::Exit;
use machine::{MACHINES, Machine, inspect, result_of, vectors};
use serde_json::Value;

#[test]
fn every_machine_is_verified_with_all_its_evidence() {
    for name in MACHINES {
        let Some(machine) = Machine::new(name) else { return };
        let (exit, report) = machine.run(&[]);
        assert_eq!(
            (exit, &report["verdict"], &report["code"]),
            (Exit::Yes, &"verified".into(), &Value::Null),
            "{name}"
        );
        assert_eq!(report["pcrs"].as_object().unwrap().len(), 24, "{name}");
        assert_eq!(result_of(&report, "policy"), "not_asked");
        let secure_boot = matches!(name, "uki-sb-snakeoil" | "shim-grub-debian-sb");
        assert_eq!(report["facts"]["tpm.secure_boot.enabled"]["value"], secure_boot, "{name}");
        let first = &report["events"][0];
        assert_eq!(
            (&first["index"], &first["pcr"], &first["type"]),
            (&1.into(), &0.into(), &"EV_S_CRTM_VERSION".into())
        );
    }
}

#[test]
fn the_p384_certificate_does_not_fit_the_p256_key() {
    let Some(machine) = Machine::new("direct-kernel") else { return };
    let machine = machine.with_file("--ek-public", "ek-ecc.tpm2b_public");
    machine.with_file("--ek-certificate", "nv-0x1c00016.bin").refused("tpm.ek.public_mismatch");
}

#[test]
fn what_is_not_asked_makes_the_verdict_incomplete() {
    let flags: [&[&str]; 5] =
        [&["--nonce"], &["--event-log"], &["--event-log", "--pcr"], &["--ek-public"], &["--ek-certificate", "--roots"]];
    for flags in flags {
        let Some(machine) = Machine::new("uki-nosb") else { return };
        // without the log all values must be given, or pcrDigest cannot come out
        let all = |machine: Machine| {
            let (_, verified) = machine.run(&[]);
            let pcrs = verified["pcrs"].as_object().unwrap().clone();
            let given: Vec<String> =
                pcrs.iter().map(|(pcr, value)| format!("{pcr}={}", value.as_str().unwrap())).collect();
            (machine, given)
        };
        let (machine, given) = all(machine);
        let mut more: Vec<&str> = Vec::new();
        if flags == ["--event-log"] {
            more.push("--pcr");
            more.extend(given.iter().map(String::as_str));
        }
        let machine = machine.without(flags).without(if more.is_empty() { &[] } else { &["--pcr"] });
        let machine = if flags.contains(&"--ek-public") { machine.with("--ak-parent", "unknown") } else { machine };
        let (exit, report) = machine.run(&more);
        assert_eq!((exit, &report["verdict"]), (Exit::Incomplete, &"incomplete".into()), "{flags:?}");
        assert_eq!(report["code"], Value::Null);
        let tolerant = [more.clone(), vec!["--allow-incomplete"]].concat();
        assert_eq!(machine.run(&tolerant).0, Exit::Yes, "{flags:?}");
    }
}

#[test]
fn a_refusal_is_not_tolerated_as_incomplete() {
    let Some(machine) = Machine::new("uki-nosb") else { return };
    let machine = machine.with("--nonce", "00").without(&["--event-log", "--pcr"]);
    assert_eq!(machine.run(&["--allow-incomplete"]).0, Exit::Refused);
}

#[test]
fn each_input_flipped_alone_is_refused_by_its_own_code() {
    let machine = || Machine::new("shim-grub-debian-sb");
    let Some(first) = machine() else { return };
    let zeros = "00".repeat(32);
    first.with("--nonce", &zeros).refused("tpm.quote.nonce");
    let flips: [(&str, &str, &str); 10] = [
        ("--pcr", "10=0000000000000000000000000000000000000000000000000000000000000000", "tpm.quote.pcr_digest"),
        ("--require-pcrs", "sha384:0-7", "tpm.quote.selection"),
        ("--ak-parent", "endorsement", "tpm.quote.signer"),
        ("--root-class", "discrete", "tpm.ek.software_tpm"),
        ("--at", "2020-01-01T00:00:00Z", "tpm.ek.expired"),
        ("--signature", "quote-ecc.sig", "tpm.quote.scheme"),
        ("--attest", "quote-ecc.msg", "tpm.quote.signature"),
        ("--ak-public", "ek-rsa.tpm2b_public", "tpm.ak.attributes"),
        ("--ek-certificate", "nv-0x1c08000.bin", "tpm.ek.key_usage"),
        ("--ek-public", "ak-rsa.tpm2b_public", "tpm.ek.attributes"),
    ];
    for (flag, value, code) in flips {
        let machine = machine().unwrap();
        let is_file = machine.folder.path().join(value).exists();
        let machine = if is_file { machine.with_file(flag, value) } else { machine.with(flag, value) };
        machine.refused(code);
    }
}

#[test]
fn evidence_of_another_machine_is_refused() {
    for (flag, file, code) in [
        ("--event-log", "binary_bios_measurements", "tpm.quote.pcr_digest"),
        ("--roots", "swtpm-localca-rootca-cert.pem", "tpm.ek.untrusted"),
        ("--ek-public", "ek-rsa.tpm2b_public", "tpm.ek.public_mismatch"),
    ] {
        let (Some(machine), Some(other)) = (Machine::new("uki-nosb"), Machine::new("uki-sb-snakeoil")) else { return };
        machine.with(flag, &other.path(file)).with("--ak-parent", "unknown").refused(code);
    }
}

#[test]
fn spoiled_bytes_are_refused() {
    let flip_last = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 2;
    for (file, code) in [
        ("quote-rsa.sig", "tpm.quote.signature"),
        ("nv-0x1c00002.bin", "tpm.ek.signature"),
        ("ek-rsa.tpm2b_public", "tpm.ek.public_mismatch"),
    ] {
        let Some(machine) = Machine::new("direct-kernel") else { return };
        machine.change(file, flip_last).with("--ak-parent", "unknown").refused(code);
    }
    let Some(machine) = Machine::new("direct-kernel") else { return };
    machine.change("quote-rsa.msg", |bytes| bytes.push(0)).refused("tpm.attest.malformed");
    let Some(machine) = Machine::new("direct-kernel") else { return };
    machine.change("quote-rsa.msg", |bytes| bytes[0] ^= 1).refused("tpm.quote.magic");
    let Some(machine) = Machine::new("direct-kernel") else { return };
    machine.change("binary_bios_measurements", |bytes| bytes.truncate(900)).refused("tpm.event_log.truncated");
    let Some(machine) = Machine::new("direct-kernel") else { return };
    machine.change("binary_bios_measurements", flip_last).refused("tpm.event_log.data_not_measured");
}

#[test]
fn a_register_that_nothing_explains_is_refused_and_named() {
    let Some(machine) = Machine::new("direct-kernel") else { return };
    let (exit, report) = machine.without(&["--pcr"]).run(&[]);
    assert_eq!((exit, &report["code"]), (Exit::Refused, &"tpm.quote.pcr_digest".into()));
    assert!(report["detail"].as_str().unwrap().contains("10,"), "{}", report["detail"]);
}

#[test]
fn a_log_that_differs_in_one_register_is_refused_by_that_register() {
    let Some(machine) = Machine::new("uki-nosb") else { return };
    let (_, verified) = machine.run(&[]);
    let pcrs = verified["pcrs"].as_object().unwrap();
    let given: Vec<String> = pcrs.iter().map(|(pcr, value)| format!("{pcr}={}", value.as_str().unwrap())).collect();
    let Some(other) = Machine::new("uki-nosb-cmdline-changed") else { return };
    let machine = machine.without(&["--pcr"]).with("--event-log", &other.path("binary_bios_measurements"));
    let more: Vec<&str> = std::iter::once("--pcr").chain(given.iter().map(String::as_str)).collect();
    let (exit, report) = machine.run(&more);
    assert_eq!((exit, &report["code"]), (Exit::Refused, &"tpm.quote.replay".into()));
    assert!(report["detail"].as_str().unwrap().contains("PCR 4"), "{}", report["detail"]);
}

#[test]
fn other_forms_of_the_same_structures_are_taken() {
    let Some(machine) = Machine::new("direct-kernel") else { return };
    let machine = machine
        .change("ak-rsa.tpm2b_public", |bytes| drop(bytes.drain(..2)))
        .change("ek-rsa.tpm2b_public", |bytes| drop(bytes.drain(..2)))
        .change("quote-rsa.sig", |bytes| drop(bytes.drain(..6)))
        .change("quote-rsa.msg", |bytes| {
            let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
            bytes.splice(..0, length);
        });
    assert_eq!(machine.run(&[]).1["verdict"], "verified");
    let Some(machine) = Machine::new("direct-kernel") else { return };
    let (_, report) = machine.with_file("--ak-public", "ak-rsa.pem").run(&[]);
    assert_eq!(report["verdict"], "incomplete", "nobody can check the attributes of a bare key");
    assert_eq!((result_of(&report, "signature"), result_of(&report, "ak_attributes")), ("passed", "not_asked"));
}

#[test]
fn the_parent_of_the_key_is_found_where_it_is_not_stated() {
    let Some(machine) = Machine::new("direct-kernel") else { return };
    assert_eq!(result_of(&machine.without(&["--ak-parent"]).run(&[]).1, "signer"), "passed");
    let Some(machine) = Machine::new("direct-kernel") else { return };
    let (_, report) = machine.with("--ak-parent", "unknown").run(&[]);
    assert_eq!((result_of(&report, "signer"), &report["verdict"]), ("not_asked", &"verified".into()));
}

#[test]
fn a_policy_judges_the_facts() {
    let Some(machine) = Machine::new("shim-grub-debian-sb") else { return };
    let (_, verified) = machine.run(&[]);
    let ten = verified["pcrs"]["10"].as_str().unwrap();
    let policy = |secure_boot: bool| {
        format!(
            "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"p\"\n\n[issue]\n\
             node_id = \"/holdfast/node/tpm/{{tpm.machine}}\"\n\n[[rule]]\nname = \"r\"\nownership = \"inventory\"\n\
             trust_classes = [\"simulated\"]\n\n[rule.require]\ntpm.secure_boot.enabled = {secure_boot}\n\
             tpm.pcr.10 = \"{ten}\"\n"
        )
    };
    for (secure_boot, exit, verdict) in [(true, Exit::Yes, "verified"), (false, Exit::Refused, "refused")] {
        let path = machine.path("policy.toml");
        std::fs::write(&path, policy(secure_boot)).unwrap();
        let (found, report) = machine.run(&["--policy", &path]);
        assert_eq!((found, &report["verdict"]), (exit, &verdict.into()), "{report}");
        assert_eq!(report["decision"]["ownership_assumed"], true);
    }
}

/// A quote of every register: those that the policy does not ask for need no explanation, and those that it asks for must be
/// in the quote.
#[test]
fn a_policy_is_judged_by_the_registers_that_it_asks_for() {
    let Some(machine) = Machine::new("shim-grub-debian-sb") else { return };
    let judge = |more: &str| {
        let path = machine.path("policy.toml");
        let text = format!(
            "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"p\"\n{more}\n[issue]\n\
             node_id = \"/holdfast/node/tpm/{{tpm.machine}}\"\n\n[[rule]]\nname = \"r\"\nownership = \"inventory\"\n\
             trust_classes = [\"simulated\"]\n\n[rule.require]\ntpm.secure_boot.enabled = true\n"
        );
        std::fs::write(&path, text).unwrap();
        let (exit, report) = machine.run(&["--policy", &path]);
        (exit, report["decision"].to_string())
    };
    assert_eq!(judge("").0, Exit::Yes, "PCR 10 is not asked for");
    let (exit, decision) = judge("pcr_bank = \"sha384\"");
    assert_eq!(exit, Exit::Refused);
    assert!(decision.contains("policy.evidence.not_quoted"), "{decision}");
}

#[test]
fn a_quote_of_azure_with_a_bare_signature_verifies_and_is_incomplete() {
    let Some(folder) = vectors() else { return };
    let folder = folder.join("tpm/azure-cvm-tooling/quotes");
    let bytes = std::fs::read(folder.join("quote.bin")).unwrap();
    // bincode: length and signature, length and message, 24 registers
    let temporary = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = temporary.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_string_lossy().into_owned()
    };
    let (signature, message) = (write("sig", &bytes[8..264]), write("msg", &bytes[272..394]));
    let key = folder.join("akpub.pem").to_string_lossy().into_owned();
    let flags = ["tpm", "--ak-public", &key, "--attest", &message, "--signature", &signature];
    let nonce = ["--nonce", "6368616c6c656e6765"];
    let arguments: Vec<String> = flags.iter().chain(&nonce).map(|flag| (*flag).to_owned()).collect();
    let (exit, report) = inspect(&arguments);
    assert_eq!(
        (exit, result_of(&report, "signature"), result_of(&report, "nonce")),
        (Exit::Incomplete, "passed", "passed")
    );
}

#[test]
fn an_event_log_is_shown_with_its_registers() {
    let Some(folder) = vectors() else { return };
    let log = |file: &str, more: &[&str]| {
        let path = folder.join(file).to_string_lossy().into_owned();
        let more = more.iter().map(|more| (*more).to_owned());
        inspect(&["event-log".to_owned(), path].into_iter().chain(more).collect::<Vec<_>>())
    };
    let (exit, report) = log("tpm/go-tpm-tools/eventlogs/gdc-host.bin", &[]);
    assert_eq!((exit, &report["verdict"]), (Exit::Yes, &"replayed".into()));
    assert_eq!(report["pcrs"]["0"], "dab77c454bd12c27ff6b6ce1f9adca90b7a330c1cef0b5cd01cb89fb3bd0dffa");
    assert_eq!(report["events"].as_array().unwrap().len(), 158);
    let (exit, report) = log("vm/uki-nosb/binary_bios_measurements", &["--bank", "sha384"]);
    assert_eq!((exit, report["pcrs"]["7"].as_str().unwrap().len()), (Exit::Yes, 96));
    let fragment = log("tpm/tpm2-tools/eventlogs/event.bin", &[]);
    assert_eq!((fragment.0, result_of(&fragment.1, "boot")), (Exit::Yes, "failed"));
    for (file, bank, code) in [
        ("tpm/go-tpm-tools/eventlogs/debian-10.bin", "sha256", "tpm.event_log.sha1_only"),
        ("tpm/tpm2-tools/eventlogs/specid-vendordata.bin", "sha256", "tpm.event_log.truncated"),
        ("tpm/go-tpm-tools/eventlogs/gdc-host.bin", "sha384", "tpm.event_log.bank_missing"),
        ("cvm/tdx-gcp/cos113-v4-ccel/ccel.bin", "sha384", "tpm.event_log.other_registers"),
    ] {
        let (exit, report) = log(file, &["--bank", bank]);
        assert_eq!((exit, report["code"].as_str()), (Exit::Refused, Some(code)), "{file}");
    }
}

#[test]
fn usage_and_missing_files_exit_with_2() {
    let exit = |arguments: &[&str]| {
        cli::main(["holdfast-policy", "inspect"].iter().chain(arguments).map(std::ffi::OsString::from))
    };
    for arguments in [
        &["tpm", "--no-such-flag"][..],
        &["tpm"],
        &["tpm", "--ak-public", "/nonexistent", "--attest", "/nonexistent", "--signature", "/nonexistent"],
        &["tpm", "--ak-public", "a", "--attest", "a", "--signature", "a", "--nonce", ""],
        &["tpm", "--ak-public", "a", "--attest", "a", "--signature", "a", "--pcr", "24=00"],
        &["tpm", "--ak-public", "a", "--attest", "a", "--signature", "a", "--roots", "a"],
        &["event-log", "/nonexistent"],
        &["event-log", "a", "--bank", "sha1"],
        &["event-log"],
        &[],
    ] {
        assert_eq!(exit(arguments), Exit::Usage, "{arguments:?}");
    }
    assert_eq!(exit(&["tpm", "--help"]), Exit::Yes);
}
