//! What Azure's and Google's virtual TPMs have in common: a quote by the provider's attestation key, with the firmware's
//! log and, where the server wants them, PCR values.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tpm::{PcrSelection, PcrSet, Public};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::firmware_log::{FirmwareLogFile, ReadLog, covered};
use super::gatherer::sha256;
use super::{CollectFault, Extras, Part, Prepared, Signed, blocking, items};
use crate::tpm::{self, Access};
use crate::vtpm::Vtpm;

/// The attestation key of a virtual TPM, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AttestationKey {
    /// Leaf first, DER; empty where there is none.
    pub(super) certificates: Vec<Vec<u8>>,
    /// TPMT_PUBLIC.
    pub(super) public: Vec<u8>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub(super) spki_sha256: [u8; 32],
}

impl AttestationKey {
    pub(super) fn new(kind: EvidenceKind, public: Vec<u8>, certificates: Vec<Vec<u8>>) -> Result<Self, CollectFault> {
        let key = Public::parse(&public)
            .map_err(|_| CollectFault::Form { kind, expected: "an attestation key of RSA or on P-256 or P-384" })?;
        let spki_sha256 = sha256(&key.key().spki());
        Ok(Self { certificates, public, spki_sha256 })
    }

    /// Whether a certificate (DER) is for this key.
    pub(super) fn is_named_in(&self, certificate: &[u8]) -> bool {
        X509Certificate::from_der(certificate)
            .is_ok_and(|(_, certificate)| sha256(certificate.tbs_certificate.subject_pki.raw) == self.spki_sha256)
    }
}

/// How the key is used, once it is known.
pub(super) enum Handle {
    /// It stands in a persistent handle.
    Persistent(u32),
    /// It is made from this template (TPMT_PUBLIC) for each use.
    Template(Vec<u8>),
}

/// Where the TPM and the log are, and what the server has wanted so far.
pub(super) struct Quoter {
    pub(super) kind: EvidenceKind,
    pub(super) access: Access,
    firmware_log: FirmwareLogFile,
    /// The server has asked for PCR values before, and they made the difference: bring them at once.
    brings_values: AtomicBool,
}

impl Quoter {
    pub(super) const fn new(kind: EvidenceKind, access: Access, firmware_log: FirmwareLogFile) -> Self {
        Self { kind, access, firmware_log, brings_values: AtomicBool::new(false) }
    }

    pub(super) fn learn(&self, extras: Extras) {
        if extras.all_pcr_values {
            self.brings_values.store(true, Ordering::Relaxed);
        }
    }

    /// Reads what comes before the quote. `encode` puts the item together.
    pub(super) async fn prepare(
        &self,
        ask: &[u8],
        extras: Extras,
        (key, handle): (AttestationKey, Handle),
        encode: Encode,
    ) -> Result<Box<dyn Prepared>, CollectFault> {
        let selection = PcrSelection::parse(ask).map_err(|_| CollectFault::Ask { kind: self.kind })?;
        // Once, and before the quote.
        let log = self.firmware_log.read().await.map_err(CollectFault::FirmwareLog)?;
        let claimed = if extras.all_pcr_values {
            selection.pcrs
        } else if self.brings_values.load(Ordering::Relaxed) {
            selection.pcrs.without(covered(log.as_ref()))
        } else {
            PcrSet::EMPTY
        };
        Ok(Box::new(Quote {
            kind: self.kind,
            access: self.access.clone(),
            key,
            handle,
            selection,
            log,
            claimed,
            encode,
        }))
    }
}

/// Puts an item together.
pub(super) type Encode = Box<dyn FnOnce(&items::Quote<'_>) -> Vec<u8> + Send>;

/// Everything that was read before the quote.
struct Quote {
    kind: EvidenceKind,
    access: Access,
    key: AttestationKey,
    handle: Handle,
    selection: PcrSelection,
    log: Option<ReadLog>,
    /// PCRs whose values come along.
    claimed: PcrSet,
    encode: Encode,
}

impl Prepared for Quote {
    fn part(&self) -> Part {
        Part {
            ak_name: self.key.spki_sha256.to_vec(),
            ek_certificates: Vec::new(),
            selection: self.selection.encode(),
            firmware_log: self.log.as_ref().map(|log| log.digest),
        }
    }

    fn finish<'a>(self: Box<Self>, signed: Signed) -> BoxFuture<'a, Result<Vec<u8>, CollectFault>>
    where
        Self: 'a,
    {
        Box::pin(blocking(move || {
            let mut vtpm = Vtpm::open(&self.access)?;
            let quote = match &self.handle {
                Handle::Persistent(handle) => vtpm.quote(*handle, &signed.binding, &self.selection)?,
                Handle::Template(template) => self.by_template(&mut vtpm, template, &signed)?,
            };
            let values = if self.claimed.is_empty() {
                Vec::new()
            } else {
                vtpm.pcr_values(&PcrSelection { bank: self.selection.bank, pcrs: self.claimed })?
            };
            Ok((self.encode)(&items::Quote {
                ak_certificates: &self.key.certificates,
                ak_public: &self.key.public,
                quote: &quote,
                firmware_log: self.log.as_ref().map(|log| log.bytes.as_slice()),
                pcr_claims: &values,
            }))
        }))
    }
}

impl Quote {
    fn by_template(&self, vtpm: &mut Vtpm, template: &[u8], signed: &Signed) -> Result<tpm::Signed, CollectFault> {
        let made = vtpm.with_primary(template, |vtpm, handle, public| {
            if public != self.key.public {
                return Ok(None);
            }
            vtpm.quote(handle, &signed.binding, &self.selection).map(Some)
        })?;
        made.ok_or(CollectFault::Form { kind: self.kind, expected: "the same attestation key from its template again" })
    }
}
