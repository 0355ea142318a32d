//! `TPMT_PUBLIC`: the public area of a TPM object, its Name, and the checks on what kind of object it is.
//!
//! A Name covers every byte of the public area, so attributes are only ever read from the very bytes that gave the
//! Name: a [`Public`] keeps them. It is a *claim* until an activation, a quote or a Certify has used its Name.

use crate::crypto::{Curve, HashAlg, PublicKey, RSA_EXPONENT, SignatureAlg};
use crate::error::{Defect, Malformed, Structure};
use crate::reader::{Reader, Writer};

use super::attributes::Attributes;
use super::name::Name;

/// Bytes of a `TPMT_PUBLIC` with an RSA-4096 key, a 64-byte policy and every parameter; the specification's
/// largest key.
pub const PUBLIC_BYTES_MAX: usize = 640;

const TPM_ALG_RSA: u16 = 0x0001;
const TPM_ALG_ECC: u16 = 0x0023;
const TPM_ALG_NULL: u16 = 0x0010;
const TPM_ALG_AES: u16 = 0x0006;
const TPM_ALG_CFB: u16 = 0x0043;

/// A public area that parsed exactly, with the bytes it was read from.
#[derive(Clone, PartialEq, Eq)]
pub struct Public {
    encoded: Vec<u8>,
    name_alg: HashAlg,
    attributes: Attributes,
    policy: Vec<u8>,
    symmetric: Option<u16>,
    scheme: Scheme,
    key: PublicKey,
}

/// The scheme that a key is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `TPM_ALG_NULL`: chosen at each use.
    Null,
    /// One signature algorithm; its hash as the TPM writes it, which may be SHA-1.
    Signing {
        /// The algorithm.
        algorithm: SignatureAlg,
        /// The `TPM_ALG_ID` of the hash.
        hash: u16,
    },
    /// Any other scheme (encryption, ECDAA, SM2, …), by its `TPM_ALG_ID`.
    Other(u16),
}

impl Public {
    /// Reads a `TPMT_PUBLIC`, exactly: RSA of 2048, 3072 or 4096 bits, or ECC P-256 or P-384, nameAlg of at least
    /// SHA-256, and a unique field that holds a key (a template has none and is refused).
    ///
    /// # Errors
    /// [`Malformed`] at the field that is not so, and for trailing bytes.
    pub fn parse(tpmt: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::Public, tpmt);
        if tpmt.len() > PUBLIC_BYTES_MAX {
            let defect = Defect::TooLarge { found: tpmt.len(), limit: PUBLIC_BYTES_MAX };
            return Err(reader.malformed("publicArea", defect));
        }
        let kind = reader.u16("type")?;
        let id = reader.u16("nameAlg")?;
        let name_alg = HashAlg::from_id(id).ok_or(reader.value("nameAlg", id.into()))?;
        let attributes = Attributes::from_bits(reader.u32("objectAttributes")?);
        let policy = reader.sized16(64, "authPolicy")?.to_vec();
        let symmetric = read_symmetric(&mut reader)?;
        let (scheme, key) = match kind {
            TPM_ALG_RSA => read_rsa(&mut reader)?,
            TPM_ALG_ECC => read_ecc(&mut reader)?,
            other => return Err(reader.value("type", other.into())),
        };
        reader.finish()?;
        Ok(Self { encoded: tpmt.to_vec(), name_alg, attributes, policy, symmetric, scheme, key })
    }

    /// Reads a `TPM2B_PUBLIC`: a size and a `TPMT_PUBLIC`, each exactly.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_sized(tpm2b: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::Public, tpm2b);
        let tpmt = reader.sized16(PUBLIC_BYTES_MAX, "size")?;
        reader.finish()?;
        Self::parse(tpmt)
    }

    /// Reads either form, as tools write both: a first number that counts exactly the bytes after it is a size.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_either(bytes: &[u8]) -> Result<Self, Malformed> {
        let sized =
            bytes.split_first_chunk().is_some_and(|(size, rest)| usize::from(u16::from_be_bytes(*size)) == rest.len());
        if sized { Self::parse_sized(bytes) } else { Self::parse(bytes) }
    }

    /// The `TPMT_PUBLIC` it was read from.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// The same as `TPM2B_PUBLIC`.
    #[must_use]
    pub fn sized(&self) -> Vec<u8> {
        Writer::new().sized16(&self.encoded).finish()
    }

    /// `nameAlg ‖ H(TPMT_PUBLIC)`.
    #[must_use]
    pub fn name(&self) -> Name {
        Name::of(self.name_alg, &[&self.encoded])
    }

    /// The hash of its Name.
    #[must_use]
    pub const fn name_alg(&self) -> HashAlg {
        self.name_alg
    }

    /// Its `TPMA_OBJECT`.
    #[must_use]
    pub const fn attributes(&self) -> Attributes {
        self.attributes
    }

    /// Its authPolicy; empty where it has none.
    #[must_use]
    pub fn policy(&self) -> &[u8] {
        &self.policy
    }

    /// Bits of the AES key (CFB mode) that protects its children and credentials; `None` for a key that is no
    /// storage key.
    #[must_use]
    pub const fn symmetric_bits(&self) -> Option<u16> {
        self.symmetric
    }

    /// Its scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The key itself.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Writes a `TPMT_PUBLIC`: what an agent's template and a virtual TPM need.
    #[must_use]
    pub fn encode(
        key: &PublicKey,
        name_alg: HashAlg,
        attributes: Attributes,
        policy: &[u8],
        symmetric: Option<u16>,
        scheme: Scheme,
    ) -> Vec<u8> {
        let kind = match key {
            PublicKey::Rsa { .. } => TPM_ALG_RSA,
            PublicKey::Ec { .. } => TPM_ALG_ECC,
        };
        let writer = Writer::new().u16(kind).u16(name_alg.id()).u32(attributes.bits()).sized16(policy);
        let writer = match symmetric {
            None => writer.u16(TPM_ALG_NULL),
            Some(bits) => writer.u16(TPM_ALG_AES).u16(bits).u16(TPM_ALG_CFB),
        };
        let writer = match scheme {
            Scheme::Null => writer.u16(TPM_ALG_NULL),
            Scheme::Signing { algorithm, hash } => writer.u16(algorithm.id()).u16(hash),
            Scheme::Other(id) => writer.u16(id),
        };
        match key {
            PublicKey::Rsa { modulus } => {
                let bits = u16::try_from(modulus.len() * 8).unwrap_or(u16::MAX);
                writer.u16(bits).u32(0).sized16(modulus)
            }
            PublicKey::Ec { curve, .. } => {
                let (x, y) = key.coordinates();
                writer.u16(curve.id()).u16(TPM_ALG_NULL).sized16(x).sized16(y)
            }
        }
        .finish()
    }
}

