//! The stable codes of what a policy refuses in a list of measurements.

use serde::{Deserialize, Serialize};

/// Why a whole list is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListReason {
    /// There is none, or an empty one.
    Absent,
    /// Nothing in it is a file that was listed or signed: an IMA policy that measures nothing, or nothing yet.
    NoFile,
    /// The bank holds padded SHA-1 hashes.
    Sha1TemplateHash,
}

impl ListReason {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Absent => "policy.ima.absent",
            Self::NoFile => "policy.ima.no_file",
            Self::Sha1TemplateHash => "policy.ima.sha1_template_hash",
        }
    }
}

/// Why an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImaReason {
    /// The first entry is no `boot_aggregate`, or one is not that of the quoted PCRs.
    BootAggregate,
    /// A file whose digest no set lists.
    NotAllowed,
    /// A file without a signature, where signatures are what counts.
    Unsigned,
    /// A file whose signature none of the keys made.
    Signature,
    /// A file measured by SHA-1, MD5 or an unknown hash.
    WeakDigest,
    /// A file that changed while it was measured.
    Violation,
    /// A buffer of the kernel that the policy does not allow.
    Buffer,
    /// An entry whose template we do not know, or whose data does not fit it.
    Template,
}

/// Whether a difference of this code is about an entry: something was loaded that the rule does not admit.
pub(crate) fn is_of_an_entry(code: &str) -> bool {
    ImaReason::ALL.iter().any(|reason| reason.code() == code)
}

impl ImaReason {
    const ALL: [Self; 8] = [
        Self::BootAggregate,
        Self::NotAllowed,
        Self::Unsigned,
        Self::Signature,
        Self::WeakDigest,
        Self::Violation,
        Self::Buffer,
        Self::Template,
    ];

    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BootAggregate => "policy.ima.boot_aggregate",
            Self::NotAllowed => "policy.ima.not_allowed",
            Self::Unsigned => "policy.ima.unsigned",
            Self::Signature => "policy.ima.signature",
            Self::WeakDigest => "policy.ima.weak_digest",
            Self::Violation => "policy.ima.violation",
            Self::Buffer => "policy.ima.buffer",
            Self::Template => "policy.ima.template",
        }
    }

    /// What the policy wants instead, in words.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::BootAggregate => "a list that begins with the boot_aggregate of the quoted PCRs",
            Self::NotAllowed => "only files whose digests the sets list",
            Self::Unsigned => "only files that are signed or listed",
            Self::Signature => "signatures by the rule's keys",
            Self::WeakDigest => "files measured by SHA-256 or better (ima_hash=sha256)",
            Self::Violation => "no violations, or violations = \"tolerated\"",
            Self::Buffer => "only buffers that buffer_names or buffer_digests list",
            Self::Template => "entries of the templates ima-ng, ima-sig and ima-buf",
        }
    }
}
