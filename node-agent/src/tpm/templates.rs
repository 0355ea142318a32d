//! The public areas of the keys that we make, as TPMT_PUBLIC bytes, and the Name of a public area.
//!
//! Each is a fixed beginning (type to parameters) and the `unique` field; a key made from a template shows the same
//! beginning, so that what a handle holds can be told from its bytes.

use tss_esapi::structures::Public;
use tss_esapi::traits::{Marshall, UnMarshall};

use super::TpmFault;

/// `TPM_ALG_ECC`, Name by SHA-256, then fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted,
/// sign; no policy; no symmetric, ECDSA with SHA-256, P-256, no KDF.
const AK: &[u8] = &[
    0x00, 0x23, 0x00, 0x0b, 0x00, 0x05, 0x04, 0x72, 0x00, 0x00, 0x00, 0x10, 0x00, 0x18, 0x00, 0x0b, 0x00, 0x03, 0x00,
    0x10,
];

/// As the attestation key, but not restricted: it signs TLS handshakes.
const NODE_KEY: &[u8] = &[
    0x00, 0x23, 0x00, 0x0b, 0x00, 0x04, 0x04, 0x72, 0x00, 0x00, 0x00, 0x10, 0x00, 0x18, 0x00, 0x0b, 0x00, 0x03, 0x00,
    0x10,
];

/// PolicySecret(TPM_RH_ENDORSEMENT), by SHA-256.
const POLICY_A: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7,
    0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];

/// Attributes of the low-range EK templates: fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted,
/// decrypt.
const EK_ATTRIBUTES: [u8; 4] = [0x00, 0x03, 0x00, 0xb2];
/// Bytes of a P-256 coordinate.
pub(super) const COORDINATE: usize = 32;
/// Bytes of an RSA-2048 modulus.
pub(super) const MODULUS: usize = 256;

/// The two endorsement keys whose templates every client TPM knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EkKind {
    /// L-1.
    Rsa2048,
    /// L-2.
    P256,
}

/// A template, with `unique` still to be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// TPMT_PUBLIC up to and without `unique`.
    pub(super) beginning: Vec<u8>,
    /// `unique`, as TPMU_PUBLIC_ID bytes.
    pub(super) unique: Vec<u8>,
}

impl Template {
    pub(super) fn ak() -> Self {
        Self { beginning: AK.to_vec(), unique: point(&[], &[]) }
    }

    /// `unique` carries the state directory's bytes, so that another trust domain or a re-enrolment has another key.
    pub(super) fn node_key(unique: &[u8; COORDINATE]) -> Self {
        Self { beginning: NODE_KEY.to_vec(), unique: point(unique, &[]) }
    }

    /// The standard template L-1 or L-2, with the nonce from NV at the start of `unique` where there is one.
    pub(super) fn endorsement(kind: EkKind, nonce: &[u8]) -> Self {
        let padded = |length: usize| {
            let mut bytes = nonce.to_vec();
            bytes.resize(length.max(nonce.len()), 0);
            bytes
        };
        let unique = match kind {
            EkKind::Rsa2048 => buffer(&padded(MODULUS)),
            EkKind::P256 => point(&padded(COORDINATE), &[0; COORDINATE]),
        };
        Self { beginning: ek_beginning(kind), unique }
    }

    /// TPMT_PUBLIC.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.beginning.as_slice(), &self.unique].concat()
    }

    pub(super) fn public(&self) -> Result<Public, TpmFault> {
        Public::unmarshall(&self.bytes())
            .map_err(|_| TpmFault::Form { what: "key template", expected: "a TPMT_PUBLIC that the library accepts" })
    }

    /// Whether `public` (TPMT_PUBLIC) is of a key that this template, with some `unique`, makes.
    pub(super) fn made(&self, public: &[u8]) -> bool {
        public.starts_with(&self.beginning)
    }
}

fn ek_beginning(kind: EkKind) -> Vec<u8> {
    let (algorithm, parameters): (u8, &[u8]) = match kind {
        // AES-128-CFB, no scheme, 2048 bits, default exponent
        EkKind::Rsa2048 => (0x01, &[0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10, 0x08, 0x00, 0, 0, 0, 0]),
        // AES-128-CFB, no scheme, P-256, no KDF
        EkKind::P256 => (0x23, &[0x00, 0x06, 0x00, 0x80, 0x00, 0x43, 0x00, 0x10, 0x00, 0x03, 0x00, 0x10]),
    };
    [&[0x00, algorithm, 0x00, 0x0b], EK_ATTRIBUTES.as_slice(), &buffer(&POLICY_A), parameters].concat()
}

