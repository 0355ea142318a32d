//! A machine that is ours by its maker's word: platform certificate, IAK and IDevID, and who pretends to have them.

use holdfast_agent::status::Standing;
use holdfast_agent::tpm::Tpm;
use holdfast_evidence::TrustClass;
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::tpm::endorsement::{Anchor, ExpiredIssuers, Roots};
use holdfast_evidence::tpm::ownership::{DeviceRole, OfferedDeviceKey, OfferedOwnership};
use holdfast_evidence::tpm::{
    Bank, Endorsers, IdentityMaterial, Invitation, OfferedEk, PcrSelection, PcrSet, Uninvited, Wanted,
};
use holdfast_server::store::{
    Allowed, AttemptFilter, EndorsementDraft, EndorsementRole, EndorsementSource, NodeAction, NodeFilter, NodeTarget,
    Serves, Sha256,
};
use holdfast_tpm_sim::{CommandCode, Machine, Maker, MakerAttack, MakerReport, Powered};

use super::world::{Agent, World, now, operator, profile, vendor_root};

const CERTIFY: CommandCode = CommandCode::CERTIFY;
const SERIAL: &str = "HF-0001";

impl World {
    /// Trusts a maker's word about platforms and device keys.
    pub(super) async fn trust(&self, maker: &Maker) {
        let draft = |role, serves, pem: &str| EndorsementDraft {
            role,
            serves,
            content: pem::parse(pem).unwrap().into_contents(),
            class: "simulated".to_owned(),
            name: "maker".to_owned(),
            subject: String::new(),
            about: String::new(),
            not_after: now().plus(86_400),
            source: EndorsementSource::File,
            fetched_at: now(),
        };
        let drafts = [Serves::Platforms, Serves::Devices].into_iter().flat_map(|serves| {
            [
                draft(EndorsementRole::Root, serves, maker.root_pem()),
                draft(EndorsementRole::Intermediate, serves, maker.issuing_pem()),
            ]
        });
        self.store().import_endorsements(drafts.collect(), operator(), now()).await.unwrap();
    }

    /// A machine that a maker provisioned, booted.
    pub(super) fn made(
        &self,
        index: usize,
        maker: &Maker,
        serial: &str,
        attack: Option<&MakerAttack>,
    ) -> (Powered, MakerReport) {
        let machine = self.at_rest(index);
        let report = machine.provision(maker, serial, attack).unwrap();
        let machine = machine.start(&profile()).unwrap();
        machine.forget_commands();
        (machine, report)
    }

    pub(super) async fn list(&self, digest: [u8; 32]) {
        let allowed = Allowed { digest: Sha256(digest), label: "by its maker's word".to_owned() };
        self.store().allow(vec![allowed], operator(), now()).await.unwrap();
    }
}

pub(super) fn platform(report: &MakerReport) -> [u8; 32] {
    sha256(&[b"tpm.platform.id=", report.platform_id.as_bytes()])
}

/// Under what the inventory has a fact.
fn named(fact: &str, value: &str) -> [u8; 32] {
    sha256(&[fact.as_bytes(), b"=", value.as_bytes()])
}

