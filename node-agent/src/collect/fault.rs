//! Why evidence could not be gathered. Faults of ours or of the machine, never a verdict about it.

use std::io;

use holdfast_evidence::EvidenceKind;

use super::azure::ImdsFault;
use super::nsm::NsmFault;
use super::snp::SevGuestFault;
use super::tsm::TsmFault;
use crate::tpm::TpmFault;
use crate::vtpm::VtpmFault;

/// Evidence that could not be gathered.
#[derive(Debug, thiserror::Error)]
pub enum CollectFault {
    /// The TPM did not do its part.
    #[error(transparent)]
    Tpm(#[from] TpmFault),
    /// The provider's virtual TPM did not do its part.
    #[error(transparent)]
    Vtpm(#[from] VtpmFault),
    /// The kernel made no report.
    #[error(transparent)]
    Tsm(#[from] TsmFault),
    /// The SEV guest device made no report.
    #[error(transparent)]
    SevGuest(#[from] SevGuestFault),
    /// The TDX guest device made no TDREPORT.
    #[error("no TDREPORT from {place}")]
    TdxGuest {
        /// The device.
        place: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The Nitro Secure Module made no document.
    #[error(transparent)]
    Nsm(#[from] NsmFault),
    /// Azure's metadata service did not answer.
    #[error(transparent)]
    Imds(#[from] ImdsFault),
    /// The firmware's log cannot be read.
    #[error("firmware log cannot be read")]
    FirmwareLog(#[source] io::Error),
    /// The kernel's list of measured files cannot be read.
    #[error("list of measured files cannot be read")]
    MeasuredFiles(#[source] io::Error),
    /// A program that was configured in place of a device failed.
    #[error("{program} failed: {reason}")]
    Program {
        /// Its path.
        program: String,
        /// What it said, or what the system said of it.
        reason: String,
    },
    /// The device answered with something that is no evidence of its kind.
    #[error("{kind} evidence has an unexpected form: {expected}")]
    Form {
        /// Its kind.
        kind: EvidenceKind,
        /// What was expected.
        expected: &'static str,
    },
    /// The server asks for something that this kind does not know.
    #[error("server's request for {kind} evidence cannot be read")]
    Ask {
        /// The kind.
        kind: EvidenceKind,
    },
    /// The server asks for nothing, for kinds that were not offered, or in another order than a composite's.
    #[error("server asks for other evidence than was offered")]
    Asks,
    /// The machine has nothing to attest with.
    #[error("this machine has no evidence to offer; `holdfast-agent detect` says why")]
    Nothing,
    /// Something is there that cannot be used. Without it the evidence would silently be weaker.
    #[error("{kind} is there but cannot be used: {reason}; correct it, or leave it out with the key \"evidence\"")]
    Broken {
        /// What.
        kind: EvidenceKind,
        /// Why.
        reason: String,
    },
    /// The node key could not be made or used.
    #[error("node key: {0}")]
    NodeKey(&'static str),
    /// The thread that worked on it has ended.
    #[error("collector has ended")]
    Ended,
}

impl CollectFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Tpm(fault) => fault.code(),
            Self::Vtpm(fault) => fault.code(),
            Self::Tsm(fault) => fault.code(),
            Self::SevGuest(fault) => fault.code(),
            Self::TdxGuest { .. } => "agent.tdx_guest.io",
            Self::Nsm(fault) => fault.code(),
            Self::Imds(fault) => fault.code(),
            Self::FirmwareLog(_) => "agent.collect.firmware_log",
            Self::MeasuredFiles(_) => "agent.collect.measured_files",
            Self::Program { .. } => "agent.collect.program",
            Self::Form { .. } => "agent.collect.form",
            Self::Ask { .. } => "agent.collect.ask",
            Self::Asks => "agent.collect.asks",
            Self::Nothing => "agent.collect.nothing",
            Self::Broken { .. } => "agent.collect.broken",
            Self::NodeKey(_) => "agent.collect.node_key",
            Self::Ended => "agent.collect.ended",
        }
    }
}
