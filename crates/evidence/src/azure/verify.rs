//! Verifies evidence of Azure's virtual TPM against a binding. Pure: certificates, collateral, roots and time are
//! arguments.

use std::sync::Arc;

use holdfast_identity::UnixTime;

use super::certificate::{AkCertificate, if_any, verify_certificate};
use super::checks;
use super::claims::{AzureClaims, AzureMachine, VerifiedHardware};
use super::error::Unverified;
use super::hcl::{HardwareReport, HclReport};
use super::item::{AzureHardware, AzureItem};
use super::runtime::RuntimeData;
use crate::EvidenceKind;
use crate::binding::Binding;
use crate::challenge::{Commitment, ItemState};
use crate::crypto;
use crate::error::{Defect, Malformed, Structure};
use crate::evidence::{Evidence, Verified};
use crate::key::ProvenKey;
use crate::snp::{self, SnpEndorsements, SnpWants};
use crate::tdx::{self, TdxEndorsements, TdxWants};
use crate::tpm::{AttestationKey, KeyPlace, Public, QuoteAsked, SignedQuote};
use crate::x509::{Roots, VerifiedPath, path_id};

/// An evidence item of kind `azure`, read to the last field inside its fields.
#[derive(Clone, Debug)]
pub struct AzureEvidence<'a> {
    bytes: &'a [u8],
    item: AzureItem<'a>,
    paravisor: Option<Paravisor<'a>>,
    ak: Public,
    ak_spki_sha256: [u8; 32],
    log_digest: Option<[u8; 32]>,
}

/// The paravisor's word as claimed.
#[derive(Clone, Debug)]
struct Paravisor<'a> {
    report: HclReport<'a>,
    runtime_data: RuntimeData,
    hardware: ClaimedHardware<'a>,
}

/// A hardware report as claimed, with what came along to verify it.
#[derive(Clone, Debug)]
pub enum ClaimedHardware<'a> {
    /// An SNP report and certificates, DER.
    Snp {
        /// The report.
        report: Box<snp::Report>,
        /// The certificates.
        certificates: Vec<Vec<u8>>,
    },
    /// The quote of a TD.
    Tdx {
        /// The quote.
        quote: Box<tdx::Quote<'a>>,
        /// The bytes that it was read from.
        bytes: &'a [u8],
    },
}

/// What must be at hand before the hardware report can be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureWants {
    /// Nothing: the certificate of the attestation key comes along, what is above it is imported.
    Nothing,
    /// Certificates of the key that signed the SNP report.
    Snp(SnpWants),
    /// Collateral for the platform.
    Tdx(TdxWants),
}

/// What the verifier brings.
#[derive(Clone, Debug, Default)]
pub struct AzureEndorsements {
    /// The trusted roots and intermediates for certificates of attestation keys.
    pub roots: Arc<Roots>,
    /// Paths of such certificates that were verified before.
    pub verified: Vec<Arc<VerifiedPath>>,
    /// What SNP reports are verified with.
    pub snp: SnpEndorsements,
    /// What quotes of TDs are verified with.
    pub tdx: TdxEndorsements,
}

