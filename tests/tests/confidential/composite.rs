//! A machine with two kinds of evidence: a confidential guest that has a TPM too, its own or its provider's. The policy
//! demands both.

use std::path::Path;

use holdfast_tests::{Agent, Guests, Machines, Output, Programs, Server, WorkDir, proof, until};
use serde_json::Value;

use crate::world::{DOMAIN, PATIENCE};

const PROFILE: &str = "shim-grub";

/// One kind of evidence that the machine has.
enum Half {
    Guest(Guests),
    Tpm(Machines),
}

impl Half {
    fn start(programs: &Programs, work: &WorkDir, kind: &str) -> Self {
        let log = work.path().join(format!("{kind}.log"));
        match kind {
            "tpm" => Self::Tpm(Machines::start(programs, work, 1, PROFILE, &log).unwrap()),
            _ => Self::Guest(Guests::start(programs, work, kind, 1, &log).unwrap()),
        }
    }

    /// Has the server trust its vendor, and takes it for ours.
    fn introduce(&self, server: &Server) {
        let import = |kind: &str, root: &Path| {
            let root = root.display().to_string();
            server.operator(&["endorsements", "import", "--class", "simulated", "--for", kind, &root]).unwrap();
        };
        match self {
            Self::Guest(guests) => {
                guests.roots().iter().for_each(|root| import(guests.kind(), root));
                server.operator(&["node", "allow", "--fact", &guests.all()[0].ours()]).unwrap();
            }
            Self::Tpm(machines) => {
                import("tpm", machines.root());
                server.operator(&["node", "allow", "--ek-sha256", &machines.all()[0].ek_sha256]).unwrap();
            }
        }
    }

    /// The fact that names it, and what a policy demands of it.
    fn demands(&self) -> (&'static str, String) {
        let Self::Guest(guests) = self else {
            return ("tpm.machine", "tpm.boot.applications = { sequence = \"@shim-grub\" }\n".to_owned());
        };
        let guest = &guests.all()[0];
        let pcr4 = |fact: &str| format!("{fact}.pcr.4 = \"{}\"\n", guest.measured["4"].as_str().unwrap());
        let digest = |field: &str| guest.spec[field].as_str().unwrap().to_owned();
        match guests.kind() {
            "snp" => ("snp.report_id", format!("snp.measurement = \"{}\"\n", digest("measurement"))),
            "tdx" => (
                "tdx.instance",
                format!(
                    "tdx.mrtd = \"{}\"\ntdx.rtmr1 = \"{}\"\n",
                    digest("mrtd"),
                    guest.measured["1"].as_str().unwrap()
                ),
            ),
            "gcp" => ("gcp.instance_id", pcr4("tpm")),
            "nitrotpm" => ("nitrotpm.instance_id", pcr4("nitrotpm")),
            other => panic!("no demands on {other}"),
        }
    }

    /// Lines at the top and at the end of an agent's configuration.
    fn agent(&self) -> (String, String) {
        match self {
            Self::Guest(guests) => (guests.all()[0].agent_top.clone(), guests.all()[0].agent.clone()),
            Self::Tpm(machines) => {
                let machine = &machines.all()[0];
                let log = format!("firmware_log = \"{}\"\n", machine.firmware_log.display());
                (log, format!("[tpm]\nswtpm = \"{}\"\n", machine.tcti))
            }
        }
    }

    fn tamper(&self) {
        match self {
            Self::Guest(guests) => guests.tell(0, "attack", &["tampered-image"]).map(drop).unwrap(),
            Self::Tpm(machines) => machines.tell(0, "reboot", &["--profile", "changed-kernel"]).map(drop).unwrap(),
        }
    }

    fn heal(&self) {
        match self {
            Self::Guest(guests) => guests.tell(0, "heal", &[]).map(drop).unwrap(),
            Self::Tpm(machines) => machines.tell(0, "reboot", &["--profile", PROFILE]).map(drop).unwrap(),
        }
    }
}

/// Applies a policy that demands both.
fn apply_policy(programs: &Programs, work: &WorkDir, server: &Server, kinds: [&str; 2], halves: &[Half; 2]) {
    let reference = Output::of(programs.command("holdfast-tpm-sim").args(["reference-values", "--profile", PROFILE]));
    let folder = work.sub("policy").unwrap();
    std::fs::write(folder.join("shim-grub.toml"), reference.unwrap().success().unwrap().stdout).unwrap();
    let [(one, of_one), (other, of_other)] = [halves[0].demands(), halves[1].demands()];
    let text = format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"both\"\nreference_values = [\"shim-grub.toml\"]\n\
         [issue]\nnode_id = \"/holdfast/node/both/{{{other}}}/{{{one}}}\"\n\
         [[rule]]\nname = \"both\"\nevidence = [\"{}\", \"{}\"]\nownership = \"inventory\"\n\
         trust_classes = [\"simulated\"]\n[rule.require]\n{of_one}{of_other}",
        kinds[0], kinds[1]
    );
    std::fs::write(folder.join("policy.toml"), text).unwrap();
    server.operator(&["policy", "apply", &folder.join("policy.toml").display().to_string()]).unwrap();
}

