//! Public keys of the kinds we accept, and their `SubjectPublicKeyInfo`. Holds no private key.

use std::fmt;

use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey as ParsedKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::error::{Defect, Malformed, Structure};

/// The one RSA exponent we accept; a TPM writes it as 0.
pub const RSA_EXPONENT: u32 = 65_537;

/// An elliptic curve that we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256, `TPM_ECC_NIST_P256`, 0x0003.
    P256,
    /// NIST P-384, `TPM_ECC_NIST_P384`, 0x0004.
    P384,
}

impl Curve {
    /// Bytes of one coordinate.
    #[must_use]
    pub const fn field_size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
        }
    }

    /// The `TPM_ECC_CURVE`.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::P256 => 3,
            Self::P384 => 4,
        }
    }

    /// The curve with this `TPM_ECC_CURVE`, if it is one of ours.
    #[must_use]
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            3 => Some(Self::P256),
            4 => Some(Self::P384),
            _ => None,
        }
    }

    /// DER of everything before the point in a `SubjectPublicKeyInfo` on this curve.
    const fn spki_prefix(self) -> &'static [u8] {
        match self {
            Self::P256 => &[
                0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
                0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
            ],
            Self::P384 => &[
                0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
                0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
            ],
        }
    }
}

/// A public key. Equal keys have equal values, whatever encoding they came in.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum PublicKey {
    /// RSA of 2048, 3072 or 4096 bits with exponent 65537.
    Rsa {
        /// Big-endian, first byte not zero: 256, 384 or 512 bytes.
        modulus: Vec<u8>,
    },
    /// A point on one of our curves. Whether it is *on* the curve is checked where it is used.
    Ec {
        /// The curve.
        curve: Curve,
        /// `04 ‖ x ‖ y`, each coordinate padded to the field's width.
        point: Vec<u8>,
    },
}

impl PublicKey {
    /// An RSA key from a big-endian modulus, leading zeros allowed; `None` for other sizes.
    #[must_use]
    pub fn rsa(modulus: &[u8]) -> Option<Self> {
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let modulus = modulus.get(zeros..)?;
        let top_bit = modulus.first().is_some_and(|byte| byte & 0x80 != 0);
        let odd = modulus.last().is_some_and(|byte| byte & 1 != 0);
        (matches!(modulus.len(), 256 | 384 | 512) && top_bit && odd).then(|| Self::Rsa { modulus: modulus.to_vec() })
    }

    /// A point from its big-endian coordinates, each padded or of at most the field's width; `None` if longer.
    #[must_use]
    pub fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Option<Self> {
        let mut point = Vec::with_capacity(1 + 2 * curve.field_size());
        point.push(4);
        for coordinate in [x, y] {
            let padding = curve.field_size().checked_sub(coordinate.len())?;
            point.extend(std::iter::repeat_n(0, padding));
            point.extend_from_slice(coordinate);
        }
        Some(Self::Ec { curve, point })
    }

    /// Reads a DER `SubjectPublicKeyInfo` (rsaEncryption, or id-ecPublicKey on a named curve of ours), exactly.
    ///
    /// # Errors
    /// [`Malformed`] for other DER, trailing bytes, another algorithm, size or curve, or an encoding that is not the
    /// one [`spki`](Self::spki) writes.
    pub fn from_spki(der: &[u8]) -> Result<Self, Malformed> {
        let malformed = |field, defect| Malformed { structure: Structure::Spki, field, defect };
        let encoding = malformed("subjectPublicKeyInfo", Defect::Encoding);
        let (rest, parsed) = SubjectPublicKeyInfo::from_der(der).map_err(|_| encoding)?;
        if !rest.is_empty() {
            return Err(malformed("end", Defect::Trailing { left: rest.len() }));
        }
        let key = Self::from_parsed(&parsed).ok_or(malformed("subjectPublicKey", Defect::Encoding))?;
        if key.spki() == der { Ok(key) } else { Err(encoding) }
    }