impl<'a> AzureEvidence<'a> {
    /// The item.
    #[must_use]
    pub const fn item(&self) -> &AzureItem<'a> {
        &self.item
    }

    /// The hardware report as claimed; `None` on a machine that is no confidential one.
    #[must_use]
    pub fn hardware(&self) -> Option<&ClaimedHardware<'a>> {
        self.paravisor.as_ref().map(|paravisor| &paravisor.hardware)
    }

    /// What the paravisor says, as claimed; `None` on a machine that is no confidential one.
    #[must_use]
    pub fn runtime_data(&self) -> Option<&RuntimeData> {
        self.paravisor.as_ref().map(|paravisor| &paravisor.runtime_data)
    }

    /// Names the path above the attestation key's certificate, which may have been verified before; `None` where no
    /// certificate came along.
    #[must_use]
    pub fn path_id(&self) -> Option<[u8; 32]> {
        let certificates = self.item.ak_certificates.as_slice();
        (!certificates.is_empty()).then(|| path_id(certificates))
    }

    /// Everything that can be said before anything is fetched: the key that the report names signed this binding, over
    /// a report that is about the key.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn answers(&self, binding: &Binding, now: UnixTime) -> Result<(), Unverified> {
        self.authenticate(binding, now).map(|_| ())
    }

    /// The quote, signed over the binding by the key that the hardware report names, if it says what it claims.
    fn authenticate(&self, binding: &Binding, now: UnixTime) -> Result<(SignedQuote<'a>, ProvenKey), Unverified> {
        if now >= binding.expires_at() {
            return Err(Unverified::Late { seconds: now.since(binding.expires_at()) });
        }
        let extra_data = binding.digest_of(EvidenceKind::Azure).ok_or(Unverified::OtherBinding)?;
        let selection =
            binding.item(EvidenceKind::Azure).and_then(ItemState::selection).ok_or(Unverified::OtherBinding)?;
        if binding.firmware_log_of(EvidenceKind::Azure) != Some(self.log_digest) {
            return Err(Unverified::OtherBinding);
        }
        let node_key = binding.proven_key().ok_or(Unverified::NodeKeyUnproven)?;
        let place = match &self.paravisor {
            Some(paravisor) => {
                checks::key(&paravisor.runtime_data.ak, &self.ak)?;
                KeyPlace::Endorsement
            }
            None => KeyPlace::Anywhere,
        };
        let ak = AttestationKey::check(&self.ak)?;
        let asked = QuoteAsked { extra_data, selection };
        let quote = SignedQuote::verify(&self.item.quote, &ak, place, &asked)?;
        if let Some(Paravisor { report, hardware, .. }) = &self.paravisor {
            checks::runtime_data(&hardware.report_data(), report.runtime_data)?;
            if let (Some(report_data), HardwareReport::Tdx(td_report), ClaimedHardware::Tdx { quote, .. }) =
                (report.hardware.td_report_data(), report.hardware, hardware)
            {
                checks::runtime_data(report_data, report.runtime_data)?;
                checks::td_report(td_report, &quote.report)?;
            }
        }
        Ok((quote, node_key))
    }

    /// What vouches for the attestation key: the hardware report, the certificate, or both.
    fn vouched(
        &self,
        endorsements: &AzureEndorsements,
        now: UnixTime,
    ) -> Result<(AzureMachine, Option<AkCertificate>), Unverified> {
        let AzureEndorsements { roots, verified, .. } = endorsements;
        let certificate = || verify_certificate(&self.item.ak_certificates, self.ak.key(), roots, verified, now);
        let Some(Paravisor { runtime_data, hardware, .. }) = &self.paravisor else {
            return Ok((AzureMachine::TrustedLaunch, Some(certificate()?)));
        };
        let hardware = match hardware {
            ClaimedHardware::Snp { report, certificates } => {
                let report = snp::verify_report(report.as_bytes(), certificates, &endorsements.snp, now)?;
                checks::paravisor(report.report())?;
                VerifiedHardware::Snp(Box::new(report))
            }
            ClaimedHardware::Tdx { bytes, .. } => {
                let quote = tdx::verify_quote(bytes, &endorsements.tdx, now)?;
                VerifiedHardware::Tdx(Box::new(quote))
            }
        };
        let certificate = if_any(certificate())?;
        Ok((AzureMachine::Confidential { hardware, runtime_data: Box::new(runtime_data.clone()) }, certificate))
    }
}