/// Admitted with both, refused with either of them tampered with, and admitted again; each of it proven.
fn gets_a_name_and_loses_it_with_either(kinds: [&str; 2]) {
    let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
    let halves = kinds.map(|kind| Half::start(&programs, &work, kind));
    let services = match &halves[0] {
        Half::Guest(guests) => guests.server(),
        Half::Tpm(_) => String::new(),
    };
    let server = Server::init_with(&programs, &work, DOMAIN, &services).unwrap();
    let server = server.start(&work.path().join("server.log")).unwrap();
    halves.iter().for_each(|half| half.introduce(&server));
    apply_policy(&programs, &work, &server, kinds, &halves);
    let [(top, device), (other_top, other_device)] = [halves[0].agent(), halves[1].agent()];
    let top = format!("evidence = [\"{}\", \"{}\"]\n{top}{other_top}", kinds[0], kinds[1]);
    let tables = format!("{device}{other_device}");
    let mut agent = Agent::configure_with(&programs, &work, &server, "agent", &top, &tables).unwrap();
    let log = work.path().join("agent.log");
    agent.start_again(&log).unwrap();
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    agent.until_ready(PATIENCE).unwrap_or_else(|why| panic!("{why:#}\n{}", said()));
    let attempts = || server.json(&["attempt", "list"]).unwrap()["attempts"].as_array().unwrap().clone();
    let nodes = server.json(&["node", "list", "--state", "admitted"]).unwrap();
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 1, "{nodes}");
    let mut found: Vec<String> = serde_json::from_value(attempts()[0]["kinds"].clone()).unwrap();
    found.sort_unstable();
    let mut expected = kinds.map(str::to_owned);
    expected.sort_unstable();
    assert_eq!(found, expected);

    for (kind, half) in kinds.iter().zip(&halves) {
        half.tamper();
        let before = attempts().len();
        agent.tell("HUP");
        let refused = until("a refusal", PATIENCE, || newest_refusal(attempts(), before));
        let mut refused = refused.unwrap_or_else(|why| panic!("{kind}: {why}\n{}", said()));
        if refused["code"] == "tpm.quote.pcr_digest" {
            // The registers were read while they were being changed: a renewal of the agent's own crossed ours.
            let before = attempts().len();
            agent.tell("HUP");
            refused = until("a second refusal", PATIENCE, || newest_refusal(attempts(), before))
                .unwrap_or_else(|why| panic!("{kind}: {why}\n{}", said()));
        }
        assert_eq!(refused["code"], "policy.no_rule_matched", "{kind}: {refused}");
        half.heal();
        // whole again, it is admitted again
        agent.daemon().unwrap().kill();
        agent.start_again(&log).unwrap();
        agent.until_ready(PATIENCE).unwrap_or_else(|why| panic!("{kind}: {why:#}\n{}", said()));
    }
    // Admissions and refusals by both kinds of evidence are made again offline.
    proof::prove_each(&server, &programs, work.path(), &attempts()).unwrap();
}

/// Of a list that is newest first and had `before` entries.
fn newest_refusal(attempts: Vec<Value>, before: usize) -> Option<Value> {
    let new = attempts.len().saturating_sub(before);
    attempts.into_iter().take(new).find(|attempt| attempt["outcome"] == "refused")
}

#[test]
fn an_snp_guest_with_a_nitrotpm() {
    gets_a_name_and_loses_it_with_either(["snp", "nitrotpm"]);
}

#[test]
fn an_snp_guest_on_google_cloud() {
    gets_a_name_and_loses_it_with_either(["snp", "gcp"]);
}

#[test]
fn a_td_on_google_cloud() {
    gets_a_name_and_loses_it_with_either(["tdx", "gcp"]);
}

#[test]
fn an_snp_guest_with_a_tpm() {
    gets_a_name_and_loses_it_with_either(["snp", "tpm"]);
}

#[test]
fn a_td_with_a_tpm() {
    gets_a_name_and_loses_it_with_either(["tdx", "tpm"]);
}
