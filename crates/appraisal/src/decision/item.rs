//! Verified items of evidence, and the facts that several of one machine have together. Joins only what one binding
//! joined.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_evidence::azure::{AzureClaims, VerifiedHardware};
use holdfast_evidence::gcp::GcpClaims;
use holdfast_evidence::nitro::NitroClaims;
use holdfast_evidence::nitrotpm::NitroTpmClaims;
use holdfast_evidence::snp::SnpClaims;
use holdfast_evidence::tdx::TdxClaims;
use holdfast_evidence::tpm::{Bank, PcrSelection, PcrSet, ReplayedLog, TpmClaims};
use holdfast_evidence::{EvidenceKind, Provenance, Verified};
use holdfast_identity::UnixTime;

use super::ownership::Ownership;
use crate::facts::{self, AzureSources, Facts, LogFacts, NitroSources, TpmSources};
use crate::policy::Policy;

/// One item of verified evidence.
#[derive(Clone, Copy, Debug)]
pub enum VerifiedItem<'a> {
    /// Of a TPM.
    Tpm(&'a Verified<TpmClaims>),
    /// Of an SEV-SNP guest.
    Snp(&'a Verified<SnpClaims>),
    /// Of an Intel TDX guest.
    Tdx(&'a Verified<TdxClaims>),
    /// Of an Azure machine with its virtual TPM.
    Azure(&'a Verified<AzureClaims>),
    /// Of a Google Cloud instance with its virtual TPM.
    Gcp(&'a Verified<GcpClaims>),
    /// Of a Nitro Enclave.
    Nitro(&'a Verified<NitroClaims>),
    /// Of an instance with a NitroTPM.
    NitroTpm(&'a Verified<NitroTpmClaims>),
}

/// Logs whose facts are kept; each takes some ten kilobytes, and a fleet of equal machines has few.
const LOGS_KEPT: usize = 64;

/// Facts of logs that were seen lately, so that an unchanged log costs the next appraisal nothing.
#[derive(Debug, Default)]
pub(super) struct KeptLogs(Mutex<BTreeMap<LogKey, Arc<LogFacts>>>);

/// Everything that the facts of a log depend on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct LogKey {
    digest: [u8; 32],
    bank: Bank,
    known: Vec<u8>,
    provenance: Provenance,
}

impl VerifiedItem<'_> {
    /// Of which kind it is.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        match self {
            Self::Tpm(_) => EvidenceKind::Tpm,
            Self::Snp(_) => EvidenceKind::Snp,
            Self::Tdx(_) => EvidenceKind::Tdx,
            Self::Azure(_) => EvidenceKind::Azure,
            Self::Gcp(_) => EvidenceKind::Gcp,
            Self::Nitro(_) => EvidenceKind::Nitro,
            Self::NitroTpm(_) => EvidenceKind::NitroTpm,
        }
    }

    /// The kinds in whose words its facts are said: two items that say the same thing of different machines would leave
    /// nobody knowing which of them is meant.
    pub(super) fn words(&self) -> Vec<EvidenceKind> {
        match self {
            Self::Azure(verified) => {
                let hardware = verified.claims().machine.hardware().map(|hardware| match hardware {
                    VerifiedHardware::Snp(_) => EvidenceKind::Snp,
                    VerifiedHardware::Tdx(_) => EvidenceKind::Tdx,
                });
                [EvidenceKind::Azure, EvidenceKind::Tpm].into_iter().chain(hardware).collect()
            }
            Self::Gcp(_) => vec![EvidenceKind::Gcp, EvidenceKind::Tpm],
            Self::Tpm(_) | Self::Snp(_) | Self::Tdx(_) | Self::Nitro(_) | Self::NitroTpm(_) => vec![self.kind()],
        }
    }

    pub(super) const fn challenge_id(&self) -> [u8; 16] {
        match self {
            Self::Tpm(verified) => verified.challenge_id(),
            Self::Snp(verified) => verified.challenge_id(),
            Self::Tdx(verified) => verified.challenge_id(),
            Self::Azure(verified) => verified.challenge_id(),
            Self::Gcp(verified) => verified.challenge_id(),
            Self::Nitro(verified) => verified.challenge_id(),
            Self::NitroTpm(verified) => verified.challenge_id(),
        }
    }

    /// DER of the SubjectPublicKeyInfo of the key that was proven with the item.
    pub(super) fn node_key_spki(&self) -> &[u8] {
        match self {
            Self::Tpm(verified) => verified.claims().node_key.spki(),
            Self::Snp(verified) => verified.claims().node_key.spki(),
            Self::Tdx(verified) => verified.claims().node_key.spki(),
            Self::Azure(verified) => verified.claims().node_key.spki(),
            Self::Gcp(verified) => verified.claims().node_key.spki(),
            Self::Nitro(verified) => verified.claims().node_key.spki(),
            Self::NitroTpm(verified) => verified.claims().node_key.spki(),
        }
    }

    /// When a certificate or collateral that it rests on ends; `None` where its enrolment was what counted.
    pub(super) const fn not_after(&self) -> Option<UnixTime> {
        match self {
            Self::Tpm(_) => None,
            Self::Snp(verified) => Some(verified.claims().not_after),
            Self::Tdx(verified) => Some(verified.claims().not_after),
            Self::Azure(verified) => Some(verified.claims().not_after),
            Self::Gcp(verified) => Some(verified.claims().not_after),
            Self::Nitro(verified) => Some(verified.claims().not_after),
            Self::NitroTpm(verified) => Some(verified.claims().not_after),
        }
    }

    /// What was quoted, where PCRs were.
    pub(super) fn selection(&self) -> Option<PcrSelection> {
        match self {
            Self::Tpm(verified) => Some(verified.claims().selection),
            Self::Azure(verified) => Some(verified.claims().boot.selection),
            Self::Gcp(verified) => Some(verified.claims().boot.selection),
            Self::Snp(_) => None,
            Self::Tdx(_) => None,
            Self::Nitro(_) | Self::NitroTpm(_) => None,
        }
    }

    /// What the quote lacks of what the policy needs: another bank, or PCRs that were not quoted.
    pub(super) fn lacks(&self, policy: &Policy) -> Option<(String, String)> {
        lacks(policy, &self.selection()?)
    }

    /// What it says, under the names that policies use: for whoever looks a machine up before it is appraised.
    #[must_use]
    pub fn described(&self, ownership: &Ownership) -> Facts {
        self.facts(ownership, &KeptLogs::default())
    }

    /// What it says, under the names that policies use. `ownership` says what a machine is called that is on record.
    pub(super) fn facts(&self, ownership: &Ownership, kept: &KeptLogs) -> Facts {
        match self {
            Self::Tpm(verified) => {
                let claims = verified.claims();
                let sources = TpmSources::from(claims);
                let log = claims.log.as_deref().map(|log| kept.facts(log, &sources)).unwrap_or_default();
                facts::tpm(&sources, ownership.machine, log)
            }
            Self::Snp(verified) => facts::snp(&verified.claims().report),
            Self::Tdx(verified) => facts::tdx(verified.claims(), ownership),
            Self::Azure(verified) => facts::azure(&AzureSources::from(verified.claims())),
            Self::Gcp(verified) => facts::gcp(verified.claims()),
            Self::Nitro(verified) => facts::nitro(&NitroSources::from(verified.claims())),
            Self::NitroTpm(verified) => facts::nitrotpm(&NitroSources::from(verified.claims()), None),
        }
    }
}

/// What a quote of these PCRs lacks of what the policy needs.
pub(super) fn lacks(policy: &Policy, quoted: &PcrSelection) -> Option<(String, String)> {
    let missing = policy.required_pcrs().without(quoted.pcrs);
    if quoted.bank == policy.pcr_bank() && missing.is_empty() {
        return None;
    }
    let expected = format!("a quote of {}:{}", policy.pcr_bank(), spelt(policy.required_pcrs()));
    Some((expected, format!("{}:{}", quoted.bank, spelt(quoted.pcrs))))
}

fn spelt(pcrs: PcrSet) -> String {
    pcrs.iter().map(|pcr| pcr.to_string()).collect::<Vec<_>>().join(",")
}

impl KeptLogs {
    fn facts(&self, log: &ReplayedLog, sources: &TpmSources<'_>) -> Arc<LogFacts> {
        let key = LogKey {
            digest: *log.digest(),
            bank: sources.selection.bank,
            // Which PCRs are proven, and which were never extended, both matter.
            known: sources
                .replayed
                .iter()
                .map(|pcr| pcr.get())
                .chain([0xff])
                .chain(sources.untouched.iter().map(|pcr| pcr.get()))
                .collect(),
            provenance: sources.provenance(),
        };
        // A poisoned lock only means that another thread panicked; the map is whole.
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        held.unwrap_or_else(|| {
            let facts = Arc::new(sources.log_facts());
            let mut logs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if logs.len() >= LOGS_KEPT {
                logs.pop_first();
            }
            logs.insert(key, Arc::clone(&facts));
            facts
        })
    }
}
