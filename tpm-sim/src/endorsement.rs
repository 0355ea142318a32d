//! Endorsement keys: the TCG's templates L-1 and L-2, and the certificates at the indices where agents look.

use crate::digest::sha256_hex;
use crate::error::SimError;
use crate::tpm::commands::{self, ENDORSEMENT};
use crate::tpm::wire::Exchange;
use crate::vendor::{EkPublic, Vendor};
use rcgen::PublicKeyData;

/// NV index of the RSA-2048 EK certificate.
pub const RSA_CERTIFICATE_INDEX: u32 = 0x01c0_0002;
/// NV index of the P-256 EK certificate.
pub const ECC_CERTIFICATE_INDEX: u32 = 0x01c0_000a;
/// NV index of the vendor's chain: the issuing CA's certificate, DER.
pub const CHAIN_INDEX: u32 = 0x01c0_0100;

/// PolicySecret(TPM_RH_ENDORSEMENT), SHA-256: "PolicyA" of the EK Credential Profile.
const POLICY_A: [u8; 32] = [
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7,
    0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
];
/// fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt.
const EK_ATTRIBUTES: u32 = 0x0003_00b2;
const ALG_RSA: u16 = 0x0001;
const ALG_AES: u16 = 0x0006;
const ALG_SHA256: u16 = 0x000b;
const ALG_NULL: u16 = 0x0010;
const ALG_ECC: u16 = 0x0023;
const ALG_CFB: u16 = 0x0043;
const CURVE_P256: u16 = 0x0003;

/// Which kind of endorsement key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EkAlgorithm {
    /// RSA 2048, template L-1.
    Rsa2048,
    /// ECC P-256, template L-2.
    P256,
}

impl EkAlgorithm {
    /// Both, in the order of their NV indices.
    pub const ALL: [Self; 2] = [Self::Rsa2048, Self::P256];

    /// `rsa-2048`, `p-256`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "rsa-2048",
            Self::P256 => "p-256",
        }
    }

    /// Where the certificate lies in NV.
    pub const fn certificate_index(self) -> u32 {
        match self {
            Self::Rsa2048 => RSA_CERTIFICATE_INDEX,
            Self::P256 => ECC_CERTIFICATE_INDEX,
        }
    }

    /// The TPMT_PUBLIC template from which the TPM derives the key out of its endorsement seed.
    pub fn template(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(320);
        let mut u16 = |value: u16| bytes.extend_from_slice(&value.to_be_bytes());
        u16(match self {
            Self::Rsa2048 => ALG_RSA,
            Self::P256 => ALG_ECC,
        });
        u16(ALG_SHA256);
        bytes.extend_from_slice(&EK_ATTRIBUTES.to_be_bytes());
        bytes.extend_from_slice(&[0, 32]);
        bytes.extend_from_slice(&POLICY_A);
        let mut u16 = |value: u16| bytes.extend_from_slice(&value.to_be_bytes());
        for symmetric in [ALG_AES, 128, ALG_CFB, ALG_NULL] {
            u16(symmetric);
        }
        match self {
            Self::Rsa2048 => {
                u16(2048);
                bytes.extend_from_slice(&[0; 4]); // exponent 65537
                bytes.extend_from_slice(&256u16.to_be_bytes());
                bytes.extend_from_slice(&[0; 256]);
            }
            Self::P256 => {
                u16(CURVE_P256);
                u16(ALG_NULL); // no KDF
                for _ in 0..2 {
                    bytes.extend_from_slice(&32u16.to_be_bytes());
                    bytes.extend_from_slice(&[0; 32]);
                }
            }
        }
        bytes
    }

    /// Reads the public key out of what the TPM made of the template.
    fn public(self, area: &[u8]) -> Option<EkPublic> {
        // type, nameAlg, attributes, policy (2 + 32), symmetric (3 × 2), scheme
        let parameters = area.get(2 + 2 + 4 + 34 + 6 + 2..)?;
        match self {
            Self::Rsa2048 => sized(parameters.get(2 + 4..)?).map(|(modulus, _)| EkPublic::rsa(modulus)),
            Self::P256 => {
                let (x, rest) = sized(parameters.get(2 + 2..)?)?;
                let (y, _) = sized(rest)?;
                Some(EkPublic::p256(x, y))
            }
        }
    }
}

/// One endorsement key of a machine and its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// Which kind.
    pub algorithm: EkAlgorithm,
    /// The certificate as it lies in NV, DER.
    pub certificate: Vec<u8>,
    /// The key's TPM2B_PUBLIC, as TPM2_CreatePrimary answers it.
    pub public: Vec<u8>,
    /// The DER SubjectPublicKeyInfo of the certificate.
    pub spki: Vec<u8>,
}

impl Endorsement {
    /// SHA-256 of the certificate's DER, hexadecimal.
    pub fn certificate_sha256(&self) -> String {
        sha256_hex(&self.certificate)
    }

    /// SHA-256 of the DER SubjectPublicKeyInfo, hexadecimal.
    pub fn spki_sha256(&self) -> String {
        sha256_hex(&self.spki)
    }

    /// The certificate, PEM.
    pub fn certificate_pem(&self) -> String {
        crate::der::to_pem("CERTIFICATE", &self.certificate)
    }
}

/// Derives the machine's endorsement keys, has the vendor certify them, and writes certificates and chain into NV.
pub(crate) fn endow(tpm: &mut dyn Exchange, vendor: &Vendor) -> Result<Vec<Endorsement>, SimError> {
    let mut endorsements = Vec::with_capacity(EkAlgorithm::ALL.len());
    for algorithm in EkAlgorithm::ALL {
        let (handle, area) = commands::create_primary(tpm, ENDORSEMENT, &algorithm.template())?;
        commands::flush(tpm, handle)?;
        let key = algorithm.public(&area).ok_or(SimError::ShortResponse { command: "TPM2_CreatePrimary" })?;
        let certificate = vendor.certify(&key)?;
        commands::write_certificate(tpm, algorithm.certificate_index(), &certificate)?;
        #[expect(clippy::cast_possible_truncation, reason = "a public area is below 500 bytes")]
        let mut public = (area.len() as u16).to_be_bytes().to_vec();
        public.extend_from_slice(&area);
        endorsements.push(Endorsement { algorithm, certificate, public, spki: key.subject_public_key_info() });
    }
    commands::write_certificate(tpm, CHAIN_INDEX, vendor.issuing_der())?;
    Ok(endorsements)
}

/// A TPM2B's contents, and what follows.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*size)))
}
