//! The ID block: what the guest's owner signs so that firmware launches one measurement only, and the digests of the
//! keys that reports then carry. AMD 56860, "SNP_LAUNCH_FINISH". Verifies the owner's signatures; makes none.

use holdfast_evidence::crypto::{self, Curve, HashAlg, PublicKey, SignatureAlg, SignatureValue};

use crate::Unmeasurable;
use crate::bytes::Bytes;

/// Bytes of an ID authentication information structure.
pub const ID_AUTH_BYTES: usize = 4096;
/// `ECDSA P-384 with SHA-384`, the one algorithm of keys in it.
const ECDSA_P384_SHA384: u32 = 1;
/// The curve of a public key.
const CURVE_P384: u32 = 2;
/// Bytes of a public key: the curve, two coordinates of 72 bytes, zeros.
const KEY_BYTES: u64 = 0x404;
/// Bytes of a number in a key or signature, little-endian.
const NUMBER_BYTES: u64 = 72;

/// What the owner signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdBlock {
    /// The launch digest that firmware must arrive at.
    pub measurement: [u8; 48],
    /// `FAMILY_ID`, chosen by the owner.
    pub family_id: [u8; 16],
    /// `IMAGE_ID`, chosen by the owner.
    pub image_id: [u8; 16],
    /// `GUEST_SVN`, chosen by the owner.
    pub guest_svn: u32,
    /// The guest policy that it must be launched with.
    pub policy: u64,
}

impl IdBlock {
    /// The 96 bytes that are signed and that the hypervisor is given.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { measurement, family_id, image_id, guest_svn, policy } = self;
        let (version, guest_svn, policy) = (1_u32.to_le_bytes(), guest_svn.to_le_bytes(), policy.to_le_bytes());
        [&measurement[..], family_id, image_id, &version, &guest_svn, &policy].concat()
    }
}

/// The ID authentication information: keys and signatures that go with an ID block.
#[derive(Clone, Copy, Debug)]
pub struct IdAuth<'a> {
    file: Bytes<'a>,
    has_author: bool,
}

/// A signature of an ID authentication structure that its own key did not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{signature} was not made by {key} over what it must sign")]
pub struct BadIdSignature {
    /// Which signature.
    pub signature: &'static str,
    /// The key that stands beside it.
    pub key: &'static str,
}

impl BadIdSignature {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "measure.snp.id_signature"
    }
}

impl<'a> IdAuth<'a> {
    /// Reads the structure, exactly.
    ///
    /// # Errors
    /// It has another size, another algorithm or curve than P-384, or anything where zeros must stand.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Unmeasurable> {
        let file = Bytes::new("ID authentication", bytes);
        if bytes.len() != ID_AUTH_BYTES {
            return Err(file.value("size", file.len()));
        }
        let algorithm = file.u32_le(0, "ID key algorithm")?;
        if algorithm != ECDSA_P384_SHA384 {
            return Err(file.value("ID key algorithm", algorithm.into()));
        }
        let author_algorithm = file.u32_le(4, "author key algorithm")?;
        let author_curve = file.u32_le(0x880, "author key curve")?;
        let has_author = match (author_algorithm, author_curve) {
            (ECDSA_P384_SHA384, CURVE_P384) => true,
            (0 | ECDSA_P384_SHA384, 0) => false,
            (ECDSA_P384_SHA384, other) => return Err(file.value("author key curve", other.into())),
            (other, _) => return Err(file.value("author key algorithm", other.into())),
        };
        let id_auth = Self { file, has_author };
        id_auth.key(0x240)?;
        if has_author {
            id_auth.key(0x880)?;
        }
        let reserved = [(0x8, 0x38), (0x644, 0x3c), (0xc84, 0x37c)];
        for (at, length) in reserved {
            if file.slice(at, length, "reserved bytes")?.iter().any(|byte| *byte != 0) {
                return Err(file.value("reserved bytes", at));
            }
        }
        Ok(id_auth)
    }

    /// `ID_KEY_DIGEST` of reports: SHA-384 of the ID key in its own structure.
    ///
    /// # Errors
    /// None after [`IdAuth::parse`].
    pub fn id_key_digest(&self) -> Result<[u8; 48], Unmeasurable> {
        self.key_digest(0x240)
    }

    /// `AUTHOR_KEY_DIGEST` of reports; `None` without an author key.
    ///
    /// # Errors
    /// None after [`IdAuth::parse`].
    pub fn author_key_digest(&self) -> Result<Option<[u8; 48]>, Unmeasurable> {
        if self.has_author { self.key_digest(0x880).map(Some) } else { Ok(None) }
    }

    /// Checks that the ID key signed `block`, and that the author key, if there is one, signed the ID key.
    ///
    /// # Errors
    /// The signature that does not verify: firmware would refuse the launch.
    pub fn verify(&self, block: &IdBlock) -> Result<(), BadIdSignature> {
        let bad = BadIdSignature { signature: "the signature over the ID block", key: "the ID key" };
        self.signed(0x240, 0x40, &block.encode()).ok_or(bad)?;
        if self.has_author {
            let bad = BadIdSignature { signature: "the signature over the ID key", key: "the author key" };
            let id_key = self.file.slice(0x240, KEY_BYTES, "ID key").map_err(|_| bad)?;
            self.signed(0x880, 0x680, id_key).ok_or(bad)?;
        }
        Ok(())
    }

    fn key_digest(&self, at: u64) -> Result<[u8; 48], Unmeasurable> {
        let key = self.file.slice(at, KEY_BYTES, "key")?;
        let digest = HashAlg::Sha384.digest(&[key]);
        digest.as_bytes().first_chunk().copied().ok_or(self.file.missing("key"))
    }

    fn key(&self, at: u64) -> Result<PublicKey, Unmeasurable> {
        let curve = self.file.u32_le(at, "key curve")?;
        if curve != CURVE_P384 {
            return Err(self.file.value("key curve", curve.into()));
        }
        let wrong = self.file.value("key", at);
        let [x, y] = [4, 4 + NUMBER_BYTES].map(|offset| self.number(at + offset));
        PublicKey::ec(Curve::P384, &x.ok_or(wrong.clone())?, &y.ok_or(wrong.clone())?).ok_or(wrong)
    }

    /// A number of at most 384 bits, big-endian.
    fn number(&self, at: u64) -> Option<Vec<u8>> {
        let little = self.file.slice(at, NUMBER_BYTES, "number").ok()?;
        let (digits, zeros) = little.split_at_checked(Curve::P384.field_size())?;
        zeros.iter().all(|byte| *byte == 0).then(|| digits.iter().rev().copied().collect())
    }

    fn signed(&self, key: u64, signature: u64, message: &[u8]) -> Option<()> {
        let key = self.key(key).ok()?;
        let [r, s] = [0, NUMBER_BYTES].map(|offset| self.number(signature + offset));
        let value = SignatureValue::Ecdsa { r: &r?, s: &s? };
        crypto::verify(&key, SignatureAlg::Ecdsa, HashAlg::Sha384, message, value).ok()
    }
}
