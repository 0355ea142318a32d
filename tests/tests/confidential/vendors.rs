//! The vendors' services, as the server needs them: away, slow, in need of rest, or lying.

use std::time::{Duration, Instant};

use holdfast_tests::until;

use crate::attacks::NOT_TAKEN_IN;
use crate::world::{PATIENCE, World};

const VCEK: &str = "/vcek/v1/Milan/";
const TCB_INFO: &str = "/tdx/certification/v4/tcb";

impl World {
    /// How often a vendor was asked for what begins so.
    fn asked(&self, path: &str) -> usize {
        self.guests.asked().unwrap().iter().filter(|asked| asked.contains(path)).count()
    }

    fn until_asked(&self, path: &str, times: usize) {
        until("the vendor is asked", PATIENCE, || (self.asked(path) >= times).then_some(()))
            .unwrap_or_else(|why| panic!("{why}\n{}", self.logs()));
    }

    /// A moment later nobody is admitted, and nobody refused.
    fn is_undecided(&self, why: &str) {
        std::thread::sleep(Duration::from_secs(1));
        assert!(self.nodes().is_empty(), "{why}: admitted");
        let attempts = self.attempts();
        assert!(attempts.iter().all(|attempt| attempt["outcome"] != "refused"), "{why}: {attempts:?}");
        assert!(!self.strangers().contains("refused"), "{why}: {}", self.strangers());
    }

    /// In its place an agent would ask again after a pause.
    fn agent_begins_anew(&mut self) {
        if let Some(daemon) = self.agents[0].daemon() {
            daemon.kill();
        }
        self.start_agent(0);
    }

    fn agent_said(&self, words: &str) -> bool {
        std::fs::read_to_string(self.agent_log(0)).unwrap_or_default().contains(words)
    }

    /// An operator has the server ask for what it wants; whether it got it.
    fn refreshed(&self) -> bool {
        self.server.cli(&["endorsements", "refresh"]).unwrap().code == 0
    }

    /// With the vendor well again: the server has what it wants when the guest asks, whose own fetches are budgeted.
    fn is_admitted_after_all(&mut self) {
        until("the server has what it wants", PATIENCE, || self.refreshed().then_some(()))
            .unwrap_or_else(|why| panic!("{why}\n{}", self.logs()));
        self.agent_begins_anew();
        self.until_admitted();
    }

    fn until_admitted(&self) {
        self.agents[0].until_ready(PATIENCE).unwrap_or_else(|why| panic!("{why:#}\n{}", self.logs()));
    }
}

/// A service that does not answer is a fault: the guest is neither refused nor admitted, and asks again.
fn waits_for_the_vendor(kind: &str, fields: &[&str], path: &str, fault: &str) {
    let mut world = World::launched_with(kind, 1, fields);
    world.guests.fault(&[&format!("{fault}@{path}")]).unwrap();
    world.start_agent(0);
    world.until_asked(path, 1);
    world.is_undecided(fault);
    until("the server gives up", PATIENCE, || world.agent_said("set back").then_some(()))
        .unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    world.guests.fault(&[]).unwrap();
    world.is_admitted_after_all();
}

#[test]
fn an_snp_guest_waits_for_amds_service() {
    waits_for_the_vendor("snp", &["certificates=false"], VCEK, "error:503");
}

#[test]
fn a_chip_certificate_with_a_flipped_bit_is_no_refusal_of_the_guest() {
    waits_for_the_vendor("snp", &["certificates=false"], VCEK, "lie");
}

#[test]
fn amds_service_that_stops_halfway_is_no_refusal_of_the_guest() {
    waits_for_the_vendor("snp", &["certificates=false"], VCEK, "stall");
}

#[test]
fn a_td_waits_for_intels_service() {
    waits_for_the_vendor("tdx", &[], TCB_INFO, "garbage");
}

#[test]
fn intels_service_that_stops_halfway_is_no_refusal_of_the_td() {
    waits_for_the_vendor("tdx", &[], TCB_INFO, "stall");
}

/// A service that takes its time is waited for.
fn is_admitted_in_the_end(kind: &str, fields: &[&str], path: &str) {
    let mut world = World::launched_with(kind, 1, fields);
    world.guests.fault(&[&format!("delay:2s@{path}")]).unwrap();
    let begun = Instant::now();
    world.start_agent(0);
    world.until_asked(path, 1);
    assert!(world.nodes().is_empty());
    world.until_admitted();
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(world.attempts().iter().all(|attempt| attempt["outcome"] == "admitted"), "{:?}", world.attempts());
}

