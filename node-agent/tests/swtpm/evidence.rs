//! What the agent gathers, before the verifier that the server uses; and what it costs in TPM commands.

use holdfast_agent::collect::{CollectFault, Extras, FirmwareLogFile, Gatherer};
use holdfast_agent::tpm::Tpm;
use holdfast_evidence::binding::Binding;
use holdfast_evidence::challenge::{Challenge, Purpose};
use holdfast_evidence::key::ClaimedKey;
use holdfast_evidence::tpm::endorsement::{Anchor, ExpiredIssuers, Roots, SoftwareTpms};
use holdfast_evidence::tpm::{
    Ask, Bank, Endorsers, IdentityMaterial, Invitation, NodeKeyProof, PcrIndex, PcrSelection, PcrSet, TpmClaims,
    TpmEndorsements, TpmEvidence, Wanted,
};
use holdfast_evidence::{Evidence, EvidenceKind, Verified};
use holdfast_evidence::{TrustClass, challenge::ItemState};
use holdfast_identity::{TrustDomain, UnixTime};
use ring::rand::SystemRandom;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::machine::Bench;

/// Where the point begins in the TPM2B_PUBLIC of both keys.
const POINT_AT: usize = 22;

fn now() -> UnixTime {
    holdfast_agent::clock::wall()
}

fn trust_domain() -> TrustDomain {
    "td".parse().unwrap()
}

fn roots(bench: &Bench) -> Roots {
    let machine = bench.machine.machine();
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = Roots::new();
    roots.add_intermediate(&der(machine.vendor_issuing_pem())).unwrap();
    let anchor = Anchor::new(&der(machine.vendor_root_pem()), TrustClass::Simulated).unwrap();
    roots.add(anchor.with_software_tpms(SoftwareTpms::Accepted));
    roots
}

fn wanted(pcrs: PcrSet) -> Wanted {
    Wanted { selection: PcrSelection { bank: Bank::Sha256, pcrs }, known_firmware_log: None }
}

fn collector(bench: &Bench, tpm: &Tpm) -> Gatherer {
    let log = FirmwareLogFile(bench.machine.machine().firmware_log_path());
    Gatherer::tpm(tpm, log, trust_domain())
}

/// What the machine says about itself.
async fn material(collector: &Gatherer, enrols: bool) -> Vec<u8> {
    let mut materials = collector.materials(enrols).await.unwrap();
    assert_eq!(materials.len(), 1);
    materials.remove(0).1
}

/// The item that answers an ask.
async fn item(collector: &Gatherer, ask: &Ask, nonce: &[u8; 32], extras: Extras) -> Result<Vec<u8>, CollectFault> {
    let mut items = collector.items(&[(EvidenceKind::Tpm, ask.encode())], nonce, extras).await?;
    Ok(items.remove(0).1)
}

/// Enrolment as the server does it, with every endorsement key the material offers.
async fn enrol(bench: &Bench, collector: &Gatherer) -> (Verified<TpmClaims>, usize) {
    let material = IdentityMaterial::parse(&material(collector, true).await).unwrap();
    let offered = material.endorsement.len();
    let roots = roots(bench);
    let endorsers = Endorsers {
        roots: &roots,
        expired_issuers: ExpiredIssuers::Refused,
        platforms: &Roots::new(),
        devices: &Roots::new(),
    };
    let invitation =
        Invitation::new(&material, &wanted(PcrSet::FIRMWARE), endorsers, now(), &SystemRandom::new()).unwrap();
    (answer(collector, invitation, Purpose::Enrol, Extras::default()).await.unwrap(), offered)
}

