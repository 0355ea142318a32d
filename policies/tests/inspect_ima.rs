//! `holdfast-policy inspect tpm --ima-log` on real boots. Reads `shared/vectors`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

#[allow(dead_code, reason = "the other inspections use all of it")]
mod machine;

use holdfast_policy::exit::Exit;
use machine::{MACHINES, Machine, result_of};

const LIST: &str = "binary_runtime_measurements.after";

#[test]
fn the_list_of_every_machine_replays_to_its_quote() {
    for name in MACHINES {
        let Some(machine) = Machine::new(name) else { return };
        let (exit, report) = machine.with_file("--ima-log", LIST).run(&[]);
        assert_eq!((exit, result_of(&report, "ima")), (Exit::Yes, "passed"), "{name}: {report}");
        let files = &report["measured_files"];
        assert!(files["entries"].as_u64().unwrap() > 5, "{name}");
        assert_eq!((&files["violations"], &files["template_hash"]), (&0.into(), &"bank".into()), "{name}");
        assert_eq!(files["boot_aggregates"], serde_json::json!(["of the quoted PCRs 0 to 9"]), "{name}");
    }
}

#[test]
fn a_list_that_was_read_before_the_quote_or_spoiled_is_refused() {
    let Some(machine) = Machine::new("uki-nosb") else { return };
    let path = machine.path(LIST);
    let mut list = std::fs::read(&path).unwrap();
    list[70] ^= 1;
    std::fs::write(&path, list).unwrap();
    machine.with_file("--ima-log", LIST).refused("tpm.ima.no_prefix");
    let Some(machine) = Machine::new("uki-nosb") else { return };
    machine.with_file("--ima-log", "binary_runtime_measurements").refused("tpm.ima.no_prefix");
}

#[test]
fn a_policy_judges_the_files_of_the_list() {
    let Some(machine) = Machine::new("uki-nosb") else { return };
    let ascii = std::fs::read_to_string(machine.path("ascii_runtime_measurements")).unwrap();
    let digest = |line: &str| line.split(' ').nth(3).unwrap().to_owned();
    let lines: Vec<String> = ascii.lines().skip(1).map(digest).collect();
    let policy = |digests: &[String]| {
        std::fs::write(machine.path("good.digests"), digests.join("\n")).unwrap();
        let text = "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"files\"\n\
                    [issue]\nnode_id = \"/holdfast/node/tpm/{tpm.machine}\"\n\
                    [[rule]]\nname = \"rack\"\nownership = \"inventory\"\ntrust_classes = [\"simulated\"]\n\
                    [rule.ima]\ndigests = \"good.digests\"\n";
        std::fs::write(machine.path("policy.toml"), text).unwrap();
    };
    let (list, rules) = (machine.path(LIST), machine.path("policy.toml"));
    policy(&lines);
    let (_, report) = machine.run(&["--ima-log", &list, "--policy", &rules]);
    assert_eq!(report["facts"]["tpm.ima.violations"]["value"], 0, "{report}");
    let whole = report["decision"].to_string();
    policy(&lines[1..]);
    let (exit, report) = machine.run(&["--ima-log", &list, "--policy", &rules]);
    assert_eq!(exit, Exit::Refused);
    assert!(report["detail"].as_str().unwrap().contains("policy.ima.not_allowed"), "{report}");
    assert_ne!(report["decision"].to_string(), whole);
    let (exit, report) = machine.run(&["--policy", &rules]);
    assert_eq!(exit, Exit::Refused);
    assert!(report["detail"].as_str().unwrap().contains("policy.ima.absent"), "{report}");
}
