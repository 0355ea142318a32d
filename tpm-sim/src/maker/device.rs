//! IAK and IDevID: primaries of the endorsement hierarchy by the TCG's templates for P-256, and their certificates.

use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, PublicKeyData as _};

use super::attack::MakerAttack;
use super::{IAK_HANDLE, IAK_INDEX, IDEVID_HANDLE, IDEVID_INDEX, Maker, fields, leaf};
use crate::der::{self, SEQUENCE, UTF8_STRING, element};
use crate::digest::sha256_hex;
use crate::endorsement::Endorsement;
use crate::error::SimError;
use crate::tpm::commands::{self, ENDORSEMENT};
use crate::tpm::wire::Exchange;
use crate::vendor::{EkPublic, MANUFACTURER};

/// Which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Iak,
    IdevId,
}

/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, adminWithPolicy, sign.
const ATTRIBUTES: u32 = 0x0004_00f2;
const RESTRICTED: u32 = 0x0001_0000;
/// Bytes before `unique` in the templates: type, nameAlg, attributes, policy, symmetric, scheme, curve, KDF.
const BEGINNING: usize = 2 + 2 + 4 + 34 + 2 + 4 + 2 + 2;
/// The policy of administration of attestation keys, SHA-256, of TPM 2.0 Keys for Device Identity and Attestation.
const IAK_POLICY: [u8; 32] = [
    0x54, 0x37, 0x18, 0x23, 0x26, 0xe4, 0x14, 0xfc, 0xa7, 0x97, 0xd5, 0xf1, 0x74, 0x61, 0x5a, 0x16, 0x41, 0xf6, 0x12,
    0x55, 0x79, 0x7c, 0x3a, 0x2b, 0x22, 0xc2, 0x1d, 0x12, 0x0b, 0x2d, 0x1e, 0x07,
];
/// The same of signing keys.
const IDEVID_POLICY: [u8; 32] = [
    0xad, 0x6b, 0x3a, 0x22, 0x84, 0xfd, 0x69, 0x8a, 0x07, 0x10, 0xbf, 0x5c, 0xc1, 0xb9, 0xbd, 0xf1, 0x5e, 0x25, 0x32,
    0xe3, 0xf6, 0x01, 0xfa, 0x4b, 0x93, 0xa6, 0xa8, 0xfa, 0x8d, 0xe5, 0x79, 0xea,
];

impl Role {
    const fn places(self) -> (u32, u32) {
        match self {
            Self::Iak => (IAK_INDEX, IAK_HANDLE),
            Self::IdevId => (IDEVID_INDEX, IDEVID_HANDLE),
        }
    }

    /// The TPMT_PUBLIC template: ECDSA with SHA-256 on P-256, and the role's name in `unique`.
    fn template(self, restricted: bool) -> Vec<u8> {
        let (policy, unique): (&[u8; 32], &[u8]) = match self {
            Self::Iak => (&IAK_POLICY, b"IAK"),
            Self::IdevId => (&IDEVID_POLICY, b"IDEVID"),
        };
        let attributes = if restricted { ATTRIBUTES | RESTRICTED } else { ATTRIBUTES };
        let mut bytes = vec![0x00, 0x23, 0x00, 0x0b];
        bytes.extend(attributes.to_be_bytes());
        bytes.extend([0, 32]);
        bytes.extend(policy);
        bytes.extend([0x00, 0x10, 0x00, 0x18, 0x00, 0x0b, 0x00, 0x03, 0x00, 0x10]);
        bytes.extend([0, u8::try_from(unique.len()).unwrap_or(0)]);
        bytes.extend(unique);
        bytes.extend([0, 0]);
        bytes
    }
}

