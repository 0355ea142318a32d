//! JSON Web Keys (RFC 7517, 7518): a public key as members of a JSON object, and back; sets of them. Reads no certificates
//! (`x5c`) and decides nothing by `use`: that is the part of whoever reads bundles or the keys of an issuer.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdfast_evidence::crypto::{Curve, PublicKey, sha256};
use serde_json::{Map, Value, json};

use crate::jws::{Algorithm, KEY_ID_BYTES_MAX};
use holdfast_evidence::json::{self, BadJson};

/// Bytes of the largest set: those of large issuers have a tenth of it.
pub const JWKS_BYTES_MAX: usize = 256 << 10;
/// Keys of the largest set.
pub const JWKS_KEYS_MAX: usize = 256;

/// A public key with what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwk {
    /// The key.
    pub key: PublicKey,
    /// `kid`.
    pub key_id: Option<String>,
    /// `use`.
    pub usage: Option<String>,
    /// `alg`: the one algorithm it signs by.
    pub algorithm: Option<Algorithm>,
}

/// Why an object is no key, or a document no set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJwk {
    /// Too long.
    #[error("set of keys of {0} bytes, limit {JWKS_BYTES_MAX}")]
    TooLong(usize),
    /// Not JSON, or a name is there twice.
    #[error("set of keys: {0}")]
    Json(BadJson),
    /// No `keys`, or not a list of objects.
    #[error("expected keys to be a list of objects")]
    Keys,
    /// Too many.
    #[error("{0} keys, limit {JWKS_KEYS_MAX}")]
    Many(usize),
    /// A type, curve, size, exponent or algorithm that we do not know: a reader goes past such a key.
    #[error("key of a kind that is not known here")]
    Unknown,
    /// A member of a known kind of key is missing or has another form.
    #[error("key whose {0} is missing or malformed")]
    Member(&'static str),
    /// Two keys with one id.
    #[error("two keys with one kid")]
    Twice,
}

impl BadJwk {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "jwk.too_long",
            Self::Json(_) => "jwk.json",
            Self::Keys => "jwk.keys",
            Self::Many(_) => "jwk.many",
            Self::Unknown => "jwk.unknown",
            Self::Member(_) => "jwk.member",
            Self::Twice => "jwk.twice",
        }
    }
}

/// The members that make the key: `kty` with `crv`, `x`, `y`, or with `n`, `e`.
#[must_use]
pub fn members(key: &PublicKey) -> Map<String, Value> {
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let value = match key {
        PublicKey::Rsa { modulus } => json!({ "kty": "RSA", "n": encoded(modulus), "e": encoded(&[1, 0, 1]) }),
        PublicKey::Ec { curve, .. } => {
            let (x, y) = key.coordinates();
            json!({ "kty": "EC", "crv": curve_name(*curve), "x": encoded(x), "y": encoded(y) })
        }
    };
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// The key in an object, whatever else stands in it.
///
/// # Errors
/// [`BadJwk::Unknown`] for kinds that a reader ignores, [`BadJwk::Member`] for a key that is broken.
pub fn read_key(members: &Map<String, Value>) -> Result<PublicKey, BadJwk> {
    let bytes = |name: &'static str| {
        let text = members.get(name).and_then(Value::as_str).ok_or(BadJwk::Member(name))?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| BadJwk::Member(name))
    };
    match members.get("kty").and_then(Value::as_str) {
        Some("EC") => {
            let curve = match members.get("crv").and_then(Value::as_str).ok_or(BadJwk::Member("crv"))? {
                "P-256" => Curve::P256,
                "P-384" => Curve::P384,
                _ => return Err(BadJwk::Unknown),
            };
            let full = |name| bytes(name).and_then(|b| exact(b, curve.field_size()).ok_or(BadJwk::Member(name)));
            PublicKey::ec(curve, &full("x")?, &full("y")?).ok_or(BadJwk::Member("x"))
        }
        Some("RSA") => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            if exponent != [1, 0, 1] {
                return Err(BadJwk::Unknown);
            }
            PublicKey::rsa(&modulus).ok_or(BadJwk::Unknown)
        }
        Some(_) => Err(BadJwk::Unknown),
        None => Err(BadJwk::Member("kty")),
    }
}

