//! The certificates' shapes: what the SPIFFE X.509-SVID document wants of signers and of leaves, as rcgen parameters.
//!
//! Shapes only: who may have one is decided elsewhere.

use holdfast_identity::{SpiffeId, TrustDomain, UnixTime};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
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

/// A public key to be certified, taken from its `SubjectPublicKeyInfo`.
pub(super) struct CertifiedKey<'a> {
    algorithm: &'static SignatureAlgorithm,
    bits: std::borrow::Cow<'a, [u8]>,
}

impl<'a> CertifiedKey<'a> {
    pub(super) fn from_spki(spki: &'a [u8]) -> Result<Self, AuthorityFault> {
        // Nearly every key is P-256, and rcgen's search for the algorithm costs a fifth of a signature.
        if let Some(point) = spki.strip_prefix(&P256_SPKI_PREFIX)
            && point.len() == 65
            && point.first() == Some(&4)
        {
            return Ok(Self { algorithm: &rcgen::PKCS_ECDSA_P256_SHA256, bits: point.into() });
        }
        let key = rcgen::SubjectPublicKeyInfo::from_der(spki).map_err(|_| AuthorityFault::UnsupportedKey)?;
        Ok(Self { algorithm: key.algorithm(), bits: key.der_bytes().to_vec().into() })
    }
}

impl PublicKeyData for CertifiedKey<'_> {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
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

/// A leaf: one URI SAN, the DNS names, digitalSignature, server and client authentication, explicitly no CA.
pub(super) fn leaf(
    id: &SpiffeId,
    dns_names: &[String],
    serial: [u8; SERIAL_BYTES],
    validity: (UnixTime, UnixTime),
) -> Result<CertificateParams, AuthorityFault> {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    if let Some(first) = dns_names.first()
        && first.len() <= NAME_CHARACTERS_MAX
    {
        name.push(DnType::CommonName, first.as_str());
    }
    // Empty without a DNS name: then rcgen marks the SAN critical by itself.
    params.distinguished_name = name;
    let mut names = Vec::with_capacity(1 + dns_names.len());
    names.push(SanType::URI(ia5(id.as_str())?));
    for dns in dns_names {
        names.push(SanType::DnsName(ia5(dns)?));
    }
    params.subject_alt_names = names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, validity)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

fn set_validity(params: &mut CertificateParams, (from, to): (UnixTime, UnixTime)) -> Result<(), AuthorityFault> {
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
