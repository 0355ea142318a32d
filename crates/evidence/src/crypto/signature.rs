//! Verifies signatures over raw bytes. Signs nothing.

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};

use super::{Curve, HashAlg, PublicKey};

/// A signature algorithm that we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlg {
    /// RSASSA-PKCS1-v1_5, `TPM_ALG_RSASSA`, 0x0014.
    Rsassa,
    /// RSASSA-PSS, `TPM_ALG_RSAPSS`, 0x0016.
    RsaPss,
    /// ECDSA, `TPM_ALG_ECDSA`, 0x0018.
    Ecdsa,
}

impl SignatureAlg {
    /// The `TPM_ALG_ID`.
    #[must_use]
    pub const fn id(self) -> u16 {
        match self {
            Self::Rsassa => 0x14,
            Self::RsaPss => 0x16,
            Self::Ecdsa => 0x18,
        }
    }

    /// The algorithm with this `TPM_ALG_ID`, if it is one of ours.
    #[must_use]
    pub const fn from_id(id: u16) -> Option<Self> {
        match id {
            0x14 => Some(Self::Rsassa),
            0x16 => Some(Self::RsaPss),
            0x18 => Some(Self::Ecdsa),
            _ => None,
        }
    }
}

/// The bare signature, without any algorithm identifier.
#[derive(Clone, Copy, Debug)]
pub enum SignatureValue<'a> {
    /// Big-endian, as long as the modulus.
    Rsa(&'a [u8]),
    /// Two big-endian numbers, each of at most the field's width.
    Ecdsa {
        /// First number.
        r: &'a [u8],
        /// Second number.
        s: &'a [u8],
    },
}

/// A signature does not verify, or its algorithm does not fit the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSignature;

/// Verifies that `key` signed exactly `message` by `algorithm` over `hash`.
///
/// # Errors
/// [`BadSignature`], whatever the reason; also for ECDSA with SHA-512, which is not supported.
pub fn verify(
    key: &PublicKey,
    algorithm: SignatureAlg,
    hash: HashAlg,
    message: &[u8],
    value: SignatureValue<'_>,
) -> Result<(), BadSignature> {
    match (key, algorithm, value) {
        (PublicKey::Rsa { modulus }, SignatureAlg::Rsassa | SignatureAlg::RsaPss, SignatureValue::Rsa(bytes))
            if bytes.len() == modulus.len() =>
        {
            verify_rsa(modulus, algorithm, hash, message, bytes)
        }
        (PublicKey::Ec { curve, point }, SignatureAlg::Ecdsa, SignatureValue::Ecdsa { r, s }) => {
            verify_ecdsa(*curve, point, hash, message, r, s)
        }
        _ => Err(BadSignature),
    }
}

fn verify_rsa(
    modulus: &[u8],
    algorithm: SignatureAlg,
    hash: HashAlg,
    message: &[u8],
    bytes: &[u8],
) -> Result<(), BadSignature> {
    let parameters = match (algorithm, hash) {
        (SignatureAlg::RsaPss, HashAlg::Sha256) => &signature::RSA_PSS_2048_8192_SHA256,
        (SignatureAlg::RsaPss, HashAlg::Sha384) => &signature::RSA_PSS_2048_8192_SHA384,
        (SignatureAlg::RsaPss, HashAlg::Sha512) => &signature::RSA_PSS_2048_8192_SHA512,
        (_, HashAlg::Sha256) => &signature::RSA_PKCS1_2048_8192_SHA256,
        (_, HashAlg::Sha384) => &signature::RSA_PKCS1_2048_8192_SHA384,
        (_, HashAlg::Sha512) => &signature::RSA_PKCS1_2048_8192_SHA512,
    };
    let key = RsaPublicKeyComponents { n: modulus, e: &[1u8, 0, 1][..] };
    match (key.verify(parameters, message, bytes), algorithm) {
        (Ok(()), _) => Ok(()),
        (Err(_), SignatureAlg::RsaPss) => verify_pss_with_longest_salt(modulus, hash, message, bytes),
        (Err(_), _) => Err(BadSignature),
    }
}

