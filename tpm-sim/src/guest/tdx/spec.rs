//! Every field of a simulated TD, of the platform below it, and of what Intel says about that; and the lies about them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::guest::random;
use crate::tamper::LogLie;

/// A TD, field by field; byte strings are hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TdxSpec {
    /// Version of the quote: 4 or 5.
    pub version: u16,
    /// Report in a quote of version 5: 2 is TDX 1.0, 3 is 1.5, 4 is 1.5 with the extension. Version 4 has 2.
    pub body_type: u16,
    /// 16 bytes: SVN and version of the TDX module, SVN of what lies below it.
    pub tee_tcb_svn: String,
    /// 48 bytes.
    pub mrseam: String,
    /// 48 bytes; zero is Intel.
    pub mrsignerseam: String,
    /// Zero in production.
    pub seamattributes: u64,
    /// TDATTRIBUTES.
    pub tdattributes: u64,
    /// XFAM.
    pub xfam: u64,
    /// 48 bytes: the initial memory.
    pub mrtd: String,
    /// 48 bytes of the host's choice.
    pub mrconfigid: String,
    /// 48 bytes of the host's choice.
    pub mrowner: String,
    /// 48 bytes of the host's choice.
    pub mrownerconfig: String,
    /// What the TD boots: a built-in profile or a file. RTMR 0 to 2 and the event log follow from it.
    pub profile: String,
    /// RTMRs in place of those that follow from the profile, 48 bytes each.
    pub rtmrs: BTreeMap<u8, String>,
    /// 16 bytes, TDX 1.5: the versions now.
    pub tee_tcb_svn2: Option<String>,
    /// 48 bytes, TDX 1.5: bound service TDs.
    pub mrservicetd: String,
    /// TDX 1.5 extended: the partition.
    pub vm_id: u8,
    /// 32 bytes, TDX 1.5 extended: drawn at launch.
    pub td_id: String,
    /// 48 bytes, TDX 1.5 extended: service TDs that are bound now.
    pub current_service_td: String,
    /// Whether there is an event log.
    pub event_log: bool,
    /// Zeros behind the quote, as providers pad it.
    pub padding: usize,
    /// Bytes behind the quote and its zeros.
    pub behind_quote: Option<String>,
    /// The technology that the header names.
    pub tee_type: u32,
    /// 16 bytes: whose quoting enclave it is, as the header says.
    pub qe_vendor: String,
    /// The kind of the attestation key, as the header says: 2 is ECDSA on P-256.
    pub key_type: u16,
    /// The platform.
    pub platform: PlatformSpec,
    /// What Intel says about platforms of this kind.
    pub collateral: CollateralSpec,
    /// A lie: report data (64 bytes) that is not what the TD asked for.
    pub report_data: Option<String>,
    /// A lie: 32 bytes behind the binding.
    pub behind_report_data: Option<String>,
    /// A lie: only so many bytes of what the TD asked for, zeros in place of the rest.
    pub report_data_bytes: Option<usize>,
    /// Whether s of the signature is the order less what it was: such a signature verifies as well.
    pub negated_signature: bool,
    /// A lie: this byte of the quote is flipped after it was signed.
    pub flipped_byte: Option<usize>,
    /// A lie in the event log.
    pub log_lie: Option<LogLie>,
    /// A lie about who signs what.
    pub lie: Option<TdxLie>,
}

/// A platform, as its PCK certificate and its quoting enclave describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlatformSpec {
    /// 6 bytes: processor family, model, stepping, platform type.
    pub fmspc: String,
    /// 16 bytes: the platform instance (PIID); empty on platforms that are not registered.
    pub instance_id: String,
    /// 16 bytes.
    pub ppid: String,
    /// 2 bytes.
    pub pce_id: String,
    /// 16 bytes: SVN of each component.
    pub cpu_svn: String,
    /// SVN of the provisioning certification enclave.
    pub pce_svn: u16,
    /// `platform` or `processor`: who issues the PCK certificate.
    pub ca: String,
    /// Whether packages may be added; of registered platforms only.
    pub dynamic_platform: bool,
    /// Whether Intel keeps the platform's root keys; of registered platforms only.
    pub cached_keys: bool,
    /// Whether hyper-threading is on; of registered platforms only.
    pub smt_enabled: bool,
    /// 32 bytes: who signed the quoting enclave.
    pub qe_mrsigner: String,
    /// Its product.
    pub qe_isvprodid: u16,
    /// Its version.
    pub qe_isvsvn: u16,
    /// 16 bytes of attributes of it.
    pub qe_attributes: String,
}