/// The thumbprint of RFC 7638 with SHA-256, in base64url: 43 characters that are the same wherever the key is.
#[must_use]
pub fn thumbprint(key: &PublicKey) -> String {
    // Required members alone, in the order of their names and without blanks: written out, for a map may keep another.
    let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let canonical = match key {
        PublicKey::Rsa { modulus } => format!(r#"{{"e":"AQAB","kty":"RSA","n":"{}"}}"#, encoded(modulus)),
        PublicKey::Ec { curve, .. } => {
            let (x, y) = key.coordinates();
            format!(r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#, curve_name(*curve), encoded(x), encoded(y))
        }
    };
    URL_SAFE_NO_PAD.encode(sha256(&[canonical.as_bytes()]))
}

impl Jwk {
    /// A key that is called by its [`thumbprint`], and says no more of itself.
    #[must_use]
    pub fn named(key: PublicKey) -> Self {
        Self { key_id: Some(thumbprint(&key)), key, usage: None, algorithm: None }
    }

    /// The object.
    #[must_use]
    pub fn to_members(&self) -> Map<String, Value> {
        let mut found = members(&self.key);
        let said = [
            ("kid", self.key_id.as_deref()),
            ("use", self.usage.as_deref()),
            ("alg", self.algorithm.map(Algorithm::as_str)),
        ];
        found.extend(said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))));
        found
    }

    /// Reads an object; members that are not ours are passed over.
    ///
    /// # Errors
    /// [`BadJwk`]; a reader of a set goes past [`BadJwk::Unknown`].
    pub fn read(members: &Map<String, Value>) -> Result<Self, BadJwk> {
        let text = |name: &'static str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(BadJwk::Member(name)),
        };
        let key_id = match text("kid")? {
            Some(kid) if kid.is_empty() || kid.len() > KEY_ID_BYTES_MAX => return Err(BadJwk::Member("kid")),
            kid => kid.map(str::to_owned),
        };
        let algorithm = match text("alg")? {
            Some(name) => Some(Algorithm::from_name(name).ok_or(BadJwk::Unknown)?),
            None => None,
        };
        Ok(Self { key: read_key(members)?, key_id, usage: text("use")?.map(str::to_owned), algorithm })
    }
}

/// Reads a set: every key of a known kind. Keys of other kinds are passed over; a broken one makes the set a broken one.
///
/// # Errors
/// [`BadJwk`].
pub fn read_set(bytes: &[u8]) -> Result<Vec<Jwk>, BadJwk> {
    let mut found = Vec::new();
    for members in read_objects(bytes)? {
        match Jwk::read(&members) {
            Ok(key) => found.push(key),
            Err(BadJwk::Unknown) => {}
            Err(broken) => return Err(broken),
        }
    }
    Ok(found)
}

/// The objects in the `keys` of a set.
///
/// # Errors
/// [`BadJwk`].
pub fn read_objects(bytes: &[u8]) -> Result<Vec<Map<String, Value>>, BadJwk> {
    if bytes.len() > JWKS_BYTES_MAX {
        return Err(BadJwk::TooLong(bytes.len()));
    }
    let Some(Value::Array(keys)) = json::object(bytes).map_err(BadJwk::Json)?.remove("keys") else {
        return Err(BadJwk::Keys);
    };
    if keys.len() > JWKS_KEYS_MAX {
        return Err(BadJwk::Many(keys.len()));
    }
    let objects = keys.into_iter().map(|key| match key {
        Value::Object(members) => Ok(members),
        _ => Err(BadJwk::Keys),
    });
    objects.collect()
}

/// The document of a set, `{"keys":[…]}`.
#[must_use]
pub fn write_set<'a>(keys: impl IntoIterator<Item = &'a Jwk>) -> Vec<u8> {
    let keys: Vec<Value> = keys.into_iter().map(|key| Value::Object(key.to_members())).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

/// Keys by their id, as tokens name them. Keys without an id are left out: no token can name one.
pub(crate) fn by_id(keys: impl IntoIterator<Item = Jwk>) -> Result<BTreeMap<String, Jwk>, BadJwk> {
    let mut found = BTreeMap::new();
    for key in keys {
        let Some(id) = key.key_id.clone() else { continue };
        if found.insert(id, key).is_some() {
            return Err(BadJwk::Twice);
        }
    }
    Ok(found)
}

const fn curve_name(curve: Curve) -> &'static str {
    match curve {
        Curve::P256 => "P-256",
        Curve::P384 => "P-384",
    }
}

