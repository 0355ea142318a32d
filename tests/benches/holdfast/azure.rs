//! What a verdict on a confidential Azure machine costs, above the signatures and hashes that nobody can leave out.

use std::hint::black_box;
use std::sync::Arc;

use holdfast_evidence::azure::{AzureEndorsements, AzureEvidence, AzureHardware, AzureItem};
use holdfast_evidence::crypto::{HashAlg, SignatureAlg, SignatureValue, verify};
use holdfast_evidence::snp::SnpEndorsements;
use holdfast_evidence::tpm::Signed;

use crate::appraise::{boot_of, fill};
use crate::floor::passes;
use crate::report::Row;
use crate::snp::{self, keys_of_their_size};
use crate::stage::{Asked, Stage};

#[path = "../../../crates/evidence/tests/azure/machine.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
pub mod machine;

use machine::Machine;

/// What machines must be; of either class, so that a server that runs takes the made-up AMD's as well.
const POLICY: &str = r#"
api_version = "holdfast/1"
kind = "policy"
name = "bench"
[issue]
node_id = "/holdfast/node/azure/{azure.instance}"
selectors = ["azure.hardware", "azure.class"]
[[rule]]
name = "machines"
evidence = ["azure"]
ownership = "inventory"
trust_classes = ["firmware", "simulated"]
[rule.require]
azure.secure_boot = true
snp.id_key_digest = "PARAVISOR"
snp.vmpl = 0
snp.tcb.reported.snp = { at_least = 24 }
snp.platform.alias_check_complete = true
tpm.secure_boot.enabled = true
tpm.boot.applications = { sequence = ["SHIM", "GRUB", "KERNEL"] }
"#;

/// [`POLICY`] for what the made-up Azure runs.
pub fn policy() -> String {
    boot_of(POLICY).replace("PARAVISOR", &"66".repeat(48))
}

/// A machine under SEV-SNP with a log as long as real ones, and what it can say before it is asked: a report is made once
/// a boot.
pub struct Booted {
    pub machine: Machine,
    report: Vec<u8>,
    vouching: Arc<Vec<u8>>,
    log: Vec<u8>,
}

impl Booted {
    /// `vouching` are the certificates of its chip, if they were made before.
    pub fn new(mut machine: Machine, vouching: Option<Arc<Vec<u8>>>) -> Self {
        (machine.firmware.later, machine.claims) = (Vec::new(), Vec::new());
        fill(&mut machine.firmware.events);
        let vouching = vouching.unwrap_or_else(|| Arc::new(machine.vouching()));
        Self { report: machine.hcl(), log: machine.firmware.log(), vouching, machine }
    }

    pub const fn vouching(&self) -> &Arc<Vec<u8>> {
        &self.vouching
    }

    pub fn log(&self) -> &[u8] {
        &self.log
    }

    /// What is left to do when it is asked: the quote.
    pub fn answer(&mut self, asked: &Asked) -> Vec<u8> {
        self.machine.quoted = Some(asked.selection);
        let attest = self.machine.attest(&asked.binding);
        AzureItem {
            report: &self.report,
            hardware: AzureHardware::Snp(&self.vouching),
            ak_certificates: Vec::new(),
            ak_public: &self.machine.sent_area,
            quote: Signed { attest: &attest, signature: &self.machine.signer.sign(&attest) },
            firmware_log: Some(&self.log),
            pcr_claims: Vec::new(),
        }
        .encode()
    }
}

/// All rows of this module.
pub fn measure() -> anyhow::Result<Vec<Row>> {
    type Azure = AzureEvidence<'static>;
    keys_of_their_size()?;
    let mut booted = Booted::new(Machine::snp(), None);
    let cold = booted.machine.endorsements();
    let (mut chain, report) = (snp::chain()?, snp::report(booted.machine.guest())?);
    let (mut quote, mut hashed) = (quote(&booted.machine)?, passes(2, booted.log.clone()));
    let stage = Stage::new::<Azure>(&policy(), &cold, |asked| booted.answer(asked))?;
    let verified = stage.judge::<Azure>(&cold)?;
    let Some(holdfast_evidence::azure::VerifiedHardware::Snp(proven)) = verified.claims().machine.hardware() else {
        anyhow::bail!("no report")
    };
    let kept = SnpEndorsements { verified: vec![Arc::clone(proven.verified_vek())], ..cold.snp.clone() };
    let warm = AzureEndorsements { snp: kept, ..cold.clone() };
    let mut least = || {
        report();
        quote();
        hashed();
    };
    let every_time = "1 P-384 verification (report) + 1 RSA-2048 verification (quote) + 2 SHA-256 passes over a log of 50 \
                      events";
    let mut rows = vec![stage.row::<Azure>(
        "appraise_azure",
        &cold,
        || {
            chain();
            least();
        },
        &format!(
            "floor: {every_time} + 2 RSA-4096 PSS verifications (chain); the quote is verified twice: before anything \
                  is fetched, and with the rest; aim 1.3"
        ),
    )];
    let note = format!("floor: {every_time}; the chain was verified before; report and quote are never kept; aim 1.3");
    rows.push(stage.row::<Azure>("appraise_azure_reattest", &warm, least, &note));
    Ok(rows)
}

/// The signature of a quote, RSASSA.
fn quote(machine: &Machine) -> anyhow::Result<impl FnMut() + use<>> {
    let message = machine.attest(&[7; 32]);
    let signed = machine.ak.sign(&message);
    // TPMT_SIGNATURE: scheme, hash, length
    let bytes = signed.get(6..).unwrap_or_default().to_vec();
    let key = machine.ak.key();
    let check = move || {
        let value = SignatureValue::Rsa(&bytes);
        verify(black_box(&key), SignatureAlg::Rsassa, HashAlg::Sha256, &message, value)
    };
    anyhow::ensure!(check().is_ok(), "the quote is signed");
    Ok(move || check().expect("valid"))
}
