//! IAK and IDevID: the maker's certificate for a key that it saw in the TPM, and the key itself. That the key is in *this*
//! TPM is for the key to say: see `residency`.

use holdfast_identity::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;

use super::OwnershipEndorsers;
use super::error::Unowned;
use super::holder::Holder;
use super::identity::DeviceIdentity;
use super::names::{plain, tpm_namings};
use super::offered::{DeviceRole, Factor, OfferedDeviceKey};
use crate::crypto::{HashAlg, PublicKey, SignatureAlg, sha256};
use crate::tpm::ak::AttestationKey;
use crate::tpm::attributes::Attributes;
use crate::tpm::endorsement::{CHAIN_CERTIFICATES_MAX, certificate_in, certificates_in};
use crate::tpm::error::Unverified;
use crate::tpm::public::{Public, Scheme};
use crate::x509::{find_path, issuer};

/// `tcg-kp-AIKCertificate`: the key states what its TPM found, and nothing else.
const ATTESTATION_KEY: &str = "2.23.133.8.3";
/// `serialNumber` of a distinguished name.
const SERIAL_NUMBER: &str = "2.5.4.5";

/// Checks a device key's public area and certificate.
pub(super) fn verify_device_certificate(
    offered: &OfferedDeviceKey,
    holders: &[Holder<'_>],
    endorsers: &OwnershipEndorsers<'_>,
    now: UnixTime,
) -> Result<(DeviceIdentity, Public), Unowned> {
    let factor = Factor::from(offered.role);
    let malformed = |what| Unowned::Malformed { factor, what };
    let der = certificate_in(&offered.certificate)
        .map_err(|_| malformed("no one DER sequence, or more than padding behind it"))?;
    let leaf = issuer::parse(der).ok_or(malformed("no X.509 certificate"))?;
    if !issuer::is_canonical(der, &leaf) {
        return Err(malformed("not in its one DER encoding"));
    }
    let mut chain = Vec::new();
    for blob in &offered.chain {
        chain.extend(certificates_in(blob).map_err(|_| malformed("its chain is no DER"))?);
        if chain.len() > CHAIN_CERTIFICATES_MAX {
            return Err(malformed("too many certificates come with it"));
        }
    }
    // First whether anybody whom we believe says so: what no imported root speaks for is left aside.
    let path = find_path(&leaf, &chain, endorsers.devices, endorsers.expired_issuers, now)
        .map_err(|refused| Unowned::path(factor, refused))?;
    if !issuer::understands_extensions(&leaf) {
        return Err(Unowned::CriticalExtension { factor });
    }
    if issuer::CaRights::of(&leaf).is_ca == Some(true) {
        return Err(Unowned::Purpose { factor, what: "it is a CA certificate" });
    }
    let may_sign = leaf.extensions().iter().all(|extension| match extension.parsed_extension() {
        ParsedExtension::KeyUsage(usage) => usage.digital_signature(),
        _ => true,
    });
    if !may_sign {
        return Err(Unowned::Purpose { factor, what: "its key may not sign" });
    }
    let (not_before, not_after) = issuer::validity(&leaf);
    if !(not_before..=not_after).contains(&now.seconds()) {
        return Err(Unowned::Expired { factor, not_before, not_after, now: now.seconds() });
    }
    let public = Public::parse_sized(&offered.public).map_err(|_| malformed("its public area does not parse"))?;
    if PublicKey::from_parsed(leaf.public_key()).as_ref() != Some(public.key()) {
        return Err(Unowned::PublicMismatch { factor });
    }
    check_device_key(offered.role, &public)?;
    let namings = tpm_namings(leaf.extensions());
    if !namings.iter().all(|naming| holders.iter().any(|holder| holder.is_named(naming))) {
        return Err(Unowned::Holder { factor });
    }
    if offered.role == DeviceRole::IdevId && namings.is_empty() {
        // It signs whatever it is given, a made-up statement too: only its maker can say where it is.
        return Err(Unowned::Residency { factor, what: "its certificate names no endorsement certificate" });
    }
    let mut purposes = leaf.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::ExtendedKeyUsage(usage) => {
            Some(usage.any || usage.other.iter().any(|id| id.to_id_string() == ATTESTATION_KEY))
        }
        _ => None,
    });
    // Whoever says what the key is for, and does not say that, says that it is another key: an IDevID, whatever the host
    // calls it.
    let is_said_to_attest = purposes.next();
    if offered.role == DeviceRole::Iak && is_said_to_attest == Some(false) {
        return Err(Unowned::Purpose { factor, what: "its extended key usage is no attestation key's" });
    }
    if offered.role == DeviceRole::Iak && namings.is_empty() && !states_its_purpose(&leaf) {
        // That it is restricted is the host's word so far: behind the certificate of a key that signs whatever it is given
        // any attributes can be claimed.
        let what = "its certificate neither says that it is an attestation key's nor names an endorsement certificate";
        return Err(Unowned::Residency { factor, what });
    }
    let serial =
        leaf.subject().iter_attributes().find(|attribute| attribute.attr_type().to_id_string() == SERIAL_NUMBER);
    let identity = DeviceIdentity {
        role: offered.role,
        spki_sha256: sha256(&[&public.key().spki()]),
        certificate_sha256: sha256(&[der]),
        serial: serial.map(|attribute| plain(attribute.attr_value().data)).unwrap_or_default(),
        root: path.anchor.identity(),
    };
    Ok((identity, public))
}

/// Whether the maker says in so many words that it is an attestation key; that it may be used for anything does not.
fn states_its_purpose(leaf: &X509Certificate<'_>) -> bool {
    leaf.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::ExtendedKeyUsage(usage) => usage.other.iter().any(|id| id.to_id_string() == ATTESTATION_KEY),
        _ => false,
    })
}

/// Checks that a public area is that of a device key: resident and made by its TPM; an IAK restricted to what the TPM
/// itself states.
///
/// # Errors
/// [`Unowned::Attributes`], [`Unowned::KeyKind`].
pub fn check_device_key(role: DeviceRole, public: &Public) -> Result<(), Unowned> {
    let factor = Factor::from(role);
    let found = public.attributes();
    let (required, allowed) = match role {
        DeviceRole::Iak => (Attributes::AK_REQUIRED, Attributes::AK_ALLOWED),
        DeviceRole::IdevId => (Attributes::IDEVID_REQUIRED, Attributes::IDEVID_ALLOWED),
    };
    if !found.are_within(required, allowed) {
        return Err(Unowned::Attributes { factor, found, required, allowed });
    }
    match role {
        DeviceRole::Iak => AttestationKey::check(public).map(|_| ()).map_err(|unverified| match unverified {
            Unverified::AkAttributes { found } => Unowned::Attributes { factor, found, required, allowed },
            _ => Unowned::KeyKind { factor },
        }),
        DeviceRole::IdevId => {
            let is_rsa = matches!(public.key(), PublicKey::Rsa { .. });
            let fits = match public.scheme() {
                Scheme::Null => true,
                Scheme::Signing { algorithm, hash } => {
                    HashAlg::from_id(hash).is_some() && is_rsa != (algorithm == SignatureAlg::Ecdsa)
                }
                Scheme::Other(_) => false,
            };
            if fits && public.symmetric_bits().is_none() { Ok(()) } else { Err(Unowned::KeyKind { factor }) }
        }
    }
}
