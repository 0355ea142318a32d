//! Why a log is refused: [`MalformedLog`] where its bytes make no log, [`UnprovenBoot`] where a well-formed log
//! claims what its digests do not prove. Both blame the evidence; neither quotes its text.

use thiserror::Error;

/// The bytes are no crypto-agile TCG event log, or one beyond our limits.
///
/// Offsets are bytes from the start of the log; event numbers are those of [`super::Event::index`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MalformedLog {
    /// No bytes at all: the firmware offers no log (Azure Trusted Launch serves an empty file).
    #[error("event log is empty")]
    Empty,
    /// More bytes than [`super::EVENT_LOG_BYTES_MAX`].
    #[error("event log has {found} bytes, at most {limit} are read")]
    TooLong {
        /// Bytes offered.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// More events than [`super::EVENTS_MAX`].
    #[error("event log has more than {limit} events")]
    TooManyEvents {
        /// Events allowed.
        limit: usize,
    },
    /// The first event is no `Spec ID Event03`: a TCG 1.2 log, which has SHA-1 digests only.
    #[error("event log does not start with a Spec ID Event03 event: a SHA-1 log of TCG 1.2, or none at all")]
    NoSpecId,
    /// The `Spec ID Event03` event stands in a register that is not PCR 0, as in the CC event log of a TDX guest.
    #[error("Spec ID event in register {found}: a CC event log (CCEL), which belongs to a TDX quote and not to a TPM")]
    OtherRegisters {
        /// The register named.
        found: u32,
    },
    /// The `Spec ID Event03` event does not hold together.
    #[error("Spec ID event: {what}, found {found}")]
    SpecId {
        /// The rule that is broken.
        what: &'static str,
        /// The value found.
        found: u64,
    },
    /// An event runs past the end of the log: the firmware cut it, or a length lies.
    #[error("event {event} at byte {offset}: {field} needs {needed} bytes, {remaining} are left")]
    Truncated {
        /// Number of the event.
        event: u32,
        /// Where the event starts.
        offset: usize,
        /// The field that does not fit.
        field: &'static str,
        /// Bytes it needs.
        needed: usize,
        /// Bytes left.
        remaining: usize,
    },
    /// The digest count of an event is zero or above the number of banks in the Spec ID event.
    #[error("event {event} at byte {offset}: {found} digests, the log declares {declared} banks")]
    DigestCount {
        /// Number of the event.
        event: u32,
        /// Where the event starts.
        offset: usize,
        /// Digests it claims.
        found: u32,
        /// Banks the Spec ID event declares.
        declared: usize,
    },
    /// A digest algorithm that the Spec ID event does not declare.
    #[error("event {event} at byte {offset}: digest algorithm {found:#06x} is not in the Spec ID event")]
    UnknownAlgorithm {
        /// Number of the event.
        event: u32,
        /// Where the event starts.
        offset: usize,
        /// The TPM_ALG_ID found.
        found: u16,
    },
    /// Two digests of one algorithm in one event.
    #[error("event {event} at byte {offset}: digest algorithm {found:#06x} stands there twice")]
    DuplicateAlgorithm {
        /// Number of the event.
        event: u32,
        /// Where the event starts.
        offset: usize,
        /// The TPM_ALG_ID found.
        found: u16,
    },
    /// A measured event names a register that a TPM does not have.
    #[error("event {event} at byte {offset}: register {found}, a TPM has 0 to 23")]
    PcrIndex {
        /// Number of the event.
        event: u32,
        /// Where the event starts.
        offset: usize,
        /// The register named.
        found: u32,
    },
    /// `StartupLocality` with a value other than 0, 3 or 4, a second time, or after the first measurement of PCR 0.
    #[error("event {event}: StartupLocality {what}")]
    StartupLocality {
        /// Number of the event.
        event: u32,
        /// The rule that is broken.
        what: &'static str,
    },
}

impl MalformedLog {
    /// The stable code of this refusal.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "tpm.event_log.empty",
            Self::TooLong { .. } | Self::TooManyEvents { .. } => "tpm.event_log.too_long",
            Self::NoSpecId => "tpm.event_log.sha1_only",
            Self::OtherRegisters { .. } => "tpm.event_log.other_registers",
            Self::SpecId { .. } => "tpm.event_log.spec_id",
            Self::Truncated { .. } => "tpm.event_log.truncated",
            Self::DigestCount { .. } | Self::UnknownAlgorithm { .. } | Self::DuplicateAlgorithm { .. } => {
                "tpm.event_log.digests"
            }
            Self::PcrIndex { .. } => "tpm.event_log.pcr_index",
            Self::StartupLocality { .. } => "tpm.event_log.startup_locality",
        }
    }
}

