//! What a verdict on a TDX guest costs, above the signatures that nobody can leave out.

use std::hint::black_box;
use std::sync::Arc;

use holdfast_appraisal::decision::{
    Appraiser, Approval, Decision, InventoryAnswer, Listing, MachineRecord, Ownership, VerifiedItem,
};
use holdfast_appraisal::{Document, Policy};
use holdfast_evidence::crypto::SealKey;
use holdfast_evidence::tdx::{KnownCollateral, TdxEndorsements, TdxEvidence, TdxItem};
use holdfast_evidence::{Challenge, Evidence as _, EvidenceKind, ItemState, ProvenKey, Purpose, SealRing};
use holdfast_identity::TrustDomain;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey};

use crate::report::{Row, paired};

#[path = "../../../crates/evidence/tests/tdx/intel.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
mod intel;
#[path = "../../../crates/evidence/tests/tdx/td.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
mod td;

use td::{NOW, Td, at};

const POLICY: &str = r#"
api_version = "holdfast/1"
kind = "policy"
name = "bench"
[issue]
node_id = "/holdfast/node/tdx/{tdx.instance}"
selectors = ["tdx.tcb.status", "tdx.mrtd"]
[[rule]]
name = "guests"
evidence = ["tdx"]
ownership = "launch"
trust_classes = ["firmware"]
[rule.require]
tdx.tcb.status = { one_of = ["UpToDate", "SWHardeningNeeded"] }
tdx.tcb.advisories = { none_of = ["INTEL-SA-00837"] }
tdx.tcb.evaluation_number = { at_least = 17 }
tdx.service_td = false
"#;

/// A server's side and one guest whose launch is registered.
struct Stage {
    ring: SealRing,
    domain: TrustDomain,
    policy: Policy,
    appraiser: Appraiser,
    ownership: Ownership,
    key: ProvenKey,
    seal: Vec<u8>,
    item: Vec<u8>,
}

impl Stage {
    fn new(mut td: Td) -> anyhow::Result<Self> {
        let policy = Policy::parse(Document { name: "bench.toml", text: POLICY }, &[])
            .map_err(|findings| anyhow::anyhow!("{findings:#?}"))?;
        let domain: TrustDomain = "bench.test".parse()?;
        let (ring, rng) = (SealRing::new(SealKey::new([7; 32]), None), SystemRandom::new());
        let pair = rcgen::KeyPair::generate()?;
        let csr = rcgen::CertificateParams::default().serialize_request(&pair)?.der().to_vec();
        let key = ProvenKey::from_csr(&csr)?;
        let asked = vec![ItemState::Report { kind: EvidenceKind::Tdx }];
        let challenge = Challenge::draw(domain.clone(), Purpose::Enrol, asked, NOW, 60, &rng)?;
        let seal = challenge.seal(&ring, &rng)?;
        let unsigned = TdxItem { quote: &td.quote(), ccel: None }.encode();
        let binding = challenge.answer(key.clone(), &[TdxEvidence::parse(&unsigned)?.commitment()])?;
        td.put(at::REPORTDATA, &[0; 64]);
        td.put(at::REPORTDATA, &binding.digest_of(EvidenceKind::Tdx).copied().unwrap_or_default());
        let launch = td.verify()?.launch();
        let inventory = vec![InventoryAnswer { digest: launch.digest(), listing: Listing::Listed }];
        Ok(Self {
            ring,
            appraiser: Appraiser::new(domain.clone()),
            domain,
            policy,
            ownership: Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New },
            key,
            seal,
            item: TdxItem { quote: &td.quote(), ccel: None }.encode(),
        })
    }

    /// What a server does with an answer, from its bytes to the decision.
    fn judge(&self, endorsements: &TdxEndorsements) -> anyhow::Result<()> {
        let challenge = Challenge::open(&self.seal, &self.ring, &self.domain, NOW)?;
        let evidence = TdxEvidence::parse(&self.item)?;
        black_box(evidence.wants());
        let binding = challenge.answer(self.key.clone(), &[evidence.commitment()])?;
        let verified = evidence.verify(endorsements, &binding, NOW)?;
        let decision = self.appraiser.appraise(&self.policy, &[VerifiedItem::Tdx(&verified)], &self.ownership, NOW);
        let Decision::Admitted(node) = decision else { anyhow::bail!("not admitted: {decision:?}") };
        black_box(node);
        Ok(())
    }
}

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let stage = Stage::new(Td::v4())?;
    let cold = Td::v4().endorsements();
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ring::signature::ECDSA_P256_SHA256_ASN1_SIGNING, &rng)
        .map_err(|_| anyhow::anyhow!("no key"))?;
    let signer = EcdsaKeyPair::from_pkcs8(&ring::signature::ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &rng)
        .map_err(|_| anyhow::anyhow!("no key"))?;
    let message = vec![7; 700];
    let signature = signer.sign(&rng, &message).map_err(|_| anyhow::anyhow!("no signature"))?;
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, signer.public_key().as_ref());
    let signatures = |count: usize| {
        for _ in 0..count {
            public.verify(black_box(&message), signature.as_ref()).expect("valid");
        }
    };

    let (value, floor) = paired(|| stage.judge(&cold).expect("admitted"), || signatures(9));
    let mut rows = vec![Row::new("appraise_tdx", value, "us").floor(floor).note(
        "floor: 9 P-256 verifications: quote, QE report, 2 certificates; 2 documents, their signer, 2 CRLs; aim 1.5",
    )];

    let KnownCollateral::Fetched(fetched) = &cold.collateral else { anyhow::bail!("no collateral") };
    let checked = Arc::new(fetched.check(&cold.roots, NOW)?);
    let warm = TdxEndorsements { collateral: KnownCollateral::Checked(checked), ..cold.clone() };
    let (value, floor) = paired(|| stage.judge(&warm).expect("admitted"), || signatures(3));
    rows.push(
        Row::new("appraise_tdx_reattest", value, "us")
            .floor(floor)
            .note("floor: 3 P-256 verifications: quote, QE report, PCK; collateral was checked before; aim 1.5"),
    );
    Ok(rows)
}
