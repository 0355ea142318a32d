//! A decision is proven from a file alone, by somebody who has nothing else but the log's key.

use std::path::Path;

use holdfast_tests::Output;
use holdfast_tests::proof::{prove, verify};
use serde_json::Value;

use crate::world::World;

fn vkey(world: &World) -> String {
    world.server.operator(&["record", "vkey"]).unwrap().trim().to_owned()
}

fn proven(world: &World, attempt: &str) -> Value {
    let file = prove(&world.server, world.work.path(), attempt).unwrap();
    let (code, report) = verify(&world.programs, &file, &vkey(world), &[]).unwrap();
    assert_eq!((code, report["conclusion"].as_str()), (0, Some("proven")), "{report:#}\n{}", world.logs());
    report
}

#[test]
fn every_decision_about_a_machine_is_proven_after_the_policy_has_changed() {
    let world = World::enrolled(1);
    let admitted = world.attest_until(0, "admitted");
    let policy = world.work.path().join("policy/policy.toml");
    let other = std::fs::read_to_string(&policy).unwrap().replacen("name = \"", "name = \"other-", 1);
    let path = policy.with_file_name("other.toml");
    std::fs::write(&path, other).unwrap();
    world.server.operator(&["policy", "apply", &path.display().to_string()]).unwrap();
    world.attest_until(0, "admitted");
    world.server.operator(&["node", "ban", &world.node_id(0), "--reason", "a test"]).unwrap();
    world.attest(0);
    let attempts = world.attempts();
    assert!(attempts.len() >= 4, "{attempts:#?}");
    for attempt in &attempts {
        let report = proven(&world, attempt["id"].as_str().unwrap());
        assert_eq!(report["code"].as_str().unwrap(), attempt["code"].as_str().unwrap_or_default());
    }
    let ways: Vec<&str> = attempts.iter().filter_map(|attempt| attempt["way"].as_str()).collect();
    assert!(ways.contains(&"enrol") && ways.contains(&"renew"), "{ways:?}");

    let file = prove(&world.server, world.work.path(), admitted["id"].as_str().unwrap()).unwrap();
    // By the roots of the reader: those of the simulator, and others.
    let ours = world.work.sub("roots").unwrap();
    std::fs::copy(world.machines.root(), ours.join("root.pem")).unwrap();
    let given =
        |folder: &Path| verify(&world.programs, &file, &vkey(&world), &["--roots", &folder.display().to_string()]);
    assert_eq!(given(&ours).unwrap().0, 0);
    // With the key of another log nothing is proven.
    let strange = "example.org/record+7fa2a1ae+AWyfpPUqPLkqWLdBAVy2/1RRR0bMbVy+TjTVVbk9ohGq";
    let refused = verify(&world.programs, &file, strange, &[]);
    assert!(refused.is_err() || refused.unwrap().0 != 0);
    // What was changed is found.
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] = if bytes[middle] == b'A' { b'B' } else { b'A' };
    std::fs::write(&file, bytes).unwrap();
    assert_eq!(verify(&world.programs, &file, &vkey(&world), &[]).unwrap().0, 1);

    // Whoever read evidence stands in the record, which is whole.
    world.server.operator(&["audit", "verify"]).unwrap();
    let usage = world.server.json(&["record", "usage"]).unwrap();
    assert!(usage["stored"].as_u64().unwrap() > 1_000, "{usage:#}");
    assert_eq!(usage["nodes_a_day"], 1);
}

#[test]
fn an_explanation_made_again_from_a_proof_is_the_text_that_the_server_shows() {
    let world = World::enrolled(1);
    let admitted = world.attest_until(0, "admitted");
    let policy = world.work.path().join("policy/policy.toml");
    let text = std::fs::read_to_string(&policy).unwrap();
    let text = text.replacen("name = \"demo\"", "name = \"strict\"", 1);
    let strict = policy.with_file_name("strict.toml");
    std::fs::write(&strict, text.replacen("tpm.secure_boot.enabled = true", "tpm.secure_boot.enabled = false", 1))
        .unwrap();
    let path = strict.display().to_string();
    world.server.operator(&["policy", "apply", &path, "--accept-refusals", "1"]).unwrap();
    let refused = world.attest_until(0, "refused");
    for (attempt, policy, says) in
        [(admitted, &policy, "admitted\n"), (refused, &strict, "refused: policy.no_rule_matched\n")]
    {
        let id = attempt["id"].as_str().unwrap();
        let file = prove(&world.server, world.work.path(), id).unwrap();
        let mut command = world.programs.command("holdfast-policy");
        let explained = Output::of(command.arg("explain").arg(policy).arg("--evidence").arg(&file)).unwrap();
        let shown = world.server.operator(&["attempt", "show", id]).unwrap();
        let explained = explained.stdout.trim_end();
        assert!(explained.starts_with(says), "{explained}");
        assert!(shown.trim_end().ends_with(&format!("\n{explained}")), "{shown}\nand not\n{explained}");
        // And so it is as JSON, with everything that the kept text leaves to the entry.
        let shown = &attempt["decision"];
        assert_eq!(shown["explanation"]["at"], attempt["at"], "{shown:#}");
        assert_eq!(shown["evidence_expires"].is_i64(), shown["verdict"] == "admitted", "{shown:#}");
    }
}
