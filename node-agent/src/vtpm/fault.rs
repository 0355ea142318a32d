//! What can go wrong between us and a virtual TPM. Faults of the machine, never a verdict about it.

use std::io;

/// A TPM command that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum VtpmFault {
    /// The device or its socket cannot be opened.
    #[error("TPM cannot be opened at {interface}")]
    Open {
        /// Device or address.
        interface: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The device or its socket failed, or was silent for too long.
    #[error("TPM command {command} got no answer")]
    Transport {
        /// Name of the command, as the specification spells it after `TPM2_`.
        command: &'static str,
        /// What the system answered.
        source: io::Error,
    },
    /// The TPM answered with an error.
    #[error("TPM command {command} failed with response code {code:#x}")]
    Command {
        /// As above.
        command: &'static str,
        /// TPM 2.0 Library Part 2, TPM_RC.
        code: u32,
    },
    /// The answer is not what the command answers with.
    #[error("TPM command {command} was answered in an unexpected form")]
    Answer {
        /// As above.
        command: &'static str,
    },
    /// An NV index is larger than anything that stands there.
    #[error("NV index {index:#010x} holds {found} bytes, limit {limit}")]
    TooLarge {
        /// The index.
        index: u32,
        /// Its size.
        found: usize,
        /// What we read at most.
        limit: usize,
    },
    /// Neither the index's own empty password nor the owner's may read it.
    #[error("NV index {index:#010x} cannot be read by its own or the owner's authorisation")]
    Unreadable {
        /// The index.
        index: u32,
    },
    /// No NV handle is free for a buffer.
    #[error("no NV index is free for a buffer")]
    NoIndex,
    /// Our own side: no random numbers, or a key that the library refuses.
    #[error("session with the TPM cannot be set up")]
    Session(#[from] holdfast_evidence::crypto::CryptoFault),
}

impl VtpmFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "agent.vtpm.open",
            Self::Transport { .. } => "agent.vtpm.transport",
            Self::Command { .. } => "agent.vtpm.command",
            Self::Answer { .. } => "agent.vtpm.answer",
            Self::TooLarge { .. } => "agent.vtpm.too_large",
            Self::Unreadable { .. } => "agent.vtpm.unreadable",
            Self::NoIndex => "agent.vtpm.no_index",
            Self::Session(_) => "agent.vtpm.session",
        }
    }

    /// TPM_RC_RETRY, TPM_RC_YIELDED, TPM_RC_TESTING: the command was not run, and may be sent again.
    pub(super) const fn asks_again(&self) -> bool {
        matches!(self, Self::Command { code: 0x922 | 0x908 | 0x90a, .. })
    }

    /// The TPM does not know the command: TPM_RC_COMMAND_CODE, from the TPM or from the kernel in front of it.
    #[must_use]
    pub const fn is_unknown_command(&self) -> bool {
        matches!(self, Self::Command { code, .. } if *code & 0xffff == 0x143)
    }

    /// The command was larger than the TPM takes, or asked for more than it gives at once.
    pub(super) const fn is_size(&self) -> bool {
        // TPM_RC_SIZE, TPM_RC_VALUE, TPM_RC_NV_RANGE, TPM_RC_COMMAND_SIZE; format one with its parameter cut off.
        matches!(self, Self::Command { code, .. }
            if matches!(*code & 0x0bf, 0x095 | 0x084) || matches!(*code & 0xfff, 0x146 | 0x142))
    }
}
