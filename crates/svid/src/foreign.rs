//! Tokens of issuers that know nothing of SPIFFE: the OpenID Connect providers of CI systems and clouds. Their headers may
//! have more members and their subjects any form; signature, issuer, audience and times are checked as strictly.

use holdfast_identity::UnixTime;
use serde_json::{Map, Value};

use crate::audience;
use crate::jwk::{self, BadJwk, Jwk};
use crate::jws::{BadToken, Compact};
use crate::jwt::check_algorithm;
use crate::time::{self, Leeway};

/// The keys of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerKeys {
    issuer: String,
    keys: Vec<Jwk>,
}

impl IssuerKeys {
    /// Reads the set of keys that `issuer` publishes: those that are for signatures, by `use` and `key_ops`. A key that is
    /// broken, or of a kind that is not known here, is passed over.
    ///
    /// # Errors
    /// [`BadJwk`] if it is no set.
    pub fn read(issuer: &str, document: &[u8]) -> Result<Self, BadJwk> {
        let objects = jwk::read_objects(document)?;
        let keys = objects.iter().filter(|members| is_for_signatures(members)).filter_map(|key| Jwk::read(key).ok());
        Ok(Self { issuer: issuer.to_owned(), keys: keys.collect() })
    }

    /// Whose keys they are.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// How many keys are of a kind that verifies anything here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a key with this id is among them; if not, it may be time to fetch them again.
    #[must_use]
    pub fn has(&self, key_id: &str) -> bool {
        self.keys.iter().any(|key| key.key_id.as_deref() == Some(key_id))
    }

    /// The one key that a token can mean: of its id, or without an id the only one that signs by its algorithm.
    fn meant_by(&self, token: &Compact<'_>) -> Result<&Jwk, BadToken> {
        let (id, algorithm) = (token.key_id()?, token.algorithm()?);
        let mut candidates = self.keys.iter().filter(|key| match id {
            Some(id) => key.key_id.as_deref() == Some(id),
            None => algorithm.fits(&key.key) && key.algorithm.is_none_or(|said| said == algorithm),
        });
        match (candidates.next(), candidates.next()) {
            (Some(key), None) => Ok(key),
            _ => Err(BadToken::KeyUnknown),
        }
    }
}

fn is_for_signatures(members: &Map<String, Value>) -> bool {
    let by_usage = members.get("use").is_none_or(|usage| usage == "sig");
    let by_operations = members
        .get("key_ops")
        .is_none_or(|operations| operations.as_array().is_some_and(|list| list.iter().any(|name| name == "verify")));
    by_usage && by_operations
}

/// A token as it was read: nothing in it is believed.
#[derive(Debug)]
pub struct Unverified<'a> {
    compact: Compact<'a>,
    claims: Map<String, Value>,
}

/// The claims of a token that was verified. Only [`Unverified::verify`] makes them.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    members: Map<String, Value>,
    expires: UnixTime,
    signed_sha256: [u8; 32],
}

impl<'a> Unverified<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn parse(token: &'a str) -> Result<Self, BadToken> {
        let compact = Compact::parse(token)?;
        compact.algorithm()?;
        let claims = compact.claims()?;
        Ok(Self { compact, claims })
    }

    /// Who is said to have issued it: good for finding the keys of that issuer, and for nothing else.
    ///
    /// # Errors
    /// [`BadToken::Issuer`] if it says none.
    pub fn claimed_issuer(&self) -> Result<&str, BadToken> {
        self.claims.get("iss").and_then(Value::as_str).ok_or(BadToken::Issuer)
    }

    /// The id of the key that is said to have signed, if it says one.
    ///
    /// # Errors
    /// [`BadToken::KeyId`].
    pub fn claimed_key_id(&self) -> Result<Option<&str>, BadToken> {
        self.compact.key_id()
    }

    /// The `typ` of its header, for those who expect one.
    #[must_use]
    pub fn claimed_type(&self) -> Option<&str> {
        self.compact.header().get("typ").and_then(Value::as_str)
    }

    /// Checks everything: the keys are those of its issuer, the one that it means signed the bytes, one of `audiences` is
    /// meant, and it is time.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn verify(
        self,
        keys: &IssuerKeys,
        audiences: &[&str],
        now: UnixTime,
        leeway: Leeway,
    ) -> Result<Claims, BadToken> {
        if self.claimed_issuer()? != keys.issuer {
            return Err(BadToken::Issuer);
        }
        let key = keys.meant_by(&self.compact)?;
        check_algorithm(key, &self.compact)?;
        self.compact.verify(&key.key)?;
        audience::check(&self.claims, audiences)?;
        let expires = time::check(&self.claims, now, leeway)?;
        Ok(Claims { members: self.claims, expires, signed_sha256: self.compact.signed_sha256() })
    }
}

impl Claims {
    /// All claims.
    #[must_use]
    pub const fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// SHA-256 over what was signed: whatever else its text could be, the token is the same.
    #[must_use]
    pub const fn signed_sha256(&self) -> &[u8; 32] {
        &self.signed_sha256
    }

    /// The token's end: the first second in which it does not count.
    #[must_use]
    pub const fn expires(&self) -> UnixTime {
        self.expires
    }
}
