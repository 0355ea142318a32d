//! JWT authorities: the public keys that verify JWT-SVIDs, in our own bundle, and the tokens that are to be signed.

use holdfast_evidence::crypto::PublicKey;
use holdfast_identity::{SpiffeId, UnixTime};
use holdfast_svid::Grant;

use super::entries::EntryNumber;
use super::issuances::NotRecorded;
use super::ledger::Actor;
use super::nodes::NodeNumber;
use super::{Held, Sha256};
use crate::authority::life::{Command, Life, LifeRefusal, Living};

/// JWT authorities in one bundle: of several servers, each with an old, a current and a next key.
pub const JWT_AUTHORITIES_MAX: usize = 64;

/// Verbs about JWT authorities and JWT-SVIDs.
pub trait JwtAuthorities: Send + Sync {
    /// Puts a key into our own bundle.
    fn publish_jwt_authority(
        &self,
        authority: JwtAuthority,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<(), LifeRefusal>>;
    /// Carries out a command on one. Where it is activated, those of `ours` that are active become old.
    fn command_jwt_authority(
        &self,
        authority_id: String,
        command: Command,
        ours: Vec<String>,
        by: Actor,
        at: UnixTime,
    ) -> Held<'_, Result<(), LifeRefusal>>;
    /// Takes one out of our own bundle whose time is over.
    fn retire_jwt_authority(&self, authority_id: String, at: UnixTime) -> Held<'_, ()>;
    /// Those in our own bundle, in order of publication.
    fn jwt_authorities(&self) -> Held<'_, Vec<JwtAuthority>>;
    /// Writes JWT-SVIDs to the record before they are signed by `authority_id`, in one group commit with whatever else is
    /// under way. Judged as X.509-SVIDs are. One answer per request, in order.
    fn record_tokens(
        &self,
        authority_id: String,
        requests: Vec<TokenIssuance>,
        judged_at: u64,
        at: UnixTime,
    ) -> Held<'_, Vec<Result<RecordedToken, NotRecorded>>>;
}

/// A key that verifies JWT-SVIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtAuthority {
    /// The key's thumbprint, and the `kid` of its tokens.
    pub authority_id: String,
    /// The public key.
    pub key: PublicKey,
    /// Where in its life it is.
    pub life: Life,
}

impl Living for JwtAuthority {
    fn id(&self) -> &str {
        &self.authority_id
    }

    fn life(&self) -> &Life {
        &self.life
    }
}

/// A JWT-SVID as it will be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIssuance {
    /// Its subject.
    pub spiffe_id: SpiffeId,
    /// SHA-256 over its audiences.
    pub audience_sha256: Sha256,
    /// Its end.
    pub expires: UnixTime,
    /// The node that asked.
    pub node: NodeNumber,
    /// The entry.
    pub entry: EntryNumber,
    /// The entry's revision that was judged.
    pub revision: u64,
}

/// Proof that a JWT-SVID is on disk in the record. Made by the store alone, consumed by the signer; not `Clone`.
#[derive(Debug)]
#[must_use = "an entry without an issuance is harmless, but was it meant?"]
pub struct RecordedToken {
    authority_id: String,
    issuance: TokenIssuance,
    grant: Grant,
}

impl RecordedToken {
    /// Only the store says so.
    pub(in crate::store) const fn new(authority_id: String, issuance: TokenIssuance, grant: Grant) -> Self {
        Self { authority_id, issuance, grant }
    }

    /// Redeems the token: what was recorded, by whose key it may be signed, and by what name it can be withdrawn.
    #[must_use]
    pub fn redeem(self) -> (String, TokenIssuance, Grant) {
        (self.authority_id, self.issuance, self.grant)
    }
}
