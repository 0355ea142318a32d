//! Writes an attestation report: 1184 bytes, little-endian, signed over the first 0x2a0.

use super::pki::ChipKey;
use super::spec::{SigningKey, SnpSpec, Tcb};
use crate::error::SimError;
use crate::guest::malleable;

const SIGNED: usize = 0x2a0;
const REPORT: usize = 0x4a0;

/// The report of a guest that asked with these 64 bytes.
///
/// # Errors
/// [`SimError::Guest`] if a field is not the hex of its length.
pub fn report(spec: &SnpSpec, report_data: &[u8; 64], key: &ChipKey) -> Result<Vec<u8>, SimError> {
    let mut page = Page(vec![0; REPORT]);
    page.put(0x000, &spec.version.to_le_bytes());
    page.put(0x004, &spec.guest_svn.to_le_bytes());
    page.put(0x008, &spec.policy.to_le_bytes());
    page.put(0x010, &bytes("family_id", &spec.family_id, 16)?);
    page.put(0x020, &bytes("image_id", &spec.image_id, 16)?);
    page.put(0x030, &spec.vmpl.to_le_bytes());
    page.put(0x034, &spec.signature_algorithm.to_le_bytes());
    let turin = spec.product == "Turin";
    page.put(0x038, &tcb(&spec.current_tcb, turin));
    page.put(0x040, &spec.platform_info.to_le_bytes());
    page.put(0x048, &key_info(spec).to_le_bytes());
    match &spec.report_data {
        Some(lie) => page.put(0x050, &bytes("report_data", lie, 64)?),
        None => page.put(0x050, report_data),
    }
    if let Some(behind) = &spec.behind_report_data {
        page.put(0x070, &bytes("behind_report_data", behind, 32)?);
    }
    page.put(0x090, &bytes("measurement", &spec.measurement, 48)?);
    page.put(0x0c0, &bytes("host_data", &spec.host_data, 32)?);
    page.put(0x0e0, &bytes("id_key_digest", &spec.id_key_digest, 48)?);
    page.put(0x110, &bytes("author_key_digest", &spec.author_key_digest, 48)?);
    page.put(0x140, &bytes("report_id", &spec.report_id, 32)?);
    page.put(0x160, &[0xff; 32]);
    page.put(0x180, &tcb(&spec.reported_tcb, turin));
    if spec.version >= 3 {
        page.put(0x188, &cpuid(spec)?);
    }
    let names_chip = !spec.mask_chip_id && spec.signing_key == SigningKey::Vcek;
    if names_chip {
        let length = if turin { 8 } else { 64 };
        page.put(0x1a0, &bytes("chip_id", &spec.chip_id, length)?);
    }
    page.put(0x1e0, &tcb(&spec.committed_tcb, turin));
    page.put(0x1e8, &spec.current_version);
    page.put(0x1ec, &spec.committed_version);
    page.put(0x1f0, &tcb(&spec.launch_tcb, turin));
    if spec.version >= 5 {
        page.put(0x1f8, &spec.launch_mitigations.to_le_bytes());
        page.put(0x200, &spec.current_mitigations.to_le_bytes());
    }
    for (offset, patch) in &spec.patch {
        page.put(*offset, &bytes("patch", patch, patch.len() / 2)?);
    }
    if !spec.mask_chip_key {
        let mut signature = key.sign(page.0.get(..SIGNED).unwrap_or_default())?;
        if spec.negated_signature {
            signature = malleable::negated(&malleable::P384_ORDER, &signature);
        }
        let (r, s) = signature.split_at(48);
        let reversed = |number: &[u8]| number.iter().rev().copied().collect::<Vec<u8>>();
        page.put(0x2a0, &reversed(r));
        page.put(0x2e8, &reversed(s));
    }
    if let Some(byte) = spec.flipped_byte.and_then(|at| page.0.get_mut(at)) {
        *byte ^= 1;
    }
    Ok(page.0)
}

/// CPUID family, model, stepping, as the report has them: combined family, combined model.
fn cpuid(spec: &SnpSpec) -> Result<[u8; 3], SimError> {
    match (spec.cpuid, spec.product.as_str()) {
        (Some(cpuid), _) => Ok(cpuid),
        (None, "Milan") => Ok([0x19, 0x01, 0x01]),
        (None, "Genoa") => Ok([0x19, 0x11, 0x01]),
        (None, "Turin") => Ok([0x1a, 0x02, 0x01]),
        (None, other) => {
            Err(SimError::Guest { what: "product", problem: format!("{other:?} is none of Milan, Genoa, Turin") })
        }
    }
}

/// Bit 1 masks the chip's key; bits 2 to 4 name the signing key.
fn key_info(spec: &SnpSpec) -> u32 {
    if let Some(lie) = spec.key_info {
        return lie;
    }
    let key = match (spec.mask_chip_key, spec.signing_key) {
        (true, _) => 7,
        (false, SigningKey::Vcek) => 0,
        (false, SigningKey::Vlek) => 1,
    };
    (u32::from(spec.mask_chip_key) << 1) | (key << 2)
}

/// The reported TCB as it stands in a report.
pub(crate) fn tcb_bytes(spec: &SnpSpec) -> [u8; 8] {
    tcb(&spec.reported_tcb, spec.product == "Turin")
}

fn tcb(tcb: &Tcb, turin: bool) -> [u8; 8] {
    let Tcb { fmc, bootloader, tee, snp, microcode } = *tcb;
    if turin { [fmc, bootloader, tee, snp, 0, 0, 0, microcode] } else { [bootloader, tee, 0, 0, 0, 0, snp, microcode] }
}

/// The bytes of a field of the specification.
pub(crate) fn bytes(what: &'static str, text: &str, length: usize) -> Result<Vec<u8>, SimError> {
    match hex::decode(text) {
        Ok(bytes) if bytes.len() == length => Ok(bytes),
        _ => Err(SimError::Guest { what, problem: format!("expected {length} bytes in hex, found {text:?}") }),
    }
}

struct Page(Vec<u8>);

impl Page {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}
