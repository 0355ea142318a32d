//! JWT-SVIDs: verified by the standard's rules, by the keys of the subject's own trust domain, and prepared for signing.
//!
//! Stricter than the standard in one thing, as other implementations are: a token must name its key (`kid`). And strict where
//! others are not: `sub` is the ID of a *workload* (JWT-SVID, section 3.1), so it has a path (SPIFFE-ID, section 2.2).

use std::collections::BTreeMap;

use holdfast_identity::{SpiffeId, TrustDomain, UnixTime};
use serde_json::{Map, Value};

use crate::audience::{self, Audience};
use crate::grant::{self, Grant};
use crate::jwk::{self, BadJwk, Jwk};
use crate::jws::{Algorithm, BadToken, Compact, Prepared};
use crate::time::{self, Leeway};

/// The `use` of a key that verifies JWT-SVIDs, in a SPIFFE bundle.
pub const USAGE: &str = "jwt-svid";

/// The keys that verify JWT-SVIDs of one trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtKeys {
    trust_domain: TrustDomain,
    keys: BTreeMap<String, Jwk>,
}

impl JwtKeys {
    /// The keys of `trust_domain`, which the caller has chosen by their `use`. Keys without an id are left out.
    ///
    /// # Errors
    /// [`BadJwk::Twice`] for two keys with one id.
    pub fn new(trust_domain: TrustDomain, keys: impl IntoIterator<Item = Jwk>) -> Result<Self, BadJwk> {
        Ok(Self { trust_domain, keys: jwk::by_id(keys)? })
    }

    /// Whose keys they are.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The keys, in the order of their ids.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Jwk> {
        self.keys.values()
    }

    /// The plain set of keys that the Workload API hands out: without `use`, which libraries outside of SPIFFE would take
    /// for one that they do not know.
    #[must_use]
    pub fn to_jwks(&self) -> Vec<u8> {
        let plain: Vec<Jwk> = self.keys.values().map(|key| Jwk { usage: None, ..key.clone() }).collect();
        jwk::write_set(&plain)
    }
}

/// A JWT-SVID as it was read: its form is right, and nothing in it is believed.
#[derive(Debug)]
pub struct Unverified<'a> {
    compact: Compact<'a>,
    key_id: String,
    subject: SpiffeId,
    claims: Map<String, Value>,
}

/// A JWT-SVID that was verified. Only [`Unverified::verify`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub struct JwtSvid {
    subject: SpiffeId,
    expires: UnixTime,
    claims: Map<String, Value>,
}

impl<'a> Unverified<'a> {
    /// Reads a token: header (`alg`, `kid`, `typ` and nothing else) and subject.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn parse(token: &'a str) -> Result<Self, BadToken> {
        let compact = Compact::parse(token)?;
        if compact.header().keys().any(|name| !matches!(name.as_str(), "alg" | "kid" | "typ")) {
            return Err(BadToken::HeaderMember);
        }
        compact.algorithm()?;
        match compact.header().get("typ").map(Value::as_str) {
            None | Some(Some("JWT" | "JOSE")) => {}
            Some(_) => return Err(BadToken::Type),
        }
        let key_id = compact.key_id()?.ok_or(BadToken::KeyId)?.to_owned();
        let claims = compact.claims()?;
        let subject = claims.get("sub").and_then(Value::as_str).ok_or(BadToken::SubjectMissing)?;
        let subject: SpiffeId = subject.parse().map_err(BadToken::Subject)?;
        // The ID of a trust domain is its authorities', whose documents are no tokens. Whoever compares by prefix would take
        // its bearer for anybody in there.
        if subject.path().is_empty() {
            return Err(BadToken::SubjectPathless);
        }
        Ok(Self { compact, key_id, subject, claims })
    }

    /// Whom it claims to speak of: good for finding the keys of that trust domain, and for nothing else.
    #[must_use]
    pub const fn claimed_subject(&self) -> &SpiffeId {
        &self.subject
    }

    /// By what it claims to have been given.
    #[must_use]
    pub fn claimed_grant(&self) -> Option<Grant> {
        Grant::of(&self.claims)
    }

    /// Checks everything: the keys are those of the subject's trust domain, the one that is named signed the bytes, one of
    /// `audiences` is meant, and it is time.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn verify(
        self,
        keys: &JwtKeys,
        audiences: &[&str],
        now: UnixTime,
        leeway: Leeway,
    ) -> Result<JwtSvid, BadToken> {
        if !self.subject.is_member_of(&keys.trust_domain) {
            return Err(BadToken::TrustDomain);
        }
        let key = keys.keys.get(&self.key_id).ok_or(BadToken::KeyUnknown)?;
        check_algorithm(key, &self.compact)?;
        self.compact.verify(&key.key)?;
        audience::check(&self.claims, audiences)?;
        let expires = time::check(&self.claims, now, leeway)?;
        Ok(JwtSvid { subject: self.subject, expires, claims: self.claims })
    }
}

/// A key that says by which algorithm it signs signs by no other.
pub(crate) fn check_algorithm(key: &Jwk, token: &Compact<'_>) -> Result<(), BadToken> {
    let algorithm = token.algorithm()?;
    let is_other = key.algorithm.is_some_and(|said| said != algorithm);
    if is_other { Err(BadToken::KeyAlgorithm) } else { Ok(()) }
}

impl JwtSvid {
    /// Whom it speaks of.
    #[must_use]
    pub const fn subject(&self) -> &SpiffeId {
        &self.subject
    }

    /// Its end: the first second in which it does not count.
    #[must_use]
    pub const fn expires(&self) -> UnixTime {
        self.expires
    }

    /// When it was made, where it says so: the first second in which it counts.
    #[must_use]
    pub fn issued(&self) -> Option<UnixTime> {
        self.claims.get("iat").and_then(time::numeric_date)
    }

    /// By what it was given, where a server of ours gave it.
    #[must_use]
    pub fn grant(&self) -> Option<Grant> {
        Grant::of(&self.claims)
    }

    /// All claims.
    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
}

/// What a JWT-SVID that we make says.
#[derive(Clone, Debug)]
pub struct Claims<'a> {
    /// Whom it speaks of.
    pub subject: &'a SpiffeId,
    /// Whom it is for.
    pub audience: &'a Audience,
    /// When it is made.
    pub issued: UnixTime,
    /// Its end.
    pub expires: UnixTime,
    /// `iss`, which programs outside of SPIFFE look for.
    pub issuer: Option<&'a str>,
    /// By what it is given, so that it can be withdrawn.
    pub grant: Option<Grant>,
}

impl Claims<'_> {
    /// The token that lacks the signature of the key with this id.
    #[must_use]
    pub fn prepare(&self, algorithm: Algorithm, key_id: &str) -> Prepared {
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), self.subject.as_str().into());
        claims.insert("aud".to_owned(), self.audience.names().into());
        claims.insert("exp".to_owned(), self.expires.seconds().into());
        claims.insert("iat".to_owned(), self.issued.seconds().into());
        claims.extend(self.issuer.map(|issuer| ("iss".to_owned(), issuer.into())));
        claims.extend(self.grant.map(|grant| (grant::CLAIM.to_owned(), grant.to_string().into())));
        Prepared::new(algorithm, key_id, &claims)
    }
}
