//! Why an operator's files cannot be imported. Told to operators alone.

use holdfast_evidence::x509::BadEndorsement;
use holdfast_evidence::{EvidenceKind, TrustClass};

/// Why a file cannot be imported. All of them stay out.
#[derive(Debug, thiserror::Error)]
pub enum NotImported {
    /// It is none of the things that are held.
    #[error("{file}: {source}")]
    Bad {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: BadEndorsement,
    },
    /// It is too large.
    #[error("{file}: is {found} bytes, limit {limit}")]
    TooLarge {
        /// The file.
        file: String,
        /// Its bytes.
        found: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Nobody said how far it is trusted.
    #[error("{file}: its issuer is not known here: say by --class how far it is to be trusted")]
    NoClass {
        /// The file.
        file: String,
    },
    /// The operator says otherwise than what is known of that root.
    #[error("{file}: is {name}, of class {class}")]
    OtherClass {
        /// The file.
        file: String,
        /// What the root is called.
        name: String,
        /// Its class.
        class: TrustClass,
    },
    /// A VEK or collateral that does not lead up to a root that is held or imported with it.
    #[error("{file}: does not verify under the roots held for {serves}: {reason}")]
    Unproven {
        /// The file.
        file: String,
        /// The kind of evidence.
        serves: EvidenceKind,
        /// What is wrong.
        reason: String,
    },
    /// A root that only the bundle speaks for.
    #[error("{file}: is a root that is neither known nor held here; import it by itself, or say --accept-roots")]
    UnknownRoot {
        /// The file.
        file: String,
    },
}

impl NotImported {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Bad { source, .. } => source.code(),
            Self::TooLarge { .. } => "endorsements.too_large",
            Self::NoClass { .. } => "endorsements.no_class",
            Self::OtherClass { .. } => "endorsements.other_class",
            Self::Unproven { .. } => "endorsements.unproven",
            Self::UnknownRoot { .. } => "endorsements.unknown_root",
        }
    }
}
