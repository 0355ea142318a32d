//! What a verdict on an SEV-SNP guest costs, above the signatures that nobody can leave out.

use std::hint::black_box;
use std::sync::Arc;

use holdfast_appraisal::decision::{
    Appraiser, Approval, Decision, InventoryAnswer, Listing, MachineRecord, Ownership, VerifiedItem,
};
use holdfast_appraisal::facts::{owner_marks, snp};
use holdfast_appraisal::{Document, Policy};
use holdfast_evidence::crypto::{PublicKey, SealKey, verify_pss_sha384};
use holdfast_evidence::snp::{Product, SnpEndorsements, SnpEvidence, VekKind, VerifiedVek, checks};
use holdfast_evidence::{Challenge, Evidence as _, EvidenceKind, ItemState, ProvenKey, Purpose, SealRing};
use holdfast_identity::TrustDomain;
use ring::rand::SystemRandom;

use crate::report::{Row, paired};

#[path = "../../../crates/evidence/tests/snp/guest.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
mod guest;
#[path = "../../../crates/evidence/tests/snp/pki.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
mod pki;

use guest::{Guest, NOW};
use pki::{RSA_BITS, Rsa};

const POLICY: &str = r#"
api_version = "holdfast/1"
kind = "policy"
name = "bench"
[issue]
node_id = "/holdfast/node/snp/{snp.report_id}"
selectors = ["snp.product", "snp.measurement"]
[[rule]]
name = "guests"
evidence = ["snp"]
ownership = "launch"
trust_classes = ["firmware"]
[rule.require]
snp.platform.alias_check_complete = true
snp.tcb.reported.snp = { at_least = 24 }
snp.tcb.committed.snp = { at_least = 24 }
snp.tcb.reported.microcode = { at_least = 219 }
snp.vmpl = 0
"#;

/// A server's side and one guest whose launch is registered.
struct Stage {
    ring: SealRing,
    domain: TrustDomain,
    policy: Policy,
    appraiser: Appraiser,
    ownership: Ownership,
    endorsements: SnpEndorsements,
    csr: Vec<u8>,
    seal: Vec<u8>,
    item: Vec<u8>,
}

impl Stage {
    fn new(guest: &Guest) -> anyhow::Result<Self> {
        let policy = Policy::parse(Document { name: "bench.toml", text: POLICY }, &[])
            .map_err(|findings| anyhow::anyhow!("{findings:#?}"))?;
        let domain: TrustDomain = "bench.test".parse()?;
        let (ring, rng) = (SealRing::new(SealKey::new([7; 32]), None), SystemRandom::new());
        let pair = rcgen::KeyPair::generate()?;
        let csr = rcgen::CertificateParams::default().serialize_request(&pair)?.der().to_vec();
        let asked = vec![ItemState::Report { kind: EvidenceKind::Snp }];
        let challenge = Challenge::draw(domain.clone(), Purpose::Enrol, asked, NOW, 60, &rng)?;
        let seal = challenge.seal(&ring, &rng)?;
        let unsigned = guest::item(guest, &[]);
        let binding = challenge.answer(ProvenKey::from_csr(&csr)?, &[SnpEvidence::parse(&unsigned)?.commitment()])?;
        let digest = binding.digest_of(EvidenceKind::Snp).copied().unwrap_or_default();
        let facts = snp(&guest.verify()?);
        let inventory =
            owner_marks(&facts).map(|mark| InventoryAnswer { digest: mark.digest, listing: Listing::Listed }).collect();
        Ok(Self {
            ring,
            appraiser: Appraiser::new(domain.clone()),
            domain,
            policy,
            ownership: Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New },
            endorsements: guest.endorsements(),
            csr,
            seal,
            item: guest::item(guest, &digest),
        })
    }

    /// What a server does with an answer, from its bytes to the decision. `key` was proven before.
    fn judge(&self, key: &ProvenKey, endorsements: &SnpEndorsements) -> anyhow::Result<Arc<VerifiedVek>> {
        let challenge = Challenge::open(&self.seal, &self.ring, &self.domain, NOW)?;
        let evidence = SnpEvidence::parse(&self.item)?;
        black_box(evidence.wants());
        let binding = challenge.answer(key.clone(), &[evidence.commitment()])?;
        let verified = evidence.verify(endorsements, &binding, NOW)?;
        let decision = self.appraiser.appraise(&self.policy, &[VerifiedItem::Snp(&verified)], &self.ownership, NOW);
        let Decision::Admitted(node) = decision else { anyhow::bail!("not admitted: {decision:?}") };
        black_box(node);
        Ok(Arc::clone(verified.claims().report.verified_vek()))
    }
}

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    anyhow::ensure!(*RSA_BITS.get_or_init(|| 4096) == 4096, "the keys are AMD's size");
    let guest = Guest::new(Product::Milan, VekKind::Vcek);
    let stage = Stage::new(&guest)?;
    let key = ProvenKey::from_csr(&stage.csr)?;
    let verified = guest.verify()?;
    let (report, vek) = (verified.report().clone(), verified.vek().clone());
    let (ark, ask) = (PublicKey::from_spki(&Rsa::ark().spki())?, PublicKey::from_spki(&Rsa::ask().spki())?);
    let message = vec![7; 700];
    let (by_ark, by_ask) = (Rsa::ark().sign(&message, 48), Rsa::ask().sign(&message, 48));
    let one = || checks::signature(black_box(&report), &vek).expect("valid");
    let chain = || {
        verify_pss_sha384(black_box(&ark), &message, &by_ark).expect("valid");
        verify_pss_sha384(black_box(&ask), &message, &by_ask).expect("valid");
    };

    let (value, floor) = paired(
        || drop(black_box(stage.judge(&key, &stage.endorsements).expect("admitted"))),
        || {
            chain();
            one();
        },
    );
    let mut rows = vec![
        Row::new("appraise_snp", value, "us")
            .floor(floor)
            .note("floor: 1 P-384 verification (report) + 2 RSA-4096 PSS verifications (chain); aim 1.3"),
    ];

    let kept = stage.judge(&key, &stage.endorsements)?;
    let warm = SnpEndorsements { verified: vec![kept], ..stage.endorsements.clone() };
    let (value, floor) = paired(|| drop(black_box(stage.judge(&key, &warm).expect("admitted"))), one);
    rows.push(
        Row::new("appraise_snp_reattest", value, "us")
            .floor(floor)
            .note("floor: 1 P-384 verification; the chain was verified before; aim 1.3"),
    );
    Ok(rows)
}