/// Names kind and Name.
impl std::fmt::Debug for Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Public({:?}, {})", self.key, self.name())
    }
}

/// `TPMT_SYM_DEF_OBJECT`: NULL, or AES in CFB mode.
fn read_symmetric(reader: &mut Reader<'_>) -> Result<Option<u16>, Malformed> {
    match reader.u16("symmetric.algorithm")? {
        TPM_ALG_NULL => Ok(None),
        TPM_ALG_AES => {
            let bits = reader.u16("symmetric.keyBits")?;
            if !matches!(bits, 128 | 256) {
                return Err(reader.value("symmetric.keyBits", bits.into()));
            }
            match reader.u16("symmetric.mode")? {
                TPM_ALG_CFB => Ok(Some(bits)),
                other => Err(reader.value("symmetric.mode", other.into())),
            }
        }
        other => Err(reader.value("symmetric.algorithm", other.into())),
    }
}

/// `TPMT_RSA_SCHEME` and `TPMT_ECC_SCHEME`, whose numbers do not overlap.
fn read_scheme(reader: &mut Reader<'_>) -> Result<Scheme, Malformed> {
    let id = reader.u16("scheme.scheme")?;
    if let Some(algorithm) = SignatureAlg::from_id(id) {
        return Ok(Scheme::Signing { algorithm, hash: read_hash(reader, "scheme.hashAlg")? });
    }
    match id {
        TPM_ALG_NULL => Ok(Scheme::Null),
        // RSAES has no details.
        0x0015 => Ok(Scheme::Other(id)),
        // OAEP, ECDH, SM2, ECSCHNORR, ECMQV name a hash.
        0x0017 | 0x0019 | 0x001b | 0x001c | 0x001d => {
            read_hash(reader, "scheme.hashAlg")?;
            Ok(Scheme::Other(id))
        }
        // ECDAA names a hash and a count.
        0x001a => {
            read_hash(reader, "scheme.hashAlg")?;
            reader.u16("scheme.count")?;
            Ok(Scheme::Other(id))
        }
        other => Err(reader.value("scheme.scheme", other.into())),
    }
}

/// A `TPMI_ALG_HASH`: one that TPMs know, which is more than those we accept. What is accepted is a check of its own.
pub(super) fn read_hash(reader: &mut Reader<'_>, field: &'static str) -> Result<u16, Malformed> {
    match reader.u16(field)? {
        // SHA-1, SHA-256, SHA-384, SHA-512, SM3, SHA3-256, SHA3-384, SHA3-512.
        known @ (0x0004 | 0x000b..=0x000d | 0x0012 | 0x0027..=0x0029) => Ok(known),
        other => Err(reader.value(field, other.into())),
    }
}

fn read_rsa(reader: &mut Reader<'_>) -> Result<(Scheme, PublicKey), Malformed> {
    let scheme = read_scheme(reader)?;
    let bits = reader.u16("keyBits")?;
    let exponent = reader.u32("exponent")?;
    if exponent != 0 && exponent != RSA_EXPONENT {
        return Err(reader.value("exponent", exponent.into()));
    }
    let modulus = reader.sized16(512, "unique")?;
    let expected = usize::from(bits).div_ceil(8);
    if modulus.len() != expected {
        return Err(reader.malformed("unique", Defect::Length { expected, found: modulus.len() }));
    }
    let key = PublicKey::rsa(modulus).ok_or(reader.malformed("unique", Defect::Encoding))?;
    Ok((scheme, key))
}

fn read_ecc(reader: &mut Reader<'_>) -> Result<(Scheme, PublicKey), Malformed> {
    let scheme = read_scheme(reader)?;
    let id = reader.u16("curveID")?;
    let curve = Curve::from_id(id).ok_or(reader.value("curveID", id.into()))?;
    match reader.u16("kdf.scheme")? {
        TPM_ALG_NULL => {}
        // MGF1, KDF1_SP800_56A, KDF2, KDF1_SP800_108 name a hash.
        0x0007 | 0x0020..=0x0022 => {
            read_hash(reader, "kdf.hashAlg")?;
        }
        other => return Err(reader.value("kdf.scheme", other.into())),
    }
    let x = reader.sized16(curve.field_size(), "unique.x")?;
    let y = reader.sized16(curve.field_size(), "unique.y")?;
    if x.is_empty() || y.is_empty() {
        return Err(reader.malformed("unique", Defect::Length { expected: curve.field_size(), found: 0 }));
    }
    let key = PublicKey::ec(curve, x, y).ok_or(reader.malformed("unique", Defect::Encoding))?;
    Ok((scheme, key))
}
