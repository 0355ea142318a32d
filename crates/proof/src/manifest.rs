//! The manifest of one attempt: by digest or in place, everything that its verdict was reached by. The attempt's entry in
//! the record carries the manifest's SHA-256, so that nothing of it can be exchanged later.

use holdfast_appraisal::Ownership;
use holdfast_appraisal::decision::{Approval, InventoryAnswer, Listing, MachineRecord};
use serde::{Deserialize, Serialize};

use crate::bytes::Digest;
use crate::pieces::{PIECES_MAX, Piece};

/// The version that is written, and the only one that is read.
pub const MANIFEST_VERSION: u32 = 1;
/// Bytes of a manifest.
pub const MANIFEST_BYTES_MAX: usize = 256 << 10;
/// Items of one attempt, and certificates of one item.
const LIST_MAX: usize = 64;

/// What one attempt was judged by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub version: u32,
    /// The attempt's name, 32 hexadecimal digits.
    pub attempt: String,
    /// When it was judged, seconds since 1970.
    pub judged_at: i64,
    /// The challenge without its seal.
    pub challenge: Vec<Piece>,
    /// The node key as it was claimed.
    pub node_key: NodeKey,
    /// What the TPM offered when the challenge was drawn; absent unless it enrolled, and where the server did not have it
    /// any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered: Option<Offered>,
    /// The items, in order.
    pub items: Vec<ItemRecord>,
    /// The kernel's list of measured files, where it came along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_files: Option<MeasuredFilesRecord>,
    /// What the operator's records said at that moment.
    pub ownership: OwnershipRecord,
    /// The policy that decided; absent where the verdict was reached before any was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Digest>,
    /// The policy that was observed beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<Digest>,
    /// SHA-256 of the decision's JSON.
    pub decision: Digest,
}

/// The node key as it was claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKey {
    /// By a certificate request, PKCS#10.
    Request(Vec<Piece>),
    /// By its bare public key, DER `SubjectPublicKeyInfo`.
    PublicKey(Vec<Piece>),
}

/// What a TPM offered to be invited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offered {
    /// Its identity material as received.
    pub material: Digest,
    /// Whom the server believed then.
    pub trust: Digest,
    /// And about platforms and device keys; absent where it offered none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub makers: Option<MakersBelieved>,
    /// When its certificates were verified.
    pub verified_at: i64,
}

/// Whom the server believed about platforms and device keys: roots of their own, for a maker of machines is no maker of TPMs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MakersBelieved {
    /// For platform certificates.
    pub platforms: Digest,
    /// For the certificates of device keys.
    pub devices: Digest,
}

/// One item of evidence and what it was verified with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemRecord {
    /// Kind of evidence.
    pub kind: String,
    /// The item as received.
    pub pieces: Vec<Piece>,
    /// When it was verified; absent where something refused before it kept it from being looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<VerifiedWith>,
}

/// What the verifier brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifiedWith {
    /// The moment.
    pub at: i64,
    /// Whom the server believed; absent for a TPM, whose certificates count when it enrols.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<Digest>,
    /// The firmware log that the item names and does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_log: Option<Digest>,
    /// Certificates of the key that signed it, beside those in the item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Digest>,
    /// What the vendor says about the platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collateral: Option<Digest>,
}

/// The kernel's list of measured files, and where it was gone on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredFilesRecord {
    /// The byte of the whole list that this part begins at.
    pub offset: u64,
    /// The part, as received.
    pub list: Vec<Piece>,
    /// What was kept of the part before it, one state a policy; empty for a list from its first entry.
    pub before: Vec<String>,
}

/// The answers of the operator's records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnershipRecord {
    /// What of the machine stood in the inventory as a bare digest of before digests said what they are of.
    pub listed: Vec<Digest>,
    /// What of it stood there, or among the registered launches, as what it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listed_as_such: Vec<Digest>,
    /// What an operator said about this very machine.
    pub approval: ApprovalRecord,
    /// By what it was named on record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<Digest>,
}

/// What an operator said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApprovalRecord {
    /// Nobody was asked, or nobody had answered.
    NotGiven,
    /// Approved.
    Given,
    /// Turned down.
    Denied,
}

/// Why bytes are no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("manifest does not parse: {reason}")]
pub struct MalformedManifest {
    /// What is wrong.
    pub reason: String,
}

