//! Verifies one item of each kind: fetches what its verification wants, and hands it to the verifier on a thread that may
//! wait. Keeps what the next verification of the same machine can use.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_evidence::azure::{AzureEndorsements, AzureEvidence, AzureWants, ClaimedHardware, VerifiedHardware};
use holdfast_evidence::gcp::{GcpEndorsements, GcpEvidence, GcpItem};
use holdfast_evidence::nitro::{NitroEndorsements, NitroEvidence};
use holdfast_evidence::nitrotpm::NitroTpmEvidence;
use holdfast_evidence::snp::{self, SnpEvidence};
use holdfast_evidence::tdx::{self, TdxEvidence};
use holdfast_evidence::tpm::{FirmwareLog, KnownLog, TpmEndorsements, TpmEvidence, TpmItem, Unverified};
use holdfast_evidence::x509::path_id;
use holdfast_evidence::{Binding, Commitment, Evidence as _, EvidenceKind};

use super::{EvidenceRefused, VerifiedEvidence, claimed};
use crate::budget::Source;
use crate::clock;
use crate::desk::keeping::With;
use crate::desk::{Desk, Failure};
use crate::endorse::Asker;
use crate::store::Sha256;

/// A fault of ours, or what came of the item.
type Outcome = Result<Result<VerifiedEvidence, EvidenceRefused>, Failure>;

/// Who asks for the verification.
pub(in crate::desk) struct Asking {
    pub(in crate::desk) source: Source,
    /// Whether the connection is a node's own.
    pub(in crate::desk) is_node: bool,
    /// Whether the answer is too large to be verified between two others.
    pub(in crate::desk) large: bool,
}

impl Desk {
    pub(in crate::desk) async fn verify(
        &self,
        kind: EvidenceKind,
        item: Bytes,
        binding: &Arc<Binding>,
        asking: &Asking,
        with: &mut With,
    ) -> Outcome {
        match kind {
            EvidenceKind::Tpm => {
                let known = self.known_log(&item).await?;
                let was_kept = matches!(known, KnownLog::Replayed(_));
                with.known_log = named_log(&item);
                let first = self.verify_tpm(item.clone(), known, binding, asking.large, with).await?;
                // A log that was kept for other PCRs than those quoted now: replay it from the store's bytes.
                if was_kept
                    && matches!(&first, Err(EvidenceRefused::Tpm(refused)) if **refused == Unverified::LogUnknown)
                    && let Some(digest) = named_log(&item)
                    && let Some(bytes) = self.store.firmware_log(Sha256(digest)).await?
                {
                    return self.verify_tpm(item, KnownLog::Bytes(bytes), binding, true, with).await;
                }
                Ok(first)
            }
            EvidenceKind::Snp => self.verify_snp(item, binding, asking, with).await,
            EvidenceKind::Tdx => self.verify_tdx(item, binding, asking, with).await,
            EvidenceKind::Nitro => self.verify_nitro(item, binding, with).await,
            EvidenceKind::NitroTpm => self.verify_nitrotpm(item, binding, with).await,
            EvidenceKind::Gcp => self.verify_gcp(item, binding, with).await,
            EvidenceKind::Azure => self.verify_azure(item, binding, asking, with).await,
        }
    }

    /// The log behind a digest that the agent sent in place of it: from memory, or from the store.
    async fn known_log(&self, received: &[u8]) -> Result<KnownLog, Failure> {
        let Some(digest) = named_log(received) else { return Ok(KnownLog::None) };
        if let Some(log) = self.logs.get(&digest) {
            return Ok(KnownLog::Replayed(log));
        }
        Ok(self.store.firmware_log(Sha256(digest)).await?.map_or(KnownLog::None, KnownLog::Bytes))
    }

    async fn verify_tpm(
        &self,
        item: Bytes,
        known_log: KnownLog,
        binding: &Arc<Binding>,
        large: bool,
        with: &mut With,
    ) -> Outcome {
        let (binding, now) = (binding.clone(), clock::now());
        with.at = now;
        let verify = move || {
            let endorsements = TpmEndorsements { known_log, ..TpmEndorsements::default() };
            let verified = TpmEvidence::parse(&item)?.verify(&endorsements, &binding, now)?;
            Ok(VerifiedEvidence::Tpm(Box::new(verified)))
        };
        self.compute(large, move || Ok(verify())).await
    }

