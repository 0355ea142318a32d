//! Tokens: an attestation result as a CWT in COSE_Sign1 or as a JWT, both by ES256. Signs nothing: what is prepared here is
//! signed by whoever holds the key, after writing down that it will.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coset::iana::{Algorithm, CborTag, EnumI64 as _};
use coset::{
    CborSerializable as _, CoseSign1, CoseSign1Builder, HeaderBuilder, RegisteredLabelWithPrivate,
    TaggedCborSerializable as _,
};
use holdfast_evidence::crypto::{HashAlg, PublicKey, SignatureAlg, SignatureValue, sha256, verify};
use serde_json::{Value, json};

use super::claims::AttestationResult;

/// Bytes of the largest token that is read; ours have below two thousand.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;
/// Bytes of a key's id.
const KEY_ID_BYTES: usize = 8;
/// How a JWT says what it is.
const JWT_TYPE: &str = "eat+jwt";

/// How a token is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// CBOR in COSE_Sign1, with its tag.
    #[default]
    Cwt,
    /// JSON in the compact form of JWS.
    Jwt,
}

impl Format {
    /// The name in commands and in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cwt => "cwt",
            Self::Jwt => "jwt",
        }
    }
}

/// The id of a key: the first bytes of the SHA-256 of its SubjectPublicKeyInfo.
#[must_use]
pub fn key_id(spki: &[u8]) -> Vec<u8> {
    sha256(&[spki]).into_iter().take(KEY_ID_BYTES).collect()
}

/// A token that lacks its signature.
#[derive(Debug)]
pub struct Prepared {
    form: Form,
    signed: Vec<u8>,
}

#[derive(Debug)]
enum Form {
    Cwt(Box<CoseSign1>),
    Jwt(String),
}

impl Prepared {
    /// What `result` is as a token of the key with this id; `None` if it cannot be written as CBOR.
    #[must_use]
    pub fn new(result: &AttestationResult, format: Format, key_id: &[u8]) -> Option<Self> {
        match format {
            Format::Cwt => {
                let protected = HeaderBuilder::new().algorithm(Algorithm::ES256).key_id(key_id.to_vec()).build();
                let payload = result.to_cbor().to_vec().ok()?;
                let token = CoseSign1Builder::new().protected(protected).payload(payload).build();
                Some(Self { signed: token.tbs_data(&[]), form: Form::Cwt(Box::new(token)) })
            }
            Format::Jwt => {
                let header = json!({ "alg": "ES256", "kid": URL_SAFE_NO_PAD.encode(key_id), "typ": JWT_TYPE });
                let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
                let text = format!("{}.{}", part(&header), part(&result.to_json()));
                Some(Self { signed: text.clone().into_bytes(), form: Form::Jwt(text) })
            }
        }
    }

    /// The bytes to be signed.
    #[must_use]
    pub fn to_be_signed(&self) -> &[u8] {
        &self.signed
    }

    /// The token, with a signature of 64 bytes (r, then s) over [`Self::to_be_signed`]; `None` for another length.
    #[must_use]
    pub fn with(self, signature: &[u8]) -> Option<Vec<u8>> {
        if signature.len() != 64 {
            return None;
        }
        match self.form {
            Form::Cwt(mut token) => {
                token.signature = signature.to_vec();
                token.to_tagged_vec().ok()
            }
            Form::Jwt(text) => Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()),
        }
    }
}

/// A token as it was read. What it says is believed after [`Token::verify`] alone.
#[derive(Debug)]
pub struct Token {
    /// How it is written.
    pub format: Format,
    /// The id of the key that is said to have signed.
    pub key_id: Vec<u8>,
    /// What it says.
    pub result: AttestationResult,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

/// Why a token is none, or not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Too long.
    #[error("token of {0} bytes, limit {TOKEN_BYTES_MAX}")]
    TooLong(usize),
    /// Neither a CWT nor a JWT of an attestation result.
    #[error("expected an attestation result of profile tag:ietf.org,2026:rats/ear#04 as CWT or JWT")]
    Form,
    /// Another algorithm than ES256.
    #[error("signed by another algorithm than ES256")]
    Algorithm,
    /// The key did not sign it.
    #[error("the signature is not that of the key")]
    Signature,
}

impl BadToken {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "ear.token.too_long",
            Self::Form => "ear.token.form",
            Self::Algorithm => "ear.token.algorithm",
            Self::Signature => "ear.token.signature",
        }
    }
}

impl Token {
    /// Reads a token of either form; a line feed behind it is fine.
    ///
    /// # Errors
    /// [`BadToken`]
    pub fn read(bytes: &[u8]) -> Result<Self, BadToken> {
        if bytes.len() > TOKEN_BYTES_MAX {
            return Err(BadToken::TooLong(bytes.len()));
        }
        let first_of_cwt = 0xc0 | u8::try_from(CborTag::CoseSign1.to_i64()).unwrap_or_default();
        if bytes.first() == Some(&first_of_cwt) { Self::read_cwt(bytes) } else { Self::read_jwt(bytes) }
    }

    /// Whether `key` signed it.
    ///
    /// # Errors
    /// [`BadToken::Signature`]
    pub fn verify(&self, key: &PublicKey) -> Result<(), BadToken> {
        let (r, s) = self.signature.split_at_checked(32).filter(|(_, s)| s.len() == 32).ok_or(BadToken::Signature)?;
        verify(key, SignatureAlg::Ecdsa, HashAlg::Sha256, &self.signed, SignatureValue::Ecdsa { r, s })
            .map_err(|_| BadToken::Signature)
    }

    fn read_cwt(bytes: &[u8]) -> Result<Self, BadToken> {
        let token = CoseSign1::from_tagged_slice(bytes).map_err(|_| BadToken::Form)?;
        if token.protected.header.alg != Some(RegisteredLabelWithPrivate::Assigned(Algorithm::ES256)) {
            return Err(BadToken::Algorithm);
        }
        // What must be understood and is not.
        if !token.protected.header.crit.is_empty() {
            return Err(BadToken::Form);
        }
        let payload = token.payload.as_deref().ok_or(BadToken::Form)?;
        let claims = coset::cbor::Value::from_slice(payload).map_err(|_| BadToken::Form)?;
        Ok(Self {
            format: Format::Cwt,
            key_id: token.protected.header.key_id.clone(),
            result: AttestationResult::from_cbor(&claims).ok_or(BadToken::Form)?,
            signed: token.tbs_data(&[]),
            signature: token.signature,
        })
    }

    fn read_jwt(bytes: &[u8]) -> Result<Self, BadToken> {
        let text = std::str::from_utf8(bytes).map_err(|_| BadToken::Form)?.trim_end();
        let (signed, signature) = text.rsplit_once('.').ok_or(BadToken::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(BadToken::Form)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| BadToken::Form);
        let json = |part: &str| serde_json::from_slice::<Value>(&decode(part)?).map_err(|_| BadToken::Form);
        let header = json(header)?;
        if header.get("alg").and_then(Value::as_str) != Some("ES256") {
            return Err(BadToken::Algorithm);
        }
        if header.get("crit").is_some() {
            return Err(BadToken::Form);
        }
        Ok(Self {
            format: Format::Jwt,
            key_id: decode(header.get("kid").and_then(Value::as_str).unwrap_or_default())?,
            result: AttestationResult::from_json(&json(claims)?).ok_or(BadToken::Form)?,
            signed: signed.as_bytes().to_vec(),
            signature: decode(signature)?,
        })
    }
}