#[test]
fn an_snp_guest_is_admitted_when_amds_slow_service_has_answered() {
    is_admitted_in_the_end("snp", &["certificates=false"], VCEK);
}

#[test]
fn a_td_is_admitted_when_intels_slow_service_has_answered() {
    is_admitted_in_the_end("tdx", &[], TCB_INFO);
}

/// A service that says when to come back (429, Retry-After) is left alone until then, whoever asks meanwhile.
fn respects_the_limit(kind: &str, fields: &[&str], path: &str) {
    const REST: Duration = Duration::from_secs(12);
    let mut world = World::launched_with(kind, 1, fields);
    world.guests.fault(&[&format!("limit:{}s@{path}", REST.as_secs())]).unwrap();
    // somebody else behind the same address has had what there is
    world.guests.ask(path).unwrap();
    let mine = world.asked(path);
    let begun = Instant::now();
    world.start_agent(0);
    world.until_asked(path, mine + 1);
    world.is_undecided("limit");
    world.agent_begins_anew();
    world.is_undecided("limit");
    assert!(begun.elapsed() < REST, "too slow to tell");
    assert_eq!(world.asked(path), mine + 1, "asked while it rests");
    std::thread::sleep(REST);
    // of the certificates below one path the limit lets one through
    world.guests.fault(&[]).unwrap();
    world.is_admitted_after_all();
}

#[test]
fn amds_service_is_left_alone_when_it_says_so() {
    respects_the_limit("snp", &["certificates=false"], VCEK);
}

#[test]
fn intels_service_is_left_alone_when_it_says_so() {
    respects_the_limit("tdx", &[], TCB_INFO);
}

/// What has ended, has not begun, is about another platform, or is somebody else's word:
/// none of it is taken in, and none is held against the guest.
fn is_neither_admitted_nor_refused(kind: &str, path: &str, attacks: &[&str]) {
    let mut world = World::launched(kind, 1);
    for attack in attacks.iter().filter(|attack| NOT_TAKEN_IN.contains(attack)) {
        world.guests.tell(0, "heal", &[]).unwrap();
        world.guests.tell(0, "attack", &[attack]).unwrap();
        world.agent_begins_anew();
        world.until_asked(path, 1);
        world.is_undecided(attack);
        assert!(!world.refreshed(), "{attack}: taken in");
        world.is_undecided(attack);
    }
    world.guests.tell(0, "heal", &[]).unwrap();
    world.is_admitted_after_all();
}

#[test]
fn what_intel_cannot_have_said_admits_nobody_and_refuses_nobody() {
    let said = ["expired-collateral", "early-collateral", "forged-collateral", "revoked-signer", "other-collateral"];
    is_neither_admitted_nor_refused("tdx", TCB_INFO, &said);
}

/// Yesterday's collateral, which is still in its dates, counts no more.
#[test]
fn a_ca_that_intel_revokes_ends_the_guests_below_it() {
    let world = World::enrolled("tdx", 1);
    world.guests.tell(0, "attack", &["revoked-authority"]).unwrap();
    assert!(world.refreshed(), "not taken in");
    assert_eq!(world.until_refused(0)["code"], "tdx.pck.revoked");
}

/// The service has nothing better than the host.
#[test]
fn certificates_of_amds_that_have_ended_admit_nobody_and_refuse_nobody() {
    is_neither_admitted_nor_refused("snp", VCEK, &["expired-certificate", "expired-issuer"]);
}

/// Once AMD's list is held, nothing below the issuer counts any more; the service has no better certificate.
#[test]
fn a_guest_below_a_revoked_issuer_of_amds_is_not_admitted() {
    let mut world = World::launched("snp", 1);
    world.guests.tell(0, "attack", &["revoked-issuer"]).unwrap();
    world.server.operator(&["endorsements", "refresh", "crl/vcek/Milan"]).unwrap();
    world.agent_begins_anew();
    until("the server has judged", PATIENCE, || world.agent_said("set back").then_some(()))
        .unwrap_or_else(|why| panic!("{why}\n{}", world.logs()));
    world.is_undecided("revoked-issuer");
    assert!(!world.agent_said("node admitted"));
}
