//! Verified items of evidence, those whose checks were made again from a record, and the facts that several of one machine have together. Joins only what one binding
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
use holdfast_evidence::{EvidenceKind, Provenance, Replayed, Verified};
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

/// One item whose checks were made again from a record. A policy can be asked about it, and nothing is issued for it.
#[derive(Clone, Copy, Debug)]
pub enum ReplayedItem<'a> {
    /// Of a TPM.
    Tpm(&'a Replayed<TpmClaims>),
    /// Of an SEV-SNP guest.
    Snp(&'a Replayed<SnpClaims>),
    /// Of an Intel TDX guest.
    Tdx(&'a Replayed<TdxClaims>),
    /// Of an Azure machine with its virtual TPM.
    Azure(&'a Replayed<AzureClaims>),
    /// Of a Google Cloud instance with its virtual TPM.
    Gcp(&'a Replayed<GcpClaims>),
    /// Of a Nitro Enclave.
    Nitro(&'a Replayed<NitroClaims>),
    /// Of an instance with a NitroTPM.
    NitroTpm(&'a Replayed<NitroTpmClaims>),
}

/// What an item says, verified just now or again: all that a policy is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    challenge_id: [u8; 16],
    claims: Claims<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Claims<'a> {
    Tpm(&'a TpmClaims),
    Snp(&'a SnpClaims),
    Tdx(&'a TdxClaims),
    Azure(&'a AzureClaims),
    Gcp(&'a GcpClaims),
    Nitro(&'a NitroClaims),
    NitroTpm(&'a NitroTpmClaims),
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

impl<'a> VerifiedItem<'a> {
    /// Of which kind it is.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        self.said().kind()
    }

    /// What it says, under the names that policies use: for whoever looks a machine up before it is appraised.
    #[must_use]
    pub fn described(&self, ownership: &Ownership) -> Facts {
        self.said().facts(ownership, &KeptLogs::default())
    }

    pub(super) const fn said(&self) -> Said<'a> {
        let (challenge_id, claims) = match self {
            Self::Tpm(item) => (item.challenge_id(), Claims::Tpm(item.claims())),
            Self::Snp(item) => (item.challenge_id(), Claims::Snp(item.claims())),
            Self::Tdx(item) => (item.challenge_id(), Claims::Tdx(item.claims())),
            Self::Azure(item) => (item.challenge_id(), Claims::Azure(item.claims())),
            Self::Gcp(item) => (item.challenge_id(), Claims::Gcp(item.claims())),
            Self::Nitro(item) => (item.challenge_id(), Claims::Nitro(item.claims())),
            Self::NitroTpm(item) => (item.challenge_id(), Claims::NitroTpm(item.claims())),
        };
        Said { challenge_id, claims }
    }
}

impl<'a> ReplayedItem<'a> {
    /// Of which kind it is.
    #[must_use]
    pub const fn kind(&self) -> EvidenceKind {
        self.said().kind()
    }

    /// What it says, under the names that policies use.
    #[must_use]
    pub fn described(&self, ownership: &Ownership) -> Facts {
        self.said().facts(ownership, &KeptLogs::default())
    }

    pub(super) const fn said(&self) -> Said<'a> {
        let (challenge_id, claims) = match self {
            Self::Tpm(item) => (item.challenge_id(), Claims::Tpm(item.claims())),
            Self::Snp(item) => (item.challenge_id(), Claims::Snp(item.claims())),
            Self::Tdx(item) => (item.challenge_id(), Claims::Tdx(item.claims())),
            Self::Azure(item) => (item.challenge_id(), Claims::Azure(item.claims())),
            Self::Gcp(item) => (item.challenge_id(), Claims::Gcp(item.claims())),
            Self::Nitro(item) => (item.challenge_id(), Claims::Nitro(item.claims())),
            Self::NitroTpm(item) => (item.challenge_id(), Claims::NitroTpm(item.claims())),
        };
        Said { challenge_id, claims }
    }
}

impl<'a> Said<'a> {
    pub(super) const fn kind(&self) -> EvidenceKind {
        match self.claims {
            Claims::Tpm(_) => EvidenceKind::Tpm,
            Claims::Snp(_) => EvidenceKind::Snp,
            Claims::Tdx(_) => EvidenceKind::Tdx,
            Claims::Azure(_) => EvidenceKind::Azure,
            Claims::Gcp(_) => EvidenceKind::Gcp,
            Claims::Nitro(_) => EvidenceKind::Nitro,
            Claims::NitroTpm(_) => EvidenceKind::NitroTpm,
        }
    }

    /// The kinds in whose words its facts are said: two items that say the same thing of different machines would leave
    /// nobody knowing which of them is meant.
    pub(super) fn words(&self) -> Vec<EvidenceKind> {
        match self.claims {
            Claims::Azure(claims) => {
                let hardware = claims.machine.hardware().map(|hardware| match hardware {
                    VerifiedHardware::Snp(_) => EvidenceKind::Snp,
                    VerifiedHardware::Tdx(_) => EvidenceKind::Tdx,
                });
                [EvidenceKind::Azure, EvidenceKind::Tpm].into_iter().chain(hardware).collect()
            }
            Claims::Gcp(_) => vec![EvidenceKind::Gcp, EvidenceKind::Tpm],
            Claims::Tpm(_) | Claims::Snp(_) | Claims::Tdx(_) | Claims::Nitro(_) | Claims::NitroTpm(_) => {
                vec![self.kind()]
            }
        }
    }

    pub(super) const fn challenge_id(&self) -> [u8; 16] {
        self.challenge_id
    }

    /// DER of the SubjectPublicKeyInfo of the key that was proven with the item.
    pub(super) fn node_key_spki(&self) -> &'a [u8] {
        match self.claims {
            Claims::Tpm(claims) => claims.node_key.spki(),
            Claims::Snp(claims) => claims.node_key.spki(),
            Claims::Tdx(claims) => claims.node_key.spki(),
            Claims::Azure(claims) => claims.node_key.spki(),
            Claims::Gcp(claims) => claims.node_key.spki(),
            Claims::Nitro(claims) => claims.node_key.spki(),
            Claims::NitroTpm(claims) => claims.node_key.spki(),
        }
    }

    /// When a certificate or collateral that it rests on ends; `None` where its enrolment was what counted.
    pub(super) const fn not_after(&self) -> Option<UnixTime> {
        match self.claims {
            Claims::Tpm(_) => None,
            Claims::Snp(claims) => Some(claims.not_after),
            Claims::Tdx(claims) => Some(claims.not_after),
            Claims::Azure(claims) => Some(claims.not_after),
            Claims::Gcp(claims) => Some(claims.not_after),
            Claims::Nitro(claims) => Some(claims.not_after),
            Claims::NitroTpm(claims) => Some(claims.not_after),
        }
    }

    /// What was quoted, where PCRs were.
    pub(super) const fn selection(&self) -> Option<PcrSelection> {
        match self.claims {
            Claims::Tpm(claims) => Some(claims.selection),
            Claims::Azure(claims) => Some(claims.boot.selection),
            Claims::Gcp(claims) => Some(claims.boot.selection),
            Claims::Snp(_) | Claims::Tdx(_) | Claims::Nitro(_) | Claims::NitroTpm(_) => None,
        }
    }

    /// What the quote lacks of what the policy needs: another bank, or PCRs that were not quoted.
    pub(super) fn lacks(&self, policy: &Policy) -> Option<(String, String)> {
        lacks(policy, &self.selection()?)
    }

    /// What it says, under the names that policies use. `ownership` says what a machine is called that is on record.
    pub(super) fn facts(&self, ownership: &Ownership, kept: &KeptLogs) -> Facts {
        match self.claims {
            Claims::Tpm(claims) => {
                let sources = TpmSources::from(claims);
                let log = claims.log.as_deref().map(|log| kept.facts(log, &sources)).unwrap_or_default();
                facts::tpm(&sources, ownership.machine, log)
            }
            Claims::Snp(claims) => facts::snp(&claims.report),
            Claims::Tdx(claims) => facts::tdx(claims, ownership),
            Claims::Azure(claims) => facts::azure(&AzureSources::from(claims)),
            Claims::Gcp(claims) => facts::gcp(claims),
            Claims::Nitro(claims) => facts::nitro(&NitroSources::from(claims)),
            Claims::NitroTpm(claims) => facts::nitrotpm(&NitroSources::from(claims), None),
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
