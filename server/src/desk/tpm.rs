//! What the desk must know of evidence of kind `tpm`: how to ask, how to verify, what the record keeps.

use std::collections::BTreeSet;

use holdfast_appraisal::decision::{Approval, InventoryAnswer, Listing, MachineRecord};
use holdfast_evidence::tpm::{EkIdentity, KnownTpm, TpmClaims, Unverified};
use holdfast_evidence::{EvidenceKind, Malformed};

use crate::store::{Candidate, ClockReading, Mark, Node, Ownership, Sha256, Standing};

/// Bytes of the machine's identity before its TPM in what the record keeps.
const IDENTITY_BYTES: usize = 32;

/// Evidence that does not parse or verify.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceRefused {
    /// It does not parse.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It does not verify.
    #[error(transparent)]
    Tpm(Box<Unverified>),
    /// A root that vouched for an endorsement key is not trusted any more.
    #[error("the root {root} of an endorsement key is not trusted any more")]
    RootWithdrawn {
        /// The name under which it was imported.
        root: String,
    },
}

impl From<Unverified> for EvidenceRefused {
    fn from(unverified: Unverified) -> Self {
        Self::Tpm(Box::new(unverified))
    }
}

impl EvidenceRefused {
    /// Stable code for operators and programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.code(),
            Self::Tpm(unverified) => unverified.code(),
            Self::RootWithdrawn { .. } => "tpm.ek.root_withdrawn",
        }
    }

    /// Whether the hardware vouched for what was refused: its signature over our binding was good, and something that
    /// it signed is not as it must be. Anybody who knows public keys can cause the other failures.
    #[must_use]
    pub fn is_genuine(&self) -> bool {
        match self {
            Self::RootWithdrawn { .. } => true,
            Self::Malformed(_) => false,
            Self::Tpm(unverified) => match **unverified {
                Unverified::Selection { .. }
                | Unverified::MissingPcr { .. }
                | Unverified::PcrDigest
                | Unverified::Replay { .. }
                | Unverified::BankUnextended
                | Unverified::FirmwareVersion { .. }
                | Unverified::Log(_)
                | Unverified::Boot(_) => true,
                // All that is checked before the quote's signature, and what the quote does not cover.
                _ => false,
            },
        }
    }
}

/// The TPM of a node on record. Before it stands what names the machine: the smallest of the endorsement keys of its
/// first admission.
pub(super) fn remembered(known: &[u8]) -> Option<KnownTpm> {
    let (_, tpm) = known.split_first_chunk::<IDENTITY_BYTES>()?;
    KnownTpm::parse(tpm).ok()
}

/// The marks of a machine with these endorsement keys.
pub(super) fn marks(eks: &[EkIdentity]) -> Vec<Mark> {
    eks.iter().flat_map(|ek| Mark::endorsement_key(Sha256(ek.certificate_sha256), Sha256(ek.spki_sha256))).collect()
}

/// What the store says about these endorsement keys, in the words of the appraiser.
pub(super) fn ownership(eks: &[EkIdentity], held: &Ownership) -> holdfast_appraisal::Ownership {
    let listed: BTreeSet<[u8; 32]> = held.inventory.iter().map(|entry| entry.digest.0).collect();
    let inventory = eks
        .iter()
        .map(|ek| InventoryAnswer {
            digest: ek.spki_sha256,
            listing: if listed.contains(&ek.spki_sha256) || listed.contains(&ek.certificate_sha256) {
                Listing::Listed
            } else {
                Listing::NotListed
            },
        })
        .collect();
    let denied = held.node.as_ref().is_some_and(|node| node.standing == Standing::Denied);
    let approval = match (denied, held.approved) {
        (true, _) => Approval::Denied,
        (false, true) => Approval::Given,
        (false, false) => Approval::NotGiven,
    };
    let machine = held
        .node
        .as_ref()
        .and_then(machine_identity)
        .map_or(MachineRecord::New, |identity| MachineRecord::Known { identity });
    holdfast_appraisal::Ownership { inventory, approval, machine }
}

/// By what a machine is named that was admitted before; also when its keys were forgotten, for its name stays its own.
fn machine_identity(node: &Node) -> Option<[u8; IDENTITY_BYTES]> {
    node.spiffe_id.as_ref()?;
    let remembered = node.known.first_chunk().copied();
    remembered.or_else(|| node.marks.iter().filter(|mark| mark.kind == "ek.spki").map(|mark| mark.digest.0).min())
}

/// What the record keeps of a machine that proved itself.
pub(super) fn candidate(claims: &TpmClaims, node: Option<&Node>) -> Candidate {
    let identity = node
        .and_then(machine_identity)
        .or_else(|| claims.eks.iter().map(|ek| ek.spki_sha256).min())
        .unwrap_or_default();
    let class = claims.class();
    let texts = claims.eks.first().map(|ek| [ek.manufacturer.as_str(), ek.model.as_str(), ek.version.as_str()]);
    Candidate {
        trust_class: class.map(|class| class.to_string()).unwrap_or_default(),
        // A machine without a class is treated as one that can be copied.
        copyable: class.is_none_or(|class| class.is_copyable()),
        ak_name: claims.ak_name.to_vec(),
        known: [identity.as_slice(), &claims.known().encode()].concat(),
        description: texts.map(|texts| texts.join(" ")).unwrap_or_default(),
    }
}

/// The quote's clock as the record compares it.
pub(super) const fn clock(claims: &TpmClaims) -> ClockReading {
    let found = claims.clock;
    ClockReading {
        clock: found.clock,
        reset_count: found.reset_count,
        restart_count: found.restart_count,
        safe: found.safe,
    }
}

/// The name of this kind.
pub(super) const KIND: &str = EvidenceKind::Tpm.as_str();
