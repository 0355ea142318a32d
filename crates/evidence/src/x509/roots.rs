//! The certificates an operator trusts, each with its class. Reads no files.

use super::issuer::{self, CaRights};
use super::{BadEndorsement, Crl, Verdict};
use crate::class::TrustClass;
use crate::crypto::sha256;

/// Whether SHA-1 signatures count below a root. Old Infineon, ST and Nuvoton chains have them; they can be forged by
/// whoever can pay for a collision, so that a root must opt in by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sha1Signatures {
    /// Never.
    #[default]
    Refused,
    /// Below this root.
    Accepted,
}

/// Whether software TPMs (manufacturer `id:00001014`) may stand below a root of a class other than `simulated`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SoftwareTpms {
    /// Never.
    #[default]
    Refused,
    /// Below this root: an operator's own CA for virtual TPMs.
    Accepted,
}

/// A certificate that a path may end at: a vendor's root, or an intermediate that is pinned.
#[derive(Clone, Debug)]
pub struct Anchor {
    pub(crate) der: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    sha256: [u8; 32],
    name: String,
    class: TrustClass,
    /// Seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    pub(crate) sha1: Sha1Signatures,
    pub(crate) software_tpms: SoftwareTpms,
}

impl Anchor {
    /// An anchor from its DER certificate, named by its subject. The certificate's own signature is not checked: it is
    /// trusted because the operator says so.
    ///
    /// # Errors
    /// [`BadEndorsement`] if the bytes are no certificate, or one that says that it may not issue others.
    pub fn new(der: &[u8], class: TrustClass) -> Result<Self, BadEndorsement> {
        let certificate = issuer::parse(der).ok_or(BadEndorsement::NotACertificate)?;
        let rights = CaRights::of(&certificate);
        if rights.is_ca == Some(false) || !rights.may_sign {
            return Err(BadEndorsement::NotCa);
        }
        if !issuer::understands_extensions(&certificate) {
            return Err(BadEndorsement::CriticalExtension);
        }
        let (not_before, not_after) = issuer::validity(&certificate);
        Ok(Self {
            subject: certificate.subject().as_raw().to_vec(),
            sha256: sha256(&[der]),
            name: display_name(&certificate),
            der: der.to_vec(),
            class,
            not_before,
            not_after,
            sha1: Sha1Signatures::default(),
            software_tpms: SoftwareTpms::default(),
        })
    }

    /// The same anchor under a name that the operator chose.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The same anchor with SHA-1 signatures below it accepted or refused.
    #[must_use]
    pub fn with_sha1(self, sha1: Sha1Signatures) -> Self {
        Self { sha1, ..self }
    }

    /// The same anchor with software TPMs below it accepted or refused.
    #[must_use]
    pub fn with_software_tpms(self, software_tpms: SoftwareTpms) -> Self {
        Self { software_tpms, ..self }
    }

    /// The DER certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the DER certificate.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The operator's name for it, else its common name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands behind it.
    #[must_use]
    pub const fn class(&self) -> TrustClass {
        self.class
    }

    /// Name, digest and class, as claims carry them.
    #[must_use]
    pub fn identity(&self) -> RootIdentity {
        RootIdentity { name: self.name.clone(), sha256: self.sha256, class: self.class }
    }
}

/// The root that a path ended at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootIdentity {
    /// Name under which it was imported.
    pub name: String,
    /// SHA-256 of its DER certificate.
    pub sha256: [u8; 32],
    /// What stands behind it.
    pub class: TrustClass,
}

fn display_name(certificate: &x509_parser::certificate::X509Certificate<'_>) -> String {
    let subject = certificate.subject();
    let name = subject.iter_common_name().find_map(|name| name.as_str().ok().map(str::to_owned));
    let name = name.unwrap_or_else(|| subject.to_string());
    name.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// An intermediate: helps to build paths, trusted for nothing by itself.
#[derive(Clone, Debug)]
pub(crate) struct Intermediate {
    pub(crate) der: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    sha256: [u8; 32],
}

/// Everything that certificates of one kind of evidence are checked against.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    pub(crate) anchors: Vec<Anchor>,
    pub(crate) intermediates: Vec<Intermediate>,
    pub(crate) crls: Vec<Crl>,
}