async fn answer(
    collector: &Gatherer,
    invitation: Invitation,
    purpose: Purpose,
    extras: Extras,
) -> Result<Verified<TpmClaims>, &'static str> {
    let (ask, state) = invitation.into_parts();
    let ask = Ask::parse(&ask.encode()).unwrap();
    let challenge = draw(purpose, state);
    let item = item(collector, &ask, challenge.nonce(), extras).await.unwrap();
    let evidence = TpmEvidence::parse(&item).unwrap();
    let spki = collector.node_key().spki().await.unwrap();
    let binding: Binding = challenge.answer(ClaimedKey::from_spki(&spki).unwrap(), &[evidence.commitment()]).unwrap();
    evidence.verify(&TpmEndorsements::default(), &binding, now()).map_err(|unverified| unverified.code())
}

fn draw(purpose: Purpose, state: ItemState) -> Challenge {
    Challenge::draw(trust_domain(), purpose, vec![state], now(), 60, &SystemRandom::new()).unwrap()
}

fn returning(verified: &Verified<TpmClaims>, pcrs: PcrSet) -> Invitation {
    let claims = verified.claims();
    let known = claims.known();
    let on_record = NodeKeyProof::OnRecord { spki_sha256: claims.node_key.spki_sha256() };
    Invitation::returning(known, &wanted(pcrs), on_record).unwrap()
}

#[tokio::test]
async fn a_machine_enrols_with_all_its_endorsement_keys_and_the_verifier_agrees() {
    let bench = Bench::new();
    let tpm = bench.tpm();
    let (verified, offered) = enrol(&bench, &collector(&bench, &tpm)).await;
    assert_eq!((offered, verified.claims().eks.len()), (2, 2));
    assert!(verified.claims().activated_now && verified.claims().certified_now);
    let loaded = bench.machine.loaded_handles().unwrap();
    assert_eq!((loaded.transient.len(), loaded.sessions.len()), (0, 0));
}

/// Commands of one enrolment by an agent that has just started: all of them, from opening the chip on.
async fn enrolment_commands(bench: &Bench) -> u64 {
    bench.commands();
    let tpm = bench.tpm();
    enrol(bench, &collector(bench, &tpm)).await;
    println!("{:?}", bench.machine.commands());
    let commands = bench.commands();
    tpm.close().await;
    bench.commands();
    commands
}

/// As after a first boot on which only the certificates could not be kept.
fn forget_certificates(bench: &Bench) {
    let mut record: serde_json::Value = bench.state().read("tpm.json").unwrap().unwrap();
    record["endorsement"] = serde_json::Value::Null;
    bench.state().write("tpm.json", &record).unwrap();
}

#[tokio::test]
async fn enrolment_with_two_endorsement_keys_takes_13_commands_once_certificates_are_cached() {
    let bench = Bench::new();
    assert_eq!(enrolment_commands(&bench).await, 30, "of the very first: both keys made and persisted, NV read");
    assert_eq!(enrolment_commands(&bench).await, 13);
    forget_certificates(&bench);
    assert_eq!(enrolment_commands(&bench).await, 24, "three NV indices, three commands each");
}

#[tokio::test]
async fn enrolment_with_one_endorsement_key_takes_9_commands_and_14_from_nv() {
    let bench = Bench::with_one_endorsement_key(false);
    assert_eq!(enrolment_commands(&bench).await, 20, "of the very first: both keys made and persisted, NV read");
    assert_eq!(enrolment_commands(&bench).await, 9);
    forget_certificates(&bench);
    assert_eq!(enrolment_commands(&bench).await, 14);
}

#[tokio::test]
async fn an_issuing_certificate_in_nv_costs_three_commands_more() {
    let bench = Bench::with_one_endorsement_key(true);
    enrolment_commands(&bench).await;
    assert_eq!(enrolment_commands(&bench).await, 9);
    forget_certificates(&bench);
    assert_eq!(enrolment_commands(&bench).await, 17);
}

#[tokio::test]
async fn a_persistent_endorsement_key_is_used_and_stays() {
    let bench = Bench::with_one_endorsement_key(true);
    bench.tool("tpm2_createek -G ecc -u ek.pub -c 0x81010002");
    enrolment_commands(&bench).await;
    assert_eq!(enrolment_commands(&bench).await, 8, "looked up, not made and flushed");
    assert!(bench.machine.loaded_handles().unwrap().persistent.contains(&0x8101_0002));
    bench.tool("tpm2_evictcontrol -C o -c 0x81010002");
    assert_eq!(enrolment_commands(&bench).await, 10, "gone: made by its template after a vain look");
}