    async fn verify_snp(&self, item: Bytes, binding: &Arc<Binding>, asking: &Asking, with: &mut With) -> Outcome {
        with.at = clock::now();
        let (wants, offered, claimed) = {
            let evidence = match SnpEvidence::parse(&item) {
                Ok(evidence) => evidence,
                Err(malformed) => return Ok(Err(malformed.into())),
            };
            // Before anything is fetched: a report that answers another challenge is worth no question to anybody.
            let signed = binding.digest_of(EvidenceKind::Snp).copied().unwrap_or_default();
            if let Err(refused) = snp::checks::report_data(evidence.report(), &signed) {
                return Ok(Err(refused.into()));
            }
            (evidence.wants(), evidence.certificates().to_vec(), claimed::of_snp(evidence.report()))
        };
        let asker = self.asker(asking, claimed).await?;
        let endorsements = self.endorser.snp(EvidenceKind::Snp, &wants, &offered, asker).await?;
        let (binding, now) = (binding.clone(), clock::now());
        with.at = now;
        with.note_snp(&endorsements);
        let verified = self
            .compute(true, move || {
                Ok(SnpEvidence::parse(&item)
                    .map_err(EvidenceRefused::from)
                    .and_then(|evidence| Ok(evidence.verify(&endorsements, &binding, now)?)))
            })
            .await?;
        if let Ok(verified) = &verified {
            self.endorser.learn_vek(verified.claims().report.verified_vek(), &offered).await;
        }
        Ok(verified.map(|verified| VerifiedEvidence::Snp(Box::new(verified))))
    }

    async fn verify_tdx(&self, item: Bytes, binding: &Arc<Binding>, asking: &Asking, with: &mut With) -> Outcome {
        with.at = clock::now();
        let endorsements = {
            let evidence = match TdxEvidence::parse(&item) {
                Ok(evidence) => evidence,
                Err(malformed) => return Ok(Err(malformed.into())),
            };
            let signed = binding.digest_of(EvidenceKind::Tdx).copied().unwrap_or_default();
            if let Err(refused) = tdx::checks::report_data(evidence.quote(), &signed) {
                return Ok(Err(refused.into()));
            }
            let asker = self.asker(asking, claimed::of_tdx(evidence.quote())).await?;
            self.endorser.tdx(EvidenceKind::Tdx, evidence.quote(), asker).await?
        };
        let (binding, now) = (binding.clone(), clock::now());
        with.at = now;
        with.note_tdx(&endorsements);
        self.compute(true, move || {
            Ok(TdxEvidence::parse(&item).map_err(EvidenceRefused::from).and_then(|evidence| {
                Ok(VerifiedEvidence::Tdx(Box::new(evidence.verify(&endorsements, &binding, now)?)))
            }))
        })
        .await
    }

    async fn verify_nitro(&self, item: Bytes, binding: &Arc<Binding>, with: &mut With) -> Outcome {
        let wants = NitroEvidence::parse(&item).map(|evidence| evidence.wants().chain);
        let (endorsements, id) = match wants {
            Ok(id) => (self.nitro_endorsements(EvidenceKind::Nitro, &id), id),
            Err(malformed) => return Ok(Err(malformed.into())),
        };
        let (binding, now) = (binding.clone(), clock::now());
        (with.at, with.roots) = (now, Some(Arc::clone(&endorsements.roots)));
        let verified = self
            .compute(true, move || {
                Ok(NitroEvidence::parse(&item)
                    .map_err(EvidenceRefused::from)
                    .and_then(|evidence| Ok(evidence.verify(&endorsements, &binding, now)?)))
            })
            .await?;
        if let Ok(verified) = &verified {
            self.chains.nitro.keep(id, &verified.claims().chain);
        }
        Ok(verified.map(|verified| VerifiedEvidence::Nitro(Box::new(verified))))
    }

