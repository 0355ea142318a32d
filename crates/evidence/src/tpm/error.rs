//! Why evidence of a TPM is refused. Every variant blames the evidence, has a stable code, and names what was
//! expected and found; none repeats bytes of the evidence beyond a digest or a number.

use super::attributes::Attributes;
use super::endorsement::UnverifiedEk;
use super::event_log::{MalformedLog, UnprovenBoot};
use super::ownership::Unowned;
use super::pcr::{PcrIndex, PcrSet};
use crate::crypto::{CryptoFault, Digest};
use crate::error::Malformed;

/// Which statement a key of the TPM made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statement {
    /// `TPM2_Quote`.
    Quote,
    /// `TPM2_Certify` of the node key.
    Certify,
    /// `TPM2_Certify` of the attestation key, by a device key.
    Residency,
}

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Quote => "quote",
            Self::Certify => "certification",
            Self::Residency => "device key's certification",
        })
    }
}

/// The two values of a PCR that an event log does not explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// What the log leads to.
    pub replayed: Digest,
    /// What the TPM signed.
    pub quoted: Digest,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// Some structure does not parse, exactly.
    #[error(transparent)]
    Malformed(#[from] Malformed),

    /// No endorsement key was offered, and the attestation key is not known.
    #[error("no endorsement key was offered, and the attestation key is not on record")]
    EkMissing,
    /// An endorsement key's certificate does not verify, or is for another key than the public area offered with it.
    #[error(transparent)]
    Ek(#[from] UnverifiedEk),
    /// The same endorsement key was offered twice.
    #[error("the same endorsement key was offered twice")]
    EkTwice,
    /// The public area is not that of an endorsement key.
    #[error(
        "endorsement key has attributes {found}, needs {} or {}",
        Attributes::EK_LOW_RANGE,
        Attributes::EK_HIGH_RANGE
    )]
    EkAttributes {
        /// Found.
        found: Attributes,
    },
    /// The public area has another policy than the template with these attributes.
    #[error("endorsement key has another policy than the template with its attributes")]
    EkPolicy,
    /// The public area has no symmetric algorithm that a credential could be made with, or a scheme.
    #[error("endorsement key is no plain storage key with AES-128 or AES-256")]
    EkStorage,
    /// The public key is not one that a secret can be encrypted for: a point off its curve, say.
    #[error("endorsement key is not a valid public key")]
    EkInvalid,

    /// The attestation key's attributes are others than a restricted, resident signing key's.
    #[error(
        "attestation key has attributes {found}, needs {} within {}",
        Attributes::AK_REQUIRED,
        Attributes::AK_ALLOWED
    )]
    AkAttributes {
        /// Found.
        found: Attributes,
    },
    /// The attestation key has no signing scheme, one of another kind of key, or one with SHA-1.
    #[error("attestation key has no scheme that is accepted: RSASSA, RSAPSS or ECDSA with SHA-256 or better")]
    AkScheme,
    /// The attestation key's kind or size is none that is accepted.
    #[error("attestation key is {found}, accepted are RSA-2048, RSA-3072, P-256 and P-384")]
    AkKind {
        /// Kind and size found.
        found: &'static str,
    },

    /// An activation secret is missing or wrong: the TPM that holds the endorsement key does not hold this
    /// attestation key.
    #[error("activation secrets are not those that were sent ({found} answered, {expected} sent)")]
    ActivationSecret {
        /// Sent.
        expected: usize,
        /// Answered.
        found: usize,
    },

    /// Not `FF544347`.
    #[error("{statement} has magic {found:#010x}, expected 0xff544347")]
    Magic {
        /// Which statement.
        statement: Statement,
        /// Found.
        found: u32,
    },
    /// Another kind of attestation.
    #[error("{statement} has type {found:#06x}, expected {expected:#06x}")]
    Type {
        /// Which statement.
        statement: Statement,
        /// `TPM_ST` that it must have.
        expected: u16,
        /// Found.
        found: u16,
    },
    /// Signed with another algorithm or hash than the attestation key's scheme.
    #[error("{statement} is signed with another scheme than the attestation key's")]
    Scheme {
        /// Which statement.
        statement: Statement,
    },
    /// The attestation key did not sign these bytes.
    #[error("{statement} is not signed by the attestation key")]
    Signature {
        /// Which statement.
        statement: Statement,
    },
    /// extraData is not what was asked to be signed.
    #[error("{statement} signs other extraData than the binding ({found} bytes found)")]
    Nonce {
        /// Which statement.
        statement: Statement,
        /// Bytes found.
        found: usize,
    },
    /// qualifiedSigner is not the attestation key where it must be.
    #[error("{statement} names another qualified signer than the attestation key in the endorsement hierarchy")]
    Signer {
        /// Which statement.
        statement: Statement,
    },

    /// The signed selection is not the one asked.
    #[error("quote covers {found}, expected {expected}")]
    Selection {
        /// Asked.
        expected: String,
        /// Signed.
        found: String,
    },
    /// PCRs that are needed are not in the quote.
    #[error("quote lacks PCR {missing}")]
    MissingPcr {
        /// Those needed and not quoted.
        missing: PcrSet,
    },
    /// A value was given for a PCR that the quote does not cover, or one of another size than the bank's.
    #[error("a value was given for PCR {pcr}, which the quote does not cover in this bank")]
    UnlistedPcr {
        /// The PCR.
        pcr: PcrIndex,
    },
    /// The values do not give the signed digest, and which PCR differs is not known: ask for all values.
    #[error("PCR values do not give the quoted digest")]
    PcrDigest,
    /// The log leads to another value than the TPM holds.
    #[error("event log leads to {} in PCR {pcr}, the TPM holds {}", values.replayed, values.quoted)]
    Replay {
        /// The first such PCR.
        pcr: PcrIndex,
        /// The two values, boxed for their size.
        values: Box<Divergence>,
    },
    /// PCR 0 to 7 are all zero: firmware does not extend this bank.
    #[error("PCR 0 to 7 are all zero: firmware does not extend the bank")]
    BankUnextended,
    /// The firmware version is on the deny list.
    #[error("TPM firmware version {found:#018x} is denied")]
    FirmwareVersion {
        /// Found.
        found: u64,
    },

    /// The log does not parse.
    #[error(transparent)]
    Log(#[from] MalformedLog),
    /// The log parses but proves no boot.
    #[error(transparent)]
    Boot(#[from] UnprovenBoot),
    /// A digest was sent for the log where that was not offered, or another than was offered.
    #[error("firmware log was answered by a digest that was not offered")]
    LogNotOffered,
    /// The log that we kept is not at hand, is another, or was kept for other PCRs: the log itself is needed.
    #[error("firmware log of that digest is not at hand: the log itself is needed")]
    LogUnknown,

    /// The node key was to be certified and was not.
    #[error("node key is not certified by the attestation key")]
    CertifyMissing,
    /// The certified Name is not that of the public area sent.
    #[error("certified name is not that of the node key's public area")]
    CertifyName,
    /// The certified Qualified Name is not that of a primary in the owner or endorsement hierarchy.
    #[error("certified qualified name is not that of a primary key in the owner or endorsement hierarchy")]
    CertifyQualifiedName,
    /// A platform certificate, IAK or IDevID does not hold.
    #[error(transparent)]
    Ownership(#[from] Unowned),
    /// What a device key certified is not the attestation key in its place.
    #[error("device key certified another object than the attestation key in the endorsement hierarchy")]
    ResidencyName,
    /// The node key's attributes are not exactly those of a resident signing key.
    #[error("node key has attributes {found}, needs exactly {}", Attributes::NODE_KEY)]
    NodeKeyAttributes {
        /// Found.
        found: Attributes,
    },
    /// The node key is not P-256, or has a scheme other than ECDSA with SHA-256.
    #[error("node key is not a P-256 key for ECDSA with SHA-256")]
    NodeKeyKind,
    /// The public area is of another key than the one claimed.
    #[error("certified node key is another than the one claimed")]
    NodeKeyMismatch,
    /// The claimed key is not the one on record, and was not certified.
    #[error("claimed node key is not the one on record")]
    NodeKeyNotOnRecord,

    /// The binding has no TPM in it, or the item's log is not the one that entered it.
    #[error("evidence item does not belong to this binding")]
    OtherBinding,
    /// The challenge became void while it was being answered.
    #[error("challenge expired {seconds} seconds ago")]
    Expired {
        /// Since when.
        seconds: i64,
    },
}

impl Unverified {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::EkMissing => "tpm.ek.missing",
            Self::EkTwice => "tpm.ek.duplicate",
            Self::Ek(unverified) => unverified.code(),
            Self::EkAttributes { .. } => "tpm.ek.attributes",
            Self::EkPolicy => "tpm.ek.policy",
            Self::EkStorage => "tpm.ek.storage",
            Self::EkInvalid => "tpm.ek.invalid_key",
            Self::AkAttributes { .. } => "tpm.ak.attributes",
            Self::AkScheme => "tpm.ak.scheme",
            Self::AkKind { .. } => "tpm.ak.kind",
            Self::ActivationSecret { .. } => "tpm.activation.secret",
            Self::Magic { statement: Statement::Quote, .. } => "tpm.quote.magic",
            Self::Magic { statement: Statement::Certify, .. } => "tpm.certify.magic",
            Self::Magic { statement: Statement::Residency, .. } => "tpm.residency.magic",
            Self::Type { statement: Statement::Quote, .. } => "tpm.quote.type",
            Self::Type { statement: Statement::Certify, .. } => "tpm.certify.type",
            Self::Type { statement: Statement::Residency, .. } => "tpm.residency.type",
            Self::Scheme { statement: Statement::Quote } => "tpm.quote.scheme",
            Self::Scheme { statement: Statement::Certify } => "tpm.certify.scheme",
            Self::Scheme { statement: Statement::Residency } => "tpm.residency.scheme",
            Self::Signature { statement: Statement::Quote } => "tpm.quote.signature",
            Self::Signature { statement: Statement::Certify } => "tpm.certify.signature",
            Self::Signature { statement: Statement::Residency } => "tpm.residency.signature",
            Self::Nonce { statement: Statement::Quote, .. } => "tpm.quote.nonce",
            Self::Nonce { statement: Statement::Certify, .. } => "tpm.certify.nonce",
            Self::Nonce { statement: Statement::Residency, .. } => "tpm.residency.nonce",
            Self::Signer { statement: Statement::Quote } => "tpm.quote.signer",
            Self::Signer { statement: Statement::Certify } => "tpm.certify.signer",
            Self::Signer { statement: Statement::Residency } => "tpm.residency.signer",
            Self::Selection { .. } => "tpm.quote.selection",
            Self::MissingPcr { .. } => "tpm.quote.missing_pcr",
            Self::UnlistedPcr { .. } => "tpm.quote.unlisted_pcr",
            Self::PcrDigest => "tpm.quote.pcr_digest",
            Self::Replay { .. } => "tpm.quote.replay",
            Self::BankUnextended => "tpm.quote.bank_unextended",
            Self::FirmwareVersion { .. } => "tpm.quote.firmware_version",
            Self::Log(malformed) => malformed.code(),
            Self::Boot(unproven) => unproven.code(),
            Self::LogNotOffered => "tpm.event_log.not_offered",
            Self::LogUnknown => "tpm.event_log.unknown",
            Self::CertifyMissing => "tpm.certify.missing",
            Self::CertifyName => "tpm.certify.name",
            Self::CertifyQualifiedName => "tpm.certify.qualified_name",
            Self::Ownership(unowned) => unowned.code(),
            Self::ResidencyName => "tpm.residency.name",
            Self::NodeKeyAttributes { .. } => "tpm.node_key.attributes",
            Self::NodeKeyKind => "tpm.node_key.kind",
            Self::NodeKeyMismatch => "tpm.node_key.mismatch",
            Self::NodeKeyNotOnRecord => "tpm.node_key.not_on_record",
            Self::OtherBinding => "tpm.item.other_binding",
            Self::Expired { .. } => "challenge.expired",
        }
    }

    /// Whether nothing is decided yet: the same attestation with the values of all PCRs would tell which differs.
    #[must_use]
    pub const fn wants_pcr_values(&self) -> bool {
        matches!(self, Self::PcrDigest)
    }

    /// Whether nothing is decided yet: the firmware log itself must be sent.
    #[must_use]
    pub const fn wants_firmware_log(&self) -> bool {
        matches!(self, Self::LogUnknown)
    }
}

/// Why no challenge is drawn for a TPM's material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uninvited {
    /// The material is at fault.
    #[error(transparent)]
    Evidence(#[from] Unverified),
    /// We are: no random bytes came.
    #[error(transparent)]
    Fault(CryptoFault),
}

impl From<CryptoFault> for Uninvited {
    fn from(fault: CryptoFault) -> Self {
        match fault {
            CryptoFault::Random => Self::Fault(fault),
            CryptoFault::Key => Self::Evidence(Unverified::EkInvalid),
        }
    }
}

impl Uninvited {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Evidence(unverified) => unverified.code(),
            Self::Fault(fault) => fault.code(),
        }
    }
}

impl Unverified {
    /// Whether what is refused stands in a quote whose signature over our binding was good: its selection, its PCRs, or
    /// the log that does not lead to them. All else can be caused by anybody who knows public keys.
    #[must_use]
    pub const fn is_signed_over(&self) -> bool {
        matches!(
            self,
            Self::Selection { .. }
                | Self::MissingPcr { .. }
                | Self::PcrDigest
                | Self::Replay { .. }
                | Self::BankUnextended
                | Self::FirmwareVersion { .. }
                | Self::Log(_)
                | Self::Boot(_)
        )
    }
}
