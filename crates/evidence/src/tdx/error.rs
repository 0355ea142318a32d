//! Why a quote is refused. Every variant has a stable code and says whose fault it is: the evidence's, or that of the
//! collateral, which the verifier brought. None repeats bytes of the evidence beyond a number.

use super::attributes::TdAttributes;
use super::pki::BadCertificate;
use crate::error::Malformed;
use crate::tpm::event_log::MalformedLog;
use crate::x509::Date;

/// One of the four documents that Intel signs about a platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// TCB info: which versions are up to date, by FMSPC.
    TcbInfo,
    /// The identity of the quoting enclave.
    QeIdentity,
    /// The root's revocation list.
    RootCrl,
    /// The revocation list of the CA above the PCK certificate.
    PckCrl,
}

impl Document {
    /// Its name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TcbInfo => "TCB info",
            Self::QeIdentity => "QE identity",
            Self::RootCrl => "root CRL",
            Self::PckCrl => "PCK CRL",
        }
    }
}

impl std::fmt::Display for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The item, quote, collateral or event log does not parse, exactly.
    #[error(transparent)]
    Malformed(#[from] Malformed),

    /// A certificate between the PCK and the root does not hold.
    #[error("PCK chain: {0}")]
    Pck(BadCertificate),
    /// The PCK certificate has no SGX extension that can be read.
    #[error("PCK certificate has no readable SGX extension")]
    PckExtension,
    /// The PCK certificate, or the CA above it, is on Intel's revocation list.
    #[error("{certificate} certificate is revoked")]
    PckRevoked {
        /// Which.
        certificate: &'static str,
    },
    /// The PCK did not sign the quoting enclave's report.
    #[error("signature on the quoting enclave's report does not verify under the PCK")]
    QeSignature,
    /// The quoting enclave's report is about another attestation key.
    #[error("quoting enclave vouches for another attestation key")]
    AttestationKey,
    /// The attestation key did not sign header and body.
    #[error("signature on the quote does not verify under the attestation key")]
    QuoteSignature,
    /// The quoting enclave is none that Intel's identity document describes.
    #[error("quoting enclave is not the one of the QE identity: {field} differs")]
    QeIdentity {
        /// The field that differs.
        field: &'static str,
    },

    /// The TD's own bytes are not the binding with zeros behind it.
    #[error("report data is not what was to be signed")]
    ReportData,
    /// The binding's key is not proven to be with the TD: a quote proves none.
    #[error("node key is not proven: a quote needs a certificate request, or the node's own connection")]
    NodeKeyUnproven,
    /// The binding has no TDX item in it, or the item's log is not the one that entered it.
    #[error("evidence item does not belong to this binding")]
    OtherBinding,
    /// The challenge became void while it was being answered.
    #[error("challenge expired {seconds} seconds ago")]
    Expired {
        /// Since when.
        seconds: i64,
    },

    /// The host can read the TD: TDATTRIBUTES bits 7:0.
    #[error("TD is under debug: TDATTRIBUTES {found}")]
    Debug {
        /// Found.
        found: TdAttributes,
    },
    /// Attribute bits that must be zero are not.
    #[error("TDATTRIBUTES {found} has reserved bits")]
    Reserved {
        /// Found.
        found: TdAttributes,
    },
    /// The TD can be moved to a machine that nobody has appraised.
    #[error("TD is migratable")]
    Migratable,
    /// The host can raise exceptions inside the TD by taking pages away.
    #[error("TD runs without SEPT_VE_DISABLE")]
    SeptVe,
    /// A service TD is bound to this one that the verifier does not list.
    #[error("a service TD is bound that is not listed")]
    ServiceTd,
    /// The report is for a partition of the TD.
    #[error("report is for partition {found} of the TD")]
    Partition {
        /// Found.
        found: u8,
    },
    /// The TDX module is not Intel's.
    #[error("TDX module has a signer of its own")]
    SeamSigner,
    /// The TDX module is not in production.
    #[error("SEAMATTRIBUTES is {found:#x}, not zero")]
    SeamAttributes {
        /// Found.
        found: u64,
    },

    /// A document is not at hand: it must be fetched.
    #[error("{document} is not at hand")]
    CollateralMissing {
        /// Which.
        document: Document,
    },
    /// A document is out of date. Seconds since 1970.
    #[error("{document} ended at {}, now is {}", Date(*not_after), Date(*now))]
    CollateralExpired {
        /// Which.
        document: Document,
        /// Its next update.
        not_after: i64,
        /// The clock of the verification.
        now: i64,
    },
    /// A document is from the future. Seconds since 1970.
    #[error("{document} begins at {}, now is {}", Date(*not_before), Date(*now))]
    CollateralEarly {
        /// Which.
        document: Document,
        /// When it was issued.
        not_before: i64,
        /// The clock of the verification.
        now: i64,
    },
    /// The certificate that a document is signed with does not hold.
    #[error("signer of the {document}: {problem}")]
    CollateralSigner {
        /// Which.
        document: Document,
        /// What is wrong.
        problem: BadCertificate,
    },
    /// The chain that stands beside a document is not its signer and the trusted root.
    #[error("chain of the {document} is not its signer and the trusted root")]
    CollateralChain {
        /// Which.
        document: Document,
    },
    /// The certificate that a document is signed with is on the root's revocation list.
    #[error("signer of the {document} is revoked")]
    CollateralSignerRevoked {
        /// Which.
        document: Document,
    },
    /// A document is not signed by its signer.
    #[error("signature on the {document} does not verify")]
    CollateralSignature {
        /// Which.
        document: Document,
    },
    /// A document is about another platform, or of another kind.
    #[error("{document} is not for this platform: {field} differs")]
    CollateralMismatch {
        /// Which.
        document: Document,
        /// The field that differs.
        field: &'static str,
    },
    /// A document lies under another root than the quote.
    #[error("collateral lies under another root than the quote")]
    CollateralRoot,

    /// The platform runs versions that Intel has revoked.
    #[error("TCB is revoked")]
    TcbRevoked,
    /// The platform is below every level of the TCB info.
    #[error("platform is below every TCB level")]
    TcbNoLevel,
    /// The TDX module is none that the TCB info knows.
    #[error("TDX module is not in the TCB info")]
    TdxModule,
    /// `dcap-qvl` refuses what our own checks let pass; its words.
    #[error("dcap-qvl refuses the quote: {reason}")]
    Dcap {
        /// Its words, printable ASCII.
        reason: String,
    },

    /// The event log does not parse.
    #[error("CC event log: {0}")]
    Log(MalformedLog),
    /// The event log proves nothing, or contradicts itself.
    #[error("CC event log: {what} (event {event})")]
    LogUnproven {
        /// What is wrong.
        what: &'static str,
        /// The event that is at fault.
        event: u32,
    },
    /// The event log does not lead to a quoted register.
    #[error("CC event log does not lead to RTMR{register}")]
    Replay {
        /// 0 to 3.
        register: u8,
    },
}