#[tokio::test]
async fn returning_after_a_restart_takes_3_commands() {
    let bench = Bench::new();
    let tpm = bench.tpm();
    let (verified, _) = enrol(&bench, &collector(&bench, &tpm)).await;
    tpm.close().await;
    bench.commands();
    let tpm = bench.tpm();
    let collector = collector(&bench, &tpm);
    answer(&collector, returning(&verified, PcrSet::FIRMWARE), Purpose::Return, Extras::default()).await.unwrap();
    assert_eq!(bench.commands(), 3, "look up both keys, quote");
}

#[tokio::test]
async fn attesting_again_takes_one_command() {
    let bench = Bench::new();
    let tpm = bench.tpm();
    let collector = collector(&bench, &tpm);
    let (verified, _) = enrol(&bench, &collector).await;
    bench.commands();
    material(&collector, false).await;
    answer(&collector, returning(&verified, PcrSet::FIRMWARE), Purpose::Return, Extras::default()).await.unwrap();
    assert_eq!(bench.commands(), 1);
}

#[tokio::test]
async fn a_pcr_that_no_log_covers_is_proven_once_its_value_is_brought_along() {
    // The kernel goes on extending PCR 10: its value is read before the quote and after it.
    for (pcr, commands) in [(15, 2), (10, 3)] {
        proven_once_its_value_is_brought_along(pcr, commands).await;
    }
}

async fn proven_once_its_value_is_brought_along(pcr: u32, commands: u64) {
    let bench = Bench::new();
    bench.machine.extend(pcr, b"measured by the kernel").unwrap();
    let tpm = bench.tpm();
    let collector = collector(&bench, &tpm);
    let (verified, _) = enrol(&bench, &collector).await;
    let pcrs = PcrSet::FIRMWARE.with(PcrIndex::new(pcr).unwrap());
    let ask = || returning(&verified, pcrs);

    let code = answer(&collector, ask(), Purpose::Return, Extras::default()).await.unwrap_err();
    assert_eq!(code, "tpm.quote.pcr_digest");
    let all = Extras { all_pcr_values: true, ..Extras::default() };
    answer(&collector, ask(), Purpose::Return, all).await.unwrap();
    collector.learn(all);
    bench.commands();
    answer(&collector, ask(), Purpose::Return, Extras::default()).await.unwrap();
    assert_eq!(bench.commands(), commands, "the value of PCR {pcr} is read at once from now on");
}

#[tokio::test]
async fn a_credential_for_another_machine_is_not_activated_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let tpm = bench.tpm();
    let collector = collector(&bench, &tpm);
    let mut material = IdentityMaterial::parse(&material(&collector, true).await).unwrap();
    // The credential will name an attestation key with another point than the one in this chip.
    let point = tpm.identity().await.unwrap().node_key_public[POINT_AT..].to_vec();
    material.ak_public.splice(POINT_AT.., point);
    let roots = roots(&bench);
    let endorsers = Endorsers {
        roots: &roots,
        expired_issuers: ExpiredIssuers::Refused,
        platforms: &Roots::new(),
        devices: &Roots::new(),
    };
    let invitation =
        Invitation::new(&material, &wanted(PcrSet::FIRMWARE), endorsers, now(), &SystemRandom::new()).unwrap();
    let (ask, state) = invitation.into_parts();
    let challenge = draw(Purpose::Enrol, state);
    let fault = item(&collector, &ask, challenge.nonce(), Extras::default()).await.unwrap_err();
    assert_eq!(fault.code(), "agent.tpm.command");
    let loaded = bench.machine.loaded_handles().unwrap();
    assert_eq!((loaded.transient.len(), loaded.sessions.len()), (0, 0));
}
