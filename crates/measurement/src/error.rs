//! Why a file cannot be measured. Blames the file, or the combination of files; carries nothing of their contents.

/// Why no digest can be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmeasurable {
    /// The file ends before the field does.
    #[error("{file} ends inside {field}: {needed} bytes at {at:#x} of {size:#x}")]
    Truncated {
        /// What was being read.
        file: &'static str,
        /// The field, in the words of the document that defines the format.
        field: &'static str,
        /// Where the field begins.
        at: u64,
        /// Bytes that the field needs.
        needed: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// A number that stands for nothing that can be measured here.
    #[error("{file} has an unexpected {field}: {found:#x}")]
    Value {
        /// What was being read.
        file: &'static str,
        /// The field.
        field: &'static str,
        /// The number.
        found: u64,
    },
    /// A number above what is accepted.
    #[error("{field} of {file} is {found}, the limit is {limit}")]
    TooLarge {
        /// What was being read.
        file: &'static str,
        /// The field.
        field: &'static str,
        /// The number.
        found: u64,
        /// What is accepted.
        limit: u64,
    },
    /// A part without which nothing can be computed is not there.
    #[error("{file} has no {part}")]
    Missing {
        /// What was being read.
        file: &'static str,
        /// The part.
        part: &'static str,
    },
    /// The same part stands twice, and nothing says which one counts.
    #[error("{file} has more than one {part}")]
    Twice {
        /// What was being read.
        file: &'static str,
        /// The part.
        part: &'static str,
    },
    /// A kernel was given, and the firmware has no page for its hash: it would be started without being measured.
    #[error(
        "a kernel is given, but the firmware has no SNP_KERNEL_HASHES section: kernel, initrd and command line would not be measured"
    )]
    NoKernelHashes,
    /// More than one processor, and the firmware does not say where the others start.
    #[error("the firmware has no SEV-ES reset block: it does not say where processors beyond the first start")]
    NoResetBlock,
}

impl Unmeasurable {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "measure.truncated",
            Self::Value { .. } => "measure.value",
            Self::TooLarge { .. } => "measure.too_large",
            Self::Missing { .. } => "measure.missing",
            Self::Twice { .. } => "measure.twice",
            Self::NoKernelHashes => "measure.snp.no_kernel_hashes",
            Self::NoResetBlock => "measure.snp.no_reset_block",
        }
    }
}