    async fn verify_nitrotpm(&self, item: Bytes, binding: &Arc<Binding>, with: &mut With) -> Outcome {
        let wants = NitroTpmEvidence::parse(&item).map(|evidence| evidence.wants().chain);
        let (endorsements, id) = match wants {
            Ok(id) => (self.nitro_endorsements(EvidenceKind::NitroTpm, &id), id),
            Err(malformed) => return Ok(Err(malformed.into())),
        };
        let (binding, now) = (binding.clone(), clock::now());
        (with.at, with.roots) = (now, Some(Arc::clone(&endorsements.roots)));
        let verified = self
            .compute(true, move || {
                Ok(NitroTpmEvidence::parse(&item)
                    .map_err(EvidenceRefused::from)
                    .and_then(|evidence| Ok(evidence.verify(&endorsements, &binding, now)?)))
            })
            .await?;
        if let Ok(verified) = &verified {
            self.chains.nitro.keep(id, &verified.claims().chain);
        }
        Ok(verified.map(|verified| VerifiedEvidence::NitroTpm(Box::new(verified))))
    }

    async fn verify_gcp(&self, item: Bytes, binding: &Arc<Binding>, with: &mut With) -> Outcome {
        let id = match GcpItem::parse(&item).map(|item| path_id(&item.ak_certificates)) {
            Ok(id) => id,
            Err(malformed) => return Ok(Err(malformed.into())),
        };
        let verified = self.chains.keys.get(&id).into_iter().collect();
        let endorsements = GcpEndorsements { roots: self.rules.get().roots(EvidenceKind::Gcp), verified };
        let (binding, now) = (binding.clone(), clock::now());
        (with.at, with.roots) = (now, Some(Arc::clone(&endorsements.roots)));
        let verified = self
            .compute(true, move || {
                Ok(GcpEvidence::parse(&item)
                    .map_err(EvidenceRefused::from)
                    .and_then(|evidence| Ok(evidence.verify(&endorsements, &binding, now)?)))
            })
            .await?;
        if let Ok(verified) = &verified {
            self.chains.keys.keep(id, &verified.claims().path);
        }
        Ok(verified.map(|verified| VerifiedEvidence::Gcp(Box::new(verified))))
    }

    async fn verify_azure(&self, item: Bytes, binding: &Arc<Binding>, asking: &Asking, with: &mut With) -> Outcome {
        with.at = clock::now();
        let (endorsements, offered) = {
            let evidence = match AzureEvidence::parse(&item) {
                Ok(evidence) => evidence,
                Err(malformed) => return Ok(Err(malformed.into())),
            };
            // Before anything is fetched: the key that the report names must have signed this very challenge.
            if let Err(refused) = evidence.answers(binding, clock::now()) {
                return Ok(Err(refused.into()));
            }
            self.azure_endorsements(&evidence, asking).await?
        };
        let (binding, now) = (binding.clone(), clock::now());
        with.at = now;
        with.note_azure(&endorsements);
        let verified = self
            .compute(true, move || {
                Ok(AzureEvidence::parse(&item)
                    .map_err(EvidenceRefused::from)
                    .and_then(|evidence| Ok(evidence.verify(&endorsements, &binding, now)?)))
            })
            .await?;
        if let Ok(verified) = &verified {
            if let Some(certificate) = &verified.claims().ak_certificate {
                self.chains.keys.keep(*certificate.path.id(), &certificate.path);
            }
            if let Some(VerifiedHardware::Snp(report)) = verified.claims().machine.hardware() {
                self.endorser.learn_vek(report.verified_vek(), &offered).await;
            }
        }
        Ok(verified.map(|verified| VerifiedEvidence::Azure(Box::new(verified))))
    }