fn digest(hexadecimal: &str) -> [u8; 32] {
    hex::decode(hexadecimal).unwrap().try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_platform_serial_is_listed_is_admitted_although_its_ek_never_was() {
    let (world, maker) = (World::new().await, Maker::ephemeral().unwrap());
    world.trust(&maker).await;
    let (machine, report) = world.made(0, &maker, SERIAL, None);
    world.list(platform(&report)).await;
    let mut agent = world.agent(&machine);
    let first = agent.until_connected().await;
    agent.stop().await;

    let decisions = world.store().attempts(AttemptFilter::default()).await.unwrap();
    let decision = world.store().attempt(decisions[0].id).await.unwrap().unwrap().decision;
    assert!(decision.contains("\"owned_by\":[\"tpm.platform.id\"]"), "{decision}");
    assert!(decision.contains(SERIAL), "{decision}");

    // What was proven once is on record: the machine comes back by its quote alone.
    machine.forget_commands();
    let mut agent = world.agent(&machine);
    assert_eq!(agent.until_connected().await.spiffe_id, first.spiffe_id);
    assert_eq!(machine.command_total(), 4, "look up both keys, sign, quote: {:?}", machine.commands());
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_the_makers_names_for_a_machine_makes_it_ours() {
    let maker = Maker::ephemeral().unwrap();
    let listed = |report: &MakerReport| {
        [
            ("tpm.platform.certificate_sha256", report.platform_certificate_sha256.clone()),
            ("tpm.iak.spki_sha256", report.iak_sha256.clone()),
            ("tpm.idevid.spki_sha256", report.idevid_sha256.clone()),
        ]
    };
    let world = World::new().await;
    world.trust(&maker).await;
    for at in 0..3 {
        let (machine, report) = world.made(at % 2, &maker, SERIAL, None);
        let (fact, value) = listed(&report)[at].clone();
        let mark = named(fact, &value);
        world.list(mark).await;
        let mut agent = world.agent(&machine);
        agent.until_connected().await;
        agent.stop().await;
        let attempts = world.store().attempts(AttemptFilter::default()).await.unwrap();
        let decision = world.store().attempt(attempts[0].id).await.unwrap().unwrap().decision;
        assert!(decision.contains(fact), "{fact}: {decision}");
        world.store().disallow(vec![Sha256(mark)], operator(), now()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_lists_an_endorsement_key_lists_no_key_of_its_maker() {
    let maker = Maker::ephemeral().unwrap();
    let world = World::new().await;
    world.trust(&maker).await;
    let (machine, report) = world.made(0, &maker, SERIAL, None);
    for bare in [&report.iak_sha256, &report.idevid_sha256, &report.platform_certificate_sha256] {
        world.list(digest(bare)).await;
    }
    let mut agent = world.agent(&machine);
    agent.until(20, |status| status.standing == Standing::Refused).await;
    agent.stop().await;
    let attempts = world.store().attempts(AttemptFilter::default()).await.unwrap();
    assert_eq!(attempts[0].code, "policy.no_rule_matched");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_anothers_serial_number_is_a_machine_of_its_own() {
    let maker = Maker::ephemeral().unwrap();
    let world = World::new().await;
    world.trust(&maker).await;
    let (first, report) = world.made(0, &maker, SERIAL, None);
    let (second, _) = world.made(1, &maker, SERIAL, None);
    world.list(platform(&report)).await;
    let mut agent = world.agent(&first);
    let one = agent.until_connected().await.spiffe_id.clone();
    let mut other = world.agent(&second);
    let two = other.until_connected().await.spiffe_id.clone();
    assert_ne!(one, two);
    let nodes = world.store().nodes(NodeFilter::default(), now()).await.unwrap();
    assert_eq!(nodes.iter().filter(|node| node.stands(now())).count(), 2);
    agent.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_device_key_costs_a_look_up_and_a_certification_at_enrolment() {
    let maker = Maker::ephemeral().unwrap();
    let world = World::new().await;
    world.trust(&maker).await;
    let (machine, report) = world.made(0, &maker, SERIAL, None);
    world.list(platform(&report)).await;
    let mut agent = world.agent(&machine);
    agent.until_connected().await;
    agent.stop().await;
    let commands = machine.commands();
    // The first use of a key under dictionary-attack protection since the power came is answered TPM_RC_RETRY, once.
    assert!((3..=4).contains(&commands[&CERTIFY]), "node key, IAK, IDevID: {commands:?}");

    // Certificates and public areas are remembered: what is left is the two look-ups and the two certifications.
    let other = World::new().await;
    other.trust(&maker).await;
    other.list(platform(&report)).await;
    machine.forget_commands();
    let mut agent = other.agent(&machine);
    agent.until_connected().await;
    agent.stop().await;
    let commands = machine.commands();
    assert_eq!(commands[&CERTIFY], 3, "{commands:?}");
    assert_eq!(machine.command_total(), 15 + 4, "{commands:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ban_by_the_platforms_serial_number_bars_the_machine() {
    let maker = Maker::ephemeral().unwrap();
    let world = World::new().await;
    world.trust(&maker).await;
    let (machine, report) = world.made(0, &maker, SERIAL, None);
    world.allow(&machine).await;
    let target = NodeTarget::Mark(Sha256(platform(&report)));
    let ban = NodeAction::Ban { reason: "stolen".to_owned() };
    world.store().act(target, ban, operator(), now()).await.unwrap().unwrap();
    let mut agent = world.agent(&machine);
    agent.until(20, |status| status.standing == Standing::Refused).await;
    agent.stop().await;
    let attempts = world.store().attempts(AttemptFilter::default()).await.unwrap();
    assert_eq!(attempts[0].code, "node.banned");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maker_who_is_trusted_no_more_makes_no_machine_ours() {
    let maker = Maker::ephemeral().unwrap();
    let world = World::new().await;
    world.trust(&maker).await;
    let (machine, report) = world.made(0, &maker, SERIAL, None);
    world.list(platform(&report)).await;
    let mut agent = world.agent(&machine);
    agent.until_connected().await;
    let root = Sha256::of(&pem::parse(maker.root_pem()).unwrap().into_contents());
    world.store().withdraw_endorsement(root, operator(), now()).await.unwrap();
    agent.until(20, |status| status.standing == Standing::Refused).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_pretends_to_be_the_makers_machine_is_refused() {
    let maker = Maker::ephemeral().unwrap();
    let other = World::new().await.at_rest(1).endorsements().remove(0);
    for (attack, code) in [
        (MakerAttack::PlatformOfAnother(Box::new(other)), "tpm.platform.holder"),
        (MakerAttack::PlatformHolder, "tpm.platform.holder"),
        (MakerAttack::PlatformSelfSigned, "tpm.platform.signature"),
        (MakerAttack::PlatformExpired, "tpm.platform.expired"),
        (MakerAttack::IakCopied, "tpm.iak.public_mismatch"),
        (MakerAttack::IakUnrestricted, "tpm.iak.attributes"),
        (MakerAttack::IdevidWithoutResidency, "tpm.idevid.residency"),
    ] {
        let world = World::new().await;
        world.trust(&maker).await;
        let (machine, report) = world.made(0, &maker, SERIAL, Some(&attack));
        for (fact, value) in
            [("tpm.iak.spki_sha256", &report.iak_sha256), ("tpm.idevid.spki_sha256", &report.idevid_sha256)]
        {
            world.list(named(fact, value)).await;
        }
        world.list(platform(&report)).await;
        let mut agent = world.agent(&machine);
        assert_eq!(refusal(&agent.tpm, &maker).await, Some(code), "{attack}");
        let status = agent.until(20, |status| status.problem.is_some()).await;
        assert!(!status.connected && status.spiffe_id.is_none(), "{attack}: {status:?}");
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_makers_word_is_left_aside_and_the_decision_says_so() {
    let (maker, other) = (Maker::ephemeral().unwrap(), Maker::ephemeral().unwrap());
    let world = World::new().await;
    world.trust(&maker).await;
    let (machine, report) = world.made(0, &other, SERIAL, None);
    world.list(platform(&report)).await;
    let mut agent = world.agent(&machine);
    agent.until(20, |status| status.standing == Standing::Refused).await;
    let attempts = world.store().attempts(AttemptFilter::default()).await.unwrap();
    let decision = world.store().attempt(attempts[0].id).await.unwrap().unwrap().decision;
    assert_eq!(attempts[0].code, "policy.no_rule_matched", "{decision}");
    for code in ["tpm.platform.untrusted", "tpm.iak.untrusted", "tpm.idevid.untrusted"] {
        assert!(decision.contains(code), "{decision}");
    }
    // It is a machine like any other: its endorsement key may be listed.
    world.allow(&machine).await;
    agent.until_connected().await;
    agent.stop().await;
}

/// The code by which a server that trusts vendor and maker would not invite this machine.
async fn refusal(tpm: &Tpm, maker: &Maker) -> Option<&'static str> {
    let (keys, chain) = tpm.endorsement().await.unwrap();
    let owned = tpm.ownership().await.unwrap();
    let endorsement = keys.into_iter().map(|key| OfferedEk {
        certificate: key.certificate,
        chain: chain.clone(),
        public: key.public,
    });
    let device_keys = owned.devices.into_iter().map(|key| {
        let length = usize::from(u16::from_be_bytes([key.certificates[2], key.certificates[3]])) + 4;
        let (certificate, chain) = key.certificates.split_at(length);
        OfferedDeviceKey {
            role: key.role,
            public: key.public,
            certificate: certificate.into(),
            chain: vec![chain.into()],
        }
    });
    let ownership = OfferedOwnership { platform: owned.platform, device_keys: device_keys.collect() };
    assert!(ownership.device_keys.iter().map(|key| key.role).eq(DeviceRole::ALL));
    let material = IdentityMaterial {
        endorsement: endorsement.collect(),
        ak_public: tpm.identity().await.unwrap().ak_public,
        ownership,
    };
    let anchored = |pem: &str| {
        let mut roots = Roots::new();
        roots.add(Anchor::new(&pem::parse(pem).unwrap().into_contents(), TrustClass::Simulated).unwrap());
        roots
    };
    let mut makers = anchored(maker.root_pem());
    makers.add_intermediate(&pem::parse(maker.issuing_pem()).unwrap().into_contents()).unwrap();
    let vendor = anchored(vendor_root());
    let endorsers =
        Endorsers { roots: &vendor, expired_issuers: ExpiredIssuers::Refused, platforms: &makers, devices: &makers };
    let wanted =
        Wanted { selection: PcrSelection { bank: Bank::Sha256, pcrs: PcrSet::FIRMWARE }, known_firmware_log: None };
    let material = IdentityMaterial::parse(&material.encode()).unwrap();
    match Invitation::new(&material, &wanted, endorsers, now(), &ring::rand::SystemRandom::new()) {
        Ok(_) => None,
        Err(Uninvited::Evidence(unverified)) => Some(unverified.code()),
        Err(Uninvited::Fault(fault)) => panic!("{fault}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_turns_off_is_not_offered() {
    let maker = Maker::ephemeral().unwrap();
    let world = World::new().await;
    let (machine, _) = world.made(0, &maker, SERIAL, None);
    let off = holdfast_agent::tpm::Offer::Off;
    let agent = Agent::offering(&world, &machine, |ownership| {
        (ownership.platform, ownership.iak.offer, ownership.idevid.offer) = (off, off, off);
    });
    assert_eq!(agent.tpm.ownership().await.unwrap(), holdfast_agent::tpm::Owned::default());
    agent.stop().await;
    let agent = Agent::offering(&world, &machine, |ownership| ownership.iak.offer = off);
    let owned = agent.tpm.ownership().await.unwrap();
    assert!(owned.platform.is_some());
    assert_eq!(owned.devices.iter().map(|key| key.role).collect::<Vec<_>>(), [DeviceRole::IdevId]);
    agent.stop().await;
    let _ = Machine::open(machine.machine().directory()).unwrap();
}
