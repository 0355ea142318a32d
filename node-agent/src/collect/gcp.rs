//! Evidence of kind `gcp`: a quote by the attestation key that Google certified for this instance and whose template it
//! left in NV. Never run on hardware by us.

use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::gcp::GcpItem;

use super::quote::{AttestationKey, Handle, Quoter};
use super::{CollectFault, Collector, Extras, FirmwareLogFile, Prepared, blocking, items};
use crate::tpm::Access;
use crate::vtpm::{PROVIDER_INDICES, Vtpm};

/// NV indices of certificate and template (go-tpm-tools, `client/handles.go`): the key on P-256 first, it costs less.
pub(super) const KEYS: [(u32, u32); 2] = [(0x01c1_0002, 0x01c1_0003), (0x01c1_0000, 0x01c1_0001)];
/// Bytes of the largest certificate or template that is read.
const INDEX_BYTES_MAX: usize = 8 << 10;

/// Gathers it.
pub(super) struct GcpCollector {
    quoter: Quoter,
    /// The key and its template, once they were read: neither changes while the machine runs.
    key: Mutex<Option<(AttestationKey, Vec<u8>)>>,
}

impl GcpCollector {
    pub(super) const fn new(access: Access, firmware_log: FirmwareLogFile) -> Self {
        Self { quoter: Quoter::new(EvidenceKind::Gcp, access, firmware_log), key: Mutex::new(None) }
    }

    async fn key(&self) -> Result<(AttestationKey, Vec<u8>), CollectFault> {
        let known = self.key.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let access = self.quoter.access.clone();
        let read = blocking(move || read(&mut Vtpm::open(&access)?)).await?;
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some(read.clone());
        Ok(read)
    }
}

/// Certificate and template of which both are defined, in the order of [`KEYS`].
pub(super) fn pairs(defined: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    let has = |index: &u32| defined.contains(index);
    KEYS.into_iter().filter(move |(certificate, template)| has(certificate) && has(template))
}

/// The first key that is whole. One that is not leaves the next: each is certified on its own.
fn read(vtpm: &mut Vtpm) -> Result<(AttestationKey, Vec<u8>), CollectFault> {
    let mut missing =
        CollectFault::Form { kind: EvidenceKind::Gcp, expected: "an attestation key's certificate and template in NV" };
    let defined = vtpm.handles(PROVIDER_INDICES)?;
    for pair in pairs(&defined) {
        match read_pair(vtpm, pair) {
            Ok(key) => return Ok(key),
            Err(fault) => {
                let index = format!("{:#010x}", pair.0);
                tracing::warn!(index, code = fault.code(), error = %fault, "attestation key in NV cannot be used");
                missing = fault;
            }
        }
    }
    Err(missing)
}

fn read_pair(vtpm: &mut Vtpm, (certificate, template): (u32, u32)) -> Result<(AttestationKey, Vec<u8>), CollectFault> {
    let kind = EvidenceKind::Gcp;
    let certificate = super::azure::certificate(kind, vtpm.nv_read(certificate, INDEX_BYTES_MAX)?)?;
    let template = vtpm.nv_read(template, INDEX_BYTES_MAX)?;
    let public = vtpm.with_primary(&template, |_, _, public| Ok(public.to_vec()))?;
    let key = AttestationKey::new(kind, public, vec![certificate.clone()])?;
    match key.is_named_in(&certificate) {
        true => Ok((key, template)),
        false => Err(CollectFault::Form { kind, expected: "a certificate of the key that its template makes" }),
    }
}

impl Collector for GcpCollector {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Gcp
    }

    fn prepare<'a>(
        &'a self,
        ask: &'a [u8],
        extras: Extras,
    ) -> BoxFuture<'a, Result<Box<dyn Prepared + 'a>, CollectFault>> {
        Box::pin(async move {
            let (key, template) = self.key().await?;
            let encode = Box::new(|quote: &items::Quote<'_>| {
                GcpItem {
                    ak_certificates: quote.certificates(),
                    ak_public: quote.ak_public,
                    quote: quote.signed(),
                    firmware_log: quote.firmware_log,
                    pcr_claims: quote.claims(),
                }
                .encode()
            });
            Ok(self.quoter.prepare(ask, extras, (key, Handle::Template(template)), encode).await? as Box<dyn Prepared>)
        })
    }

    fn learn(&self, extras: Extras) {
        self.quoter.learn(extras);
    }
}
