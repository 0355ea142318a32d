//! Why a list of measurements proves nothing. Blames the list, never what it says was measured.

use crate::crypto::Digest;
use crate::error::Malformed;

/// A list that does not replay to the quote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImaRefused {
    /// The bytes before the quoted value are no list.
    #[error("entry {index}: {malformed}")]
    Malformed {
        /// Which entry, from 0.
        index: u64,
        /// What is wrong with it.
        #[source]
        malformed: Malformed,
    },
    /// No prefix of the list leads to the quoted value.
    #[error("no prefix of the {entries} entries replays to the quoted PCR 10 {quoted}")]
    NoPrefix {
        /// Entries that were replayed.
        entries: u64,
        /// The quoted value.
        quoted: Digest,
    },
    /// The quote does not cover PCR 10.
    #[error("the quote does not cover PCR 10")]
    NotQuoted,
    /// An entry says that it extended another PCR: its truth rests on none that we replay.
    #[error("entry {index} is of PCR {found}, expected 10")]
    OtherPcr {
        /// Which entry.
        index: u64,
        /// The PCR it names.
        found: u32,
    },
    /// The bank holds padded SHA-1 template hashes, and this entry's is not that of its data.
    #[error("entry {index}: the template hash is not that of its data")]
    TemplateHash {
        /// Which entry.
        index: u64,
    },
    /// The machine was started, or suspended, since the prefix was replayed: replay begins at the first entry again.
    #[error("the prefix was replayed under reset {known}, the quote is of reset {found}")]
    OtherBoot {
        /// Counters of the prefix: resets and restarts.
        known: Counters,
        /// Counters of the quote.
        found: Counters,
    },
    /// The prefix was replayed in another bank.
    #[error("the prefix was replayed in another bank than was quoted")]
    OtherBank,
    /// Firmware, loader or kernel are others than when the prefix was replayed.
    #[error("the prefix was replayed under other values of PCRs 0 to 9 than were quoted")]
    OtherPcrs,
    /// The list is longer than we read at once.
    #[error("the list has {found} bytes, limit {limit}")]
    TooLarge {
        /// Bytes there are.
        found: usize,
        /// Bytes we read.
        limit: usize,
    },
}

/// How often a TPM was reset and restarted, as its quotes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// `resetCount`.
    pub resets: u32,
    /// `restartCount`.
    pub restarts: u32,
}

impl std::fmt::Display for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.resets, self.restarts)
    }
}

impl ImaRefused {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "tpm.ima.malformed",
            Self::NoPrefix { .. } => "tpm.ima.no_prefix",
            Self::NotQuoted => "tpm.ima.pcr_not_quoted",
            Self::OtherPcr { .. } => "tpm.ima.other_pcr",
            Self::TemplateHash { .. } => "tpm.ima.template_hash",
            Self::OtherBoot { .. } => "tpm.ima.other_boot",
            Self::OtherBank => "tpm.ima.other_bank",
            Self::OtherPcrs => "tpm.ima.other_pcrs",
            Self::TooLarge { .. } => "tpm.ima.too_large",
        }
    }

    /// Whether the same list from its first entry could be accepted.
    #[must_use]
    pub const fn wants_the_whole_list(&self) -> bool {
        match self {
            Self::OtherBoot { .. }
            | Self::OtherBank
            | Self::OtherPcrs
            | Self::NoPrefix { .. }
            | Self::Malformed { .. } => true,
            Self::NotQuoted | Self::OtherPcr { .. } | Self::TemplateHash { .. } | Self::TooLarge { .. } => false,
        }
    }
}
