//! Writes the paravisor's report: header, hardware report, runtime data.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::spec::{AzureSpec, Configuration, Hardware, HclLie};
use crate::endorsement::EkAlgorithm;
use crate::error::SimError;
use crate::guest::amd::bytes;
use crate::guest::lab::Lab;
use crate::guest::place::Guest;
use crate::guest::tdx::{TdxSpec, quote};
use crate::guest::vtpm::{ak, machine_of};
use crate::machine::Machine;

/// Bytes of the index that holds the report.
const HCL_INDEX: usize = 2600;
const HARDWARE_REPORT: usize = 1184;
/// Bytes of a TDREPORT.
pub(super) const TD_REPORT: usize = 1024;
const ABOVE: usize = 32 + HARDWARE_REPORT;

/// The paravisor's report, with the zeros that fill up its index.
pub(super) fn report(lab: &Lab, guest: &Guest, spec: &AzureSpec, public: &[u8]) -> Result<Vec<u8>, SimError> {
    let mut runtime_data = runtime_data(guest, spec, public)?.into_bytes();
    let mut report_data = [0; 64];
    let digest = ring::digest::digest(&ring::digest::SHA256, &runtime_data);
    if let Some(place) = report_data.get_mut(..32) {
        place.copy_from_slice(digest.as_ref());
    }
    match spec.lie {
        Some(HclLie::LongerReportData) => report_data = report_data.map(|byte| byte.max(1)),
        Some(HclLie::OtherRuntimeData) => {
            // a better-looking configuration
            let text =
                String::from_utf8_lossy(&runtime_data).replace("\"console-enabled\":true", "\"console-enabled\":false");
            runtime_data = text.into_bytes();
        }
        _ => {}
    }
    let (kind, mut hardware) = match spec.hardware {
        Hardware::Tdx => (4_u32, td_report(&spec.tdx, &report_data)?),
        Hardware::Snp | Hardware::None => (2, lab.amd(&spec.snp.product)?.attest(&spec.snp, &report_data)?.0),
    };
    hardware.resize(HARDWARE_REPORT, 0);
    let length = runtime_data.len() + usize::from(spec.lie == Some(HclLie::OtherSize));
    let little = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let hash_type = if spec.lie == Some(HclLie::OtherHash) { 2_u32 } else { 1 };
    let mut report = b"HCLA".to_vec();
    report.extend(spec.version.to_le_bytes());
    report.extend(little(ABOVE + 20 + length));
    report.extend(2_u32.to_le_bytes());
    report.extend([0; 4 + 12]);
    report.extend(hardware);
    report.extend(little(20 + length));
    report.extend(1_u32.to_le_bytes());
    report.extend(kind.to_le_bytes());
    report.extend(hash_type.to_le_bytes());
    report.extend(little(runtime_data.len()));
    report.extend(runtime_data);
    report.resize(report.len().max(HCL_INDEX), 0);
    if let (Some(HclLie::BytesBehind), Some(last)) = (spec.lie, report.last_mut()) {
        *last = 1;
    }
    Ok(report)
}

/// The document that the hardware report is about: keys, configuration, the guest's own data.
fn runtime_data(guest: &Guest, spec: &AzureSpec, public: &[u8]) -> Result<String, SimError> {
    let none = || SimError::ShortResponse { command: "TPM2_CreatePrimary" };
    let mut modulus = ak::modulus(public).ok_or_else(none)?.to_vec();
    if let (Some(HclLie::OtherKey), Some(byte)) = (spec.lie, modulus.get_mut(100)) {
        *byte ^= 1;
    }
    let key = |name: &str, purpose: &str, modulus: &[u8]| json!({ "kid": name, "key_ops": [purpose], "kty": "RSA", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(modulus) });
    let mut keys = vec![key("HCLAkPub", "sign", &modulus)];
    let machine = Machine::open(&machine_of(guest.directory()))?;
    if let Some(ek) = machine.endorsement(EkAlgorithm::Rsa2048) {
        // the end of its SubjectPublicKeyInfo: modulus, then INTEGER 65537
        let end = ek.spki.len().saturating_sub(5);
        keys.push(key("HCLEkPub", "encrypt", ek.spki.get(end.saturating_sub(256)..end).unwrap_or_default()));
    }
    let Configuration {
        secure_boot, console_enabled, tpm_enabled, tpm_persisted, filtered_vpci_devices_allowed, ..
    } = spec.configuration;
    let document = json!({
        "keys": keys,
        "vm-configuration": {
            "console-enabled": console_enabled,
            "filtered-vpci-devices-allowed": filtered_vpci_devices_allowed,
            "root-cert-thumbprint": spec.configuration.root_cert_thumbprint,
            "secure-boot": secure_boot,
            "tpm-enabled": tpm_enabled,
            "tpm-persisted": tpm_persisted,
            "vmUniqueId": spec.vm_unique_id,
        },
        "user-data": hex::encode_upper(bytes("user_data", &spec.user_data, 64)?),
    });
    Ok(document.to_string())
}

/// A TDREPORT: what the TDX module says of the TD to the platform alone. Its MAC is zero here, for nobody outside of the
/// platform can check one.
fn td_report(spec: &TdxSpec, report_data: &[u8; 64]) -> Result<Vec<u8>, SimError> {
    let mut report = vec![0; TD_REPORT];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = report.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(128, report_data);
    let body = quote::body(spec, report_data)?;
    let of_body = |fields: std::ops::Range<usize>| body.get(fields).unwrap_or_default().to_vec();
    // TEE_TCB_INFO: valid bits, then the TDX module as the quote has it, and its versions once more
    let (module, versions) = (of_body(0..120), of_body(if body.len() > 584 { 584..600 } else { 0..16 }));
    let tcb_info = [&0x301ff_u64.to_le_bytes()[..], &module, &versions, &[0; 95]].concat();
    put(256, &tcb_info);
    // TDINFO: the TD as the quote has it, and its service TDs
    let service_tds = if body.len() > 584 { of_body(600..648) } else { vec![0; 48] };
    // version 1 has service TDs
    put(0, &[0x81, 0, u8::from(service_tds.iter().any(|byte| *byte != 0)), 0]);
    let info = [of_body(120..520), service_tds, vec![0; 64]].concat();
    put(512, &info);
    let sha384 = |part: &[u8]| ring::digest::digest(&ring::digest::SHA384, part);
    put(32, sha384(&tcb_info).as_ref());
    put(80, sha384(&info).as_ref());
    Ok(report)
}
