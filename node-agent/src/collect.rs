//! Gathers this machine's evidence: what it says about itself in `begin`, and what its TPM answers in `complete`. Knows
//! no connection.

mod firmware_log;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::binding::{BindingFields, binding_digest};
use holdfast_evidence::tpm::{
    Ask, CertifiedKey, FirmwareLog, IdentityMaterial, OfferedEk, PcrIndex, PcrSet, Signed, TpmItem,
};
use holdfast_identity::TrustDomain;
use zeroize::Zeroizing;

use crate::tpm::{self, Tpm, TpmFault, TpmIdentity};

pub use firmware_log::FirmwareLogFile;
use firmware_log::{ReadLog, covered};

/// Why evidence could not be gathered.
#[derive(Debug, thiserror::Error)]
pub enum CollectFault {
    /// The TPM did not do its part.
    #[error(transparent)]
    Tpm(#[from] TpmFault),
    /// The firmware's log cannot be read.
    #[error("firmware log cannot be read")]
    FirmwareLog(#[source] std::io::Error),
}

impl CollectFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Tpm(fault) => fault.code(),
            Self::FirmwareLog(_) => "agent.collect.firmware_log",
        }
    }
}

/// What the server wants beside the usual.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    /// The values of all PCRs asked, as claims.
    pub all_pcr_values: bool,
    /// The firmware log itself, though the server named its digest.
    pub firmware_log: bool,
}

/// Gathers evidence of kind `tpm`.
pub struct Collector {
    tpm: Tpm,
    firmware_log: FirmwareLogFile,
    trust_domain: TrustDomain,
    /// The server has asked for PCR values before, and they made the difference: bring them at once.
    brings_values: AtomicBool,
}

impl Collector {
    /// A collector for this machine.
    #[must_use]
    pub const fn new(tpm: Tpm, firmware_log: FirmwareLogFile, trust_domain: TrustDomain) -> Self {
        Self { tpm, firmware_log, trust_domain, brings_values: AtomicBool::new(false) }
    }

    /// The public halves of the machine's keys.
    ///
    /// # Errors
    /// [`CollectFault::Tpm`].
    pub async fn identity(&self) -> Result<TpmIdentity, CollectFault> {
        Ok(self.tpm.identity().await?)
    }

    /// What the machine says about itself: its attestation key, and every endorsement key unless the server is taken
    /// to know the attestation key.
    ///
    /// # Errors
    /// [`CollectFault::Tpm`].
    pub async fn material(&self, with_endorsement: bool) -> Result<Vec<u8>, CollectFault> {
        let identity = self.tpm.identity().await?;
        let mut material = IdentityMaterial { endorsement: Vec::new(), ak_public: identity.ak_public };
        if with_endorsement {
            let (keys, chain) = self.tpm.endorsement().await?;
            if keys.is_empty() {
                tracing::warn!("TPM has no endorsement certificate: the server will not know whose it is");
            }
            material.endorsement = keys
                .into_iter()
                .map(|key| OfferedEk { certificate: key.certificate, chain: chain.clone(), public: key.public })
                .collect();
        }
        Ok(material.encode())
    }

    /// The evidence item that answers `ask` under `nonce`.
    ///
    /// # Errors
    /// [`CollectFault`].
    pub async fn evidence(&self, ask: &Ask, nonce: &[u8; 32], extras: Extras) -> Result<Vec<u8>, CollectFault> {
        let identity = self.tpm.identity().await?;
        // Once, and before the quote.
        let log = self.firmware_log.read().await.map_err(CollectFault::FirmwareLog)?;
        let ak_name = tpm::name_of(&identity.ak_public)
            .ok_or(TpmFault::Form { what: "attestation key's public area", expected: "a TPM2B_PUBLIC" })?;
        let binding = binding_digest(&BindingFields {
            trust_domain: &self.trust_domain,
            kinds: &[EvidenceKind::Tpm],
            nonce,
            ak_name: &ak_name,
            node_key_spki: &identity.node_key_spki,
            ek_certificates: &ask.ek_certificates,
            selection: &ask.selection.encode(),
            firmware_log: log.as_ref().map(|log| &log.digest),
            others: &[],
        });
        let answer = self.answer(ask, binding, log.as_ref(), extras).await?;
        Ok(answer.encode(ask, &identity, log.as_ref(), extras))
    }

    /// An answer with `extras` was admitted: PCR values that no log covers are brought at once from now on.
    pub fn learn(&self, extras: Extras) {
        if extras.all_pcr_values {
            self.brings_values.store(true, Ordering::Relaxed);
        }
    }

    /// Everything that the TPM does: activation where credentials came, certification where asked, and the quote.
    async fn answer(
        &self,
        ask: &Ask,
        binding: [u8; 32],
        log: Option<&ReadLog>,
        extras: Extras,
    ) -> Result<Answer, TpmFault> {
        let secrets = if ask.credentials.is_empty() {
            Vec::new()
        } else {
            let credentials = ask
                .credentials
                .iter()
                .map(|credential| (credential.id_object.clone(), credential.encrypted_secret.clone()))
                .collect();
            self.tpm.activate(credentials).await?
        };
        let certify = if ask.certify { Some(self.tpm.certify_node_key(binding).await?) } else { None };
        let (bank, asked) = (ask.selection.bank.id(), ask.selection.pcrs);
        let claimed = if extras.all_pcr_values {
            asked
        } else if self.brings_values.load(Ordering::Relaxed) {
            asked.without(covered(log))
        } else {
            PcrSet::EMPTY
        };
        let numbers = |set: PcrSet| set.iter().map(PcrIndex::get).collect::<BTreeSet<u8>>();
        let quote = self.tpm.quote(binding, bank, numbers(asked)).await?;
        let values =
            if claimed.is_empty() { BTreeMap::new() } else { self.tpm.pcr_values(bank, numbers(claimed)).await? };
        Ok(Answer { secrets, certify, quote, values })
    }
}

/// What the TPM answered.
struct Answer {
    secrets: Vec<Zeroizing<Vec<u8>>>,
    certify: Option<tpm::Signed>,
    quote: tpm::Signed,
    values: BTreeMap<u8, Vec<u8>>,
}

impl Answer {
    fn encode(&self, ask: &Ask, identity: &TpmIdentity, log: Option<&ReadLog>, extras: Extras) -> Vec<u8> {
        let firmware_log = match log {
            None => FirmwareLog::Absent,
            Some(log) if !extras.firmware_log && ask.known_firmware_log == Some(log.digest) => {
                FirmwareLog::Known(log.digest)
            }
            Some(log) => FirmwareLog::Bytes(&log.bytes),
        };
        TpmItem {
            secrets: self.secrets.iter().map(|secret| secret.as_slice()).collect(),
            quote: signed(&self.quote),
            certify: self
                .certify
                .as_ref()
                .map(|certify| CertifiedKey { public: &identity.node_key_public, certify: signed(certify) }),
            firmware_log,
            pcr_claims: self
                .values
                .iter()
                .filter_map(|(&index, value)| Some((PcrIndex::new(index.into())?, value.as_slice())))
                .collect(),
        }
        .encode()
    }
}

fn signed(signed: &tpm::Signed) -> Signed<'_> {
    Signed { attest: &signed.attest, signature: &signed.signature }
}
