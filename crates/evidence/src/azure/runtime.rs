//! The runtime data of an HCL report: the attestation key of the virtual TPM, and how the machine was set up, as the
//! paravisor says it. Trusted as far as the paravisor is, and only once its digest stands in a verified hardware report.
//!
//! Names that Microsoft adds with a rollout are read past; a name that we know may stand once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::hcl::RUNTIME_DATA_BYTES_MAX;
use crate::crypto::PublicKey;
use crate::error::{Defect, Malformed, Structure};

/// Keys of one document; there are two.
const KEYS_MAX: usize = 8;
/// Characters of a GUID.
const GUID_CHARS: usize = 36;
/// Bytes of the guest's own data.
pub const USER_DATA_BYTES: usize = 64;

/// The runtime data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeData {
    /// The virtual TPM's attestation key, `HCLAkPub`.
    pub ak: PublicKey,
    /// Its endorsement key, `HCLEkPub`.
    pub ek: Option<PublicKey>,
    /// How the machine was set up.
    pub configuration: VmConfiguration,
    /// What root of the guest had the paravisor put in, before it was asked for the report.
    pub user_data: Option<[u8; USER_DATA_BYTES]>,
}

/// `vm-configuration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmConfiguration {
    /// `vmUniqueId`, a GUID in lower case.
    pub vm_unique_id: String,
    /// Whether the firmware checks signatures of what it starts.
    pub secure_boot: Option<bool>,
    /// Whether the host can type at the guest's console.
    pub console_enabled: Option<bool>,
    /// Whether there is a TPM.
    pub tpm_enabled: Option<bool>,
    /// Whether the TPM's state survives the machine's being switched off.
    pub tpm_persisted: Option<bool>,
    /// Whether the host may give the machine devices.
    pub filtered_vpci_devices_allowed: Option<bool>,
    /// Thumbprint of the root of the guest's own certificate authority, as it is written.
    pub root_cert_thumbprint: Option<String>,
}

#[derive(Deserialize)]
struct RawRuntimeData {
    keys: Vec<RawKey>,
    #[serde(rename = "vm-configuration")]
    vm_configuration: RawConfiguration,
    #[serde(rename = "user-data")]
    user_data: Option<String>,
}

/// A JSON Web Key, RFC 7517.
#[derive(Deserialize)]
struct RawKey {
    kid: String,
    kty: String,
    e: Option<String>,
    n: Option<String>,
}

#[derive(Deserialize)]
struct RawConfiguration {
    #[serde(rename = "vmUniqueId")]
    vm_unique_id: String,
    #[serde(rename = "secure-boot")]
    secure_boot: Option<bool>,
    #[serde(rename = "console-enabled")]
    console_enabled: Option<bool>,
    #[serde(rename = "tpm-enabled")]
    tpm_enabled: Option<bool>,
    #[serde(rename = "tpm-persisted")]
    tpm_persisted: Option<bool>,
    #[serde(rename = "filtered-vpci-devices-allowed")]
    filtered_vpci_devices_allowed: Option<bool>,
    #[serde(rename = "root-cert-thumbprint")]
    root_cert_thumbprint: Option<String>,
}

impl RuntimeData {
    /// Reads the document.
    ///
    /// # Errors
    /// [`Malformed`] for what is no such document, for a name that stands twice, a key that stands twice or is no RSA key
    /// with exponent 65537, and an id that is no GUID.
    pub fn parse(json: &[u8]) -> Result<Self, Malformed> {
        if json.len() > RUNTIME_DATA_BYTES_MAX {
            let defect = Defect::TooLarge { found: json.len(), limit: RUNTIME_DATA_BYTES_MAX };
            return Err(malformed("runtime_data", defect));
        }
        let raw: RawRuntimeData = serde_json::from_slice(json).map_err(|_| encoding("runtime_data"))?;
        if raw.keys.len() > KEYS_MAX {
            return Err(malformed("keys", Defect::TooLarge { found: raw.keys.len(), limit: KEYS_MAX }));
        }
        let ak = key(&raw.keys, "HCLAkPub")?.ok_or(malformed("HCLAkPub", Defect::Missing))?;
        let ek = key(&raw.keys, "HCLEkPub")?;
        let user_data = raw.user_data.as_deref().map(user_data).transpose()?;
        Ok(Self { ak, ek, configuration: raw.vm_configuration.try_into()?, user_data })
    }
}

/// The key of that name.
fn key(keys: &[RawKey], kid: &'static str) -> Result<Option<PublicKey>, Malformed> {
    let mut named = keys.iter().filter(|key| key.kid == kid);
    let Some(RawKey { kty, e, n, .. }) = named.next() else { return Ok(None) };
    if named.next().is_some() {
        return Err(malformed(kid, Defect::Duplicate));
    }
    // RFC 7518, 6.3.1: big-endian in as few bytes as there are
    let modulus = n.as_deref().and_then(|n| URL_SAFE_NO_PAD.decode(n).ok());
    let modulus = modulus.filter(|modulus| modulus.first().is_some_and(|byte| *byte != 0));
    let is_usual = kty == "RSA" && e.as_deref() == Some("AQAB");
    modulus.filter(|_| is_usual).and_then(|modulus| PublicKey::rsa(&modulus)).ok_or(encoding(kid)).map(Some)
}

fn user_data(hex: &str) -> Result<[u8; USER_DATA_BYTES], Malformed> {
    let mut bytes = [0; USER_DATA_BYTES];
    hex::decode_to_slice(hex, &mut bytes).map_err(|_| encoding("user-data"))?;
    Ok(bytes)
}

