//! Bodies: what is kept beside the record by its digest, once for all machines that share it. Keeps nothing itself.

use std::collections::BTreeMap;

use crate::bytes::Digest;

/// Bytes of one body: a revocation list of a large vendor, or collateral for many platforms.
pub const BODY_BYTES_MAX: usize = 8 << 20;

/// What a body is, for the operator who asks where the space went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BodyKind {
    /// The list of everything that one attempt was judged by.
    Manifest,
    /// A part of an item of evidence as it was received, of this attempt or of a machine.
    Evidence,
    /// A firmware or CC event log: machines of one build share it.
    EventLog,
    /// Certificates that came along with evidence, or certify the key that signed it.
    Certificates,
    /// What a TPM offered when it enrolled: its endorsement certificates.
    Material,
    /// Attestation and endorsement keys of a machine.
    Keys,
    /// The list of roots, intermediates and revocation lists that were believed.
    Trust,
    /// A trusted root or intermediate.
    Authority,
    /// A revocation list.
    RevocationList,
    /// What a vendor says about a kind of platform.
    Collateral,
}

impl BodyKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Manifest,
        Self::Evidence,
        Self::EventLog,
        Self::Certificates,
        Self::Material,
        Self::Keys,
        Self::Trust,
        Self::Authority,
        Self::RevocationList,
        Self::Collateral,
    ];

    /// As the store and commands spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Evidence => "evidence",
            Self::EventLog => "event-log",
            Self::Certificates => "certificates",
            Self::Material => "material",
            Self::Keys => "keys",
            Self::Trust => "trust",
            Self::Authority => "authority",
            Self::RevocationList => "revocation-list",
            Self::Collateral => "collateral",
        }
    }
}

/// One body.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    /// What it is.
    pub kind: BodyKind,
    /// SHA-256 of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Body {
    /// A body and its name.
    #[must_use]
    pub fn new(kind: BodyKind, bytes: Vec<u8>) -> Self {
        Self { kind, digest: Digest::of(&bytes), bytes }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({}, {}, {} bytes)", self.kind.as_str(), self.digest, self.bytes.len())
    }
}

/// Bodies at hand, each under its true digest.
#[derive(Clone, Debug, Default)]
pub struct Bodies(BTreeMap<Digest, Vec<u8>>);

impl Bodies {
    /// Adds bytes under their own digest, whatever they were called.
    pub fn add(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.0.insert(digest, bytes);
        digest
    }

    /// The body of that digest.
    #[must_use]
    pub fn get(&self, digest: &Digest) -> Option<&[u8]> {
        self.0.get(digest).map(Vec::as_slice)
    }

    /// The digests of all.
    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.0.keys()
    }

    /// The body of that digest.
    ///
    /// # Errors
    /// [`BodyMissing`].
    pub fn need(&self, digest: &Digest) -> Result<&[u8], BodyMissing> {
        self.get(digest).ok_or(BodyMissing { digest: *digest })
    }
}

/// A body is not at hand: its retention has passed, or somebody left it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("body {digest} is not at hand")]
pub struct BodyMissing {
    /// Which.
    pub digest: Digest,
}