/// `bytes`, if there are as many.
fn exact(bytes: Vec<u8>, length: usize) -> Option<Vec<u8>> {
    (bytes.len() == length).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use holdfast_evidence::crypto::{KeyKind, PrivateKey};
    use ring::rand::SystemRandom;

    use super::*;

    fn public(kind: KeyKind) -> PublicKey {
        let rng = SystemRandom::new();
        PrivateKey::from_pkcs8(&PrivateKey::draw(kind, &rng).unwrap(), &rng).unwrap().public().clone()
    }

    #[test]
    fn a_key_is_read_back_as_written() {
        for kind in [KeyKind::EcP256, KeyKind::EcP384, KeyKind::Rsa2048] {
            let key = PublicKey::from_spki(&public(kind).spki()).unwrap();
            let mut jwk = Jwk::named(key.clone());
            assert_eq!(read_set(&write_set([&jwk])).unwrap(), [jwk.clone()]);
            jwk.usage = Some("sig".to_owned());
            jwk.algorithm = Some(Algorithm::of(&key));
            assert_eq!(Jwk::read(&jwk.to_members()).unwrap(), jwk, "{kind:?}");
        }
    }

    #[test]
    fn the_thumbprint_is_that_of_the_standards_example() {
        let example = json!({
            "kty": "RSA", "alg": "RS256", "kid": "2011-04-29", "e": "AQAB",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        });
        let key = Jwk::read(example.as_object().unwrap()).unwrap();
        assert_eq!(thumbprint(&key.key), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!((key.key_id.as_deref(), key.algorithm), (Some("2011-04-29"), Some(Algorithm::Rs256)));
    }

    #[test]
    fn unknown_kinds_are_passed_over_and_broken_keys_are_not() {
        let good = Jwk::named(public(KeyKind::EcP256)).to_members();
        let with = |name: &str, value: Value| {
            let mut members = good.clone();
            members.insert(name.to_owned(), value);
            json!({ "keys": [good, members] }).to_string().into_bytes()
        };
        for (name, value) in
            [("kty", "OKP"), ("crv", "P-521"), ("crv", "secp256k1"), ("alg", "HS256"), ("alg", "ECDH-ES")]
        {
            assert_eq!(read_set(&with(name, value.into())).unwrap().len(), 1, "{name} {value}");
        }
        for (name, value) in
            [("x", json!("AAAA")), ("y", json!(7)), ("x", json!("a=")), ("kid", json!(7)), ("use", json!([]))]
        {
            assert!(matches!(read_set(&with(name, value.clone())), Err(BadJwk::Member(_))), "{name} {value}");
        }
        assert_eq!(read_set(&with("kid", "".into())), Err(BadJwk::Member("kid")));
        assert_eq!(read_set(&with("more", json!({ "a": 1 }))).unwrap().len(), 2, "members that nobody defined");
        assert_eq!(by_id(read_set(&with("more", "".into())).unwrap()), Err(BadJwk::Twice));
    }

    #[test]
    fn small_keys_and_other_exponents_are_unknown() {
        let mut members = members(&public(KeyKind::Rsa2048));
        members.insert("e".to_owned(), "Aw".into());
        assert_eq!(read_key(&members), Err(BadJwk::Unknown));
        members.insert("e".to_owned(), "AQAB".into());
        members.insert("n".to_owned(), URL_SAFE_NO_PAD.encode([0xff; 128]).into());
        assert_eq!(read_key(&members), Err(BadJwk::Unknown));
    }

    #[test]
    fn sets_are_bounded_and_have_keys() {
        assert_eq!(read_set(&vec![b' '; JWKS_BYTES_MAX + 1]), Err(BadJwk::TooLong(JWKS_BYTES_MAX + 1)));
        assert_eq!(read_set(json!({ "keys": vec![json!({}); 257] }).to_string().as_bytes()), Err(BadJwk::Many(257)));
        assert_eq!(read_set(b"{\"keys\":[],\"keys\":[]}"), Err(BadJwk::Json(BadJson::Twice)));
        for text in ["{}", "{\"keys\":{}}", "{\"keys\":[1]}"] {
            assert_eq!(read_set(text.as_bytes()), Err(BadJwk::Keys), "{text}");
        }
        assert_eq!(read_set(b"{\"keys\":[]}"), Ok(Vec::new()));
    }
}
