//! Every field of a simulated Azure machine, and the lies about it.

use serde::{Deserialize, Serialize};

use crate::guest::amd::SnpSpec;
use crate::guest::random;
use crate::guest::tdx::TdxSpec;
use crate::guest::vtpm::Quoting;

/// What stands below the virtual TPM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hardware {
    /// SEV-SNP.
    #[default]
    Snp,
    /// TDX.
    Tdx,
    /// No confidential machine: Trusted Launch.
    None,
}

/// A machine, field by field; byte strings are hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AzureSpec {
    /// A GUID, drawn at launch.
    pub vm_unique_id: String,
    /// What stands below.
    pub hardware: Hardware,
    /// The version that the report declares: 1 or 2.
    pub version: u32,
    /// The SNP report of the paravisor, where SNP stands below.
    pub snp: SnpSpec,
    /// The TD of the paravisor, where TDX stands below.
    pub tdx: TdxSpec,
    /// How the machine was set up, as the paravisor says it.
    pub configuration: Configuration,
    /// 64 bytes that the guest may have put in.
    pub user_data: String,
    /// Whether the attestation key has a certificate; Trusted Launch always has.
    pub ak_certificate: bool,
    /// What it boots and quotes.
    pub quoting: Quoting,
    /// A lie about the key's certificate.
    pub certificate_lie: Option<CertificateLie>,
    /// A lie about the report.
    pub lie: Option<HclLie>,
}

/// `vm-configuration`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Configuration {
    /// Whether the firmware checks signatures.
    pub secure_boot: bool,
    /// Whether the host can type at the guest's console.
    pub console_enabled: bool,
    /// Whether there is a TPM.
    pub tpm_enabled: bool,
    /// Whether its state survives.
    pub tpm_persisted: bool,
    /// Whether the host may give the machine devices.
    pub filtered_vpci_devices_allowed: bool,
    /// As Microsoft writes it.
    pub root_cert_thumbprint: String,
}

/// What is wrong with the certificate of an attestation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateLie {
    /// Another authority of the same name issued it.
    OwnRoot,
    /// It is for another key.
    OtherKey,
    /// It has ended.
    Expired,
    /// It is one of an authority.
    OfAuthority,
    /// Its key may not sign.
    MayNotSign,
    /// It does not say which instance it is for.
    NoInstance,
}

/// What is wrong with the paravisor's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HclLie {
    /// The runtime data is changed after its digest went into the hardware report.
    OtherRuntimeData,
    /// The runtime data names a key that is not in the TPM.
    OtherKey,
    /// Something stands behind the digest in the report data.
    LongerReportData,
    /// The report names another digest function.
    OtherHash,
    /// The sizes in the report do not fit each other.
    OtherSize,
    /// Something stands behind the report.
    BytesBehind,
}

impl Default for AzureSpec {
    fn default() -> Self {
        let digest = |text: &str| hex::encode(ring::digest::digest(&ring::digest::SHA384, text.as_bytes()));
        let zeros = || "00".repeat(48);
        Self {
            vm_unique_id: guid(),
            hardware: Hardware::Snp,
            version: 2,
            snp: SnpSpec {
                measurement: digest("simulated paravisor"),
                id_key_digest: digest("simulated key of Microsoft's"),
                guest_svn: 10,
                family_id: format!("01{}", "00".repeat(15)),
                image_id: format!("02{}", "00".repeat(15)),
                policy: 0x0003_001f,
                certificates: false,
                ..SnpSpec::default()
            },
            tdx: TdxSpec {
                mrtd: digest("simulated paravisor"),
                // Boot state is in PCRs alone.
                rtmrs: (0..4).map(|register| (register, zeros())).collect(),
                event_log: false,
                padding: 70,
                ..TdxSpec::default()
            },
            configuration: Configuration::default(),
            user_data: "00".repeat(64),
            ak_certificate: true,
            quoting: Quoting::default(),
            certificate_lie: None,
            lie: None,
        }
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            secure_boot: true,
            console_enabled: true,
            tpm_enabled: true,
            tpm_persisted: true,
            filtered_vpci_devices_allowed: true,
            root_cert_thumbprint: String::new(),
        }
    }
}

impl AzureSpec {
    /// Launches it anew: another id, another key, another run of the paravisor.
    pub fn relaunch(&mut self) {
        self.vm_unique_id = guid();
        self.snp.report_id = random(32);
        self.tdx.td_id = random(32);
    }
}

/// A GUID in upper case, as Azure writes it.
fn guid() -> String {
    let drawn = random(16).to_uppercase();
    let part = |from: usize, to: usize| drawn.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}
