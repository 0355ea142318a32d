//! A policy on its way: asked about, observed, enforced for one machine, then for all, and taken back.

use serde_json::Value;

use crate::world::{DOMAIN, World};
use holdfast_tests::{Programs, Server, WorkDir};

const POLICY: &str = include_str!("../../src/bin/holdfast-demo/policy.toml");

/// The demonstration's policy under another name, with another condition; each machine's own name is a selector.
fn written(world: &World, name: &str, condition: &str) -> String {
    let selectors = "selectors = [\"tpm.machine\", ";
    let text = POLICY.replace("name = \"demo\"", &format!("name = \"{name}\"")).replace("selectors = [", selectors);
    let file = world.work.path().join("policy").join(format!("{name}.toml"));
    std::fs::write(&file, format!("{text}{condition}\n")).unwrap();
    file.display().to_string()
}

fn policy_of(attempt: &Value) -> &str {
    attempt["decision"]["policy"]["name"].as_str().unwrap()
}

/// The machine's own attempt with this outcome: when a policy changes, every other agent attests as well.
fn own_attempt(world: &World, index: usize, outcome: &str) -> Value {
    let node = world.node_id(index);
    let mut attempts = (0..5).map(|_| world.attest_until(index, outcome));
    attempts.find(|attempt| attempt["spiffe_id"] == node.as_str()).unwrap()
}

#[test]
fn a_policy_is_asked_about_observed_enforced_for_one_and_for_all_and_taken_back() {
    let world = World::enrolled(2);
    let base = written(&world, "base", "");
    world.server.operator(&["policy", "apply", &base, "--message", "names of machines as selectors"]).unwrap();
    for index in 0..2 {
        world.attest_until(index, "admitted");
    }
    let machine = |index: usize| world.node_id(index).rsplit('/').next().unwrap().to_owned();
    let strict = written(&world, "strict", &format!("tpm.machine = {{ none_of = [\"{}\"] }}", machine(1)));

    // Whom would it refuse? The second machine, for that reason; nothing has changed by asking.
    let asked = world.server.cli(&["policy", "what-if", &strict, "--nodes", "--output", "json"]).unwrap();
    assert_eq!(asked.code, 1, "{}", asked.stderr);
    let fleet: Value = asked.json().unwrap();
    assert_eq!((&fleet["lost"], &fleet["admitted"]), (&1.into(), &2.into()), "{fleet:#}");
    assert_eq!(fleet["nodes"][0]["spiffe_id"], world.node_id(1).as_str());
    assert_eq!(fleet["groups"][0]["then"]["causes"][0]["code"], "policy.fact.denied");
    let csv = world.server.cli(&["policy", "what-if", &strict, "--output", "csv"]).unwrap().stdout;
    assert!(csv.lines().nth(1).unwrap().starts_with("newly-refused,1,strict,rack,"), "{csv}");

    // Half of the fleet is more than the share.
    let refused = world.server.cli(&["policy", "apply", &strict]).unwrap();
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("rollout.too_many_refused"), "{}", refused.stderr);

    // Observed, it refuses nobody, and its verdict stands beside.
    world.server.operator(&["policy", "apply", &strict, "--mode", "observe"]).unwrap();
    let seen = own_attempt(&world, 1, "admitted");
    assert_eq!((policy_of(&seen), &seen["decision"]["observed"]["verdict"]), ("base", &"refused".into()));

    // Enforced for the first machine alone, by what is on record of it.
    let first = format!("tpm:machine:{}", machine(0));
    world.server.operator(&["policy", "promote", "observe", "--selector", &first]).unwrap();
    assert_eq!(policy_of(&own_attempt(&world, 0, "admitted")), "strict");
    assert_eq!(policy_of(&own_attempt(&world, 1, "admitted")), "base");
    let changeable = ["policy", "promote", "observe", "--selector", "tpm:secure_boot:true"];
    assert!(world.server.cli(&changeable).unwrap().stderr.contains("rollout.selector"));

    // For all, told that one is lost by it; and back.
    let all = world.server.json(&["policy", "promote", "observe", "--accept-refusals", "1"]).unwrap();
    assert_eq!((&all["rollout"]["refused"], &all["rollout"]["enforced"]["name"]), (&1.into(), &"strict".into()));
    own_attempt(&world, 1, "refused");
    let back = world.server.json(&["policy", "rollback", "--message", "too strict"]).unwrap();
    assert_eq!(back["rollout"]["enforced"]["name"], "base");
    assert_eq!(policy_of(&own_attempt(&world, 1, "admitted")), "base");

    let history = world.server.json(&["policy", "history"]).unwrap();
    let actions: Vec<&str> =
        history["rollouts"].as_array().unwrap().iter().filter_map(|state| state["action"].as_str()).collect();
    assert_eq!(
        actions,
        ["policy.rollback", "policy.enforce", "policy.enforce", "policy.observe", "policy.enforce", "policy.enforce"]
    );
    // A period may be asked for by seconds, and ends before its last one.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    for (format, shows) in
        [("md", "Changes of policy\n"), ("html", "Changes of policy</h3>"), ("csv", "\npolicy_changes,")]
    {
        let report = world.server.operator(&["fleet", "report", "--output", format]).unwrap();
        assert!(report.contains(shows) && report.contains("too strict"), "{report}");
        if let Some(kept) = std::env::var_os("HOLDFAST_KEEP_REPORT") {
            std::fs::write(std::path::Path::new(&kept).join(format!("report.{format}")), &report).unwrap();
        }
    }
    assert_eq!(world.server.cli(&["node", "list", "--output", "csv"]).unwrap().code, 2);
    world.server.operator(&["audit", "verify"]).unwrap();
}