impl From<MalformedLog> for Unverified {
    fn from(malformed: MalformedLog) -> Self {
        Self::Log(malformed)
    }
}

impl Unverified {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::Pck(problem) => match problem {
                BadCertificate::Malformed => "tdx.pck.malformed",
                BadCertificate::Missing => "tdx.pck.missing",
                BadCertificate::Expired { .. } => "tdx.pck.expired",
                BadCertificate::Untrusted => "tdx.pck.untrusted",
                BadCertificate::Signature => "tdx.pck.signature",
                BadCertificate::Rights { .. } => "tdx.pck.rights",
            },
            Self::PckExtension => "tdx.pck.extension",
            Self::PckRevoked { .. } => "tdx.pck.revoked",
            Self::QeSignature => "tdx.qe.signature",
            Self::AttestationKey => "tdx.qe.attestation_key",
            Self::QeIdentity { .. } => "tdx.qe.identity",
            Self::QuoteSignature => "tdx.quote.signature",
            Self::ReportData => "tdx.quote.report_data",
            Self::NodeKeyUnproven => "tdx.node_key_unproven",
            Self::OtherBinding => "tdx.item.other_binding",
            Self::Expired { .. } => "challenge.expired",
            Self::Debug { .. } => "tdx.td.debug",
            Self::Reserved { .. } => "tdx.td.reserved",
            Self::Migratable => "tdx.td.migratable",
            Self::SeptVe => "tdx.td.sept_ve",
            Self::ServiceTd => "tdx.td.service_td",
            Self::Partition { .. } => "tdx.td.partition",
            Self::SeamSigner => "tdx.seam.signer",
            Self::SeamAttributes { .. } => "tdx.seam.attributes",
            Self::CollateralMissing { .. } => "tdx.collateral.missing",
            Self::CollateralExpired { .. } => "tdx.collateral.expired",
            Self::CollateralEarly { .. } => "tdx.collateral.not_yet_valid",
            Self::CollateralSigner { .. } => "tdx.collateral.signer",
            Self::CollateralChain { .. } => "tdx.collateral.chain",
            Self::CollateralSignerRevoked { .. } => "tdx.collateral.signer_revoked",
            Self::CollateralSignature { .. } => "tdx.collateral.signature",
            Self::CollateralMismatch { .. } => "tdx.collateral.mismatch",
            Self::CollateralRoot => "tdx.collateral.root",
            Self::TcbRevoked => "tdx.tcb.revoked",
            Self::TcbNoLevel => "tdx.tcb.no_level",
            Self::TdxModule => "tdx.tcb.module",
            Self::Dcap { .. } => "tdx.dcap",
            Self::Log(_) => "tdx.ccel.malformed",
            Self::LogUnproven { .. } => "tdx.ccel.unproven",
            Self::Replay { .. } => "tdx.ccel.replay",
        }
    }

    /// Whether a genuine machine signed our own binding, and what it signed is not acceptable.
    #[must_use]
    pub const fn is_genuine(&self) -> bool {
        match self {
            Self::QeIdentity { .. }
            | Self::Debug { .. }
            | Self::Reserved { .. }
            | Self::Migratable
            | Self::SeptVe
            | Self::ServiceTd
            | Self::Partition { .. }
            | Self::SeamSigner
            | Self::SeamAttributes { .. }
            | Self::TcbRevoked
            | Self::TcbNoLevel
            | Self::TdxModule
            | Self::Dcap { .. }
            | Self::Log(_)
            | Self::LogUnproven { .. }
            | Self::Replay { .. } => true,
            Self::Malformed(_)
            | Self::Pck(_)
            | Self::PckExtension
            | Self::PckRevoked { .. }
            | Self::QeSignature
            | Self::AttestationKey
            | Self::QuoteSignature
            | Self::ReportData
            | Self::NodeKeyUnproven
            | Self::OtherBinding
            | Self::Expired { .. } => false,
            Self::CollateralMissing { .. }
            | Self::CollateralExpired { .. }
            | Self::CollateralEarly { .. }
            | Self::CollateralSigner { .. }
            | Self::CollateralChain { .. }
            | Self::CollateralSignerRevoked { .. }
            | Self::CollateralSignature { .. }
            | Self::CollateralMismatch { .. }
            | Self::CollateralRoot => false,
        }
    }

    /// Whether the collateral is at fault, which the verifier brought: a machine is neither admitted nor refused for
    /// it. Fetch again.
    #[must_use]
    pub const fn is_collateral(&self) -> bool {
        match self {
            Self::CollateralMissing { .. }
            | Self::CollateralExpired { .. }
            | Self::CollateralEarly { .. }
            | Self::CollateralSigner { .. }
            | Self::CollateralChain { .. }
            | Self::CollateralSignerRevoked { .. }
            | Self::CollateralSignature { .. }
            | Self::CollateralMismatch { .. }
            | Self::CollateralRoot => true,
            Self::Malformed(malformed) => matches!(malformed.structure, crate::Structure::TdxCollateral),
            _ => false,
        }
    }
}
