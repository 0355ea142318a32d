//! A server that asks one machine, and judges its answer again and again: what reports, documents and quotes of virtual
//! TPMs have in common.

use std::fmt::Display;
use std::hint::black_box;
use std::sync::Arc;

use holdfast_appraisal::decision::{
    Appraiser, Approval, Decision, InventoryAnswer, Listing, MachineRecord, Ownership, VerifiedItem,
};
use holdfast_appraisal::facts::owner_marks;
use holdfast_appraisal::{Document, Policy};
use holdfast_evidence::azure::{AzureEndorsements, AzureEvidence};
use holdfast_evidence::crypto::SealKey;
use holdfast_evidence::gcp::GcpEvidence;
use holdfast_evidence::nitro::NitroEvidence;
use holdfast_evidence::nitrotpm::NitroTpmEvidence;
use holdfast_evidence::snp::SnpEvidence;
use holdfast_evidence::tdx::{TdxEndorsements, TdxEvidence, pck_chain};
use holdfast_evidence::tpm::PcrSelection;
use holdfast_evidence::{Binding, Challenge, Evidence, ItemState, ProvenKey, Purpose, SealRing, Verified};
use holdfast_identity::{TrustDomain, UnixTime};
use ring::rand::SystemRandom;

use crate::report::{Row, paired};

/// 2026-01-01, when everything of the test PKIs is valid.
pub const NOW: UnixTime = UnixTime(1_767_225_600);

/// What a machine is asked.
pub struct Asked {
    pub nonce: [u8; 32],
    /// What it must have signed.
    pub binding: Vec<u8>,
    /// What must be quoted, where PCRs are.
    pub selection: PcrSelection,
}

/// A kind of evidence as a server goes through it.
pub trait Kind: Evidence<'static> {
    /// What the server asks of an item while it looks for endorsements; those that it has then, if they are others.
    fn prepare(&self, binding: &Binding, held: &Self::Endorsements) -> Option<Self::Endorsements>;

    /// As the appraiser takes it.
    fn item(verified: &Verified<Self::Claims>) -> VerifiedItem<'_>;
}

macro_rules! kinds {
    ($($evidence:ident $item:ident),*) => {
        $(impl Kind for $evidence<'static> {
            fn prepare(&self, _: &Binding, _: &Self::Endorsements) -> Option<Self::Endorsements> {
                black_box(self.wants());
                None
            }

            fn item(verified: &Verified<Self::Claims>) -> VerifiedItem<'_> {
                VerifiedItem::$item(verified)
            }
        })*
    };
}
kinds!(SnpEvidence Snp, NitroEvidence Nitro, NitroTpmEvidence NitroTpm, GcpEvidence Gcp);

impl Kind for TdxEvidence<'static> {
    /// Nothing is fetched for a platform that Intel did not certify.
    fn prepare(&self, _: &Binding, held: &TdxEndorsements) -> Option<TdxEndorsements> {
        let pck = pck_chain(self.quote(), &held.roots, NOW).expect("certified");
        Some(TdxEndorsements { pck: Some(Arc::new(pck)), ..held.clone() })
    }

    fn item(verified: &Verified<Self::Claims>) -> VerifiedItem<'_> {
        VerifiedItem::Tdx(verified)
    }
}

impl Kind for AzureEvidence<'static> {
    /// Nothing is fetched for a machine whose key did not sign this challenge.
    fn prepare(&self, binding: &Binding, _: &AzureEndorsements) -> Option<AzureEndorsements> {
        self.answers(binding, NOW).expect("the key answers");
        black_box(self.wants());
        None
    }

    fn item(verified: &Verified<Self::Claims>) -> VerifiedItem<'_> {
        VerifiedItem::Azure(verified)
    }
}

/// A server's side, and one machine that is on its inventory.
pub struct Stage {
    ring: SealRing,
    domain: TrustDomain,
    policy: Policy,
    appraiser: Appraiser,
    ownership: Ownership,
    key: ProvenKey,
    seal: Vec<u8>,
    item: &'static [u8],
}

