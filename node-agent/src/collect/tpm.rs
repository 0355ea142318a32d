//! Evidence of kind `tpm`: a chip with an endorsement certificate, whose attestation key and node key are ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tpm::{
    Ask, CertifiedKey, FirmwareLog, IdentityMaterial, OfferedEk, PcrIndex, PcrSet, Signed as SignedWire, TpmItem,
};
use zeroize::Zeroizing;

use super::firmware_log::{FirmwareLogFile, ReadLog, covered};
use super::{CollectFault, Collector, Extras, Part, Prepared, Signed};
use crate::tpm::{self, Tpm, TpmFault, TpmIdentity};

/// Gathers it.
pub struct TpmCollector {
    tpm: Tpm,
    firmware_log: FirmwareLogFile,
    /// The server has asked for PCR values before, and they made the difference: bring them at once.
    brings_values: AtomicBool,
}

impl TpmCollector {
    /// A collector for this chip.
    #[must_use]
    pub const fn new(tpm: Tpm, firmware_log: FirmwareLogFile) -> Self {
        Self { tpm, firmware_log, brings_values: AtomicBool::new(false) }
    }

    /// The attestation key, and every endorsement key unless the server is taken to know the attestation key.
    async fn offer(&self, with_endorsement: bool) -> Result<Vec<u8>, CollectFault> {
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

    async fn read(&self, ask: &[u8], extras: Extras) -> Result<Quote, CollectFault> {
        let ask = Ask::parse(ask).map_err(|_| CollectFault::Ask { kind: EvidenceKind::Tpm })?;
        let identity = self.tpm.identity().await?;
        // Once, and before the quote.
        let log = self.firmware_log.read().await.map_err(CollectFault::FirmwareLog)?;
        let ak_name = tpm::name_of(&identity.ak_public)
            .ok_or(TpmFault::Form { what: "attestation key's public area", expected: "a TPM2B_PUBLIC" })?;
        let claimed = if extras.all_pcr_values {
            ask.selection.pcrs
        } else if self.brings_values.load(Ordering::Relaxed) {
            ask.selection.pcrs.without(covered(log.as_ref()))
        } else {
            PcrSet::EMPTY
        };
        Ok(Quote { tpm: self.tpm.clone(), ask, identity, ak_name, log, claimed, extras })
    }
}

impl Collector for TpmCollector {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Tpm
    }

    fn material(&self, enrols: bool) -> BoxFuture<'_, Result<Vec<u8>, CollectFault>> {
        Box::pin(self.offer(enrols))
    }

    fn prepare<'a>(
        &'a self,
        ask: &'a [u8],
        extras: Extras,
    ) -> BoxFuture<'a, Result<Box<dyn Prepared + 'a>, CollectFault>> {
        Box::pin(async move { Ok(Box::new(self.read(ask, extras).await?) as Box<dyn Prepared>) })
    }

    /// PCR values that no log covers are brought at once from now on.
    fn learn(&self, extras: Extras) {
        if extras.all_pcr_values {
            self.brings_values.store(true, Ordering::Relaxed);
        }
    }
}

/// Most quotes for one answer: a machine that starts files faster than this is asked again.
const QUOTES_MAX: usize = 5;

/// Everything that was read before the quote.
struct Quote {
    tpm: Tpm,
    ask: Ask,
    identity: TpmIdentity,
    ak_name: Vec<u8>,
    log: Option<ReadLog>,
    /// PCRs whose values come along.
    claimed: PcrSet,
    extras: Extras,
}

impl Prepared for Quote {
    fn part(&self) -> Part {
        Part {
            ak_name: self.ak_name.clone(),
            ek_certificates: self.ask.ek_certificates.clone(),
            selection: self.ask.selection.encode(),
            firmware_log: self.log.as_ref().map(|log| log.digest),
        }
    }

    fn finish<'a>(self: Box<Self>, signed: Signed) -> BoxFuture<'a, Result<Vec<u8>, CollectFault>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let answer = self.answer(signed.binding).await?;
            Ok(answer.encode(&self))
        })
    }
}

impl Quote {
    /// Everything that the TPM does: activation where credentials came, certification where asked, and the quote.
    async fn answer(&self, binding: [u8; 32]) -> Result<Answer, TpmFault> {
        let secrets = if self.ask.credentials.is_empty() {
            Vec::new()
        } else {
            let credentials = self
                .ask
                .credentials
                .iter()
                .map(|credential| (credential.id_object.clone(), credential.encrypted_secret.clone()))
                .collect();
            self.tpm.activate(credentials).await?
        };
        let certify = if self.ask.certify { Some(self.tpm.certify_node_key(binding).await?) } else { None };
        let bank = self.ask.selection.bank.id();
        let numbers = |set: PcrSet| set.iter().map(PcrIndex::get).collect::<BTreeSet<u8>>();
        let mut tries = 0;
        loop {
            tries += 1;
            // The kernel extends PCR 10 with every new file: a value that was read beside the quote is the quoted one only
            // if it was the same before and after.
            let grows = self.claimed.contains(PcrIndex::IMA);
            let before = match grows {
                true => self.tpm.pcr_values(bank, BTreeSet::from([PcrIndex::IMA.get()])).await?,
                false => BTreeMap::new(),
            };
            let quote = self.tpm.quote(binding, bank, numbers(self.ask.selection.pcrs)).await?;
            let values = if self.claimed.is_empty() {
                BTreeMap::new()
            } else {
                self.tpm.pcr_values(bank, numbers(self.claimed)).await?
            };
            let still = before.iter().all(|(pcr, value)| values.get(pcr) == Some(value));
            if still || tries >= QUOTES_MAX {
                return Ok(Answer { secrets, certify, quote, values });
            }
        }
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
    fn encode(&self, asked: &Quote) -> Vec<u8> {
        let firmware_log = match &asked.log {
            None => FirmwareLog::Absent,
            Some(log) if !asked.extras.firmware_log && asked.ask.known_firmware_log == Some(log.digest) => {
                FirmwareLog::Known(log.digest)
            }
            Some(log) => FirmwareLog::Bytes(&log.bytes),
        };
        TpmItem {
            secrets: self.secrets.iter().map(|secret| secret.as_slice()).collect(),
            quote: wire(&self.quote),
            certify: self
                .certify
                .as_ref()
                .map(|certify| CertifiedKey { public: &asked.identity.node_key_public, certify: wire(certify) }),
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

fn wire(signed: &tpm::Signed) -> SignedWire<'_> {
    SignedWire { attest: &signed.attest, signature: &signed.signature }
}
