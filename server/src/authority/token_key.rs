//! The key that signs JWT-SVIDs at one moment. Signs only what the store has recorded: [`TokenKey::sign`] consumes a value
//! that only the store makes, and compares it with the draft.

use holdfast_evidence::crypto::PrivateKey;
use holdfast_identity::{SpiffeId, UnixTime};
use holdfast_svid::Algorithm;
use holdfast_svid::audience::Audience;
use holdfast_svid::jwt::Claims;
use ring::rand::SystemRandom;

use super::AuthorityFault;
use super::draft::Lifetime;
use crate::live::StandingNode;
use crate::store::{Entry, RecordedToken, Sha256, TokenIssuance};

/// The key that signs now.
#[derive(Debug)]
pub struct TokenKey {
    pub(super) authority_id: String,
    pub(super) key: PrivateKey,
    pub(super) ends: UnixTime,
    pub(super) issuer: Option<String>,
}

/// A JWT-SVID in all its parts but the signature. Only [`TokenKey::draft`] makes one.
#[derive(Debug)]
pub struct TokenDraft {
    authority_id: String,
    issuance: TokenIssuance,
    audience: Audience,
    issued: UnixTime,
}

/// A signed JWT-SVID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedToken {
    /// Its subject.
    pub spiffe_id: SpiffeId,
    /// The compact form.
    pub token: String,
    /// When it was made.
    pub issued: UnixTime,
    /// Its end.
    pub expires: UnixTime,
    /// Of the key that signed.
    pub authority_id: String,
}

impl TokenKey {
    /// Drafts a JWT-SVID: by an entry, below a node that stands. It ends with the entry, the node's evidence and this key,
    /// whichever is first.
    ///
    /// # Errors
    /// [`AuthorityFault::NoLifetime`].
    pub fn draft(
        &self,
        node: &StandingNode,
        entry: &Entry,
        audience: Audience,
        ttl_default: i64,
        now: UnixTime,
    ) -> Result<TokenDraft, AuthorityFault> {
        let wanted = &entry.draft;
        let ttl = if wanted.jwt_svid_ttl > 0 { wanted.jwt_svid_ttl } else { ttl_default };
        let ends = [node.evidence_expires(), wanted.expires_at.unwrap_or(UnixTime(i64::MAX)), self.ends];
        let not_after = ends.iter().fold(UnixTime(i64::MAX), |first, end| first.min(*end));
        let expires = Lifetime::cut(now, ttl, &ends)
            .ok_or(AuthorityFault::NoLifetime { not_after: not_after.seconds(), now: now.seconds() })?
            .not_after;
        let issuance = TokenIssuance {
            spiffe_id: wanted.spiffe_id.clone(),
            audience_sha256: Sha256(audience.digest()),
            expires,
            node: node.number(),
            entry: entry.number,
            revision: entry.revision_number,
        };
        Ok(TokenDraft { authority_id: self.authority_id.clone(), issuance, audience, issued: now })
    }

    /// The `kid` of its tokens.
    #[must_use]
    pub fn authority_id(&self) -> &str {
        &self.authority_id
    }

    /// Its end: it signs nothing that ends later.
    #[must_use]
    pub const fn ends(&self) -> UnixTime {
        self.ends
    }

    /// Signs what was recorded.
    ///
    /// # Errors
    /// [`AuthorityFault::OtherRecord`] if `recorded` is the store's answer to something else;
    /// [`AuthorityFault::Crypto`].
    pub fn sign(&self, draft: &TokenDraft, recorded: RecordedToken) -> Result<IssuedToken, AuthorityFault> {
        let (authority_id, issuance, grant) = recorded.redeem();
        if issuance != draft.issuance || authority_id != self.authority_id || draft.authority_id != self.authority_id {
            return Err(AuthorityFault::OtherRecord);
        }
        let claims = Claims {
            subject: &issuance.spiffe_id,
            audience: &draft.audience,
            issued: draft.issued,
            expires: issuance.expires,
            issuer: self.issuer.as_deref(),
            grant: Some(grant),
        };
        let prepared = claims.prepare(Algorithm::of(self.key.public()), &self.authority_id);
        let token = prepared
            .sign(&self.key, &SystemRandom::new())
            .map_err(|_| AuthorityFault::Crypto { action: "sign a JWT-SVID" })?;
        let (issued, expires) = (draft.issued, issuance.expires);
        Ok(IssuedToken { spiffe_id: issuance.spiffe_id, token, issued, expires, authority_id })
    }
}

impl TokenDraft {
    /// What goes into the record. The store's answer to it, and no other, lets this draft be signed.
    #[must_use]
    pub fn issuance(&self) -> TokenIssuance {
        self.issuance.clone()
    }
}
