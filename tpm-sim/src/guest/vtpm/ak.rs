//! Attestation keys of virtual TPMs: restricted signing keys, primaries of the endorsement hierarchy, another one for each
//! launch (the launch goes into the template's `unique` field).

use rcgen::PublicKeyData as _;

use crate::digest::Bank;
use crate::error::SimError;
use crate::tpm::commands::{self, ENDORSEMENT};
use crate::tpm::wire::Exchange;
use crate::vendor::EkPublic;

/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign.
const AK_ATTRIBUTES: u32 = 0x0005_0472;
const ALG_RSA: u16 = 0x0001;
const ALG_SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;
const ALG_RSASSA: u16 = 0x0014;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;
const CURVE_P256: u16 = 0x0003;
/// Type, name algorithm, attributes, empty policy.
const HEAD: usize = 2 + 2 + 4 + 2;

/// Which kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AkKind {
    /// RSA-2048, RSASSA with SHA-256.
    Rsa,
    /// P-256, ECDSA with SHA-256.
    Ecc,
}

/// A TPMT_PUBLIC template for the key of one launch.
pub(super) fn template(kind: AkKind, launch: &str) -> Vec<u8> {
    let unique = Bank::Sha256.hash(&[b"holdfast-tpm-sim launch\0", launch.as_bytes()]);
    let (algorithm, scheme) = match kind {
        AkKind::Rsa => (ALG_RSA, ALG_RSASSA),
        AkKind::Ecc => (ALG_ECC, ALG_ECDSA),
    };
    let mut bytes = Vec::with_capacity(100);
    bytes.extend(algorithm.to_be_bytes());
    bytes.extend(ALG_SHA256.to_be_bytes());
    bytes.extend(AK_ATTRIBUTES.to_be_bytes());
    // no policy, no symmetric algorithm
    for number in [0, ALG_NULL, scheme, ALG_SHA256] {
        bytes.extend(number.to_be_bytes());
    }
    match kind {
        AkKind::Rsa => {
            bytes.extend(2048_u16.to_be_bytes());
            bytes.extend([0; 4]); // exponent 65537
            bytes.extend(32_u16.to_be_bytes());
            bytes.extend(&unique);
        }
        AkKind::Ecc => {
            bytes.extend(CURVE_P256.to_be_bytes());
            bytes.extend(ALG_NULL.to_be_bytes()); // no KDF
            bytes.extend(32_u16.to_be_bytes());
            bytes.extend(&unique);
            bytes.extend(0_u16.to_be_bytes());
        }
    }
    bytes
}

/// Makes the key, hands its handle and public area to `use_it`, and flushes it.
pub(super) fn with_key<T>(
    tpm: &mut dyn Exchange,
    template: &[u8],
    use_it: impl FnOnce(&mut dyn Exchange, u32, &[u8]) -> Result<T, SimError>,
) -> Result<T, SimError> {
    let (handle, public) = commands::create_primary(tpm, ENDORSEMENT, template)?;
    let used = use_it(tpm, handle, &public);
    commands::flush(tpm, handle)?;
    used
}

/// The key in a public area, for a certificate.
pub(super) fn public_key(public: &[u8]) -> Option<EkPublic> {
    let kind = u16::from_be_bytes(*public.first_chunk()?);
    // symmetric, scheme with its hash
    let parameters = public.get(HEAD + 2 + 4..)?;
    match kind {
        ALG_RSA => sized(parameters.get(2 + 4..)?).map(|(modulus, _)| EkPublic::rsa(modulus)),
        ALG_ECC => {
            let (x, rest) = sized(parameters.get(2 + 2..)?)?;
            let (y, _) = sized(rest)?;
            Some(EkPublic::p256(x, y))
        }
        _ => None,
    }
}

/// The modulus of an RSA key.
pub(super) fn modulus(public: &[u8]) -> Option<&[u8]> {
    sized(public.get(HEAD + 2 + 4 + 2 + 4..)?).map(|(modulus, _)| modulus)
}

/// SHA-256 of the DER SubjectPublicKeyInfo of the key in a public area, hex.
pub(super) fn spki_sha256(public: &[u8]) -> Option<String> {
    public_key(public).map(|key| crate::digest::sha256_hex(&key.subject_public_key_info()))
}

fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*size)))
}
