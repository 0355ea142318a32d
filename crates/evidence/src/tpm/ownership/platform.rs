//! Platform certificates: which machine a TPM was built into, in its maker's words. Two forms: the attribute certificate
//! of the TCG's profile, whose holder is an endorsement certificate; and a certificate for the endorsement key itself, as
//! swtpm's CA issues it.

use holdfast_identity::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ParsedExtension, X509Extension};

use super::attribute::{AttributeCertificate, ClaimedHolder};
use super::error::Unowned;
use super::holder::Holder;
use super::identity::PlatformIdentity;
use super::names::PlatformNames;
use super::offered::Factor;
use crate::crypto::{PublicKey, sha256};
use crate::tpm::endorsement::certificate_in;
use crate::x509::{ExpiredIssuers, RootIdentity, Roots, find_path, find_signer, issuer};

const FACTOR: Factor = Factor::Platform;
/// `tcg-kp-PlatformAttributeCertificate`: a whole platform's, and no delta to one.
const PLATFORM_ATTRIBUTE: &str = "2.23.133.8.2";
/// `tcg-kp-PlatformKeyCertificate`.
const PLATFORM_KEY: &str = "2.23.133.8.4";

/// Checks a platform certificate as read from NV.
pub(super) fn verify_platform_certificate(
    blob: &[u8],
    holders: &[Holder<'_>],
    roots: &Roots,
    expired: ExpiredIssuers,
    now: UnixTime,
) -> Result<PlatformIdentity, Unowned> {
    let malformed = |what| Unowned::Malformed { factor: FACTOR, what };
    let der = certificate_in(blob).map_err(|_| malformed("no one DER sequence, or more than padding behind it"))?;
    if let Some(certificate) = AttributeCertificate::parse(der) {
        let root = check_attribute(&certificate, holders, roots, expired, now)?;
        return Ok(identity(der, &certificate.extensions, root));
    }
    let certificate = issuer::parse(der).ok_or(malformed("neither an attribute certificate nor a public-key one"))?;
    if !issuer::is_canonical(der, &certificate) {
        return Err(malformed("not in its one DER encoding"));
    }
    let root = check_for_key(&certificate, holders, roots, expired, now)?;
    Ok(identity(der, certificate.extensions(), root))
}

fn identity(der: &[u8], extensions: &[X509Extension<'_>], root: RootIdentity) -> PlatformIdentity {
    let PlatformNames { manufacturer, model, version, serial } = PlatformNames::of(extensions);
    PlatformIdentity { certificate_sha256: sha256(&[der]), manufacturer, model, version, serial, root }
}

fn check_attribute(
    certificate: &AttributeCertificate<'_>,
    holders: &[Holder<'_>],
    roots: &Roots,
    expired: ExpiredIssuers,
    now: UnixTime,
) -> Result<RootIdentity, Unowned> {
    // First whether anybody whom we believe says so: what no imported root speaks for is left aside.
    let path = find_signer(&certificate.signed_by_name(), roots, expired, now)
        .map_err(|refused| Unowned::path(FACTOR, refused))?;
    if certificate.credential_type.as_ref().is_some_and(|kind| kind != PLATFORM_ATTRIBUTE) {
        return Err(Unowned::Purpose { factor: FACTOR, what: "its credential type is no platform's" });
    }
    if !issuer::understands(&certificate.extensions) {
        return Err(Unowned::CriticalExtension { factor: FACTOR });
    }
    dates((certificate.not_before, certificate.not_after), now)?;
    if !is_held(&certificate.holder, holders) {
        return Err(Unowned::Holder { factor: FACTOR });
    }
    Ok(path.anchor.identity())
}

/// Whether one and the same endorsement certificate is everything that the holder is said to be; a holder without issuer,
/// serial number or digest is nobody.
fn is_held(claimed: &ClaimedHolder<'_>, holders: &[Holder<'_>]) -> bool {
    let names_somebody = claimed.certificate.is_some() || claimed.digest.is_some();
    names_somebody
        && holders.iter().any(|holder| {
            claimed.certificate.is_none_or(|(issuer, serial)| holder.is_issued_as(issuer, serial))
                && claimed.digest.as_ref().is_none_or(|object| {
                    if object.of_certificate {
                        holder.has_digest(object.alg, object.digest)
                    } else {
                        holder.has_key_digest(object.alg, object.digest)
                    }
                })
        })
}

fn check_for_key(
    certificate: &X509Certificate<'_>,
    holders: &[Holder<'_>],
    roots: &Roots,
    expired: ExpiredIssuers,
    now: UnixTime,
) -> Result<RootIdentity, Unowned> {
    let path = find_path(certificate, &[], roots, expired, now).map_err(|refused| Unowned::path(FACTOR, refused))?;
    if !issuer::understands_extensions(certificate) {
        return Err(Unowned::CriticalExtension { factor: FACTOR });
    }
    if issuer::CaRights::of(certificate).is_ca == Some(true) {
        return Err(Unowned::Purpose { factor: FACTOR, what: "it is a CA certificate" });
    }
    let is_for_platforms = certificate.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::ExtendedKeyUsage(usage) => {
            usage.other.iter().any(|id| [PLATFORM_ATTRIBUTE, PLATFORM_KEY].contains(&id.to_id_string().as_str()))
        }
        _ => false,
    });
    if !is_for_platforms {
        return Err(Unowned::Purpose { factor: FACTOR, what: "its extended key usage is no platform's" });
    }
    dates(issuer::validity(certificate), now)?;
    let key = PublicKey::from_parsed(certificate.public_key());
    if key.is_some_and(|key| holders.iter().any(|holder| holder.has_key(&key))) {
        Ok(path.anchor.identity())
    } else {
        Err(Unowned::Holder { factor: FACTOR })
    }
}

fn dates((not_before, not_after): (i64, i64), now: UnixTime) -> Result<(), Unowned> {
    let now = now.seconds();
    if (not_before..=not_after).contains(&now) {
        Ok(())
    } else {
        Err(Unowned::Expired { factor: FACTOR, not_before, not_after, now })
    }
}