/// Makes the key, has the maker certify it, and puts both where they belong; the key's SubjectPublicKeyInfo.
pub(super) fn provision(
    tpm: &mut dyn Exchange,
    role: Role,
    maker: &Maker,
    endorsement: &Endorsement,
    serial: &str,
    attack: Option<&MakerAttack>,
) -> Result<Vec<u8>, SimError> {
    let (index, handle) = role.places();
    let restricted = role == Role::Iak && attack != Some(&MakerAttack::IakUnrestricted);
    let (key, area) = commands::create_primary(tpm, ENDORSEMENT, &role.template(restricted))?;
    commands::persist(tpm, key, handle)?;
    commands::flush(tpm, key)?;
    let public = public(&area).ok_or(SimError::ShortResponse { command: "TPM2_CreatePrimary" })?;
    let certified = match (role, attack) {
        (Role::Iak, Some(MakerAttack::IakCopied)) => {
            let elsewhere = rcgen::KeyPair::generate()?;
            let (x, y) =
                elsewhere.der_bytes().get(1..).and_then(|point| point.split_at_checked(32)).unwrap_or_default();
            EkPublic::p256(x, y)
        }
        _ => public,
    };
    let mut params = leaf(serial)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if role == Role::Iak {
        // tcg-kp-AIKCertificate
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 3])];
    }
    params.use_authority_key_identifier_extension = true;
    params.custom_extensions.push(policies(role));
    let names_its_tpm = !(role == Role::IdevId && attack == Some(&MakerAttack::IdevidWithoutResidency));
    if names_its_tpm {
        params.custom_extensions.push(alternative_names(endorsement)?);
    }
    let certificate = params.signed_by(&certified, &maker.issuer()?)?;
    let with_issuer = [certificate.der(), maker.issuing_der.as_slice()].concat();
    commands::write_certificate(tpm, index, &with_issuer)?;
    Ok(certified.subject_public_key_info())
}

fn public(area: &[u8]) -> Option<EkPublic> {
    let sized = |bytes: &[u8]| -> Option<(Vec<u8>, Vec<u8>)> {
        let (size, rest) = bytes.split_first_chunk::<2>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        Some((value.to_vec(), rest.to_vec()))
    };
    let (x, rest) = sized(area.get(BEGINNING..)?)?;
    let (y, _) = sized(&rest)?;
    Some(EkPublic::p256(&x, &y))
}

/// certificatePolicies: tcg-cap-verifiedTPMResidency, and tcg-cap-verifiedTPMRestricted or -Fixed.
fn policies(role: Role) -> CustomExtension {
    let kind = match role {
        Role::Iak => 3,
        Role::IdevId => 2,
    };
    let policy = |last: u8| element(SEQUENCE, &element(der::OID, &[0x67, 0x81, 0x05, 11, 1, last]));
    CustomExtension::from_oid_content(&[2, 5, 29, 32], element(SEQUENCE, &[policy(1), policy(kind)].concat()))
}

/// permanentIdentifier and hardwareModuleName: the TPM by its endorsement certificate.
fn alternative_names(endorsement: &Endorsement) -> Result<CustomExtension, SimError> {
    let fields = fields(endorsement)?;
    let other_name = |id: u8, value: Vec<u8>| {
        // id-on: 1.3.6.1.5.5.7.8
        let oid = element(der::OID, &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x08, id]);
        element(0xa0, &[oid, element(0xa0, &element(SEQUENCE, &value))].concat())
    };
    let digest = element(UTF8_STRING, sha256_hex(&endorsement.certificate).as_bytes());
    let permanent = other_name(3, [digest, element(der::OID, &[0x67, 0x81, 0x05, 12, 1])].concat());
    let serial = format!(
        "{}:{}:{}",
        MANUFACTURER.trim_start_matches("id:"),
        hex::encode(fields.authority),
        hex::encode(fields.serial)
    );
    let module = [element(der::OID, &[0x67, 0x81, 0x05, 1, 2]), element(0x04, serial.as_bytes())].concat();
    let names = element(SEQUENCE, &[permanent, other_name(4, module)].concat());
    Ok(CustomExtension::from_oid_content(&[2, 5, 29, 17], names))
}