/// TPM2B: two bytes of length, then the bytes.
pub(super) fn buffer(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [buffer(x), buffer(y)].concat()
}

/// TPM2B_PUBLIC of a public area, as the messages to the server carry it.
pub(super) fn tpm2b(public: &Public) -> Result<Vec<u8>, TpmFault> {
    Ok(buffer(&tpmt(public)?))
}

/// TPMT_PUBLIC of a public area.
pub(super) fn tpmt(public: &Public) -> Result<Vec<u8>, TpmFault> {
    public.marshall().map_err(|source| TpmFault::Command { command: "marshal", source })
}

/// The Name of a TPM2B_PUBLIC whose Name algorithm is SHA-256: the algorithm, then the digest of the TPMT_PUBLIC.
/// `None` if it is too short to have one.
#[must_use]
pub fn name_of(tpm2b_public: &[u8]) -> Option<Vec<u8>> {
    let tpmt = tpm2b_public.get(2..).filter(|tpmt| tpmt.len() > 4)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, tpmt);
    Some([&[0x00, 0x0b], digest.as_ref()].concat())
}

/// x and y of a TPM2B_PUBLIC that one of our P-256 templates made; left-padded to 32 bytes each.
pub(super) fn coordinates(tpm2b_public: &[u8]) -> Option<([u8; COORDINATE], [u8; COORDINATE])> {
    let unique = tpm2b_public.get(2 + AK.len()..)?;
    let (x, rest) = take_coordinate(unique)?;
    let (y, rest) = take_coordinate(rest)?;
    rest.is_empty().then_some((x, y))
}

fn take_coordinate(bytes: &[u8]) -> Option<([u8; COORDINATE], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let mut padded = [0; COORDINATE];
    let at = COORDINATE.checked_sub(value.len())?;
    padded.get_mut(at..)?.copy_from_slice(value);
    Some((padded, rest))
}

/// In words, what kind of key a TPMT_PUBLIC is, for the operator who must decide what to do with it.
pub(super) fn describe(public: &Public) -> String {
    let attributes = public.object_attributes();
    let kind = match public {
        Public::Rsa { parameters, .. } => format!("an RSA-{} key", u16::from(parameters.key_bits())),
        Public::Ecc { parameters, .. } => format!("an ECC key on {:?}", parameters.ecc_curve()),
        Public::KeyedHash { .. } => "a keyed-hash object".to_owned(),
        Public::SymCipher { .. } => "a symmetric key".to_owned(),
    };
    let uses: Vec<&str> = [
        ("restricted", attributes.restricted()),
        ("sign", attributes.sign_encrypt()),
        ("decrypt", attributes.decrypt()),
    ]
    .into_iter()
    .filter_map(|(word, set)| set.then_some(word))
    .collect();
    format!("{kind} ({}) with attributes {:#010x}", uses.join(", "), u32::from(attributes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_one_that_the_library_reads_back_unchanged() {
        for template in [
            Template::ak(),
            Template::node_key(&[7; 32]),
            Template::endorsement(EkKind::Rsa2048, &[]),
            Template::endorsement(EkKind::P256, &[]),
            Template::endorsement(EkKind::P256, &[9; 16]),
        ] {
            let public = template.public().unwrap();
            assert_eq!(hex::encode(tpmt(&public).unwrap()), hex::encode(template.bytes()));
            assert!(template.made(&template.bytes()));
        }
    }

    #[test]
    fn a_node_key_is_no_attestation_key() {
        assert!(!Template::ak().made(&Template::node_key(&[0; 32]).bytes()));
        assert!(!Template::node_key(&[0; 32]).made(&Template::ak().bytes()));
    }

    #[test]
    fn short_coordinates_are_padded_on_the_left_and_long_ones_refused() {
        let public = |x: &[u8], y: &[u8]| buffer(&[AK, &point(x, y)].concat());
        let (x, y) = coordinates(&public(&[1, 2], &[3; 32])).unwrap();
        assert_eq!((x[29], x[30], x[31], y), (0, 1, 2, [3; 32]));
        assert!(coordinates(&public(&[1; 33], &[3; 32])).is_none());
        let mut trailing = public(&[1; 32], &[3; 32]);
        trailing.push(0);
        assert!(coordinates(&trailing).is_none());
    }
}
