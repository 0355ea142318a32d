//! Exchanges of other issuers' tokens: in the record before ours is signed, and each token as often as its rule allows.

use holdfast_identity::{SpiffeId, UnixTime};

use super::{Held, Sha256};

/// Verbs about exchanges.
pub trait Exchanges: Send + Sync {
    /// Writes an exchange to the record, before `authority_id` signs the JWT-SVID, and counts the token that was exchanged,
    /// in one transaction.
    fn record_exchange(
        &self,
        authority_id: String,
        issuance: ExchangeIssuance,
        at: UnixTime,
    ) -> Held<'_, Result<RecordedExchange, NotExchanged>>;
}

/// A JWT-SVID as it will be signed, and what it is given for. Texts of the other token are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeIssuance {
    /// What whoever asked is told to name it by.
    pub exchange: String,
    /// Its subject.
    pub spiffe_id: SpiffeId,
    /// Its audiences.
    pub audience: Vec<String>,
    /// Its end.
    pub expires: UnixTime,
    /// The rule.
    pub rule: String,
    /// The other token's issuer.
    pub issuer: String,
    /// The other token's subject.
    pub subject: String,
    /// The other token's ID; empty where it has none.
    pub token_id: String,
    /// What tells the other token from all others.
    pub token: Sha256,
    /// From when on nobody needs to remember it.
    pub token_expires: UnixTime,
    /// How often it may be exchanged.
    pub uses: u32,
    /// Whence it came.
    pub source: String,
}

/// Why an exchange was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotExchanged {
    /// The token was exchanged as often as it may be.
    Replayed {
        /// How often.
        uses: u32,
    },
    /// The authority that was to sign signs no more, or ends before the JWT-SVID would.
    AuthorityGone,
}

/// Proof that an exchange is on disk in the record. Made by the store alone, consumed by the signer; not `Clone`.
#[derive(Debug)]
#[must_use = "an entry without an issuance is harmless, but was it meant?"]
pub struct RecordedExchange {
    authority_id: String,
    issuance: ExchangeIssuance,
}

impl RecordedExchange {
    /// Only the store says so.
    pub(in crate::store) const fn new(authority_id: String, issuance: ExchangeIssuance) -> Self {
        Self { authority_id, issuance }
    }

    /// Redeems it: by whose key may be signed, and what.
    #[must_use]
    pub fn redeem(self) -> (String, ExchangeIssuance) {
        (self.authority_id, self.issuance)
    }
}
