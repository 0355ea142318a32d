//! Every attack that the simulator knows, end to end: by a guest that asks for the first time, refused by the code that
//! the simulator promises, and nobody admitted; then the guest as it was launched, which is. What changes nothing that
//! counts leaves it the node that it is.

use holdfast_tests::until;

use crate::world::{PATIENCE, World};

/// By what a vendor says, which the server has from its service and not from the guest; see [`World::vendor_says`].
const SAID: &[&str] = &["revoked-platform", "revoked-tcb", "old-module", "bar-raised"];
/// By what no server takes in, whoever says it: see `vendors`.
pub(crate) const NOT_TAKEN_IN: &[&str] = &[
    "expired-certificate",
    "expired-issuer",
    "revoked-issuer",
    "expired-collateral",
    "early-collateral",
    "forged-collateral",
    "revoked-signer",
    "revoked-authority",
    "other-collateral",
];

/// What our own programs put right: the agent keeps a certificate of another key to itself, and the server has the right
/// one of a chip from AMD. Verifiers that are given nothing else refuse these: the simulator's own tests.
const MENDED: &[(&str, &str)] = &[("azure", "certificate-of-another-key"), ("snp", "other-tcb-certificate")];

/// What our own agent does not send, so that it asks for nothing.
const KEPT_BACK: &[(&str, &str)] = &[("gcp", "certificate-of-another-key")];

/// An attack, and the code by which it is refused; `None` where the guest stays who it is.
struct Attack {
    name: String,
    code: Option<String>,
}

impl Attack {
    /// Those on certificates come first: once the server has verified one for a key, it needs no other for that key.
    fn turn(&self) -> u8 {
        match self.code.as_deref() {
            Some(code) if code.contains(".chain.") => 0,
            Some("policy.no_rule_matched") => 2,
            Some(_) => 1,
            None => 3,
        }
    }

    fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }
}

fn every_attack(kind: &str, fields: &[&str]) {
    let mut world = World::launched_with(kind, 1, fields);
    let mut attacks = world.attacks();
    if kind == "snp" || kind == "tdx" {
        attacks.retain(|attack| !attack.is(NOT_TAKEN_IN) || attack.code.as_deref() == Some("tdx.pck.expired"));
    }
    let mended: Vec<&str> = MENDED.iter().filter(|(of, _)| *of == kind).map(|(_, name)| *name).collect();
    attacks.iter_mut().filter(|attack| attack.is(&mended)).for_each(|attack| attack.code = None);
    let kept_back = KEPT_BACK.iter().filter(|(of, _)| *of == kind).map(|(_, name)| *name).collect::<Vec<_>>();
    let kept_back = attacks.iter_mut().filter(|attack| attack.is(&kept_back));
    kept_back.for_each(|attack| attack.code = Some("agent.collect.form".to_owned()));
    attacks.sort_by_key(Attack::turn);
    let (by_vendors, by_guests): (Vec<_>, Vec<_>) = attacks.into_iter().partition(|attack| attack.is(SAID));
    let (refused, harmless): (Vec<_>, Vec<_>) = by_guests.iter().partition(|attack| attack.code.is_some());
    for attack in refused {
        world.refuses(attack, false);
    }
    assert!(world.nodes().is_empty(), "{:?}", world.nodes());
    world.guests.tell(0, "heal", &[]).unwrap();
    world.start_agent(0);
    world.agents[0].until_ready(PATIENCE).unwrap_or_else(|why| panic!("as it was launched: {why:#}\n{}", world.logs()));
    let node = world.nodes();
    assert_eq!(node.len(), 1, "{node:?}");
    for attack in harmless {
        world.stays(attack, &node[0]);
    }
    for attack in &by_vendors {
        world.refuses(attack, true);
    }
}

impl World {
    fn attacks(&self) -> Vec<Attack> {
        let listed = self.guests.attacks().unwrap();
        let listed = listed.as_array().unwrap().iter().map(|attack| {
            let code = attack["refused_as"].as_str();
            let code = code.map(|code| if code == "policy" { "policy.no_rule_matched" } else { code });
            Attack { name: attack["name"].as_str().unwrap().to_owned(), code: code.map(str::to_owned) }
        });
        listed.collect()
    }

