//! Why an SNP report is refused. Every variant blames the evidence, has a stable code, and names what was expected and
//! found; none repeats bytes of the evidence beyond a number.

use super::bits::VekKind;
use super::product::Product;
use super::tcb::Tcb;
use crate::error::Malformed;
use crate::x509::Date;

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The item, the report or the certificate table does not parse, exactly.
    #[error(transparent)]
    Malformed(#[from] Malformed),

    /// A version whose fields we do not know.
    #[error("report has version {found}, accepted are 2, 3 and 5")]
    Version {
        /// Found.
        found: u32,
    },
    /// Not 1, ECDSA on P-384 with SHA-384.
    #[error("report is signed by algorithm {found}, accepted is 1 (ECDSA P-384 with SHA-384)")]
    SignatureAlgorithm {
        /// Found.
        found: u32,
    },
    /// The host has masked the chip's key, so that nothing signs the report.
    #[error("report is not signed: the host has masked the chip's key (MASK_CHIP_KEY)")]
    ChipKeyMasked,
    /// Neither VCEK nor VLEK signed.
    #[error("report names signing key {found}, accepted are 0 (VCEK) and 1 (VLEK)")]
    SigningKey {
        /// Found.
        found: u32,
    },
    /// The guest's own bytes are not the binding with zeros behind it.
    #[error("report data is not what was to be signed")]
    ReportData,
    /// The binding's key is not proven to be with the guest: an SNP report proves none.
    #[error("node key is not proven: an SNP report needs a certificate request, or the node's own connection")]
    NodeKeyUnproven,
    /// The binding has no SNP item in it.
    #[error("evidence item does not belong to this binding")]
    OtherBinding,
    /// The challenge became void while it was being answered.
    #[error("challenge expired {seconds} seconds ago")]
    Expired {
        /// Since when.
        seconds: i64,
    },

    /// No certificate of the key that signed is at hand: it must be fetched.
    #[error("no {kind} certificate is at hand")]
    VekMissing {
        /// The kind of key that the report names.
        kind: VekKind,
    },
    /// The certificate is not what AMD specifies.
    #[error("VEK certificate is not what AMD specifies: {what}")]
    VekMalformed {
        /// The part.
        what: &'static str,
    },
    /// The issuer's name is none that issues certificates of that kind.
    #[error("{kind} certificate names an issuer that is none for it")]
    VekIssuer {
        /// The kind by the certificate's own name.
        kind: VekKind,
    },
    /// The certificate is of another kind than the key that signed.
    #[error("report is signed by a {expected}, the certificate is for a {found}")]
    VekKind {
        /// What the report names.
        expected: VekKind,
        /// What the certificate is for.
        found: VekKind,
    },
    /// A processor that we do not know, so that nobody can say what its TCB means.
    #[error("report is from an unknown product: CPUID family {family:#04x}, model {model:#04x}")]
    ProductUnknown {
        /// Combined family.
        family: u8,
        /// Combined model.
        model: u8,
    },
    /// The certificate is for another product than the report is from.
    #[error("report is from a {report}, the certificate is for a {certificate}")]
    Product {
        /// By CPUID.
        report: Product,
        /// By the certificate's issuer.
        certificate: Product,
    },
    /// The certificate is for another TCB than the reported one.
    #[error("certificate is for TCB {certificate}, reported is {}", reported.map_or("no TCB of this product".to_owned(), |tcb| tcb.to_string()))]
    Tcb {
        /// Reported; `None` if bytes that are spare are not zero.
        reported: Option<Tcb>,
        /// Certified.
        certificate: Tcb,
    },
    /// The certificate is for another chip.
    #[error("certificate is for another chip than the report is from")]
    ChipId,
    /// The report names no chip, and its key is a chip's.
    #[error("report is signed by a VCEK and names no chip: the host has masked it (MASK_CHIP_ID)")]
    ChipIdMasked,

    /// No intermediate of the needed name is at hand.
    #[error("certificate of the issuer, {name}, is not at hand")]
    IssuerMissing {
        /// Its common name.
        name: String,
    },
    /// No trusted root of the product has issued the intermediate.
    #[error("no trusted root ARK-{product} leads to the certificate")]
    Untrusted {
        /// The product.
        product: Product,
    },
    /// A certificate of the chain is not signed by RSASSA-PSS with SHA-384 and a salt of 48 bytes, or its issuer has no RSA key.
    #[error("certificate {depth} of the chain is not signed by RSASSA-PSS with SHA-384")]
    ChainAlgorithm {
        /// 0 is the VEK, 1 the intermediate, 2 the root.
        depth: u8,
    },
    /// A signature in the chain does not verify.
    #[error("signature on certificate {depth} of the chain does not verify")]
    ChainSignature {
        /// 0 is the VEK, 1 the intermediate.
        depth: u8,
    },
    /// A certificate of the chain is not valid yet, or no more.
    #[error("certificate {depth} of the chain is valid from {} to {}, now is {}", Date(*not_before), Date(*not_after), Date(*now))]
    ChainExpired {
        /// 0 is the VEK, 1 the intermediate, 2 the root.
        depth: u8,
        /// Start, seconds since 1970.
        not_before: i64,
        /// End, seconds since 1970.
        not_after: i64,
        /// The clock of the verification.
        now: i64,
    },
    /// The intermediate may not issue.
    #[error("intermediate is no CA certificate")]
    NotCa,
    /// The root has revoked the intermediate.
    #[error("intermediate is revoked")]
    Revoked,
    /// A revocation list of the root's name is not signed by it.
    #[error("revocation list of ARK-{product} is not signed by it")]
    ListSignature {
        /// The product.
        product: Product,
    },
    /// The signature's numbers are wider than the curve, or bytes behind them are not zero.
    #[error("signature of the report is not in its one encoding")]
    SignatureEncoding,
    /// The VEK did not sign this report.
    #[error("report is not signed by the key of the certificate")]
    Signature,

    /// Reserved bytes are not zero: this is another report than its version says.
    #[error("reserved bytes at {offset:#05x} of the report are not zero")]
    Reserved {
        /// Where they begin.
        offset: usize,
    },
    /// No guest asked for it: the host did, or the level is none.
    #[error("report is for VMPL {found}, a guest has 0 to 3")]
    Vmpl {
        /// Found.
        found: u32,
    },
    /// The host may read and write the guest's memory.
    #[error("guest policy allows debugging")]
    Debug,
    /// A migration agent may take the guest elsewhere.
    #[error("guest policy allows a migration agent")]
    MigrationAgent,
    /// Bit 17 is clear, or a bit is set that nobody has given a meaning.
    #[error("guest policy {found:#x} is none: bit 17 must be set, bits 26 to 63 clear")]
    GuestPolicy {
        /// Found.
        found: u64,
    },
}