impl Stage {
    /// Draws a challenge and has it answered; what the answer claims to be is listed.
    pub fn new<E: Kind>(
        policy: &str,
        endorsements: &E::Endorsements,
        mut answer: impl FnMut(&Asked) -> Vec<u8>,
    ) -> anyhow::Result<Self> {
        let policy = Policy::parse(Document { name: "bench.toml", text: policy }, &[])
            .map_err(|findings| anyhow::anyhow!("{findings:#?}"))?;
        let domain: TrustDomain = "bench.test".parse()?;
        let (ring, rng) = (SealRing::new(SealKey::new([7; 32]), None), SystemRandom::new());
        let pair = rcgen::KeyPair::generate()?;
        let key = ProvenKey::from_csr(rcgen::CertificateParams::default().serialize_request(&pair)?.der())?;
        let selection = PcrSelection { bank: policy.pcr_bank(), pcrs: policy.required_pcrs() };
        let state = ItemState::plain(E::KIND, selection).expect("no TPM's");
        let challenge = Challenge::draw(domain.clone(), Purpose::Enrol, vec![state], NOW, 60, &rng)?;
        let seal = challenge.seal(&ring, &rng)?;
        let mut asked = Asked { nonce: *challenge.nonce(), binding: Vec::new(), selection };
        // What it commits to is the same whatever is signed.
        let unsigned = kept(answer(&asked));
        let binding = challenge.answer(key.clone(), &[E::parse(unsigned)?.commitment()])?;
        asked.binding = binding.digest_of(E::KIND).copied().unwrap_or_default().to_vec();
        let mut stage = Self {
            ring,
            appraiser: Appraiser::new(domain.clone()),
            domain,
            policy,
            ownership: Ownership::unknown(),
            key,
            seal,
            item: kept(answer(&asked)),
        };
        let verified = stage.verify::<E>(endorsements)?;
        let facts = E::item(&verified).described(&Ownership::unknown());
        let listed = |digest| InventoryAnswer { digest, listing: Listing::Listed };
        let inventory = owner_marks(&facts).map(|mark| listed(mark.digest)).collect();
        stage.ownership = Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New };
        Ok(stage)
    }

    /// What a server does with an answer, from its bytes to what they prove. The node key was proven before.
    fn verify<E: Kind>(&self, endorsements: &E::Endorsements) -> anyhow::Result<Verified<E::Claims>> {
        let challenge = Challenge::open(&self.seal, &self.ring, &self.domain, NOW)?;
        let evidence = E::parse(self.item)?;
        let binding = challenge.answer(self.key.clone(), &[evidence.commitment()])?;
        let prepared = evidence.prepare(&binding, endorsements);
        evidence.verify(prepared.as_ref().unwrap_or(endorsements), &binding, NOW).map_err(|refused| said(&refused))
    }

    /// The same, and on to the decision.
    pub fn judge<E: Kind>(&self, endorsements: &E::Endorsements) -> anyhow::Result<Verified<E::Claims>> {
        let verified = self.verify::<E>(endorsements)?;
        let decision = self.appraiser.appraise(&self.policy, &[E::item(&verified)], &self.ownership, NOW);
        let Decision::Admitted(node) = decision else { anyhow::bail!("not admitted: {decision:?}") };
        black_box(node);
        Ok(verified)
    }

    /// What [`judge`](Self::judge) costs, beside `floor`.
    pub fn row<E: Kind>(&self, name: &str, endorsements: &E::Endorsements, floor: impl FnMut(), note: &str) -> Row {
        let work = || drop(black_box(self.judge::<E>(endorsements).expect("admitted")));
        let (value, floor) = paired(work, floor);
        Row::new(name, value, "us").floor(floor).note(note)
    }
}

/// For as long as the program runs: evidence borrows the bytes that it is read from.
fn kept(item: Vec<u8>) -> &'static [u8] {
    item.leak()
}

fn said(refused: &impl Display) -> anyhow::Error {
    anyhow::anyhow!("{refused}")
}