/// The log parses and may even replay, yet claims something its digests do not bear out, or leaves out what every
/// measured boot has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnprovenBoot {
    /// The bank that was asked for is not in the log.
    #[error("event log has no digests for the {bank} bank")]
    BankMissing {
        /// Name of the bank.
        bank: &'static str,
    },
    /// One event lacks the digest of the bank that was asked for.
    #[error("event {event} in PCR {pcr} has no {bank} digest")]
    DigestMissing {
        /// Number of the event.
        event: u32,
        /// Its register.
        pcr: u8,
        /// Name of the bank.
        bank: &'static str,
    },
    /// PCR 0 to 7 hold only zeros: the firmware does not measure into this bank.
    #[error("firmware measured nothing into the {bank} bank")]
    BankUnused {
        /// Name of the bank.
        bank: &'static str,
    },
    /// Event data that must be what was measured is not: its digest is another.
    #[error("event {event} in PCR {pcr}: digest of {kind} is not the digest of its data")]
    DataNotMeasured {
        /// Number of the event.
        event: u32,
        /// Its register.
        pcr: u8,
        /// Name of the event type.
        kind: &'static str,
    },
    /// Bound event data that does not parse as its type.
    #[error("event {event} in PCR {pcr}: {kind} does not parse: {what}")]
    BadData {
        /// Number of the event.
        event: u32,
        /// Its register.
        pcr: u8,
        /// Name of the event type.
        kind: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// A separator that says the firmware met an error, or has an unknown value.
    #[error("event {event} in PCR {pcr}: separator says the firmware failed")]
    SeparatorError {
        /// Number of the event.
        event: u32,
        /// Its register.
        pcr: u8,
    },
    /// One of PCR 0 to 7 without a separator, or without any event: nobody can tell firmware from what came later.
    #[error("PCR {pcr} has no separator")]
    SeparatorMissing {
        /// The register.
        pcr: u8,
    },
    /// A second separator in one register.
    #[error("event {event}: PCR {pcr} has a second separator")]
    SeparatorTwice {
        /// Number of the second one.
        event: u32,
        /// The register.
        pcr: u8,
    },
    /// PCR 7 does not follow its grammar.
    #[error("event {event} in PCR 7: expected {expected}, found {found}")]
    SecureBootOrder {
        /// Number of the event.
        event: u32,
        /// What the grammar allows here.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// PCR 7 ends before its grammar does.
    #[error("PCR 7 ends where {expected} should stand")]
    SecureBootIncomplete {
        /// What is missing.
        expected: &'static str,
    },
    /// The `SecureBoot` variable holds something other than nothing, 0 or 1.
    #[error("event {event}: variable SecureBoot has {found} bytes or a value above 1")]
    SecureBootValue {
        /// Number of the event.
        event: u32,
        /// Its length in bytes.
        found: usize,
    },
    /// PK, KEK, db, dbx, dbt or dbr hold no well-formed `EFI_SIGNATURE_LIST`s.
    #[error("event {event}: variable {variable} is no list of signatures: {what}")]
    SignatureList {
        /// Number of the event.
        event: u32,
        /// The variable.
        variable: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The firmware was in debug mode: it says so in PCR 7, and nothing else it says counts.
    #[error("event {event}: firmware ran in debug mode")]
    DebugMode {
        /// Number of the event.
        event: u32,
    },
}

impl UnprovenBoot {
    /// The stable code of this refusal.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BankMissing { .. } | Self::DigestMissing { .. } => "tpm.event_log.bank_missing",
            Self::BankUnused { .. } => "tpm.event_log.bank_unused",
            Self::DataNotMeasured { .. } => "tpm.event_log.data_not_measured",
            Self::BadData { .. } => "tpm.event_log.bad_data",
            Self::SeparatorError { .. } => "tpm.event_log.separator_error",
            Self::SeparatorMissing { .. } => "tpm.event_log.separator_missing",
            Self::SeparatorTwice { .. } => "tpm.event_log.separator_twice",
            Self::SecureBootOrder { .. } => "tpm.secure_boot.order",
            Self::SecureBootIncomplete { .. } => "tpm.secure_boot.incomplete",
            Self::SecureBootValue { .. } => "tpm.secure_boot.value",
            Self::SignatureList { .. } => "tpm.secure_boot.signature_list",
            Self::DebugMode { .. } => "tpm.secure_boot.debug_mode",
        }
    }

    /// Number of the event that is at fault, where there is one.
    #[must_use]
    pub const fn event(&self) -> Option<u32> {
        match self {
            Self::DigestMissing { event, .. }
            | Self::DataNotMeasured { event, .. }
            | Self::BadData { event, .. }
            | Self::SeparatorError { event, .. }
            | Self::SeparatorTwice { event, .. }
            | Self::SecureBootOrder { event, .. }
            | Self::SecureBootValue { event, .. }
            | Self::SignatureList { event, .. }
            | Self::DebugMode { event } => Some(*event),
            Self::BankMissing { .. }
            | Self::BankUnused { .. }
            | Self::SeparatorMissing { .. }
            | Self::SecureBootIncomplete { .. } => None,
        }
    }
}
