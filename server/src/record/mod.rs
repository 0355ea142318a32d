//! The record of this server: what is written to it, who signs it, who reads of it is logged.
//!
//! How entries hash, prove and are audited is `crates/record`; where they are kept is the store's part; strangers, who
//! never write to it, are counted by the desk.

mod key;
mod listener;
mod publish;
mod reads;
mod signer;
mod source;
mod verify;

pub use holdfast_record::{
    Audit, AuditReport, Claim, Frontier, Hash, InclusionProof, Leaf, SignedCheckpoint, SigningKey, Tile, TileHashes,
    VerifierKey,
};
pub use key::{check_key, open_key};
pub use listener::Shown;
pub use publish::{Published, publish};
pub use reads::ReadLog;
pub use signer::{Pace, Proven, RecordFault, Signer, SignerOptions};
pub use source::{Claims, Kept, Source};
pub use verify::{Held, verify};

use crate::store::{Issuance, Origin, Sha256, TokenIssuance};
use holdfast_identity::UnixTime;

/// The leaf of an issuance.
#[must_use]
pub fn issuance_leaf(issuance: &Issuance, at: UnixTime) -> Leaf {
    Leaf::Issuance {
        at,
        serial: issuance.serial,
        spiffe_id_sha256: Sha256::of(issuance.spiffe_id.as_str().as_bytes()).0,
        spki_sha256: issuance.spki_sha256.0,
        not_before: issuance.not_before,
        not_after: issuance.not_after,
        origin: match issuance.origin {
            Origin::Server => holdfast_record::Origin::Server,
            Origin::Node { attempt } => holdfast_record::Origin::Node { attempt: attempt.0 },
            Origin::Workload { node, entry, revision } => {
                holdfast_record::Origin::Workload { node: node.0, entry: entry.0, revision }
            }
        },
    }
}

/// The leaf of a JWT-SVID that the key with this id is to sign.
#[must_use]
pub fn token_leaf(authority_id: &str, issuance: &TokenIssuance, at: UnixTime) -> Leaf {
    Leaf::Token {
        at,
        spiffe_id_sha256: Sha256::of(issuance.spiffe_id.as_str().as_bytes()).0,
        audience_sha256: issuance.audience_sha256.0,
        key_id_sha256: Sha256::of(authority_id.as_bytes()).0,
        expires: issuance.expires,
        node: issuance.node.0,
        entry: issuance.entry.0,
        revision: issuance.revision,
    }
}
