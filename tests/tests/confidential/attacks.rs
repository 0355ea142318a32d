//! Every attack that the simulator knows, by a guest that asks for the first time: none is let in, each for its reason.

use holdfast_tests::until;

use crate::world::{PATIENCE, World};

/// Attacks, and the code by which each is turned away: of strangers where no hardware vouched for what was refused, in the
/// record where it did.
fn none_is_let_in(kind: &str, attacks: &[(&str, &str)]) {
    let mut world = World::launched(kind, 1);
    world.start_agent(0);
    world.agents[0].until_ready(PATIENCE).unwrap_or_else(|why| panic!("{why:#}\n{}", world.logs()));
    for (attack, code) in attacks {
        world.agents[0].daemon().unwrap().kill();
        world.guests.tell(0, "heal", &[]).unwrap();
        world.guests.tell(0, "attack", &[attack]).unwrap();
        let before = world.turned_away(code);
        world.start_agent(0);
        let seen = until(&format!("{attack} is refused as {code}"), PATIENCE, || {
            (world.turned_away(code) > before).then_some(())
        });
        seen.unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    }
    world.agents[0].daemon().unwrap().kill();
}

impl World {
    /// How often `code` was the reason, in the record and among strangers.
    fn turned_away(&self, code: &str) -> u64 {
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

#[test]
fn no_attack_on_snp_is_let_in() {
    none_is_let_in(
        "snp",
        &[
            ("debug", "snp.guest_policy.debug"),
            ("migration-agent", "snp.guest_policy.migration_agent"),
            ("masked-chip-key", "snp.report.chip_key_masked"),
            ("other-chip", "snp.report.signature"),
            ("replayed-report", "snp.report.data"),
            ("relayed-report", "snp.report.data"),
            ("longer-report-data", "snp.report.data"),
            ("tampered-report", "snp.report.signature"),
            ("tampered-image", "policy.no_rule_matched"),
            ("old-tcb", "policy.no_rule_matched"),
            ("no-alias-check", "policy.no_rule_matched"),
            ("wrong-algorithm", "snp.report.signature_algorithm"),
            ("unknown-version", "snp.report.version"),
        ],
    );
}

#[test]
fn no_attack_on_an_enclave_is_let_in() {
    none_is_let_in(
        "nitro",
        &[
            ("debug", "nitro.pcr.debug"),
            ("other-instance", "nitro.pcr.instance"),
            ("tampered-image", "policy.no_rule_matched"),
            ("replayed-nonce", "nitro.document.nonce"),
            ("replayed-user-data", "nitro.document.binding"),
            ("stale", "nitro.document.timestamp"),
            ("from-the-future", "nitro.document.timestamp"),
            ("other-leaf", "nitro.document.signature"),
        ],
    );
}

#[test]
fn no_attack_on_a_td_is_let_in() {
    none_is_let_in(
        "tdx",
        &[
            ("debug", "tdx.td.debug"),
            ("migratable", "tdx.td.migratable"),
            ("own-root", "tdx.pck.signature"),
            ("own-key", "tdx.qe.attestation_key"),
            ("replayed-quote", "tdx.quote.report_data"),
            ("tampered-quote", "tdx.quote.signature"),
            ("tampered-image", "policy.no_rule_matched"),
            ("event-omitted", "tdx.ccel.replay"),
            ("unknown-module", "tdx.tcb.module"),
            ("old-tcb", "policy.no_rule_matched"),
        ],
    );
}

#[test]
fn no_attack_on_an_instance_with_a_nitrotpm_is_let_in() {
    none_is_let_in(
        "nitrotpm",
        &[
            ("own-root", "nitrotpm.chain.root"),
            ("replayed-nonce", "nitrotpm.document.nonce"),
            ("replayed-user-data", "nitrotpm.document.binding"),
            ("stale", "nitrotpm.document.timestamp"),
            ("tampered-document", "nitrotpm.document.signature"),
            ("unmeasured", "nitrotpm.pcr.bank_unextended"),
            ("tampered-image", "policy.no_rule_matched"),
        ],
    );
}

#[test]
fn no_attack_on_an_azure_machine_is_let_in() {
    none_is_let_in(
        "azure",
        &[
            ("debug", "snp.guest_policy.debug"),
            ("asked-by-the-guest", "azure.hcl.vmpl"),
            ("own-runtime-data", "azure.runtime_data.digest"),
            ("own-key", "azure.ak.key_mismatch"),
            ("own-root", "snp.chain.signature"),
            ("replayed-quote", "tpm.quote.nonce"),
            ("other-selection", "tpm.quote.selection"),
            ("event-of-another-digest", "tpm.quote.pcr_digest"),
            ("tampered-image", "policy.no_rule_matched"),
        ],
    );
}

#[test]
fn no_attack_on_a_google_cloud_instance_is_let_in() {
    none_is_let_in(
        "gcp",
        &[
            ("own-root", "chain.signature"),
            ("expired-certificate", "gcp.ak.expired"),
            ("no-instance", "gcp.instance.malformed"),
            ("replayed-quote", "tpm.quote.nonce"),
            ("other-selection", "tpm.quote.selection"),
            ("event-omitted", "tpm.quote.pcr_digest"),
            ("other-project", "policy.no_rule_matched"),
            ("tampered-image", "policy.no_rule_matched"),
        ],
    );
}
