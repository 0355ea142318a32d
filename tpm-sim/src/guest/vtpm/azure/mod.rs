//! A simulated Azure machine: a paravisor's report (HCL) with an SNP report or a TDREPORT inside that is about the virtual
//! TPM's attestation key, and the metadata service that turns it into evidence; or Trusted Launch, by a certificate alone.

mod metadata;
mod report;
mod spec;

use std::fs;

use super::ak::{self, AkKind};
use super::ca::Certified;
use super::front::{Provider, Quoting};
use super::indices::Indices;
use crate::error::SimError;
use crate::guest::files::write;
use crate::guest::lab::Lab;
use crate::guest::place::Guest;
use crate::tpm::commands;
use crate::tpm::process::Swtpm;

pub(super) use metadata::metadata;
pub use spec::{AzureSpec, CertificateLie, Configuration, Hardware, HclLie};

pub(super) const HCL_REPORT: u32 = 0x0140_0001;
pub(super) const AK_CERTIFICATE: u32 = 0x01c1_01d0;
pub(super) const AK: u32 = 0x8100_0003;
const CERTIFICATE_DAYS: i64 = 365;

impl Provider for Named<'_> {
    fn indices(&self, lab: &Lab, tpm: &mut Swtpm) -> Result<Indices, SimError> {
        let Self { spec, guest } = self;
        let public = attestation_key(guest, &spec.vm_unique_id, tpm)?;
        let mut indices = Indices::new();
        if spec.hardware != Hardware::None {
            indices.insert(HCL_REPORT, report::report(lab, guest, spec, &public)?);
        }
        if spec.ak_certificate || spec.hardware == Hardware::None {
            indices.insert(AK_CERTIFICATE, certificate(lab, spec, &public)?);
        }
        Ok(indices)
    }

    fn quoting(&self) -> &Quoting {
        &self.spec.quoting
    }
}

/// A specification and whose it is.
pub(super) struct Named<'a> {
    pub(super) spec: &'a AzureSpec,
    pub(super) guest: &'a Guest,
}

/// The attestation key of this launch (TPMT_PUBLIC), at its handle. RSA keys take a second: it is made once.
fn attestation_key(guest: &Guest, launch: &str, tpm: &mut Swtpm) -> Result<Vec<u8>, SimError> {
    let memo = guest.directory().join("attestation-key");
    let found = commands::read_public(tpm, AK).ok();
    let kept = fs::read_to_string(&memo).unwrap_or_default();
    if let Some(found) = found.filter(|found| kept == format!("{launch} {}", hex::encode(found))) {
        return Ok(found);
    }
    let made = ak::with_key(tpm, &ak::template(AkKind::Rsa, launch), |tpm, handle, public| {
        commands::persist(tpm, handle, AK).map(|()| public.to_vec())
    })?;
    write(&memo, format!("{launch} {}", hex::encode(&made)).as_bytes(), 0o644)?;
    Ok(made)
}

fn certificate(lab: &Lab, spec: &AzureSpec, public: &[u8]) -> Result<Vec<u8>, SimError> {
    let kind = match spec.hardware {
        Hardware::None => "TrustedVM",
        Hardware::Snp | Hardware::Tdx => "ConfidentialVM",
    };
    let name =
        format!("{}.{kind}.Azure.windows.net", spec.vm_unique_id.rsplit('-').next().unwrap_or_default().to_lowercase());
    let what = Certified { name, ends: CERTIFICATE_DAYS * 86_400, purposes: true, ..Certified::default() };
    let authority = lab.azure()?;
    lied(&authority, public, what, spec.certificate_lie)
}

/// A certificate of the key in this public area, with a lie about it.
pub(super) fn lied(
    authority: &super::VtpmAuthority,
    public: &[u8],
    what: Certified,
    lie: Option<CertificateLie>,
) -> Result<Vec<u8>, SimError> {
    let mut public = public.to_vec();
    if let (Some(CertificateLie::OtherKey), Some(byte)) = (lie, public.last_mut()) {
        *byte ^= 2;
    }
    let key = ak::public_key(&public).ok_or(SimError::ShortResponse { command: "TPM2_CreatePrimary" })?;
    let ends = if lie == Some(CertificateLie::Expired) { -3600 } else { what.ends };
    let extension = what.extension.filter(|_| lie != Some(CertificateLie::NoInstance));
    let what = Certified {
        ends,
        extension,
        is_ca: lie == Some(CertificateLie::OfAuthority),
        may_not_sign: lie == Some(CertificateLie::MayNotSign),
        ..what
    };
    match lie {
        Some(CertificateLie::OwnRoot) => authority.impostor()?.certify(&key, &what),
        _ => authority.certify(&key, &what),
    }
}
