//! What evidence says of itself before it is verified, as far as an operator may have listed it: whether something should
//! be fetched for it ahead of strangers, and nothing else.

use holdfast_appraisal::facts::{AzureFact, FactId, SnpFact, TdxFact, owner_digest};
use holdfast_appraisal::{Value, digest_of};
use holdfast_evidence::Evidence as _;
use holdfast_evidence::azure::{AzureEvidence, ClaimedHardware};
use holdfast_evidence::snp::Report;
use holdfast_evidence::tdx::{self, Quote};

use crate::store::Sha256;

/// Of an SNP report: its chip, and its launch.
pub(super) fn of_snp(report: &Report) -> Vec<Sha256> {
    let chip = digest(FactId::Snp(SnpFact::ChipId), &report.chip_id());
    let launch = digest(FactId::Snp(SnpFact::Launch), &report.launch().digest());
    chip.into_iter().chain(launch).collect()
}

/// Of a quote: its platform, and its launch.
pub(super) fn of_tdx(quote: &Quote<'_>) -> Vec<Sha256> {
    let platform = tdx::claimed_platform(quote).and_then(|platform| platform.instance_id);
    let platform = platform.map(|id| mark(FactId::Tdx(TdxFact::Piid), &Value::text(&hex::encode(id))));
    let launch = digest(FactId::Tdx(TdxFact::Launch), &quote.report.launch().digest());
    platform.into_iter().chain(launch).collect()
}

/// Of an Azure machine: its name with Azure, its attestation key, and what is said of its hardware.
pub(super) fn of_azure(evidence: &AzureEvidence<'_>) -> Vec<Sha256> {
    let key = evidence.commitment().ak_spki_sha256.and_then(|key| digest(FactId::Azure(AzureFact::AkDigest), &key));
    let name = evidence.runtime_data().map(|data| &data.configuration.vm_unique_id);
    let name = name.map(|name| mark(FactId::Azure(AzureFact::VmUniqueId), &Value::text(name)));
    let hardware = match evidence.hardware() {
        Some(ClaimedHardware::Snp { report, .. }) => of_snp(report),
        Some(ClaimedHardware::Tdx { quote, .. }) => of_tdx(quote),
        None => Vec::new(),
    };
    key.into_iter().chain(name).chain(hardware).collect()
}

fn digest(fact: FactId, bytes: &[u8]) -> Option<Sha256> {
    digest_of(bytes).map(|value| mark(fact, &Value::Digest(value)))
}

fn mark(fact: FactId, value: &Value) -> Sha256 {
    Sha256(owner_digest(fact, value))
}
