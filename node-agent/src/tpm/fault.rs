//! What can go wrong between us and the chip. Faults of ours or of the machine, never a verdict about it.

use tss_esapi::constants::response_code::{Tss2ResponseCode, Tss2ResponseCodeKind};

/// A TPM operation that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum TpmFault {
    /// The chip, or the library in front of it, answered with an error.
    #[error("TPM command {command} failed with {}", response(.source))]
    Command {
        /// Name of the command, as the specification spells it after `TPM2_`.
        command: &'static str,
        /// The library's error; its response code stands in the message.
        source: tss_esapi::Error,
    },
    /// The connection to the chip could not be opened.
    #[error("TPM cannot be opened at {interface}: {}", response(.source))]
    Open {
        /// Device or address.
        interface: String,
        /// The library's error.
        source: tss_esapi::Error,
    },
    /// A configured handle holds something that is not ours. It is never evicted.
    #[error(
        "persistent handle {handle:#010x} holds {found}, not this agent's {wanted}; free it or configure another handle"
    )]
    HandleOccupied {
        /// The configured handle.
        handle: u32,
        /// What the agent keeps there.
        wanted: &'static str,
        /// What is there.
        found: String,
    },
    /// The endorsement hierarchy wants an authorisation value that we do not have.
    #[error("endorsement hierarchy refuses the authorisation value: set tpm.endorsement_auth_file")]
    EndorsementAuth,
    /// The configured owner authorisation value is wrong.
    #[error("owner hierarchy refuses the value in tpm.owner_auth_file")]
    OwnerAuth,
    /// The key that the template makes is not the one in the certificate.
    #[error("endorsement key made from its template is not the one in the certificate at NV index {index:#010x}")]
    EndorsementKeyDiffers {
        /// Where the certificate was read.
        index: u32,
    },
    /// Something in NV, or from the server, does not have the form that it must have.
    #[error("{what} has an unexpected form: {expected}")]
    Form {
        /// Which structure.
        what: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// The state directory could not be read or written.
    #[error("state directory: {0}")]
    State(#[from] crate::state::StateFault),
    /// More requests are waiting for the chip than the queue holds.
    #[error("TPM queue is full: {limit} requests are waiting")]
    Busy {
        /// Length of the queue.
        limit: usize,
    },
    /// The thread that owns the chip has ended.
    #[error("TPM thread has ended")]
    Gone,
}

impl TpmFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Command { .. } => "agent.tpm.command",
            Self::Open { .. } => "agent.tpm.open",
            Self::HandleOccupied { .. } => "agent.tpm.handle_occupied",
            Self::EndorsementAuth => "agent.tpm.endorsement_auth",
            Self::OwnerAuth => "agent.tpm.owner_auth",
            Self::EndorsementKeyDiffers { .. } => "agent.tpm.endorsement_key_differs",
            Self::Form { .. } => "agent.tpm.form",
            Self::State(_) => "agent.tpm.state",
            Self::Busy { .. } => "agent.tpm.busy",
            Self::Gone => "agent.tpm.gone",
        }
    }

    /// What the chip objected to, where it was the chip.
    pub(super) fn kind(&self) -> Option<Tss2ResponseCodeKind> {
        match self {
            Self::Command { source: tss_esapi::Error::Tss2Error(code), .. } if from_the_chip(*self.raw().as_ref()?) => {
                code.kind()
            }
            _ => None,
        }
    }

    fn raw(&self) -> Option<u32> {
        match self {
            Self::Command { source, .. } => raw(source),
            _ => None,
        }
    }

    /// The handle that the command named holds nothing.
    pub(super) fn is_empty_handle(&self) -> bool {
        self.kind() == Some(Tss2ResponseCodeKind::Handle)
    }

    /// The authorisation value was wrong or missing.
    pub(super) fn is_auth(&self) -> bool {
        matches!(
            self.kind(),
            Some(
                Tss2ResponseCodeKind::BadAuth | Tss2ResponseCodeKind::AuthFail | Tss2ResponseCodeKind::AuthUnavailable
            )
        )
    }

    /// No slot was free: someone leaked objects or sessions.
    pub(super) fn is_out_of_slots(&self) -> bool {
        matches!(
            self.kind(),
            Some(
                Tss2ResponseCodeKind::ObjectMemory
                    | Tss2ResponseCodeKind::SessionMemory
                    | Tss2ResponseCodeKind::SessionHandles
                    | Tss2ResponseCodeKind::ObjectHandles
            )
        )
    }

    /// A key that we held is no longer there (the chip was reset or cleared), or the connection to the chip broke:
    /// opening it anew may help, once.
    pub(super) fn is_lost(&self) -> bool {
        match self.kind() {
            Some(kind) => matches!(
                kind,
                Tss2ResponseCodeKind::Handle
                    | Tss2ResponseCodeKind::ReferenceH0
                    | Tss2ResponseCodeKind::ReferenceH1
                    | Tss2ResponseCodeKind::ReferenceH2
            ),
            None => self.raw().is_some_and(|code| !from_the_chip(code)),
        }
    }
}

/// Response codes carry their layer in bits 16 to 23; the chip's own is 0, a resource manager's 11 (kernel) or 12.
const fn from_the_chip(code: u32) -> bool {
    matches!((code >> 16) & 0xff, 0 | 11 | 12)
}

/// The number behind the library's error, which shows it only in its text.
fn raw(error: &tss_esapi::Error) -> Option<u32> {
    let text = match error {
        tss_esapi::Error::Tss2Error(Tss2ResponseCode::FormatZero(code)) => code.to_string(),
        tss_esapi::Error::Tss2Error(Tss2ResponseCode::FormatOne(code)) => code.to_string(),
        tss_esapi::Error::Tss2Error(Tss2ResponseCode::Success) | tss_esapi::Error::WrapperError(_) => return None,
    };
    let digits = text.rsplit("0x").next()?;
    u32::from_str_radix(digits.trim(), 16).ok()
}

fn response(error: &tss_esapi::Error) -> String {
    match (raw(error), error) {
        (Some(code), tss_esapi::Error::Tss2Error(kind)) => match kind.kind().filter(|_| from_the_chip(code)) {
            Some(kind) => format!("{kind:?} ({code:#x})"),
            None => format!("response code {code:#x}"),
        },
        _ => error.to_string(),
    }
}
