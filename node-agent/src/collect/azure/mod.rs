//! Evidence of kind `azure`: a quote by the attestation key of Azure's virtual TPM, with the HCL report that vouches for
//! it on a confidential VM, and with its certificate where there is one (Trusted Launch). Never run on hardware by us.

mod hcl;
mod imds;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::azure::{AzureHardware, AzureItem};
use hyper::Uri;
use x509_parser::prelude::{FromDer, X509Certificate};

pub use imds::ImdsFault;

use super::quote::{AttestationKey, Handle, Quoter};
use super::{CollectFault, Collector, Extras, FirmwareLogFile, Prepared, blocking, items};
use crate::tpm::Access;
use crate::vtpm::{PROVIDER_INDICES, Vtpm, VtpmFault};
use hcl::HclReport;

/// NV index of the HCL report; a machine without it is no confidential VM.
pub(super) const HCL_REPORT: u32 = 0x0140_0001;
/// NV index of the attestation key's certificate.
pub(super) const AK_CERTIFICATE: u32 = 0x01c1_01d0;
/// Persistent handle of the attestation key.
pub(super) const AK: u32 = 0x8100_0003;
/// Bytes of the largest index that is read.
const INDEX_BYTES_MAX: usize = 8 << 10;
/// How long what the metadata service said is used again.
const FRESH: Duration = Duration::from_secs(3600);

/// Gathers it.
pub(super) struct AzureCollector {
    quoter: Quoter,
    imds: Uri,
    /// What the TPM holds, once it was read: it does not change while the machine runs.
    found: Mutex<Option<Found>>,
    /// What the metadata service said about the report, and when.
    hardware: tokio::sync::Mutex<Option<(Instant, Hardware)>>,
}

/// What the metadata service said about the report.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hardware {
    /// Nothing: there is no report.
    None,
    /// Certificates of an SNP report, PEM.
    Snp(Vec<u8>),
    /// The quote of a TDREPORT.
    Tdx(Vec<u8>),
}

impl Hardware {
    fn as_item(&self) -> AzureHardware<'_> {
        match self {
            Self::None => AzureHardware::None,
            Self::Snp(certificates) => AzureHardware::Snp(certificates),
            Self::Tdx(quote) => AzureHardware::Tdx(quote),
        }
    }
}

/// What the TPM holds.
#[derive(Clone)]
struct Found {
    report: Option<HclReport>,
    key: AttestationKey,
}

impl AzureCollector {
    pub(super) fn new(access: Access, firmware_log: FirmwareLogFile, imds: Uri) -> Self {
        let quoter = Quoter::new(EvidenceKind::Azure, access, firmware_log);
        Self { quoter, imds, found: Mutex::default(), hardware: tokio::sync::Mutex::default() }
    }

    async fn found(&self) -> Result<Found, CollectFault> {
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let access = self.quoter.access.clone();
        let read = blocking(move || read(&mut Vtpm::open(&access)?)).await?;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(read.clone());
        Ok(read)
    }

    /// What vouches for the report: asked once an hour, and the former answer while the service is away. Certificates of
    /// an SNP report are a courtesy, which the server may have from elsewhere; nobody else makes a quote of a TDREPORT.
    async fn hardware(&self, report: Option<&HclReport>) -> Result<Hardware, CollectFault> {
        let Some(report) = report else { return Ok(Hardware::None) };
        let mut known = self.hardware.lock().await;
        if let Some((since, hardware)) = known.as_ref()
            && since.elapsed() < FRESH
        {
            return Ok(hardware.clone());
        }
        let asked = match report {
            HclReport::Snp(_) => imds::snp_certificates(&self.imds).await.map(Hardware::Snp),
            HclReport::Tdx { td_report, .. } => imds::td_quote(&self.imds, td_report).await.map(Hardware::Tdx),
        };
        match (asked, known.as_ref()) {
            (Ok(hardware), _) => {
                *known = Some((Instant::now(), hardware.clone()));
                Ok(hardware)
            }
            (Err(fault), Some((_, former))) => {
                tracing::warn!(code = fault.code(), error = %fault, "metadata service did not answer; its former answer is used");
                Ok(former.clone())
            }
            (Err(fault), None) if matches!(report, HclReport::Snp(_)) => {
                // Not kept: the service is asked again the next time.
                tracing::warn!(code = fault.code(), error = %fault, "metadata service did not answer; no certificates are sent");
                Ok(Hardware::Snp(Vec::new()))
            }
            (Err(fault), None) => Err(fault.into()),
        }
    }
}