impl TryFrom<RawConfiguration> for VmConfiguration {
    type Error = Malformed;

    fn try_from(raw: RawConfiguration) -> Result<Self, Malformed> {
        let vm_unique_id = raw.vm_unique_id.to_ascii_lowercase();
        let is_guid = vm_unique_id.len() == GUID_CHARS
            && vm_unique_id.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if !is_guid {
            return Err(encoding("vmUniqueId"));
        }
        Ok(Self {
            vm_unique_id,
            secure_boot: raw.secure_boot,
            console_enabled: raw.console_enabled,
            tpm_enabled: raw.tpm_enabled,
            tpm_persisted: raw.tpm_persisted,
            filtered_vpci_devices_allowed: raw.filtered_vpci_devices_allowed,
            root_cert_thumbprint: raw.root_cert_thumbprint.filter(|thumbprint| !thumbprint.is_empty()),
        })
    }
}

const fn encoding(field: &'static str) -> Malformed {
    malformed(field, Defect::Encoding)
}

const fn malformed(field: &'static str, defect: Defect) -> Malformed {
    Malformed { structure: Structure::AzureRuntimeData, field, defect }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "26F8BC30-774E-4290-8E7A-535F3B672AEE";

    fn jwk(kid: &str, modulus: &[u8]) -> String {
        let n = URL_SAFE_NO_PAD.encode(modulus);
        format!(r#"{{"kid":"{kid}","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"{n}"}}"#)
    }

    fn document(keys: &[String], configuration: &str, more: &str) -> String {
        format!(r#"{{"keys":[{}],"vm-configuration":{{{configuration}}}{more}}}"#, keys.join(","))
    }

    fn refused(document: &str) -> &'static str {
        RuntimeData::parse(document.as_bytes()).unwrap_err().field
    }

    #[test]
    fn keys_and_configuration_are_read() {
        let keys = [jwk("HCLAkPub", &[0xc1; 256]), jwk("HCLEkPub", &[0xc3; 256])];
        let configuration =
            format!(r#""secure-boot":true,"tpm-persisted":false,"later":{{"a":[1]}},"vmUniqueId":"{ID}""#);
        let user_data = format!(r#","user-data":"{}""#, "0A".repeat(64));
        let read = RuntimeData::parse(document(&keys, &configuration, &user_data).as_bytes()).unwrap();
        assert_eq!(read.ak, PublicKey::rsa(&[0xc1; 256]).unwrap());
        assert_eq!(read.ek, PublicKey::rsa(&[0xc3; 256]));
        assert_eq!(read.user_data, Some([10; 64]));
        assert_eq!(read.configuration.vm_unique_id, ID.to_ascii_lowercase());
        assert_eq!((read.configuration.secure_boot, read.configuration.tpm_persisted), (Some(true), Some(false)));
        assert_eq!(read.configuration.console_enabled, None);
    }

    #[test]
    fn whatever_stands_twice_is_refused() {
        let ak = jwk("HCLAkPub", &[0xc1; 256]);
        let id = format!(r#""vmUniqueId":"{ID}""#);
        assert_eq!(refused(&document(&[ak.clone(), jwk("HCLAkPub", &[0xc3; 256])], &id, "")), "HCLAkPub");
        let twice = format!(r#"{id},"secure-boot":true,"secure-boot":false"#);
        assert_eq!(refused(&document(std::slice::from_ref(&ak), &twice, "")), "runtime_data");
        assert_eq!(refused(&document(std::slice::from_ref(&ak), &format!("{id},{id}"), "")), "runtime_data");
        let again = format!(r#","keys":[{ak}]"#);
        assert_eq!(refused(&document(std::slice::from_ref(&ak), &id, &again)), "runtime_data");
        let two_moduli = ak.replace(r#""e""#, r#""n":"AQAB","e""#);
        assert_eq!(refused(&document(&[two_moduli], &id, "")), "runtime_data");
    }

    #[test]
    fn what_is_no_such_document_is_refused() {
        let ak = jwk("HCLAkPub", &[0xc1; 256]);
        let id = format!(r#""vmUniqueId":"{ID}""#);
        for (document, field) in [
            (document(&[], &id, ""), "HCLAkPub"),
            (document(&[jwk("HCLEkPub", &[0xc1; 256])], &id, ""), "HCLAkPub"),
            (document(&[jwk("HCLAkPub", &[0xc1; 255])], &id, ""), "HCLAkPub"),
            (document(&[jwk("HCLAkPub", &[&[0], &[0xc1; 256][..]].concat())], &id, ""), "HCLAkPub"),
            (document(&[ak.replace("AQAB", "Aw")], &id, ""), "HCLAkPub"),
            (document(&[ak.replace("RSA", "EC")], &id, ""), "HCLAkPub"),
            (document(std::slice::from_ref(&ak), r#""secure-boot":true"#, ""), "runtime_data"),
            (document(std::slice::from_ref(&ak), r#""vmUniqueId":"26F8BC30""#, ""), "vmUniqueId"),
            (document(std::slice::from_ref(&ak), &id.replace('-', "0"), ""), "vmUniqueId"),
            (document(std::slice::from_ref(&ak), &id, r#","user-data":"00""#), "user-data"),
            (document(&vec![jwk("a", &[0xc1; 256]); 9], &id, ""), "keys"),
            (document(&[ak], &id, "") + "}", "runtime_data"),
            ("[".repeat(4000), "runtime_data"),
            (" ".repeat(RUNTIME_DATA_BYTES_MAX + 1), "runtime_data"),
        ] {
            assert_eq!(refused(&document), field, "{document}");
        }
    }
}