impl Manifest {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // A value without maps of foreign keys, which JSON always takes.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads one, within its limits.
    ///
    /// # Errors
    /// [`MalformedManifest`].
    pub fn parse(bytes: &[u8]) -> Result<Self, MalformedManifest> {
        let malformed = |reason: String| MalformedManifest { reason };
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(malformed(format!("{} bytes, limit {MANIFEST_BYTES_MAX}", bytes.len())));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if manifest.version != MANIFEST_VERSION {
            return Err(malformed(format!("version {}, this reads {MANIFEST_VERSION}", manifest.version)));
        }
        let certificates = manifest.items.iter().filter_map(|item| item.verified.as_ref());
        let longest = certificates.map(|with| with.certificates.len()).max().unwrap_or(0);
        let list = manifest.measured_files.iter().map(|files| files.list.len().max(files.before.len()));
        let key = manifest.node_key.pieces().len();
        let pieces =
            manifest.items.iter().map(|item| item.pieces.len()).chain([manifest.challenge.len(), key]).chain(list);
        if manifest.items.len().max(longest) > LIST_MAX || pieces.max() > Some(PIECES_MAX) {
            return Err(malformed("a list is longer than any that is written".to_owned()));
        }
        Ok(manifest)
    }

    /// Every body that it names itself, trust documents among them; what those name is theirs to say.
    #[must_use]
    pub fn names(&self) -> Vec<Digest> {
        let key = self.node_key.pieces();
        let list = self.measured_files.iter().flat_map(|files| &files.list);
        let pieces =
            self.challenge.iter().chain(key).chain(self.items.iter().flat_map(|item| &item.pieces)).chain(list);
        let mut names: Vec<Digest> = pieces
            .filter_map(|piece| match piece {
                Piece::Body(digest) => Some(*digest),
                Piece::Inline(_) => None,
            })
            .collect();
        names.extend(self.offered.iter().map(|offered| offered.material));
        names.extend(self.offered.iter().flat_map(Offered::trusts));
        for with in self.items.iter().filter_map(|item| item.verified.as_ref()) {
            names.extend(with.trust.into_iter().chain(with.known_log).chain(with.collateral));
            names.extend(&with.certificates);
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The trust documents that it names.
    #[must_use]
    pub fn trusts(&self) -> Vec<Digest> {
        let of_items = self.items.iter().filter_map(|item| item.verified.as_ref()?.trust);
        let mut trusts: Vec<Digest> = of_items.chain(self.offered.iter().flat_map(Offered::trusts)).collect();
        trusts.sort_unstable();
        trusts.dedup();
        trusts
    }
}

impl NodeKey {
    fn pieces(&self) -> &[Piece] {
        match self {
            Self::Request(pieces) | Self::PublicKey(pieces) => pieces,
        }
    }
}

impl Offered {
    fn trusts(&self) -> impl Iterator<Item = Digest> {
        let makers = self.makers.iter().flat_map(|makers| [makers.platforms, makers.devices]);
        [self.trust].into_iter().chain(makers)
    }
}

impl OwnershipRecord {
    /// The record of what the appraiser was told.
    #[must_use]
    pub fn of(ownership: &Ownership) -> Self {
        let listed = |listing| {
            let answers = ownership.inventory.iter().filter(move |answer| answer.listing == listing);
            answers.map(|answer| Digest(answer.digest)).collect()
        };
        Self {
            listed: listed(Listing::ListedBare),
            listed_as_such: listed(Listing::Listed),
            approval: match ownership.approval {
                Approval::NotGiven => ApprovalRecord::NotGiven,
                Approval::Given => ApprovalRecord::Given,
                Approval::Denied => ApprovalRecord::Denied,
            },
            machine: match ownership.machine {
                MachineRecord::New => None,
                MachineRecord::Known { identity } => Some(Digest(identity)),
            },
        }
    }

    /// As the appraiser is told.
    #[must_use]
    pub fn ownership(&self) -> Ownership {
        let bare = self.listed.iter().map(|digest| (digest, Listing::ListedBare));
        let listed = bare.chain(self.listed_as_such.iter().map(|digest| (digest, Listing::Listed)));
        Ownership {
            inventory: listed.map(|(digest, listing)| InventoryAnswer { digest: digest.0, listing }).collect(),
            approval: match self.approval {
                ApprovalRecord::NotGiven => Approval::NotGiven,
                ApprovalRecord::Given => Approval::Given,
                ApprovalRecord::Denied => Approval::Denied,
            },
            machine: self.machine.map_or(MachineRecord::New, |identity| MachineRecord::Known { identity: identity.0 }),
        }
    }
}