    /// The key in a parsed `SubjectPublicKeyInfo`; `None` if it is none of ours. The algorithm's parameters decide an
    /// EC key's curve.
    #[must_use]
    pub fn from_parsed(spki: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        match spki.parsed().ok()? {
            ParsedKey::RSA(rsa) if rsa.try_exponent().ok() == Some(u64::from(RSA_EXPONENT)) => Self::rsa(rsa.modulus),
            ParsedKey::EC(point) => {
                let named = spki.algorithm.parameters.as_ref()?.as_oid().ok()?;
                let curve = match named.to_id_string().as_str() {
                    "1.2.840.10045.3.1.7" => Curve::P256,
                    "1.3.132.0.34" => Curve::P384,
                    _ => return None,
                };
                let (form, coordinates) = point.data().split_first()?;
                let (x, y) = coordinates.split_at_checked(curve.field_size())?;
                (*form == 4 && y.len() == curve.field_size()).then(|| Self::ec(curve, x, y))?
            }
            _ => None,
        }
    }

    /// The coordinates of a point, each of the field's width; empty for an RSA key.
    #[must_use]
    pub fn coordinates(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Rsa { .. } => (&[], &[]),
            Self::Ec { curve, point } => {
                point.get(1..).and_then(|both| both.split_at_checked(curve.field_size())).unwrap_or_default()
            }
        }
    }

    /// What stands in the `subjectPublicKey` of its `SubjectPublicKeyInfo`: the point, or the DER of an RSA key.
    #[must_use]
    pub fn subject_public_key(&self) -> Vec<u8> {
        match self {
            Self::Ec { point, .. } => point.clone(),
            Self::Rsa { modulus } => {
                der(0x30, &[der(0x02, &[&[0], modulus.as_slice()].concat()), vec![2, 3, 1, 0, 1]].concat())
            }
        }
    }

    /// Its DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki(&self) -> Vec<u8> {
        match self {
            Self::Ec { curve, point } => [curve.spki_prefix(), point].concat(),
            Self::Rsa { .. } => {
                let algorithm =
                    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
                let key = self.subject_public_key();
                der(0x30, &[algorithm.to_vec(), der(0x03, &[vec![0], key].concat())].concat())
            }
        }
    }
}

/// Names kind and size, never the key: keys are long and nobody reads them.
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { modulus } => write!(f, "PublicKey(RSA-{})", modulus.len() * 8),
            Self::Ec { curve, .. } => write!(f, "PublicKey({curve:?})"),
        }
    }
}

/// One DER element of at most 65,535 bytes.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut element = match (high, low) {
        (0, 0..=0x7f) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    element.extend_from_slice(content);
    element
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::KeyPair as _;

    #[test]
    fn a_spki_is_read_back_as_written() {
        let mut modulus = vec![0xc5; 256];
        modulus[255] |= 1;
        let rsa = PublicKey::rsa(&modulus).unwrap();
        assert_eq!(PublicKey::from_spki(&rsa.spki()).unwrap(), rsa);

        for (curve, algorithm) in [
            (Curve::P256, &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            (Curve::P384, &ring::signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        ] {
            let rng = ring::rand::SystemRandom::new();
            let pkcs8 = ring::signature::EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
            let pair = ring::signature::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap();
            let (x, y) = pair.public_key().as_ref()[1..].split_at(curve.field_size());
            let key = PublicKey::ec(curve, x, y).unwrap();
            assert_eq!(PublicKey::from_spki(&key.spki()).unwrap(), key);
            let trailing = [key.spki(), vec![0]].concat();
            assert_eq!(PublicKey::from_spki(&trailing).unwrap_err().code(), "key.spki.malformed");
        }
    }

    #[test]
    fn short_coordinates_are_padded_and_long_ones_refused() {
        let short = PublicKey::ec(Curve::P256, &[7], &[0; 32]).unwrap();
        assert_eq!(short, PublicKey::ec(Curve::P256, &[&[0; 31][..], &[7]].concat(), &[]).unwrap());
        assert!(PublicKey::ec(Curve::P256, &[0; 33], &[0; 32]).is_none());
    }

    #[test]
    fn rsa_keys_of_odd_sizes_are_refused() {
        assert!(PublicKey::rsa(&[0xff; 128]).is_none());
        assert!(PublicKey::rsa(&[0x7f; 256]).is_none());
        assert!(PublicKey::rsa(&[]).is_none());
        assert!(PublicKey::rsa(&[&[0][..], &[0xff; 256]].concat()).is_some());
    }
}