#[test]
fn what_one_operator_proposes_he_does_not_approve() {
    let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
    let server = Server::init_with(&programs, &work, DOMAIN, "[policy]\ntwo_person = true\n").unwrap();
    let server = server.start(&work.path().join("server.log")).unwrap();
    let file = work.path().join("known.toml");
    std::fs::write(&file, include_str!("../../../policies/shipped/simulated-machines.toml")).unwrap();
    let applied = server.json(&["policy", "apply", &file.display().to_string(), "--message", "first"]).unwrap();
    assert_eq!(applied["proposal"]["state"], "open", "{applied:#}");
    let own = server.cli(&["policy", "approve", "1"]).unwrap();
    assert_eq!(own.code, 1);
    assert!(own.stderr.contains("rollout.proposal.own"), "{}", own.stderr);
    assert_eq!(server.json(&["policy", "history"]).unwrap()["rollouts"], serde_json::json!([]));
    server.operator(&["policy", "withdraw", "1"]).unwrap();
    let proposals = server.json(&["policy", "proposals"]).unwrap();
    assert_eq!(proposals["proposals"][0]["state"], "withdrawn");
    server.operator(&["audit", "verify"]).unwrap();
}

#[test]
fn a_policy_of_more_than_four_mebibytes_is_asked_about_applied_and_shown_whole() {
    let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
    let server = Server::init_with(&programs, &work, DOMAIN, "").unwrap();
    let server = server.start(&work.path().join("server.log")).unwrap();
    let lines: String = (0..70_000).map(|n: u32| format!("{n:064x}  /usr/lib/{n}\n")).collect();
    assert!(lines.len() > 5 << 20);
    std::fs::write(work.path().join("many.digests"), &lines).unwrap();
    let file = work.path().join("many.toml");
    let shipped = include_str!("../../../policies/shipped/simulated-machines.toml");
    std::fs::write(&file, format!("{shipped}\n[rule.ima]\ndigests = \"many.digests\"\n")).unwrap();
    let file = file.display().to_string();
    let asked = server.cli(&["policy", "what-if", &file, "--output", "json"]).unwrap();
    assert_eq!(asked.code, 0, "{}", asked.stderr);
    let applied = server.cli(&["policy", "apply", &file, "--output", "json"]).unwrap();
    assert_eq!(applied.code, 0, "{}{}", applied.stdout, applied.stderr);
    let shown = server.json(&["policy", "show"]).unwrap();
    let kept = shown["documents"].as_array().unwrap().iter().find(|one| one["name"] == "many.digests").unwrap();
    assert_eq!(kept["text"].as_str().unwrap(), lines);
    let digest = server.json(&["policy", "digest", &file]).unwrap();
    assert_eq!(digest["digest"], shown["digest"]);
    assert_eq!(digest["signed"], format!("holdfast/policy-signature/1\n{}\n", shown["digest"].as_str().unwrap()));
    server.operator(&["audit", "verify"]).unwrap();
}
