//! `TPMT_SIGNATURE`: which algorithm, which hash, and the bare signature. Verifies nothing itself.

use super::public::read_hash;
use crate::crypto::{HashAlg, SignatureAlg, SignatureValue};
use crate::error::{Malformed, Structure};
use crate::reader::{Reader, Writer};

/// Bytes of a `TPMT_SIGNATURE` by RSA-4096.
pub const SIGNATURE_BYTES_MAX: usize = 520;

/// A signature that parsed exactly; borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Signature<'a> {
    algorithm: SignatureAlg,
    hash: u16,
    value: SignatureValue<'a>,
}

impl<'a> Signature<'a> {
    /// Reads a `TPMT_SIGNATURE` by RSASSA, RSAPSS or ECDSA, exactly.
    ///
    /// # Errors
    /// [`Malformed`] for another algorithm, a number beyond any key's size, trailing bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(Structure::Signature, bytes);
        let id = reader.u16("sigAlg")?;
        let algorithm = SignatureAlg::from_id(id).ok_or(reader.value("sigAlg", id.into()))?;
        let hash = read_hash(&mut reader, "hash")?;
        let value = match algorithm {
            SignatureAlg::Rsassa | SignatureAlg::RsaPss => SignatureValue::Rsa(reader.sized16(512, "sig")?),
            SignatureAlg::Ecdsa => {
                SignatureValue::Ecdsa { r: reader.sized16(48, "signatureR")?, s: reader.sized16(48, "signatureS")? }
            }
        };
        reader.finish()?;
        Ok(Self { algorithm, hash, value })
    }

    /// The algorithm it names.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlg {
        self.algorithm
    }

    /// The `TPM_ALG_ID` of the hash it names; may be SHA-1.
    #[must_use]
    pub const fn hash_id(&self) -> u16 {
        self.hash
    }

    /// The bare signature.
    #[must_use]
    pub const fn value(&self) -> SignatureValue<'a> {
        self.value
    }

    /// Writes a `TPMT_SIGNATURE`.
    #[must_use]
    pub fn encode(algorithm: SignatureAlg, hash: HashAlg, value: SignatureValue<'_>) -> Vec<u8> {
        let writer = Writer::new().u16(algorithm.id()).u16(hash.id());
        match value {
            SignatureValue::Rsa(bytes) => writer.sized16(bytes),
            SignatureValue::Ecdsa { r, s } => writer.sized16(r).sized16(s),
        }
        .finish()
    }

    /// Writes an ECDSA signature from `r ‖ s` of equal width, as ring returns it.
    #[must_use]
    pub fn encode_ecdsa(hash: HashAlg, fixed: &[u8]) -> Vec<u8> {
        let (r, s) = fixed.split_at_checked(fixed.len() / 2).unwrap_or_default();
        Self::encode(SignatureAlg::Ecdsa, hash, SignatureValue::Ecdsa { r, s })
    }
}