impl<'a> Paravisor<'a> {
    /// The report and what came beside it; `None` where there is neither.
    fn parse(item: &AzureItem<'a>) -> Result<Option<Self>, Malformed> {
        if item.report.is_empty() {
            return match item.hardware {
                AzureHardware::None => Ok(None),
                AzureHardware::Snp(_) | AzureHardware::Tdx(_) => Err(item_malformed("report", Defect::Missing)),
            };
        }
        let report = HclReport::parse(item.report)?;
        let runtime_data = RuntimeData::parse(report.runtime_data)?;
        let hardware = match (report.hardware, item.hardware) {
            (HardwareReport::Snp(report), AzureHardware::Snp(certificates)) => ClaimedHardware::Snp {
                report: Box::new(snp::Report::parse(report)?),
                // the metadata service's word, which the guest cannot mend: what is no certificate is left out
                certificates: snp::salvage(certificates),
            },
            (HardwareReport::Tdx(_), AzureHardware::Tdx(quote)) => {
                ClaimedHardware::Tdx { quote: Box::new(tdx::Quote::parse(quote)?), bytes: quote }
            }
            _ => return Err(item_malformed("hardware", Defect::Unknown)),
        };
        Ok(Some(Self { report, runtime_data, hardware }))
    }
}

impl ClaimedHardware<'_> {
    /// The report data.
    #[must_use]
    pub fn report_data(&self) -> [u8; 64] {
        match self {
            Self::Snp { report, .. } => report.report_data(),
            Self::Tdx { quote, .. } => quote.report.report_data,
        }
    }
}

impl crate::evidence::sealed::Sealed for AzureEvidence<'_> {}

impl<'a> Evidence<'a> for AzureEvidence<'a> {
    const KIND: EvidenceKind = EvidenceKind::Azure;
    type Wants = AzureWants;
    type Endorsements = AzureEndorsements;
    type Claims = AzureClaims;
    type Unverified = Unverified;

    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let item = AzureItem::parse(bytes)?;
        let paravisor = Paravisor::parse(&item)?;
        let ak = match (item.ak_public, &paravisor) {
            ([], Some(paravisor)) => checks::area(&paravisor.runtime_data.ak)?,
            ([], None) => return Err(item_malformed("akPublic", Defect::Missing)),
            (area, _) => Public::parse(area)?,
        };
        let ak_spki_sha256 = crypto::sha256(&[&ak.key().spki()]);
        let log_digest = item.firmware_log.map(|log| crypto::sha256(&[log]));
        Ok(Self { bytes, item, paravisor, ak, ak_spki_sha256, log_digest })
    }

    fn commitment(&self) -> Commitment<'a> {
        Commitment {
            kind: Self::KIND,
            item: self.bytes,
            firmware_log: self.log_digest,
            ak_spki_sha256: Some(self.ak_spki_sha256),
        }
    }

    fn wants(&self) -> AzureWants {
        match self.hardware() {
            None => AzureWants::Nothing,
            Some(ClaimedHardware::Snp { report, certificates }) => {
                AzureWants::Snp(SnpWants::beside(report, certificates))
            }
            Some(ClaimedHardware::Tdx { quote, .. }) => AzureWants::Tdx(TdxWants::of(quote)),
        }
    }

    fn verify(
        &self,
        endorsements: &AzureEndorsements,
        binding: &Binding,
        now: UnixTime,
    ) -> Result<Verified<AzureClaims>, Unverified> {
        let (quote, node_key) = self.authenticate(binding, now)?;
        let (machine, ak_certificate) = self.vouched(endorsements, now)?;
        let boot = quote.prove(self.item.firmware_log, &self.item.pcr_claims)?;
        let certified = ak_certificate.as_ref();
        let root = machine.hardware().map(VerifiedHardware::root).or(certified.map(|certificate| &certificate.root));
        let root = root.ok_or(Unverified::CertificateMissing)?.clone();
        let ends = [machine.hardware().map(VerifiedHardware::not_after), certified.map(|one| one.not_after)];
        let not_after = ends.into_iter().flatten().min().ok_or(Unverified::CertificateMissing)?;
        let ak_spki_sha256 = self.ak_spki_sha256;
        let claims = AzureClaims { machine, ak_certificate, ak_spki_sha256, boot, root, node_key, not_after };
        Ok(Verified::new(binding, claims))
    }
}

const fn item_malformed(field: &'static str, defect: Defect) -> Malformed {
    Malformed { structure: Structure::AzureItem, field, defect }
}
