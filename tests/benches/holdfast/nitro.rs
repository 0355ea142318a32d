//! What a verdict on an enclave's document costs, above the signatures that nobody can leave out.

use std::hint::black_box;
use std::sync::Arc;

use holdfast_appraisal::decision::{
    Appraiser, Approval, Decision, InventoryAnswer, Listing, MachineRecord, Ownership, VerifiedItem,
};
use holdfast_appraisal::facts::{NitroSources, nitro, owner_marks};
use holdfast_appraisal::{Document, Policy};
use holdfast_evidence::crypto::SealKey;
use holdfast_evidence::nitro::{DocumentKind, NitroClaims, NitroEndorsements, NitroEvidence, NitroItem};
use holdfast_evidence::{
    BindingFields, Challenge, Evidence as _, EvidenceKind, ItemState, ProvenKey, Purpose, SealRing, binding_digest,
};
use holdfast_identity::TrustDomain;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};

use crate::hypervisor::{Hypervisor, NOW};
use crate::report::{Row, paired};

const POLICY: &str = r#"
api_version = "holdfast/1"
kind = "policy"
name = "bench"
[issue]
node_id = "/holdfast/node/nitro/{nitro.module_id}"
selectors = ["nitro.image", "nitro.class"]
[[rule]]
name = "enclaves"
evidence = ["nitro"]
ownership = "inventory"
trust_classes = ["cloud"]
[rule.require]
nitro.pcr.0 = "IMAGE"
nitro.region = "us-east-1"
"#;

/// A server's side and the answer of one enclave.
struct Stage {
    ring: SealRing,
    domain: TrustDomain,
    policy: Policy,
    appraiser: Appraiser,
    key: ProvenKey,
    seal: Vec<u8>,
    item: Vec<u8>,
}

impl Stage {
    fn new(hypervisor: &Hypervisor) -> anyhow::Result<Self> {
        let rng = SystemRandom::new();
        let pair = rcgen::KeyPair::generate()?;
        let key = ProvenKey::from_csr(rcgen::CertificateParams::default().serialize_request(&pair)?.der())?;
        let domain: TrustDomain = "bench.test".parse()?;
        let text = POLICY.replace("IMAGE", &"10".repeat(48));
        let policy = Policy::parse(Document { name: "bench.toml", text: &text }, &[])
            .map_err(|findings| anyhow::anyhow!("{findings:#?}"))?;
        let ring = SealRing::new(SealKey::new([7; 32]), None);
        let items = vec![ItemState::Report { kind: EvidenceKind::Nitro }];
        let challenge = Challenge::draw(domain.clone(), Purpose::Enrol, items, NOW, 60, &rng)?;
        let binding = binding_digest(&BindingFields {
            trust_domain: &domain,
            kinds: &[EvidenceKind::Nitro],
            nonce: challenge.nonce(),
            ak_name: &[],
            node_key_spki: key.spki(),
            ek_certificates: &[],
            selection: &[],
            firmware_log: None,
            others: &[],
        });
        let document = hypervisor.sign(&hypervisor.fields(challenge.nonce(), &binding));
        let seal = challenge.seal(&ring, &rng)?;
        let item = NitroItem { document: &document }.encode();
        Ok(Self { appraiser: Appraiser::new(domain.clone()), ring, domain, policy, key, seal, item })
    }

    /// What a server does with an answer, from its bytes to the decision.
    fn judge(&self, endorsements: &NitroEndorsements) -> anyhow::Result<NitroClaims> {
        let challenge = Challenge::open(&self.seal, &self.ring, &self.domain, NOW)?;
        let evidence = NitroEvidence::parse(&self.item)?;
        let binding = challenge.answer(self.key.clone(), &[evidence.commitment()])?;
        let verified = evidence.verify(endorsements, &binding, NOW)?;
        let facts = nitro(&NitroSources::from(verified.claims()));
        let listed = |digest| InventoryAnswer { digest, listing: Listing::Listed };
        let inventory = owner_marks(&facts).map(|mark| listed(mark.digest)).collect();
        let ownership = Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New };
        let decision = self.appraiser.appraise(&self.policy, &[VerifiedItem::Nitro(&verified)], &ownership, NOW);
        let Decision::Admitted(node) = decision else { anyhow::bail!("not admitted: {decision:?}") };
        black_box(node);
        Ok(verified.claims().clone())
    }
}

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    let hypervisor = Hypervisor::new(DocumentKind::Enclave);
    let stage = Stage::new(&hypervisor)?;
    let cold = NitroEndorsements { roots: Arc::new(hypervisor.roots()), verified: Vec::new() };
    let chain = stage.judge(&cold)?.chain;
    let mut five = verifications(5);
    let (value, floor) = paired(|| drop(black_box(stage.judge(&cold).expect("admitted"))), &mut five);
    let mut rows = vec![Row::new("appraise_nitro", value, "us").floor(floor).note(
        "floor: 5 P-384 verifications (four certificates below the root, document); the node key's request not counted; \
         aim 1.3",
    )];
    let kept = NitroEndorsements { verified: vec![chain], ..cold };
    let mut one = verifications(1);
    let (value, floor) = paired(|| drop(black_box(stage.judge(&kept).expect("admitted"))), &mut one);
    rows.push(
        Row::new("appraise_nitro_reattest", value, "us")
            .floor(floor)
            .note("floor: 1 P-384 verification; the chain kept; aim 1.3"),
    );
    Ok(rows)
}

/// `count` P-384 verifications by ring, over as many bytes as a document has.
fn verifications(count: usize) -> impl FnMut() {
    let rng = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &rng).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8.as_ref(), &rng).expect("a key");
    let message = vec![7; 4500];
    let signature = pair.sign(&rng, &message).expect("a signature");
    let point = pair.public_key().as_ref().to_vec();
    move || {
        for _ in 0..count {
            let key = ring::signature::UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, black_box(&point));
            black_box(key.verify(&message, signature.as_ref())).expect("valid");
        }
    }
}
