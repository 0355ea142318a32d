//! JWT-SVIDs that are given for the token of another issuer: drafted, and signed only against the record of the exchange.

use holdfast_identity::{SpiffeId, UnixTime};
use holdfast_svid::Algorithm;
use holdfast_svid::audience::Audience;
use holdfast_svid::jwt::Claims;
use ring::rand::SystemRandom;

use super::AuthorityFault;
use super::draft::Lifetime;
use super::token_key::{IssuedToken, TokenKey};
use crate::store::RecordedExchange;

/// Such a JWT-SVID in all its parts but the signature. Only [`TokenKey::draft_exchanged`] makes one.
#[derive(Debug)]
pub struct ExchangedDraft {
    authority_id: String,
    spiffe_id: SpiffeId,
    audience: Audience,
    issued: UnixTime,
    expires: UnixTime,
}

impl ExchangedDraft {
    /// Its subject.
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// Whom it is for.
    #[must_use]
    pub const fn audience(&self) -> &Audience {
        &self.audience
    }

    /// Its end.
    #[must_use]
    pub const fn expires(&self) -> UnixTime {
        self.expires
    }
}

impl TokenKey {
    /// Drafts a JWT-SVID that lives `ttl` seconds, or until this key ends.
    ///
    /// # Errors
    /// [`AuthorityFault::NoLifetime`].
    pub fn draft_exchanged(
        &self,
        spiffe_id: SpiffeId,
        audience: Audience,
        ttl: i64,
        now: UnixTime,
    ) -> Result<ExchangedDraft, AuthorityFault> {
        let none = AuthorityFault::NoLifetime { not_after: self.ends.seconds(), now: now.seconds() };
        let expires = Lifetime::cut(now, ttl, &[self.ends]).ok_or(none)?.not_after;
        Ok(ExchangedDraft { authority_id: self.authority_id.clone(), spiffe_id, audience, issued: now, expires })
    }

    /// Signs what was recorded.
    ///
    /// # Errors
    /// [`AuthorityFault::OtherRecord`] if `recorded` is the store's answer to something else;
    /// [`AuthorityFault::Crypto`].
    pub fn sign_exchanged(
        &self,
        draft: &ExchangedDraft,
        recorded: RecordedExchange,
    ) -> Result<IssuedToken, AuthorityFault> {
        let (authority_id, issuance) = recorded.redeem();
        let same = issuance.spiffe_id == draft.spiffe_id
            && issuance.audience == draft.audience.names()
            && issuance.expires == draft.expires;
        if !same || authority_id != self.authority_id || draft.authority_id != self.authority_id {
            return Err(AuthorityFault::OtherRecord);
        }
        let claims = Claims {
            subject: &draft.spiffe_id,
            audience: &draft.audience,
            issued: draft.issued,
            expires: draft.expires,
            issuer: self.issuer.as_deref(),
            // No node and no entry stands behind it.
            grant: None,
        };
        let prepared = claims.prepare(Algorithm::of(self.key.public()), &self.authority_id);
        let token = prepared
            .sign(&self.key, &SystemRandom::new())
            .map_err(|_| AuthorityFault::Crypto { action: "sign a JWT-SVID" })?;
        let (issued, expires) = (draft.issued, draft.expires);
        Ok(IssuedToken { spiffe_id: draft.spiffe_id.clone(), token, issued, expires, authority_id })
    }
}