/// Verifies RSASSA-PSS with SHA-384 and a salt of exactly 48 bytes, as certificates that say so must be signed.
///
/// # Errors
/// [`BadSignature`], whatever the reason.
pub fn verify_pss_sha384(key: &PublicKey, message: &[u8], bytes: &[u8]) -> Result<(), BadSignature> {
    verify_pss(key, HashAlg::Sha384, message, bytes)
}

/// Verifies RSASSA-PSS with a salt of exactly the hash's length, as tokens that say so must be signed (RFC 7518, 3.5).
///
/// # Errors
/// [`BadSignature`], whatever the reason.
pub fn verify_pss(key: &PublicKey, hash: HashAlg, message: &[u8], bytes: &[u8]) -> Result<(), BadSignature> {
    let PublicKey::Rsa { modulus } = key else { return Err(BadSignature) };
    let parameters = match hash {
        HashAlg::Sha256 => &signature::RSA_PSS_2048_8192_SHA256,
        HashAlg::Sha384 => &signature::RSA_PSS_2048_8192_SHA384,
        HashAlg::Sha512 => &signature::RSA_PSS_2048_8192_SHA512,
    };
    let key = RsaPublicKeyComponents { n: modulus.as_slice(), e: &[1u8, 0, 1][..] };
    key.verify(parameters, message, bytes).map_err(|_| BadSignature)
}

/// Older TPMs sign PSS with the longest salt that fits; ring takes only a salt as long as the hash.
fn verify_pss_with_longest_salt(
    modulus: &[u8],
    hash: HashAlg,
    message: &[u8],
    bytes: &[u8],
) -> Result<(), BadSignature> {
    use rsa::sha2::{Sha256, Sha384, Sha512};

    let key = rsa::RsaPublicKey::new(rsa::BigUint::from_bytes_be(modulus), super::key::RSA_EXPONENT.into())
        .map_err(|_| BadSignature)?;
    let salt = modulus.len().checked_sub(hash.size() + 2).ok_or(BadSignature)?;
    let scheme = match hash {
        HashAlg::Sha256 => rsa::Pss::new_with_salt::<Sha256>(salt),
        HashAlg::Sha384 => rsa::Pss::new_with_salt::<Sha384>(salt),
        HashAlg::Sha512 => rsa::Pss::new_with_salt::<Sha512>(salt),
    };
    key.verify(scheme, hash.digest(&[message]).as_bytes(), bytes).map_err(|_| BadSignature)
}

fn verify_ecdsa(
    curve: Curve,
    point: &[u8],
    hash: HashAlg,
    message: &[u8],
    r: &[u8],
    s: &[u8],
) -> Result<(), BadSignature> {
    let fixed = match (curve, hash) {
        (Curve::P256, HashAlg::Sha256) => Some(&signature::ECDSA_P256_SHA256_FIXED),
        (Curve::P384, HashAlg::Sha384) => Some(&signature::ECDSA_P384_SHA384_FIXED),
        _ => None,
    };
    let verified = match (fixed, curve, hash) {
        (Some(algorithm), ..) => {
            let width = curve.field_size();
            let mut both = [0u8; 96];
            pad(both.get_mut(..width), r)?;
            pad(both.get_mut(width..2 * width), s)?;
            let bytes = both.get(..2 * width).ok_or(BadSignature)?;
            UnparsedPublicKey::new(algorithm, point).verify(message, bytes)
        }
        (None, Curve::P256, HashAlg::Sha384) => {
            UnparsedPublicKey::new(&signature::ECDSA_P256_SHA384_ASN1, point).verify(message, &der_signature(r, s))
        }
        (None, Curve::P384, HashAlg::Sha256) => {
            UnparsedPublicKey::new(&signature::ECDSA_P384_SHA256_ASN1, point).verify(message, &der_signature(r, s))
        }
        (None, ..) => return Err(BadSignature),
    };
    verified.map_err(|_| BadSignature)
}

