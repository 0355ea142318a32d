//! Writes quotes of version 4 and 5: header, body, signature, attestation key, the quoting enclave's report, the chain.

use super::boot::Measured;
use super::pki::{Intel, RawKey};
use super::spec::{PlatformSpec, TdxLie, TdxSpec};
use crate::error::SimError;
use crate::guest::amd::bytes;
use crate::guest::malleable;

const QE_REPORT_CERTIFICATION: u16 = 6;
const PCK_CHAIN: u16 = 5;
const QE_REPORT: usize = 384;

impl Intel {
    /// The quote of a TD that asked with these 64 bytes.
    ///
    /// # Errors
    /// [`SimError::Guest`] if a field is not the hex of its length, [`SimError::Profile`] if its profile cannot be
    /// booted.
    pub fn quote(&self, spec: &TdxSpec, report_data: &[u8; 64]) -> Result<Vec<u8>, SimError> {
        let mut signed = Vec::with_capacity(1024);
        signed.extend(spec.version.to_le_bytes());
        signed.extend(spec.key_type.to_le_bytes());
        signed.extend(spec.tee_type.to_le_bytes());
        signed.extend([0; 4]);
        signed.extend(bytes("qe_vendor", &spec.qe_vendor, 16)?);
        signed.extend([0; 20]);
        let body = body(spec, report_data)?;
        if spec.version >= 5 {
            signed.extend(spec.body_type.to_le_bytes());
            signed.extend(length(&body));
        }
        signed.extend(body);

        let key = RawKey::generate()?;
        let other = RawKey::generate()?;
        let signer = if spec.lie == Some(TdxLie::OtherKey) { &other } else { &key };
        let vouched = if spec.lie == Some(TdxLie::OtherKeyVouched) { &other } else { &key };
        let mut authentication = signer.sign(&signed)?;
        if spec.negated_signature {
            authentication = malleable::negated(&malleable::P256_ORDER, &authentication);
        }
        authentication.extend(key.coordinates());
        let certification = self.certification(spec, vouched)?;
        authentication.extend(QE_REPORT_CERTIFICATION.to_le_bytes());
        authentication.extend(length(&certification));
        authentication.extend(certification);

        let mut quote = signed;
        quote.extend(length(&authentication));
        quote.extend(authentication);
        if let Some(byte) = spec.flipped_byte.and_then(|at| quote.get_mut(at)) {
            *byte ^= 1;
        }
        quote.resize(quote.len() + spec.padding, 0);
        if let Some(behind) = &spec.behind_quote {
            quote.extend(bytes("behind_quote", behind, behind.len() / 2)?);
        }
        Ok(quote)
    }

    /// The quoting enclave's report about the key, signed by the platform, and the platform's certificates.
    fn certification(&self, spec: &TdxSpec, vouched: &RawKey) -> Result<Vec<u8>, SimError> {
        let authentication_data: Vec<u8> = (0..32).collect();
        let hashed = [vouched.coordinates(), authentication_data.clone()].concat();
        let report = qe_report(&spec.platform, ring::digest::digest(&ring::digest::SHA256, &hashed).as_ref())?;
        let pck = match spec.lie {
            Some(TdxLie::OtherPlatform) => self.pck_key(&PlatformSpec::default())?,
            Some(TdxLie::OwnRoot) => self.impostor()?.pck_key(&spec.platform)?,
            _ => self.pck_key(&spec.platform)?,
        };
        let chain = match spec.lie {
            Some(TdxLie::NoCertificate) => String::new(),
            Some(TdxLie::OwnRoot) => self.impostor()?.pck_chain(&spec.platform, None)?,
            lie => self.pck_chain(&spec.platform, lie)?,
        };
        let signature = pck.sign(&report)?;
        let mut certification = report;
        certification.extend(signature);
        certification.extend(32u16.to_le_bytes());
        certification.extend(authentication_data);
        certification.extend(PCK_CHAIN.to_le_bytes());
        certification.extend(length(chain.as_bytes()));
        certification.extend(chain.as_bytes());
        Ok(certification)
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

/// The TD report's fields in the order of a quote.
pub(in crate::guest) fn body(spec: &TdxSpec, report_data: &[u8; 64]) -> Result<Vec<u8>, SimError> {
    let mut body = bytes("tee_tcb_svn", &spec.tee_tcb_svn, 16)?;
    body.extend(bytes("mrseam", &spec.mrseam, 48)?);
    body.extend(bytes("mrsignerseam", &spec.mrsignerseam, 48)?);
    body.extend(spec.seamattributes.to_le_bytes());
    body.extend(spec.tdattributes.to_le_bytes());
    body.extend(spec.xfam.to_le_bytes());
    body.extend(bytes("mrtd", &spec.mrtd, 48)?);
    body.extend(bytes("mrconfigid", &spec.mrconfigid, 48)?);
    body.extend(bytes("mrowner", &spec.mrowner, 48)?);
    body.extend(bytes("mrownerconfig", &spec.mrownerconfig, 48)?);
    body.extend(Measured::of(spec)?.rtmrs.concat());
    let mut own = match &spec.report_data {
        Some(lie) => bytes("report_data", lie, 64)?,
        None => report_data.to_vec(),
    };
    if let Some(behind) = &spec.behind_report_data {
        own.truncate(32);
        own.extend(bytes("behind_report_data", behind, 32)?);
    }
    let kept = spec.report_data_bytes.unwrap_or(own.len());
    own.iter_mut().skip(kept).for_each(|byte| *byte = 0);
    body.extend(own);
    if spec.version >= 5 && spec.body_type >= 3 {
        body.extend(bytes("tee_tcb_svn2", spec.tee_tcb_svn2.as_ref().unwrap_or(&spec.tee_tcb_svn), 16)?);
        body.extend(bytes("mrservicetd", &spec.mrservicetd, 48)?);
    }
    if spec.version >= 5 && spec.body_type >= 4 {
        body.push(spec.vm_id);
        body.extend(bytes("td_id", &spec.td_id, 32)?);
        // DEV_INFO, service TDs at launch and their attributes, versions at launch
        body.extend([0; 48 + 48 + 8 + 16 + 16 + 12]);
        body.extend(bytes("current_service_td", &spec.current_service_td, 48)?);
        body.extend([0; 8]);
    }
    Ok(body)
}

/// An SGX report: the quoting enclave's, whose report data vouches for a key.
fn qe_report(platform: &PlatformSpec, vouched: &[u8]) -> Result<Vec<u8>, SimError> {
    let mut report = vec![0; QE_REPORT];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = report.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &bytes("cpu_svn", &platform.cpu_svn, 16)?);
    put(48, &bytes("qe_attributes", &platform.qe_attributes, 16)?);
    put(64, &[0x51; 32]); // MRENCLAVE, which nobody compares
    put(128, &bytes("qe_mrsigner", &platform.qe_mrsigner, 32)?);
    put(256, &platform.qe_isvprodid.to_le_bytes());
    put(258, &platform.qe_isvsvn.to_le_bytes());
    put(320, vouched);
    Ok(report)
}