    /// The guest under attack asks for the first time.
    fn refuses(&mut self, attack: &Attack, by_vendor: bool) {
        let (name, code) = (&attack.name, attack.code.as_deref().unwrap());
        if let Some(daemon) = self.agents[0].daemon() {
            daemon.kill();
        }
        self.guests.tell(0, "heal", &[]).unwrap();
        self.guests.tell(0, "attack", &[name]).unwrap();
        if by_vendor {
            self.vendor_says();
        }
        let (turned_away, admitted) = (self.turned_away(code), self.admitted());
        self.start_agent(0);
        until(&format!("{name} is refused as {code}"), PATIENCE, || {
            (self.turned_away(code) > turned_away).then_some(())
        })
        .unwrap_or_else(|why| panic!("{why}\n{}", self.logs()));
        assert_eq!(self.admitted(), admitted, "{name}: somebody was admitted\n{}", self.logs());
        assert_ne!(self.agents[0].cli(&["healthcheck"]).unwrap().code, 0, "{name}: the agent has an identity");
        self.agents[0].daemon().unwrap().kill();
    }

    /// The guest attests again with its own key, and is `node` as before.
    fn stays(&self, attack: &Attack, node: &str) {
        let name = &attack.name;
        self.guests.tell(0, "heal", &[]).unwrap();
        self.guests.tell(0, "attack", &[name]).unwrap();
        let before = self.attempts().len();
        self.agents[0].tell("HUP");
        let attempt = until(&format!("{name} is judged"), PATIENCE, || {
            let attempts = self.attempts();
            (attempts.len() > before).then(|| attempts.into_iter().next()).flatten()
        });
        let attempt = attempt.unwrap_or_else(|why| panic!("{why}\n{}", self.logs()));
        let (outcome, id) = (attempt["outcome"].as_str(), attempt["spiffe_id"].as_str());
        assert_eq!((outcome, id), (Some("admitted"), Some(node)), "{name}: {attempt}");
        assert_eq!(self.nodes(), [node], "{name}");
    }

    /// The server asks Intel anew. What Intel says counts from another second on than what it said before.
    fn vendor_says(&self) {
        std::thread::sleep(std::time::Duration::from_millis(1100));
        self.server.operator(&["endorsements", "refresh"]).unwrap();
    }

    /// How often anybody was admitted.
    fn admitted(&self) -> usize {
        self.attempts().iter().filter(|attempt| attempt["outcome"] == "admitted").count()
    }

    /// How often `code` was the reason: in the record and among strangers, or of the agent to ask for nothing.
    fn turned_away(&self, code: &str) -> u64 {
        if code.starts_with("agent.") {
            let said = std::fs::read_to_string(self.agent_log(0)).unwrap_or_default();
            return said.matches(code).count() as u64;
        }
        let recorded = self.attempts().iter().filter(|attempt| attempt["code"] == code).count();
        let failures = format!("code=\"{code}\"");
        let scraped = self.metrics();
        let counted = scraped.lines().filter(|line| line.contains(&failures) && line.contains("attempts_total"));
        let counted: u64 = counted.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
        counted.max(recorded as u64)
    }

    fn metrics(&self) -> String {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.server.metrics_port())).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    }
}

/// Genoa has everything that can be taken away.
#[test]
fn no_attack_on_snp_is_let_in() {
    every_attack("snp", &["product=Genoa"]);
}

#[test]
fn no_attack_on_an_enclave_is_let_in() {
    let signer = format!("pcrs.8={}", "88".repeat(48));
    every_attack("nitro", &[&signer]);
}

#[test]
fn no_attack_on_a_td_is_let_in() {
    every_attack("tdx", &[]);
}

#[test]
fn no_attack_on_an_instance_with_a_nitrotpm_is_let_in() {
    every_attack("nitrotpm", &[]);
}

#[test]
fn no_attack_on_an_azure_machine_is_let_in() {
    every_attack("azure", &[]);
}

#[test]
fn no_attack_on_a_google_cloud_instance_is_let_in() {
    every_attack("gcp", &[]);
}