/// What Intel says about a kind of platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollateralSpec {
    /// Status of the level that the platform meets, in Intel's spelling.
    pub status: String,
    /// Advisories of that level.
    pub advisories: Vec<String>,
    /// Date of that level, RFC 3339.
    pub date: String,
    /// Status of the TDX module's level.
    pub module_status: String,
    /// Status of the quoting enclave's level.
    pub qe_status: String,
    /// `tcbEvaluationDataNumber`.
    pub evaluation_number: u32,
    /// When the documents were issued, in seconds from now.
    pub issued: i64,
    /// When their next update is due, in seconds from now.
    pub next_update: i64,
    /// What is revoked: `pck`, `ca`, `signer`.
    pub revoked: Vec<String>,
    /// A lie: the documents are about this platform, 6 bytes.
    pub fmspc: Option<String>,
    /// A lie: somebody else signs the documents.
    pub forged: bool,
}

/// Who signs what, where it is not who should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TdxLie {
    /// Another Intel certifies the platform.
    OwnRoot,
    /// The PCK certificate names a CA that did not sign it.
    ForgedPck,
    /// The PCK certificate has ended.
    ExpiredPck,
    /// The PCK certificate is issued by another PCK's bearer.
    PckIssuesPck,
    /// The PCK certificate lacks what Intel says about the platform.
    NoExtension,
    /// There is no certificate in the quote.
    NoCertificate,
    /// Another platform signs the quoting enclave's report.
    OtherPlatform,
    /// The quoting enclave vouches for another key.
    OtherKeyVouched,
    /// Another key signs the quote.
    OtherKey,
}

impl Default for TdxSpec {
    fn default() -> Self {
        let digest = |text: &str| hex::encode(ring::digest::digest(&ring::digest::SHA384, text.as_bytes()));
        Self {
            version: 4,
            body_type: 2,
            tee_tcb_svn: format!("060103{}", "00".repeat(13)),
            mrseam: digest("simulated TDX module"),
            mrsignerseam: "00".repeat(48),
            seamattributes: 0,
            tdattributes: 1 << 28,
            xfam: 0x0006_02e7,
            mrtd: digest("simulated TDVF"),
            mrconfigid: "00".repeat(48),
            mrowner: "00".repeat(48),
            mrownerconfig: "00".repeat(48),
            profile: "shim-grub".to_owned(),
            rtmrs: BTreeMap::new(),
            tee_tcb_svn2: None,
            mrservicetd: "00".repeat(48),
            vm_id: 0,
            td_id: random(32),
            current_service_td: "00".repeat(48),
            event_log: true,
            padding: 0,
            behind_quote: None,
            tee_type: 0x81,
            qe_vendor: "939a7233f79c4ca9940a0db3957f0607".to_owned(),
            key_type: 2,
            platform: PlatformSpec::default(),
            collateral: CollateralSpec::default(),
            report_data: None,
            behind_report_data: None,
            report_data_bytes: None,
            negated_signature: false,
            flipped_byte: None,
            log_lie: None,
            lie: None,
        }
    }
}

impl Default for PlatformSpec {
    fn default() -> Self {
        Self {
            fmspc: "90c06f000000".to_owned(),
            instance_id: random(16),
            ppid: random(16),
            pce_id: "0000".to_owned(),
            cpu_svn: format!("0303020204010005{}", "00".repeat(8)),
            pce_svn: 11,
            ca: "platform".to_owned(),
            dynamic_platform: false,
            cached_keys: false,
            smt_enabled: true,
            qe_mrsigner: "dc".repeat(32),
            qe_isvprodid: 2,
            qe_isvsvn: 8,
            qe_attributes: format!("11{}", "00".repeat(15)),
        }
    }
}

impl Default for CollateralSpec {
    fn default() -> Self {
        Self {
            status: "UpToDate".to_owned(),
            advisories: Vec::new(),
            date: "2025-03-13T00:00:00Z".to_owned(),
            module_status: "UpToDate".to_owned(),
            qe_status: "UpToDate".to_owned(),
            evaluation_number: 18,
            issued: -86_400,
            next_update: 29 * 86_400,
            revoked: Vec::new(),
            fmspc: None,
            forged: false,
        }
    }
}

impl TdxSpec {
    /// The same in a quote of version 5, TDX 1.5.
    #[must_use]
    pub fn v5(self) -> Self {
        Self { version: 5, body_type: 3, ..self }
    }
}
