//! Rules that one certificate keeps on its own: its one encoding, critical extensions, CA rights, validity.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer as _;

/// Critical extensions that we understand: keyUsage, basicConstraints, subjectAltName, certificatePolicies,
/// extendedKeyUsage. The policies themselves are the vendor's prose and decide nothing here.
const UNDERSTOOD: [&str; 5] = ["2.5.29.15", "2.5.29.19", "2.5.29.17", "2.5.29.32", "2.5.29.37"];

/// A certificate from exactly these bytes.
pub(crate) fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, certificate)| certificate)
}

/// Whether everything around the signed part has its one encoding: the signature does not cover it, and the digest of
/// the certificate, by which inventories name machines, must have no second form.
pub(crate) fn is_canonical(der: &[u8], certificate: &X509Certificate<'_>) -> bool {
    is_canonical_around(der, certificate.tbs_certificate.as_ref(), &certificate.signature_value.data)
}

/// The same of whatever else is signed as certificates are: `signed` is the part that the signature covers, `signature` its
/// bits.
pub(crate) fn is_canonical_around(der: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let value = [&[0], signature].concat();
    let [high, low] = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
    let header: &[u8] = match (high, low) {
        (0, 0..=0x7f) => &[0x03, low],
        (0, _) => &[0x03, 0x81, low],
        _ => &[0x03, 0x82, high, low],
    };
    let algorithm = body(der)
        .and_then(|body| body.strip_suffix(value.as_slice()))
        .and_then(|body| body.strip_suffix(header))
        .and_then(|body| body.strip_prefix(signed));
    // the algorithm stands once more inside the signed part
    algorithm.is_some_and(|outer| !outer.is_empty() && signed.windows(outer.len()).any(|inner| inner == outer))
}

/// What stands in the certificate's SEQUENCE, if its header is the one that DER has for it: the reader below takes any class
/// of the tag. No certificate is shorter than 256 bytes or longer than 65535, so that the length has two bytes.
fn body(der: &[u8]) -> Option<&[u8]> {
    let [0x30, 0x82, high, low, body @ ..] = der else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    (length == body.len() && length > 0xff).then_some(body)
}

/// Whether every critical extension is one that we understand and could parse, and none stands twice.
pub(crate) fn understands_extensions(certificate: &X509Certificate<'_>) -> bool {
    understands(certificate.extensions())
}

/// The same of extensions that stand elsewhere.
pub(crate) fn understands(extensions: &[X509Extension<'_>]) -> bool {
    let doubled = extensions
        .iter()
        .enumerate()
        .any(|(at, extension)| extensions.iter().skip(at + 1).any(|other| other.oid == extension.oid));
    !doubled
        && extensions.iter().filter(|extension| extension.critical).all(|extension| {
            UNDERSTOOD.contains(&extension.oid.to_id_string().as_str())
                && !matches!(
                    extension.parsed_extension(),
                    ParsedExtension::ParseError { .. } | ParsedExtension::UnsupportedExtension { .. }
                )
        })
}

/// What a certificate's basicConstraints and keyUsage say about issuing.
pub(crate) struct CaRights {
    /// `cA`, if the extension is there.
    pub(crate) is_ca: Option<bool>,
    /// `pathLenConstraint`.
    pub(crate) path_length: Option<u32>,
    /// keyCertSign; true if there is no keyUsage.
    pub(crate) may_sign: bool,
    /// cRLSign; true if there is no keyUsage.
    pub(crate) may_sign_crls: bool,
}

impl CaRights {
    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Self {
        let mut rights = Self { is_ca: None, path_length: None, may_sign: true, may_sign_crls: true };
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                ParsedExtension::BasicConstraints(constraints) => {
                    rights.is_ca = Some(constraints.ca);
                    rights.path_length = constraints.path_len_constraint;
                }
                ParsedExtension::KeyUsage(usage) => {
                    rights.may_sign = usage.key_cert_sign();
                    rights.may_sign_crls = usage.crl_sign();
                }
                _ => {}
            }
        }
        rights
    }
}

/// notBefore and notAfter, seconds since 1970.
pub(crate) fn validity(certificate: &X509Certificate<'_>) -> (i64, i64) {
    let validity = certificate.validity();
    (validity.not_before.timestamp(), validity.not_after.timestamp())
}
