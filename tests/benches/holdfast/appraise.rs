//! What a verdict costs, above the signatures and hashes that nobody can leave out.

use std::hint::black_box;
use std::sync::Arc;

use holdfast_appraisal::decision::{
    Appraiser, Approval, Decision, InventoryAnswer, Listing, MachineRecord, Ownership, VerifiedItem,
};
use holdfast_appraisal::{Document, Policy};
use holdfast_evidence::crypto::SealKey;
use holdfast_evidence::tpm::endorsement::{ExpiredIssuers, Roots};
use holdfast_evidence::tpm::{
    Ask, Bank, Endorsers, Invitation, KnownLog, KnownTpm, NodeKeyProof, PcrSelection, TpmEndorsements, TpmEvidence,
    Wanted,
};
use holdfast_evidence::{Challenge, ClaimedKey, Evidence as _, Purpose, SealRing, crypto};
use holdfast_identity::TrustDomain;
use ring::rand::SystemRandom;

use crate::floor;
use crate::pki::{Ca, NOW, trusting};
use crate::report::{Row, paired};
use crate::virtual_tpm::{Event, VirtualTpm};

const POLICY: &str = r#"
api_version = "holdfast/1"
kind = "policy"
name = "bench"
[issue]
node_id = "/holdfast/node/tpm/{tpm.machine}"
selectors = ["tpm.secure_boot.enabled", "tpm.class"]
[[rule]]
name = "rack"
ownership = "inventory"
trust_classes = ["simulated", "discrete"]
[rule.require]
tpm.secure_boot.enabled = true
tpm.boot.applications = { sequence = ["SHIM", "GRUB", "KERNEL"] }
tpm.boot.command_lines = { exactly = ["ro quiet"] }
"#;

/// A server's side and one machine of its inventory.
struct Stage {
    ca: Ca,
    roots: Roots,
    ring: SealRing,
    domain: TrustDomain,
    policy: Policy,
    appraiser: Appraiser,
    tpm: VirtualTpm,
    rng: SystemRandom,
}

/// An answer on its way, that can be judged again and again.
struct Answered {
    seal: Vec<u8>,
    item: Vec<u8>,
}

impl Stage {
    fn new() -> anyhow::Result<Self> {
        let ca = Ca::root("bench");
        let mut tpm = VirtualTpm::new(&ca);
        fill(&mut tpm.firmware.events);
        let text = policy_text();
        let policy = Policy::parse(Document { name: "bench.toml", text: &text }, &[])
            .map_err(|findings| anyhow::anyhow!("{findings:#?}"))?;
        let domain: TrustDomain = "bench.test".parse()?;
        Ok(Self {
            roots: trusting(&ca),
            ca,
            ring: SealRing::new(SealKey::new([7; 32]), None),
            appraiser: Appraiser::new(domain.clone()),
            domain,
            policy,
            tpm,
            rng: SystemRandom::new(),
        })
    }

    fn wanted(&self, known_firmware_log: Option<[u8; 32]>) -> Wanted {
        let pcrs = self.policy.required_pcrs();
        Wanted { selection: PcrSelection { bank: Bank::Sha256, pcrs }, known_firmware_log }
    }

    fn invite(&self) -> anyhow::Result<Invitation> {
        let endorsers = Endorsers {
            roots: &self.roots,
            expired_issuers: ExpiredIssuers::Refused,
            platforms: &Roots::new(),
            devices: &Roots::new(),
        };
        Ok(Invitation::new(&self.tpm.material(), &self.wanted(None), endorsers, NOW, &self.rng)?)
    }

    fn answered(&self, invitation: Invitation, purpose: Purpose) -> anyhow::Result<Answered> {
        let (ask, state) = invitation.into_parts();
        let challenge = Challenge::draw(self.domain.clone(), purpose, vec![state], NOW, 60, &self.rng)?;
        let ask = Ask::parse(&ask.encode())?;
        let item = self.tpm.answer(&ask, challenge.nonce(), &self.domain).encode();
        Ok(Answered { seal: challenge.seal(&self.ring, &self.rng)?, item })
    }

