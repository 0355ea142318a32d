//! A machine with two kinds of evidence: an SNP guest that is an EC2 instance with a NitroTPM. The policy demands both.

use holdfast_tests::{Agent, Guests, Programs, Server, WorkDir, until};

use crate::world::{DOMAIN, PATIENCE};

const KINDS: [&str; 2] = ["snp", "nitrotpm"];

#[test]
fn a_machine_that_proves_both_kinds_gets_a_name_and_loses_it_with_either() {
    let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
    let [snp, nitrotpm] =
        KINDS.map(|kind| Guests::start(&programs, &work, kind, 1, &work.path().join("guests.log")).unwrap());
    let server = Server::init_with(&programs, &work, DOMAIN, &snp.server()).unwrap();
    let server = server.start(&work.path().join("server.log")).unwrap();
    for guests in [&snp, &nitrotpm] {
        for root in guests.roots() {
            let root = root.display().to_string();
            server
                .operator(&["endorsements", "import", "--class", "simulated", "--for", guests.kind(), &root])
                .unwrap();
        }
    }
    let (chip, instance) = (&snp.all()[0], &nitrotpm.all()[0]);
    server.operator(&["node", "allow", "--fact", &instance.ours()]).unwrap();
    server.operator(&["node", "allow", "--fact", &chip.ours()]).unwrap();
    let policy = work.path().join("policy.toml");
    let measurement = chip.spec["measurement"].as_str().unwrap();
    let kernel = instance.measured["4"].as_str().unwrap();
    let text = format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"both\"\n\
         [issue]\nnode_id = \"/holdfast/node/ec2/{{nitrotpm.instance_id}}/{{snp.report_id}}\"\n\
         [[rule]]\nname = \"both\"\nevidence = [\"snp\", \"nitrotpm\"]\nownership = \"inventory\"\n\
         trust_classes = [\"simulated\"]\n[rule.require]\n\
         snp.measurement = \"{measurement}\"\nnitrotpm.pcr.4 = \"{kernel}\"\n"
    );
    std::fs::write(&policy, text).unwrap();
    server.operator(&["policy", "apply", &policy.display().to_string()]).unwrap();
    let device = format!("{}{}", chip.agent, instance.agent);
    let top = "evidence = [\"snp\", \"nitrotpm\"]\n";
    let mut agent = Agent::configure_with(&programs, &work, &server, "agent", top, &device).unwrap();
    let log = work.path().join("agent.log");
    agent.start_again(&log).unwrap();
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    agent.until_ready(PATIENCE).unwrap_or_else(|why| panic!("{why:#}\n{}", said()));
    let attempts = || server.json(&["attempt", "list"]).unwrap()["attempts"].as_array().unwrap().clone();
    let nodes = server.json(&["node", "list", "--state", "admitted"]).unwrap();
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1, "{nodes}");

    for (guests, attack) in [(&snp, "tampered-image"), (&nitrotpm, "tampered-image")] {
        guests.tell(0, "attack", &[attack]).unwrap();
        let before = attempts().len();
        agent.tell("HUP");
        let refused = until("a refusal", PATIENCE, || {
            let all = attempts();
            let new = all.len().saturating_sub(before);
            all.into_iter().take(new).find(|attempt| attempt["outcome"] == "refused")
        });
        let refused = refused.unwrap_or_else(|why| panic!("{} {attack}: {why}\n{}", guests.kind(), said()));
        assert_eq!(refused["code"], "policy.no_rule_matched", "{refused}");
        guests.tell(0, "heal", &[]).unwrap();
        // whole again, it is admitted again
        agent.daemon().unwrap().kill();
        agent.start_again(&log).unwrap();
        agent.until_ready(PATIENCE).unwrap_or_else(|why| panic!("{why:#}\n{}", said()));
    }
}
