//! Endorsements: what vendors say about hardware (roots, intermediates, CRLs, VEKs, collateral), imported by operators
//! or fetched; and the authorities of our own trust bundle.

use super::jwt_authorities::JwtAuthority;
use super::ledger::Actor;
use super::{Held, Sha256};
use holdfast_evidence::EvidenceKind;
use holdfast_identity::UnixTime;

/// Bytes of one certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 16 << 10;
/// Bytes of one CRL; the largest of the field's TPM vendors is some 100 KiB.
pub const CRL_BYTES_MAX: usize = 4 << 20;
/// VEKs that the server keeps without an operator's word; the oldest go first. Our own tests do with few.
pub const KEPT_VEKS_MAX: u64 = if cfg!(test) { 5 } else { 100_000 };

/// Verbs about endorsements and the bundle.
pub trait Endorsements: Send + Sync {
    /// Keeps each for its kind, in the operator's name and recorded; a known one gets the new class and name. Returns
    /// how many were new.
    fn import_endorsements(&self, drafts: Vec<EndorsementDraft>, by: Actor, at: UnixTime) -> Held<'_, u64>;
    /// Keeps what the server fetched or was shown, and has checked. Only a new CRL is recorded, and only that is told
    /// to those who watch. CRLs and collateral go in place of those about the same; a CRL that ends earlier does not.
    fn keep_endorsements(&self, drafts: Vec<EndorsementDraft>, at: UnixTime) -> Held<'_, ()>;
    /// Forgets one, for whatever kind it is held; whether it was there.
    fn withdraw_endorsement(&self, sha256: Sha256, by: Actor, at: UnixTime) -> Held<'_, bool>;
    /// Those meant.
    fn endorsements(&self, which: Which) -> Held<'_, Vec<Endorsement>>;
    /// How many there are of each role, and which end comes first.
    fn count_endorsements(&self) -> Held<'_, Vec<EndorsementCount>>;
    /// Puts an authority into our own bundle; a known one changes nothing.
    fn publish_authority(&self, der: Vec<u8>, by: Actor, at: UnixTime) -> Held<'_, BundleState>;
    /// Takes an authority out of our own bundle.
    fn withdraw_authority(&self, sha256: Sha256, by: Actor, at: UnixTime) -> Held<'_, BundleState>;
    /// Our own trust bundle.
    fn bundle(&self) -> Held<'_, BundleState>;
}

/// Which endorsements are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// Roots, intermediates and CRLs: what decides whom we believe. Few.
    Trust,
    /// Collateral. Few.
    Collateral,
    /// What is about exactly this, newest end first.
    About(String),
    /// Everything, in the order of import, after a number.
    After {
        /// Zero for the first.
        number: u64,
        /// At most so many; 0 means 1000, which is the limit.
        limit: u32,
    },
}

/// The endorsements of one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndorsementCount {
    /// The role.
    pub role: EndorsementRole,
    /// How many.
    pub count: u64,
    /// The first end of validity among them.
    pub first_end: UnixTime,
}

/// What an endorsement is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndorsementRole {
    /// Trusted by itself.
    Root,
    /// Helps a chain up to a root.
    Intermediate,
    /// Says which certificates are revoked.
    Crl,
    /// Certifies the key that a chip signs its reports with (VCEK, VLEK).
    Vek,
    /// What a vendor says about a kind of platform (TDX).
    Collateral,
}

impl EndorsementRole {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Root, Self::Intermediate, Self::Crl, Self::Vek, Self::Collateral];

    /// As commands print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Intermediate => "intermediate",
            Self::Crl => "crl",
            Self::Vek => "vek",
            Self::Collateral => "collateral",
        }
    }

    /// As commands print it, read back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// Whether it decides whom we believe.
    #[must_use]
    pub const fn is_trust(self) -> bool {
        match self {
            Self::Root | Self::Intermediate | Self::Crl => true,
            Self::Vek | Self::Collateral => false,
        }
    }
}

/// What an endorsement speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Serves {
    /// A kind of evidence; what serves Nitro Enclaves serves the NitroTPM too.
    Evidence(EvidenceKind),
    /// Platform certificates: their maker is no maker of TPMs, and speaks for no endorsement key.
    Platforms,
    /// Device keys: IAK and IDevID.
    Devices,
}

impl Serves {
    /// The names, for messages.
    pub const NAMES: &str = "snp, tdx, nitro, tpm, nitrotpm, azure, gcp, platform, device";

    /// As commands print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evidence(kind) => kind.as_str(),
            Self::Platforms => "platform",
            Self::Devices => "device",
        }
    }

    /// As commands print it, read back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "platform" => Some(Self::Platforms),
            "device" => Some(Self::Devices),
            kind => kind.parse().ok().map(Self::Evidence),
        }
    }
}

impl From<EvidenceKind> for Serves {
    fn from(kind: EvidenceKind) -> Self {
        Self::Evidence(kind)
    }
}

impl PartialEq<EvidenceKind> for Serves {
    fn eq(&self, kind: &EvidenceKind) -> bool {
        *self == Self::Evidence(*kind)
    }
}

impl std::fmt::Display for Serves {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an endorsement came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EndorsementSource {
    /// An operator's file.
    File,
    /// Another site's bundle, brought by an operator.
    Bundle,
    /// The operator's directory.
    Directory,
    /// The vendor's service, or a cache of it.
    Service,
    /// A machine's own evidence that verified.
    Evidence,
}

impl EndorsementSource {
    /// Every source.
    pub const ALL: [Self; 5] = [Self::File, Self::Bundle, Self::Directory, Self::Service, Self::Evidence];

    /// As commands print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Bundle => "bundle",
            Self::Directory => "directory",
            Self::Service => "service",
            Self::Evidence => "evidence",
        }
    }

    /// As commands print it, read back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == text)
    }
}

/// What is to be held. The caller has parsed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndorsementDraft {
    /// What it is for.
    pub role: EndorsementRole,
    /// What it speaks for.
    pub serves: Serves,
    /// DER; of collateral, JSON.
    pub content: Vec<u8>,
    /// Trust class in lower case; empty for what is no certificate of a CA.
    pub class: String,
    /// The operator's name for it.
    pub name: String,
    /// The subject (a CRL's issuer) as text.
    pub subject: String,
    /// What it is about, for those who look it up by that: chip and TCB, platform and channel. Else empty.
    pub about: String,
    /// End of validity; of CRLs and collateral, the next update.
    pub not_after: UnixTime,
    /// Where it came from.
    pub source: EndorsementSource,
    /// When it came from there, to this site or the one that exported it.
    pub fetched_at: UnixTime,
}

/// An endorsement that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// Its place in the order of import.
    pub number: u64,
    /// SHA-256 of its content.
    pub sha256: Sha256,
    /// What was imported.
    pub draft: EndorsementDraft,
    /// When.
    pub imported_at: UnixTime,
    /// By whom.
    pub imported_by: String,
}

/// One authority of our own bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// SHA-256 of its DER.
    pub sha256: Sha256,
    /// The certificate.
    pub der: Vec<u8>,
    /// When it was published.
    pub published_at: UnixTime,
}

/// Our own trust bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleState {
    /// In order of publication.
    pub authorities: Vec<Authority>,
    /// The keys that verify JWT-SVIDs, in order of publication.
    pub jwt_authorities: Vec<JwtAuthority>,
    /// Rises with every change of content.
    pub sequence: u64,
}