impl Roots {
    /// No roots: nothing is trusted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an anchor. One that is there already (by digest) is replaced.
    pub fn add(&mut self, anchor: Anchor) {
        self.anchors.retain(|known| known.sha256 != anchor.sha256);
        self.anchors.push(anchor);
    }

    /// Adds an intermediate that machines do not bring along.
    ///
    /// # Errors
    /// [`BadEndorsement::NotACertificate`].
    pub fn add_intermediate(&mut self, der: &[u8]) -> Result<(), BadEndorsement> {
        let certificate = issuer::parse(der).ok_or(BadEndorsement::NotACertificate)?;
        let subject = certificate.subject().as_raw().to_vec();
        self.intermediates.push(Intermediate { sha256: sha256(&[der]), der: der.to_vec(), subject });
        Ok(())
    }

    /// Adds a CRL. It counts for issuers of its name under whose key its signature verifies.
    ///
    /// # Errors
    /// [`BadEndorsement::NotACrl`].
    pub fn add_crl(&mut self, der: &[u8]) -> Result<(), BadEndorsement> {
        self.crls.push(Crl::parse(der)?);
        Ok(())
    }

    /// The anchors, in the order they were added.
    #[must_use]
    pub fn anchors(&self) -> &[Anchor] {
        &self.anchors
    }

    /// The intermediates, DER, in the order they were added.
    pub fn intermediates(&self) -> impl Iterator<Item = &[u8]> {
        self.intermediates.iter().map(|known| known.der.as_slice())
    }

    /// The CRLs, DER, in the order they were added.
    pub fn crls_der(&self) -> impl Iterator<Item = &[u8]> {
        self.crls.iter().map(Crl::der)
    }

    /// Whether an anchor signed this CRL, DER: for those who keep CRLs before any certificate is looked for on them.
    #[must_use]
    pub fn signed_crl(&self, der: &[u8]) -> bool {
        let signed = |crl: &Crl, anchor: &Anchor| {
            issuer::parse(&anchor.der)
                .is_some_and(|issuer| matches!(crl.judge(&issuer, &[]), Verdict::Clear | Verdict::Revoked))
        };
        Crl::parse(der).is_ok_and(|crl| self.anchors.iter().any(|anchor| signed(&crl, anchor)))
    }

    /// The CRLs, in the order they were added.
    pub(crate) fn crls(&self) -> &[Crl] {
        &self.crls
    }

    /// A digest over the CRLs of that issuer: what was verified under others must be verified again.
    pub(crate) fn crls_digest(&self, issuer: &[u8]) -> [u8; 32] {
        let digests = self.crls.iter().filter(|crl| crl.issuer == issuer).map(|crl| crl.sha256);
        sha256(&[digests.collect::<Vec<_>>().as_flattened()])
    }

    /// A digest over everything here: anchors with what is believed of each, intermediates, CRLs. What was verified under
    /// others must be verified again.
    pub(super) fn digest(&self) -> [u8; 32] {
        let anchors = self.anchors.iter().map(|anchor| {
            let believed = [
                anchor.class as u8,
                u8::from(anchor.sha1 == Sha1Signatures::Accepted),
                u8::from(anchor.software_tpms == SoftwareTpms::Accepted),
            ];
            sha256(&[&anchor.sha256, &believed, anchor.name.as_bytes()])
        });
        let intermediates = self.intermediates.iter().map(|known| known.sha256);
        let crls = self.crls.iter().map(|crl| crl.sha256);
        let counts = [self.anchors.len(), self.intermediates.len(), self.crls.len()].map(|count| count as u64);
        let counts = counts.map(u64::to_be_bytes);
        let digests: Vec<[u8; 32]> = anchors.chain(intermediates).chain(crls).collect();
        sha256(&[counts.as_flattened(), digests.as_flattened()])
    }

    /// Whether nothing is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }
}