/// Copies a big-endian number to the right end of `to`, which is zero.
fn pad(to: Option<&mut [u8]>, number: &[u8]) -> Result<(), BadSignature> {
    let to = to.ok_or(BadSignature)?;
    let start = to.len().checked_sub(number.len()).ok_or(BadSignature)?;
    to.get_mut(start..).ok_or(BadSignature)?.copy_from_slice(number);
    Ok(())
}

/// `SEQUENCE { INTEGER r, INTEGER s }`; numbers have at most 48 bytes here, anything longer does not verify.
fn der_signature(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let digits = number.get(zeros..).unwrap_or_default();
        let sign = digits.first().is_none_or(|byte| byte & 0x80 != 0);
        let length = u8::try_from(digits.len() + usize::from(sign)).unwrap_or(u8::MAX);
        let mut element = vec![2, length];
        element.extend(sign.then_some(0));
        element.extend_from_slice(digits);
        element
    };
    let content = [integer(r), integer(s)].concat();
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    [vec![0x30, length], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{EcdsaKeyPair, KeyPair as _};

    #[test]
    fn ecdsa_verifies_with_the_hash_it_was_made_with_and_no_other() {
        let rng = SystemRandom::new();
        let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).unwrap();
        let point = pair.public_key().as_ref();
        let key = PublicKey::ec(Curve::P256, &point[1..33], &point[33..]).unwrap();
        let signed = pair.sign(&rng, b"message").unwrap();
        let (r, s) = signed.as_ref().split_at(32);
        let check = |hash, message: &[u8], r, s| {
            verify(&key, SignatureAlg::Ecdsa, hash, message, SignatureValue::Ecdsa { r, s })
        };
        assert_eq!(check(HashAlg::Sha256, b"message", r, s), Ok(()));
        assert_eq!(check(HashAlg::Sha384, b"message", r, s), Err(BadSignature));
        assert_eq!(check(HashAlg::Sha512, b"message", r, s), Err(BadSignature));
        assert_eq!(check(HashAlg::Sha256, b"massage", r, s), Err(BadSignature));
        assert_eq!(check(HashAlg::Sha256, b"message", s, r), Err(BadSignature));
        let long = [&[0], r].concat();
        assert_eq!(check(HashAlg::Sha256, b"message", &long, s), Err(BadSignature));
        assert_eq!(check(HashAlg::Sha256, b"message", &[], &[]), Err(BadSignature));
    }

    struct System;

    impl rsa::rand_core::RngCore for System {
        fn next_u32(&mut self) -> u32 {
            rsa::rand_core::impls::next_u32_via_fill(self)
        }
        fn next_u64(&mut self) -> u64 {
            rsa::rand_core::impls::next_u64_via_fill(self)
        }
        fn fill_bytes(&mut self, to: &mut [u8]) {
            ring::rand::SecureRandom::fill(&SystemRandom::new(), to).unwrap();
        }
        fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
            self.fill_bytes(to);
            Ok(())
        }
    }

    impl rsa::rand_core::CryptoRng for System {}

    #[test]
    fn pss_verifies_with_either_salt_length_and_nothing_else() {
        use rsa::sha2::Sha256;
        let mut rng = System;
        let private = rsa::RsaPrivateKey::new(&mut rng, 2048).unwrap();
        use rsa::traits::PublicKeyParts as _;
        let key = PublicKey::rsa(&private.n().to_bytes_be()).unwrap();
        let hashed = HashAlg::Sha256.digest(&[b"message"]);
        for (salt, expected) in [(32, Ok(())), (256 - 32 - 2, Ok(())), (20, Err(BadSignature))] {
            let scheme = rsa::Pss::new_with_salt::<Sha256>(salt);
            let bytes = private.sign_with_rng(&mut rng, scheme, hashed.as_bytes()).unwrap();
            let value = SignatureValue::Rsa(&bytes);
            assert_eq!(verify(&key, SignatureAlg::RsaPss, HashAlg::Sha256, b"message", value), expected, "{salt}");
            assert!(verify(&key, SignatureAlg::RsaPss, HashAlg::Sha256, b"massage", value).is_err());
            assert!(verify(&key, SignatureAlg::Rsassa, HashAlg::Sha256, b"message", value).is_err());
        }
    }
}