fn read(vtpm: &mut Vtpm) -> Result<Found, CollectFault> {
    let kind = EvidenceKind::Azure;
    let defined = vtpm.handles(PROVIDER_INDICES)?;
    let report = match defined.contains(&HCL_REPORT) {
        true => Some(HclReport::parse(vtpm.nv_read(HCL_REPORT, INDEX_BYTES_MAX)?)?),
        false => None,
    };
    let mut key = AttestationKey::new(kind, vtpm.read_public(AK)?, Vec::new())?;
    if defined.contains(&AK_CERTIFICATE) {
        match vtpm
            .nv_read(AK_CERTIFICATE, INDEX_BYTES_MAX)
            .map_err(CollectFault::from)
            .and_then(|bytes| certificate(kind, bytes))
        {
            // Some confidential VMs hold the certificate of another key than the one that the report names.
            Ok(certificate) if key.is_named_in(&certificate) => key.certificates.push(certificate),
            Ok(_) => tracing::info!("certificate in NV is for another key than the attestation key, and stays here"),
            // The report vouches for the key alone; but a TPM that has fallen silent is asked again, not remembered so.
            Err(fault) if report.is_some() && !matches!(fault, CollectFault::Vtpm(VtpmFault::Transport { .. })) => {
                tracing::warn!(code = fault.code(), error = %fault, "certificate in NV cannot be read; the report goes without");
            }
            Err(fault) => return Err(fault),
        }
    }
    if report.is_none() && key.certificates.is_empty() {
        return Err(CollectFault::Form { kind, expected: "an HCL report or the attestation key's certificate in NV" });
    }
    Ok(Found { report, key })
}

/// A certificate from NV, without the padding behind it.
pub(super) fn certificate(kind: EvidenceKind, mut bytes: Vec<u8>) -> Result<Vec<u8>, CollectFault> {
    let form = CollectFault::Form { kind, expected: "a certificate in NV" };
    let Ok((rest, _)) = X509Certificate::from_der(&bytes) else { return Err(form) };
    let length = bytes.len() - rest.len();
    bytes.truncate(length);
    Ok(bytes)
}

impl Collector for AzureCollector {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Azure
    }

    fn prepare<'a>(
        &'a self,
        ask: &'a [u8],
        extras: Extras,
    ) -> BoxFuture<'a, Result<Box<dyn Prepared + 'a>, CollectFault>> {
        Box::pin(async move {
            let Found { report, key } = self.found().await?;
            let hardware = self.hardware(report.as_ref()).await?;
            let report = report.map(HclReport::into_bytes).unwrap_or_default();
            let encode = Box::new(move |quote: &items::Quote<'_>| {
                AzureItem {
                    report: &report,
                    hardware: hardware.as_item(),
                    ak_certificates: quote.certificates(),
                    ak_public: quote.ak_public,
                    quote: quote.signed(),
                    firmware_log: quote.firmware_log,
                    pcr_claims: quote.claims(),
                }
                .encode()
            });
            let key = (key, Handle::Persistent(AK));
            Ok(self.quoter.prepare(ask, extras, key, encode).await? as Box<dyn Prepared>)
        })
    }

    fn learn(&self, extras: Extras) {
        self.quoter.learn(extras);
    }
}
