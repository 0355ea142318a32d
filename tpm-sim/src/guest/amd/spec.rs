//! Every field of a simulated SNP guest's report, as a file has it; and the lies that a host could tell about it.

use serde::{Deserialize, Serialize};

use crate::guest::random;

/// Components of a TCB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tcb {
    /// Turin alone.
    pub fmc: u8,
    /// Boot loader.
    pub bootloader: u8,
    /// Trusted OS.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Microcode.
    pub microcode: u8,
}

/// What signs the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningKey {
    /// A key of the chip.
    #[default]
    Vcek,
    /// A key of the provider.
    Vlek,
}

/// A guest's report, field by field; byte strings are hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SnpSpec {
    /// 2, 3 or 5.
    pub version: u32,
    /// `Milan`, `Genoa` or `Turin`.
    pub product: String,
    /// 48 bytes: the launch digest.
    pub measurement: String,
    /// 32 bytes that the host gives at launch.
    pub host_data: String,
    /// Guest policy.
    pub policy: u64,
    /// What the platform says of itself.
    pub platform_info: u64,
    /// Privilege level.
    pub vmpl: u32,
    /// By the ID block.
    pub guest_svn: u32,
    /// 16 bytes.
    pub family_id: String,
    /// 16 bytes.
    pub image_id: String,
    /// 48 bytes.
    pub id_key_digest: String,
    /// 48 bytes.
    pub author_key_digest: String,
    /// 32 bytes, drawn at launch.
    pub report_id: String,
    /// 64 bytes; Turin: 8.
    pub chip_id: String,
    /// Whether the host hides the chip's id from reports.
    pub mask_chip_id: bool,
    /// Whether the host keeps the chip's key from signing.
    pub mask_chip_key: bool,
    /// What signs.
    pub signing_key: SigningKey,
    /// 1 is ECDSA P-384 with SHA-384.
    pub signature_algorithm: u32,
    /// What the key attests.
    pub reported_tcb: Tcb,
    /// What the firmware will not fall below.
    pub committed_tcb: Tcb,
    /// What runs.
    pub current_tcb: Tcb,
    /// What ran at launch.
    pub launch_tcb: Tcb,
    /// Firmware: build, minor, major.
    pub current_version: [u8; 3],
    /// Firmware that is committed: build, minor, major.
    pub committed_version: [u8; 3],
    /// Version 5.
    pub launch_mitigations: u64,
    /// Version 5.
    pub current_mitigations: u64,
    /// CPUID family, model and stepping in place of the product's own.
    pub cpuid: Option<[u8; 3]>,
    /// The provider of a VLEK.
    pub csp_id: String,
    /// Whether the certificate table comes along.
    pub certificates: bool,
    /// Whether the issuers come along with the key's certificate.
    pub issuers: bool,
    /// Whether the table holds PEM, as some hosts' do.
    pub pem: bool,
    /// When the key's certificate ends, in seconds from now; AMD gives a VCEK 7 years and a VLEK one.
    pub certificate_ends: Option<i64>,
    /// When the issuer's certificate ends, in seconds from now; AMD's live for 25 years.
    pub issuer_ends: Option<i64>,
    /// Whether AMD's list revokes the issuer of the key.
    pub issuer_revoked: bool,
    /// A lie: report data (64 bytes) that is not what the guest asked for.
    pub report_data: Option<String>,
    /// A lie: 32 bytes behind the binding.
    pub behind_report_data: Option<String>,
    /// A lie: `KEY_INFO` as it stands in the report.
    pub key_info: Option<u32>,
    /// A lie: bytes of the report (offset, hex) that are written over before it is signed.
    pub patch: Vec<(usize, String)>,
    /// A lie: a key of another chip signs.
    pub signed_by_another_chip: bool,
    /// A lie: this other chip signs, and its certificate comes along.
    pub certified_chip: Option<String>,
    /// A lie: the certificate table holds a key for this TCB.
    pub certified_tcb: Option<Tcb>,
    /// A lie: an AMD that is another's certifies.
    pub own_root: bool,
    /// A lie: the certificate table, whole.
    pub table: Option<String>,
    /// Whether s of the signature is the order less what it was: such a signature verifies as well.
    pub negated_signature: bool,
    /// A lie: this byte of the report is flipped after it was signed.
    pub flipped_byte: Option<usize>,
}

impl Default for SnpSpec {
    fn default() -> Self {
        let tcb = Tcb { fmc: 0, bootloader: 4, tee: 0, snp: 24, microcode: 219 };
        Self {
            version: 3,
            product: "Milan".to_owned(),
            measurement: hex::encode(ring::digest::digest(&ring::digest::SHA384, b"simulated guest image 1")),
            host_data: "00".repeat(32),
            policy: 0x0003_0000,
            platform_info: 0x25,
            vmpl: 0,
            guest_svn: 0,
            family_id: "00".repeat(16),
            image_id: "00".repeat(16),
            id_key_digest: "00".repeat(48),
            author_key_digest: "00".repeat(48),
            report_id: random(32),
            chip_id: random(64),
            mask_chip_id: false,
            mask_chip_key: false,
            signing_key: SigningKey::Vcek,
            signature_algorithm: 1,
            reported_tcb: tcb,
            committed_tcb: tcb,
            current_tcb: tcb,
            launch_tcb: tcb,
            current_version: [55, 56, 1],
            committed_version: [55, 56, 1],
            launch_mitigations: 0,
            current_mitigations: 0,
            cpuid: None,
            csp_id: "CN=simulator.holdfast.invalid".to_owned(),
            certificates: true,
            issuers: true,
            pem: false,
            certificate_ends: None,
            issuer_ends: None,
            issuer_revoked: false,
            report_data: None,
            behind_report_data: None,
            key_info: None,
            patch: Vec::new(),
            signed_by_another_chip: false,
            certified_chip: None,
            certified_tcb: None,
            own_root: false,
            table: None,
            negated_signature: false,
            flipped_byte: None,
        }
    }
}

impl SnpSpec {
    /// A guest on another processor family, with versions that it has in the field.
    #[must_use]
    pub fn of(product: &str) -> Self {
        let (version, tcb, mitigations) = match product {
            "Genoa" => (5, Tcb { bootloader: 10, snp: 23, microcode: 84, ..Tcb::default() }, 0x0b),
            "Turin" => (5, Tcb { fmc: 1, bootloader: 1, tee: 1, snp: 4, microcode: 81 }, 0x3f),
            _ => return Self { product: product.to_owned(), ..Self::default() },
        };
        Self {
            version,
            product: product.to_owned(),
            chip_id: random(if product == "Turin" { 8 } else { 64 }),
            policy: 0x0103_0000,
            platform_info: 0x35,
            reported_tcb: tcb,
            committed_tcb: tcb,
            current_tcb: tcb,
            launch_tcb: tcb,
            launch_mitigations: mitigations,
            current_mitigations: mitigations,
            ..Self::default()
        }
    }
}