impl Unverified {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::Version { .. } => "snp.report.version",
            Self::SignatureAlgorithm { .. } => "snp.report.signature_algorithm",
            Self::ChipKeyMasked => "snp.report.chip_key_masked",
            Self::SigningKey { .. } => "snp.report.signing_key",
            Self::ReportData => "snp.report.data",
            Self::NodeKeyUnproven => "snp.node_key_unproven",
            Self::OtherBinding => "snp.item.other_binding",
            Self::Expired { .. } => "challenge.expired",
            Self::VekMissing { .. } => "snp.vek.missing",
            Self::VekMalformed { .. } => "snp.vek.malformed",
            Self::VekIssuer { .. } => "snp.vek.issuer",
            Self::VekKind { .. } => "snp.vek.kind",
            Self::ProductUnknown { .. } => "snp.product.unknown",
            Self::Product { .. } => "snp.product.mismatch",
            Self::Tcb { .. } => "snp.tcb.certificate_mismatch",
            Self::ChipId => "snp.chip_id.mismatch",
            Self::ChipIdMasked => "snp.chip_id.masked",
            Self::IssuerMissing { .. } => "snp.chain.issuer_missing",
            Self::Untrusted { .. } => "snp.chain.untrusted",
            Self::ChainAlgorithm { .. } => "snp.chain.algorithm",
            Self::ChainSignature { .. } => "snp.chain.signature",
            Self::ChainExpired { .. } => "snp.chain.expired",
            Self::NotCa => "snp.chain.not_ca",
            Self::Revoked => "snp.chain.revoked",
            Self::ListSignature { .. } => "snp.chain.crl_signature",
            Self::SignatureEncoding => "snp.report.signature_encoding",
            Self::Signature => "snp.report.signature",
            Self::Reserved { .. } => "snp.report.reserved",
            Self::Vmpl { .. } => "snp.report.vmpl",
            Self::Debug => "snp.guest_policy.debug",
            Self::MigrationAgent => "snp.guest_policy.migration_agent",
            Self::GuestPolicy { .. } => "snp.guest_policy.bits",
        }
    }

    /// Whether the report was signed, over our binding, by a key that a trusted root leads to, and something that it
    /// says is not acceptable. Such refusals are decisions, and are recorded.
    #[must_use]
    pub const fn is_genuine(&self) -> bool {
        match self {
            Self::Reserved { .. }
            | Self::Vmpl { .. }
            | Self::Debug
            | Self::MigrationAgent
            | Self::GuestPolicy { .. } => true,
            Self::Malformed(_)
            | Self::Version { .. }
            | Self::SignatureAlgorithm { .. }
            | Self::ChipKeyMasked
            | Self::SigningKey { .. }
            | Self::ReportData
            | Self::NodeKeyUnproven
            | Self::OtherBinding
            | Self::Expired { .. }
            | Self::VekMissing { .. }
            | Self::VekMalformed { .. }
            | Self::VekIssuer { .. }
            | Self::VekKind { .. }
            | Self::ProductUnknown { .. }
            | Self::Product { .. }
            | Self::Tcb { .. }
            | Self::ChipId
            | Self::ChipIdMasked
            | Self::IssuerMissing { .. }
            | Self::Untrusted { .. }
            | Self::ChainAlgorithm { .. }
            | Self::ChainSignature { .. }
            | Self::ChainExpired { .. }
            | Self::NotCa
            | Self::Revoked
            | Self::ListSignature { .. }
            | Self::SignatureEncoding
            | Self::Signature => false,
        }
    }

    /// Whether nothing is decided yet: a certificate that the verifier must fetch is missing, or the one at hand is
    /// that of an earlier TCB.
    #[must_use]
    pub const fn wants_endorsements(&self) -> bool {
        matches!(self, Self::VekMissing { .. } | Self::IssuerMissing { .. })
    }
}
