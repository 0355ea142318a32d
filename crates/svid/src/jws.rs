//! Signed tokens in the compact form of JWS (RFC 7515): taken apart, verified over the very bytes they came in, and
//! prepared for signing. What a header or a claim must say is the callers' part: [`crate::jwt`], [`crate::foreign`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_evidence::crypto::{
    CryptoFault, Curve, HashAlg, PrivateKey, PublicKey, SecureRandom, SignatureAlg, SignatureValue, sha256, verify,
    verify_pss,
};
use serde_json::{Map, Value, json};

pub use crate::refused::BadToken;
use holdfast_evidence::json;

/// Bytes of the longest token that is read: with as many and as long audiences as we allow, ours stay below half of it.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;
/// Bytes of the longest key id.
pub const KEY_ID_BYTES_MAX: usize = 256;

/// The algorithms that may sign (JWT-SVID, section 2.1.1). No symmetric one, no `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512. No key of ours is on that curve, so that nothing verifies by it.
    Es512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
    ];

    /// The name in headers and keys.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
        }
    }

    /// The algorithm of this name; names are spelled in one way.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// The algorithm that a private key of this kind signs by.
    #[must_use]
    pub const fn of(key: &PublicKey) -> Self {
        match key {
            PublicKey::Rsa { .. } => Self::Rs256,
            PublicKey::Ec { curve: Curve::P256, .. } => Self::Es256,
            PublicKey::Ec { curve: Curve::P384, .. } => Self::Es384,
        }
    }

    /// Whether a key of this kind can have signed by it.
    #[must_use]
    pub const fn fits(self, key: &PublicKey) -> bool {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                matches!(key, PublicKey::Rsa { .. })
            }
            Self::Es256 => matches!(key, PublicKey::Ec { curve: Curve::P256, .. }),
            Self::Es384 => matches!(key, PublicKey::Ec { curve: Curve::P384, .. }),
            Self::Es512 => false,
        }
    }

    /// Checks a bare signature over `message`.
    ///
    /// # Errors
    /// [`BadToken::KeyAlgorithm`] for a key of another kind, [`BadToken::Signature`].
    pub fn verify(self, key: &PublicKey, message: &[u8], signature: &[u8]) -> Result<(), BadToken> {
        if !self.fits(key) {
            return Err(BadToken::KeyAlgorithm);
        }
        let rsa = |hash| verify(key, SignatureAlg::Rsassa, hash, message, SignatureValue::Rsa(signature));
        let ecdsa = |hash, width| {
            let both = signature.split_at_checked(width).filter(|(_, s)| s.len() == width);
            let (r, s) = both.ok_or(holdfast_evidence::crypto::BadSignature)?;
            verify(key, SignatureAlg::Ecdsa, hash, message, SignatureValue::Ecdsa { r, s })
        };
        let verified = match self {
            Self::Rs256 => rsa(HashAlg::Sha256),
            Self::Rs384 => rsa(HashAlg::Sha384),
            Self::Rs512 => rsa(HashAlg::Sha512),
            Self::Es256 => ecdsa(HashAlg::Sha256, 32),
            Self::Es384 => ecdsa(HashAlg::Sha384, 48),
            Self::Es512 => ecdsa(HashAlg::Sha512, 66),
            Self::Ps256 => verify_pss(key, HashAlg::Sha256, message, signature),
            Self::Ps384 => verify_pss(key, HashAlg::Sha384, message, signature),
            Self::Ps512 => verify_pss(key, HashAlg::Sha512, message, signature),
        };
        verified.map_err(|_| BadToken::Signature)
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A token taken apart. Nothing in it is believed before [`Compact::verify`].
#[derive(Debug)]
pub struct Compact<'a> {
    header: Map<String, Value>,
    payload: Vec<u8>,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Takes a token apart: three parts in base64url without padding, the first a JSON object.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn parse(token: &'a str) -> Result<Self, BadToken> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(BadToken::TooLong(token.len()));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(BadToken::Form)?;
        let (header, payload) = signed.split_once('.').ok_or(BadToken::Form)?;
        // Four dots make a JWE: base64url has no dot, so that the payload of one does not decode.
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| BadToken::Form);
        let header = json::object(&decode(header)?).map_err(BadToken::Header)?;
        if header.contains_key("crit") {
            return Err(BadToken::Critical);
        }
        Ok(Self { header, payload: decode(payload)?, signed, signature: decode(signature)? })
    }

    /// The members of the header.
    #[must_use]
    pub const fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// The algorithm in the header, if it is one of ours.
    ///
    /// # Errors
    /// [`BadToken::Algorithm`].
    pub fn algorithm(&self) -> Result<Algorithm, BadToken> {
        self.header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name).ok_or(BadToken::Algorithm)
    }

    /// The id of the key that is said to have signed; `None` without one.
    ///
    /// # Errors
    /// [`BadToken::KeyId`] for an empty or long one, or none that is a string.
    pub fn key_id(&self) -> Result<Option<&str>, BadToken> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) if !kid.is_empty() && kid.len() <= KEY_ID_BYTES_MAX => Ok(Some(kid)),
            Some(_) => Err(BadToken::KeyId),
        }
    }

    /// The claims.
    ///
    /// # Errors
    /// [`BadToken::Claims`] if the payload is no JSON object.
    pub fn claims(&self) -> Result<Map<String, Value>, BadToken> {
        json::object(&self.payload).map_err(BadToken::Claims)
    }

    /// SHA-256 over what is signed. It names the token, as its whole text does not: of one ECDSA signature anybody makes a
    /// second one that verifies, without the key.
    #[must_use]
    pub fn signed_sha256(&self) -> [u8; 32] {
        sha256(&[self.signed.as_bytes()])
    }

    /// Whether `key` signed it by the algorithm in the header.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn verify(&self, key: &PublicKey) -> Result<(), BadToken> {
        self.algorithm()?.verify(key, self.signed.as_bytes(), &self.signature)
    }
}

/// A token that lacks its signature.
#[derive(Debug)]
pub struct Prepared {
    algorithm: Algorithm,
    text: String,
}

impl Prepared {
    /// What `claims` are as a token of type JWT, of the key with this id.
    #[must_use]
    pub fn new(algorithm: Algorithm, key_id: &str, claims: &Map<String, Value>) -> Self {
        let header = json!({ "alg": algorithm.as_str(), "kid": key_id, "typ": "JWT" });
        let claims = serde_json::to_string(claims).unwrap_or_default();
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        Self { algorithm, text }
    }

    /// The bytes to be signed.
    #[must_use]
    pub fn to_be_signed(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// The token, with a signature over [`Self::to_be_signed`] in the bare form of JWS.
    #[must_use]
    pub fn with(self, signature: &[u8]) -> String {
        format!("{}.{}", self.text, URL_SAFE_NO_PAD.encode(signature))
    }

    /// The token, signed by `key`.
    ///
    /// # Errors
    /// [`CryptoFault::Key`] if the key signs by another algorithm, or cannot be used.
    pub fn sign(self, key: &PrivateKey, rng: &dyn SecureRandom) -> Result<String, CryptoFault> {
        if Algorithm::of(key.public()) != self.algorithm {
            return Err(CryptoFault::Key);
        }
        let signature = key.sign(self.to_be_signed(), rng)?;
        Ok(self.with(&signature))
    }
}