    /// What a server does with an answer, from its bytes to the decision.
    fn judge(&self, answered: &Answered, known: &TpmEndorsements) -> anyhow::Result<KnownTpm> {
        let challenge = Challenge::open(&answered.seal, &self.ring, &self.domain, NOW)?;
        let evidence = TpmEvidence::parse(&answered.item)?;
        let key = ClaimedKey::from_spki(&self.tpm.node_key.spki())?;
        let binding = challenge.answer(key, &[evidence.commitment()])?;
        let verified = evidence.verify(known, &binding, NOW)?;
        let claims = verified.claims();
        let inventory =
            claims.eks.iter().map(|ek| InventoryAnswer { digest: ek.spki_sha256, listing: Listing::Listed }).collect();
        let ownership = Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New };
        let decision = self.appraiser.appraise(&self.policy, &[VerifiedItem::Tpm(&verified)], &ownership, NOW);
        let Decision::Admitted(node) = decision else { anyhow::bail!("not admitted: {decision:?}") };
        black_box(node);
        Ok(claims.known())
    }

    fn renewal(&self, known: KnownTpm, log: Option<[u8; 32]>) -> anyhow::Result<Answered> {
        let spki_sha256 = crypto::sha256(&[&self.tpm.node_key.spki()]);
        let invitation = Invitation::returning(known, &self.wanted(log), NodeKeyProof::OnRecord { spki_sha256 })?;
        let node = self.domain.with_path("/holdfast/node/tpm/bench")?;
        self.answered(invitation, Purpose::Renew { node, spki_sha256 })
    }
}

/// The policy that exactly the virtual firmware's boot meets.
pub fn policy_text() -> String {
    boot_of(POLICY)
}

/// `policy` with the images that the virtual firmware boots.
pub fn boot_of(policy: &str) -> String {
    let image = |bytes: &[u8]| hex::encode(crypto::sha256(&[bytes]));
    policy
        .replace("SHIM", &image(b"shim image"))
        .replace("GRUB", &image(b"grub image"))
        .replace("KERNEL", &image(b"kernel image"))
}

/// Events up to 50, of the sizes that real firmware writes (the logs seen have some 30 kB in as many events).
pub fn fill(events: &mut Vec<Event>) {
    const EV_EFI_PLATFORM_FIRMWARE_BLOB2: u32 = 0x8000_000a;
    while events.len() < 50 {
        let number = events.len();
        events.insert(1, Event::new(0, EV_EFI_PLATFORM_FIRMWARE_BLOB2, &vec![number as u8; 900]));
    }
}

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let stage = Stage::new()?;
    let none = TpmEndorsements::default();
    let log = stage.tpm.firmware.log();
    let mut passes = floor::passes(2, log.clone());

    let enrolment = stage.answered(stage.invite()?, Purpose::Enrol)?;
    let known = stage.judge(&enrolment, &none)?;
    // Certificate chain (one below the root), quote, certification.
    let mut three = floor::p256(3, 145);
    let (value, floor) = paired(
        || {
            black_box(stage.invite().expect("invited"));
            black_box(stage.judge(&enrolment, &none).expect("admitted"));
        },
        || {
            three();
            passes();
        },
    );
    let mut rows = vec![Row::new("appraise_enrol", value, "us").floor(floor).note(
        "floor: 3 P-256 verifications (EK certificate, quote, certify) + 2 SHA-256 passes over the log; begin and complete, \
         with one ECDH to make the credential; aim 1.3",
    )];

    let renewal = stage.renewal(known.clone(), None)?;
    let mut one = floor::p256(1, 145);
    let (value, floor) = paired(
        || drop(black_box(stage.judge(&renewal, &none).expect("admitted"))),
        || {
            one();
            passes();
        },
    );
    rows.push(Row::new("appraise_reattest", value, "us").floor(floor).note(format!(
        "floor: 1 P-256 verification + 2 SHA-256 passes over a log of {} events, {} bytes; aim 1.3",
        stage.tpm.firmware.events.len(),
        log.len()
    )));

    let evidence_log =
        holdfast_evidence::tpm::ReplayedLog::load(&log, Bank::Sha256, stage.wanted(None).selection.pcrs)?;
    let kept = TpmEndorsements { known_log: KnownLog::Replayed(Arc::new(evidence_log)), ..TpmEndorsements::default() };
    let unchanged = stage.renewal(known, Some(crypto::sha256(&[&log])))?;
    let mut one = floor::p256(1, 145);
    let (value, floor) = paired(|| drop(black_box(stage.judge(&unchanged, &kept).expect("admitted"))), &mut one);
    rows.push(
        Row::new("appraise_reattest_unchanged", value, "us")
            .floor(floor)
            .note("floor: 1 P-256 verification; the log known by its digest; aim 1.15"),
    );
    drop(stage.ca);
    Ok(rows)
}