    /// What the report inside an HCL report is verified with, and the certificates that came with it.
    async fn azure_endorsements(
        &self,
        evidence: &AzureEvidence<'_>,
        asking: &Asking,
    ) -> Result<(AzureEndorsements, Vec<Vec<u8>>), Failure> {
        let kind = EvidenceKind::Azure;
        let verified = evidence.path_id().and_then(|id| self.chains.keys.get(&id)).into_iter().collect();
        let mut endorsements =
            AzureEndorsements { roots: self.rules.get().roots(kind), verified, ..AzureEndorsements::default() };
        let asker = self.asker(asking, claimed::of_azure(evidence)).await?;
        match (evidence.hardware(), evidence.wants()) {
            (Some(ClaimedHardware::Snp { certificates, .. }), AzureWants::Snp(wants)) => {
                endorsements.snp = self.endorser.snp(kind, &wants, certificates, asker).await?;
                // One set of roots for both, whatever an operator changes in between.
                endorsements.roots = Arc::clone(&endorsements.snp.roots);
                Ok((endorsements, certificates.clone()))
            }
            (Some(ClaimedHardware::Tdx { quote, .. }), _) => {
                endorsements.tdx = self.endorser.tdx(kind, quote, asker).await?;
                endorsements.roots = Arc::clone(&endorsements.tdx.roots);
                Ok((endorsements, Vec::new()))
            }
            _ => Ok((endorsements, Vec::new())),
        }
    }

    fn nitro_endorsements(&self, kind: EvidenceKind, id: &[u8; 32]) -> NitroEndorsements {
        let verified = self.chains.nitro.get(id).into_iter().collect();
        NitroEndorsements { roots: self.rules.get().roots(kind), verified }
    }

    /// For whom something may be fetched: a node on its own connection is ours; who claims to be something that an operator
    /// has listed goes ahead of strangers.
    async fn asker(&self, asking: &Asking, claimed: Vec<Sha256>) -> Result<Asker, Failure> {
        let source = asking.source;
        if asking.is_node {
            return Ok(Asker::Ours);
        }
        let listed = self.store.ownership(Vec::new(), claimed).await?.inventory;
        Ok(listed
            .first()
            .map(|entry| entry.digest.0)
            .map_or(Asker::Stranger(source), |mark| Asker::Listed { source, mark }))
    }
}

/// The digest that stands in place of a log, if the item reads so far.
fn named_log(received: &[u8]) -> Option<[u8; 32]> {
    match TpmItem::parse(received).ok()?.firmware_log {
        FirmwareLog::Known(digest) => Some(digest),
        FirmwareLog::Bytes(_) | FirmwareLog::Absent => None,
    }
}

/// What is seen of an item before it is verified.
pub(in crate::desk) struct Seen<'a> {
    pub(in crate::desk) commitment: Commitment<'a>,
    /// The firmware log, where its bytes came along.
    pub(in crate::desk) log: Option<&'a [u8]>,
    pub(in crate::desk) claimed_values: usize,
}

impl<'a> Seen<'a> {
    const fn report(commitment: Commitment<'a>) -> Self {
        Self { commitment, log: None, claimed_values: 0 }
    }
}

/// Parses an item, and says what it commits to.
///
/// # Errors
/// [`EvidenceRefused::Malformed`].
pub(in crate::desk) fn look_at(kind: EvidenceKind, bytes: &[u8]) -> Result<Seen<'_>, EvidenceRefused> {
    match kind {
        EvidenceKind::Tpm => {
            let evidence = TpmEvidence::parse(bytes)?;
            let item = evidence.item();
            let log = match item.firmware_log {
                FirmwareLog::Bytes(log) => Some(log),
                FirmwareLog::Known(_) | FirmwareLog::Absent => None,
            };
            Ok(Seen { commitment: evidence.commitment(), log, claimed_values: item.pcr_claims.len() })
        }
        EvidenceKind::Snp => Ok(Seen::report(SnpEvidence::parse(bytes)?.commitment())),
        EvidenceKind::Tdx => Ok(Seen::report(TdxEvidence::parse(bytes)?.commitment())),
        EvidenceKind::Nitro => Ok(Seen::report(NitroEvidence::parse(bytes)?.commitment())),
        EvidenceKind::NitroTpm => Ok(Seen::report(NitroTpmEvidence::parse(bytes)?.commitment())),
        EvidenceKind::Gcp => {
            let evidence = GcpEvidence::parse(bytes)?;
            let claimed_values = evidence.item().pcr_claims.len();
            Ok(Seen { commitment: evidence.commitment(), log: None, claimed_values })
        }
        EvidenceKind::Azure => {
            let evidence = AzureEvidence::parse(bytes)?;
            let claimed_values = evidence.item().pcr_claims.len();
            Ok(Seen { commitment: evidence.commitment(), log: None, claimed_values })
        }
    }
}
