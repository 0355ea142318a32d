//! The signers' shape: what the SPIFFE X.509-SVID document wants of signing certificates, as rcgen parameters; and
//! what may stand in a leaf at all.
//!
//! Shapes only: who may have one is decided elsewhere. Leaves are written in `leaf`.

use holdfast_identity::{TrustDomain, UnixTime};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyUsagePurpose, SanType, SerialNumber,
};
use ring::rand::{SecureRandom, SystemRandom};
use time::OffsetDateTime;

use super::AuthorityFault;

/// Seconds by which SVIDs and signers start in the past: the clocks of machines that have just booted are late.
pub(crate) const BACKDATE_SECONDS: i64 = 60;
/// Characters of a common name or organisation (X.520 `ub-common-name`, `ub-organization-name`).
pub(super) const NAME_CHARACTERS_MAX: usize = 64;
/// Bytes of a serial number: random, with the top bits `01` so that all are positive and of one length.
pub(crate) const SERIAL_BYTES: usize = 16;
/// A P-256 `SubjectPublicKeyInfo` up to the 65 bytes of the point (RFC 5480).
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Whether a public key is one that we certify: P-256, and what rcgen knows beside it (P-384, Ed25519, RSA).
pub(super) fn check_key(spki: &[u8]) -> Result<(), AuthorityFault> {
    // Nearly every key is P-256, and the search for another one's algorithm costs a fifth of a signature.
    if let Some(point) = spki.strip_prefix(&P256_SPKI_PREFIX)
        && point.len() == 65
        && point.first() == Some(&4)
    {
        return Ok(());
    }
    rcgen::SubjectPublicKeyInfo::from_der(spki).map(|_| ()).map_err(|_| AuthorityFault::UnsupportedKey)
}

/// Whether a DNS name can stand in a certificate: an entry's names were checked when it was made, this is the last look.
pub(super) fn check_dns_name(name: &str) -> Result<(), AuthorityFault> {
    let fits = !name.is_empty() && name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(()) } else { Err(AuthorityFault::DnsName { found: name.to_owned() }) }
}

/// A random serial number of 16 bytes.
pub(super) fn draw_serial(rng: &SystemRandom) -> Result<[u8; SERIAL_BYTES], AuthorityFault> {
    let mut serial = [0; SERIAL_BYTES];
    rng.fill(&mut serial).map_err(|_| AuthorityFault::Crypto { action: "draw a serial number" })?;
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(serial)
}

/// A signing certificate: `spiffe://td` and nothing else, `cA`, a path length, keyCertSign and cRLSign.
pub(super) fn signer(
    trust_domain: &TrustDomain,
    role: &str,
    serial: [u8; SERIAL_BYTES],
    validity: (UnixTime, UnixTime),
    path_length: u8,
) -> Result<CertificateParams, AuthorityFault> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if trust_domain.as_str().len() <= NAME_CHARACTERS_MAX {
        name.push(DnType::OrganizationName, trust_domain.as_str());
    }
    // The serial makes the subject unique: two signers of one name and different keys confuse path builders.
    let unique = serial.first_chunk::<8>().map(hex::encode).unwrap_or_default();
    name.push(DnType::CommonName, format!("Holdfast {role} {unique}"));
    params.distinguished_name = name;
    params.subject_alt_names = vec![SanType::URI(ia5(trust_domain.id().as_str())?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, validity)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

pub(super) fn set_validity(
    params: &mut CertificateParams,
    (from, to): (UnixTime, UnixTime),
) -> Result<(), AuthorityFault> {
    let date = |at: UnixTime| {
        OffsetDateTime::from_unix_timestamp(at.seconds())
            .map_err(|_| AuthorityFault::NoLifetime { not_after: at.seconds(), now: from.seconds() })
    };
    params.not_before = date(from)?;
    params.not_after = date(to)?;
    Ok(())
}

pub(super) fn ia5(text: &str) -> Result<Ia5String, AuthorityFault> {
    Ia5String::try_from(text).map_err(|_| AuthorityFault::DnsName { found: text.to_owned() })
}
