//! The path from an intermediate to a root of the trust domain, checked in full before anything is signed below it.
//!
//! Stricter than path validation, which every relying party does again: what rustls, Go or OpenSSL would refuse later
//! is refused here, at once, with the reason.

use holdfast_identity::{SpiffeId, TrustDomain, UnixTime};
use x509_parser::extensions::{GeneralName, KeyUsage, NameConstraints, ParsedExtension};
use x509_parser::oid_registry::{
    OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384, Oid,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::key_id::{KEY_ID_BYTES_MAX, KeyId, subject_key};

/// Certificates between an SVID and its root: ours, and two of an organisation's own above it, with one to spare.
pub const CHAIN_MAX: usize = 4;
/// Roots that an upstream authority may name: old, current and next, with room for accidents.
pub const ROOTS_MAX: usize = 8;
/// Bytes of one certificate.
pub const CERTIFICATE_BYTES_MAX: usize = 16 << 10;
/// Signatures that every consumer verifies. Not SHA-1, not Ed25519, for which bundles have no form in use, and not RSA-PSS.
const SIGNATURES: [Oid<'static>; 5] = [
    OID_SIG_ECDSA_WITH_SHA256,
    OID_SIG_ECDSA_WITH_SHA384,
    OID_PKCS1_SHA256WITHRSA,
    OID_PKCS1_SHA384WITHRSA,
    OID_PKCS1_SHA512WITHRSA,
];

/// Whether every consumer verifies signatures of this kind.
#[must_use]
pub fn is_verified_everywhere(algorithm: &Oid<'_>) -> bool {
    SIGNATURES.contains(algorithm)
}

/// Why a certificate cannot sign in this trust domain, or stand above one that does. The names are the operator's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{whose}: {reason}")]
pub struct ChainFault {
    whose: String,
    reason: String,
    code: &'static str,
}

impl ChainFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }
}

/// Codes of [`ChainFault`], each of one check.
mod codes {
    pub(super) const fn code(check: Check) -> &'static str {
        match check {
            Check::Count => "authority.chain.count",
            Check::Form => "authority.chain.form",
            Check::Key => "authority.chain.key",
            Check::Names => "authority.chain.names",
            Check::Constraints => "authority.chain.basic_constraints",
            Check::PathLength => "authority.chain.path_length",
            Check::KeyUsage => "authority.chain.key_usage",
            Check::Purposes => "authority.chain.extended_key_usage",
            Check::Validity => "authority.chain.validity",
            Check::Extension => "authority.chain.critical_extension",
            Check::NameConstraints => "authority.chain.name_constraints",
            Check::KeyId => "authority.chain.key_id",
            Check::Algorithm => "authority.chain.signature_algorithm",
            Check::Signature => "authority.chain.signature",
            Check::Root => "authority.chain.root",
        }
    }

    #[derive(Clone, Copy)]
    pub(super) enum Check {
        Count,
        Form,
        Key,
        Names,
        Constraints,
        PathLength,
        KeyUsage,
        Purposes,
        Validity,
        Extension,
        NameConstraints,
        KeyId,
        Algorithm,
        Signature,
        Root,
    }
}
use codes::Check;

fn fault(whose: &str, check: Check, reason: impl Into<String>) -> ChainFault {
    ChainFault { whose: whose.to_owned(), reason: reason.into(), code: codes::code(check) }
}

/// A path that holds at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// DER of the root that it ends in.
    pub root: Vec<u8>,
    /// Its name.
    pub root_id: KeyId,
    /// The name of the intermediate at its beginning.
    pub key_id: KeyId,
    /// The earliest end of all its certificates: nothing signed below it may live longer.
    pub not_after: UnixTime,
}

/// Checks that `chain` (DER, our intermediate first) leads to one of `roots` at `now`, and that every certificate on the
/// way may stand there.
///
/// # Errors
/// [`ChainFault`] with the first thing that is wrong.
pub fn check<C: AsRef<[u8]>>(
    trust_domain: &TrustDomain,
    chain: &[C],
    roots: &[Vec<u8>],
    now: UnixTime,
) -> Result<Path, ChainFault> {
    if chain.is_empty() || chain.len() > CHAIN_MAX {
        let found = chain.len();
        return Err(fault("chain", Check::Count, format!("has {found} certificates, expected 1 to {CHAIN_MAX}")));
    }
    let mut not_after = UnixTime(i64::MAX);
    let mut parsed = Vec::with_capacity(chain.len());
    for (below, der) in chain.iter().enumerate() {
        let whose = place(below);
        let certificate = parse(&whose, der.as_ref())?;
        signer(&whose, &certificate, below, now)?;
        match (below, id(&whose, &certificate)?) {
            (_, Some(id)) if id == trust_domain.id() => {}
            (1.., None) => {}
            (_, found) => {
                let found = found.map_or_else(|| "none".to_owned(), |id| id.to_string());
                let expected = trust_domain.id();
                return Err(fault(&whose, Check::Names, format!("has SPIFFE ID {found}, expected {expected}")));
            }
        }
        not_after = not_after.min(end(&certificate));
        parsed.push((whose, certificate));
    }
    for pair in parsed.windows(2) {
        if let [(whose, child), (_, parent)] = pair {
            signed_by(whose, child, parent)?;
        }
    }
    let (Some((_, first)), Some((whose, last))) = (parsed.first(), parsed.last()) else {
        return Err(fault("chain", Check::Count, "is empty"));
    };
    let mut why = fault(whose, Check::Root, "none of the roots has signed it");
    for root in roots {
        match root_of(trust_domain, root, (whose, last), chain.len(), now) {
            Ok((root_id, end)) => {
                let not_after = not_after.min(end);
                let key_id = key_id("intermediate", first)?;
                return Ok(Path { root: root.clone(), root_id, key_id, not_after });
            }
            Err(NotTheRoot::Other) => {}
            Err(NotTheRoot::Unfit(fault)) => why = fault,
        }
    }
    Err(why)
}

/// Checks that a certificate may be a root of the trust domain, whatever is below it, at `now`.
///
/// # Errors
/// [`ChainFault`].
pub fn check_root(trust_domain: &TrustDomain, der: &[u8], now: UnixTime) -> Result<KeyId, ChainFault> {
    let root = parse("root", der)?;
    fit_root(trust_domain, &root, 1, now)
}

enum NotTheRoot {
    Other,
    Unfit(ChainFault),
}

/// The root's name and end, where it has signed the last certificate of a chain.
fn root_of(
    trust_domain: &TrustDomain,
    der: &[u8],
    (whose, last): (&str, &X509Certificate<'_>),
    below: usize,
    now: UnixTime,
) -> Result<(KeyId, UnixTime), NotTheRoot> {
    let root = parse("root", der).map_err(NotTheRoot::Unfit)?;
    if last.issuer().as_raw() != root.subject().as_raw() {
        return Err(NotTheRoot::Other);
    }
    signed_by(whose, last, &root).map_err(NotTheRoot::Unfit)?;
    let root_id = fit_root(trust_domain, &root, below, now).map_err(NotTheRoot::Unfit)?;
    Ok((root_id, end(&root)))
}

fn fit_root(
    trust_domain: &TrustDomain,
    root: &X509Certificate<'_>,
    below: usize,
    now: UnixTime,
) -> Result<KeyId, ChainFault> {
    signer("root", root, below, now)?;
    // A root that an organisation shares may name nobody; one that names somebody names us.
    match id("root", root)? {
        Some(found) if found != trust_domain.id() => {
            let expected = trust_domain.id();
            Err(fault("root", Check::Names, format!("has SPIFFE ID {found}, expected {expected} or none")))
        }
        _ => key_id("root", root),
    }
}

fn place(below: usize) -> String {
    if below == 0 { "intermediate".to_owned() } else { format!("certificate {} of the chain", below + 1) }
}

fn parse<'a>(whose: &str, der: &'a [u8]) -> Result<X509Certificate<'a>, ChainFault> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        let found = der.len();
        return Err(fault(whose, Check::Form, format!("has {found} bytes, limit {CERTIFICATE_BYTES_MAX}")));
    }
    match X509Certificate::from_der(der) {
        Ok((rest, certificate)) if rest.is_empty() && certificate.version().0 == 2 => Ok(certificate),
        Ok(_) => Err(fault(whose, Check::Form, "is not one X.509 certificate of version 3")),
        Err(error) => Err(fault(whose, Check::Form, format!("does not parse: {error}"))),
    }
}

/// What every signing certificate must say, with `below` others between it and an SVID.
fn signer(whose: &str, certificate: &X509Certificate<'_>, below: usize, now: UnixTime) -> Result<(), ChainFault> {
    let twice = |_| fault(whose, Check::Form, "has an extension twice, or one that does not parse");
    let basic = certificate.basic_constraints().map_err(twice)?;
    let basic = basic.filter(|found| found.critical && found.value.ca);
    let basic = basic.ok_or_else(|| fault(whose, Check::Constraints, "is no CA: expected critical cA"))?;
    if let Some(found) = basic.value.path_len_constraint
        && usize::try_from(found).is_ok_and(|found| found < below)
    {
        return Err(fault(whose, Check::PathLength, format!("allows a path length of {found}, needed is {below}")));
    }
    let usage = certificate.key_usage().map_err(twice)?.filter(|found| found.critical);
    let fits = |usage: &KeyUsage| usage.key_cert_sign() && (below > 0 || usage.crl_sign());
    if !usage.is_some_and(|found| fits(found.value)) {
        let needed = if below == 0 { "keyCertSign and cRLSign" } else { "keyCertSign" };
        return Err(fault(whose, Check::KeyUsage, format!("has no critical key usage {needed}")));
    }
    if let Some(purposes) = certificate.extended_key_usage().map_err(twice)?
        && !(purposes.value.server_auth && purposes.value.client_auth)
    {
        return Err(fault(
            whose,
            Check::Purposes,
            "restricts the extended key usage: expected none, or serverAuth and clientAuth",
        ));
    }
    let validity = certificate.validity();
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    if from > now.seconds() || to <= now.seconds() {
        let now = now.seconds();
        return Err(fault(whose, Check::Validity, format!("is valid from {from} to {to}, it is {now}")));
    }
    if certificate.subject().iter().next().is_none() {
        return Err(fault(whose, Check::Names, "has an empty subject: expected a distinguished name"));
    }
    extensions(whose, certificate)?;
    key_id(whose, certificate).map(|_| ())
}

fn extensions(whose: &str, certificate: &X509Certificate<'_>) -> Result<(), ChainFault> {
    for extension in certificate.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::NameConstraints(found) => name_constraints(whose, found)?,
            ParsedExtension::ParseError { .. } => {
                return Err(fault(whose, Check::Form, format!("extension {} does not parse", extension.oid)));
            }
            ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::SubjectAlternativeName(_) => {}
            _ if extension.critical => {
                let reason = format!("has critical extension {}, which consumers do not know", extension.oid);
                return Err(fault(whose, Check::Extension, reason));
            }
            _ => {}
        }
    }
    Ok(())
}

/// DNS and address constraints bind the SVIDs' own names, and consumers apply them. Constraints on URIs and on
/// distinguished names are refused as a whole by rustls: every SVID below would be void for it.
fn name_constraints(whose: &str, found: &NameConstraints<'_>) -> Result<(), ChainFault> {
    let subtrees = [&found.permitted_subtrees, &found.excluded_subtrees].into_iter().flatten().flatten();
    for subtree in subtrees {
        match &subtree.base {
            GeneralName::DNSName(_) | GeneralName::IPAddress(_) | GeneralName::RFC822Name(_) => {}
            _ => {
                let reason = "has name constraints on URIs, distinguished names or others that rustls does not apply: \
                              it would refuse every SVID";
                return Err(fault(whose, Check::NameConstraints, reason));
            }
        }
    }
    Ok(())
}

/// The SPIFFE ID, where there is a URI SAN: exactly one, without a path.
fn id(whose: &str, certificate: &X509Certificate<'_>) -> Result<Option<SpiffeId>, ChainFault> {
    let names = certificate.subject_alternative_name();
    let names = names.map_err(|_| fault(whose, Check::Form, "subject alternative name does not parse"))?;
    let is_uri = |name: &GeneralName<'_>| matches!(name, GeneralName::URI(_));
    if !names.is_some_and(|names| names.value.general_names.iter().any(is_uri)) {
        return Ok(None);
    }
    let id = crate::listen::uri_san(certificate).filter(|id| id.path().is_empty());
    id.map(Some).ok_or_else(|| fault(whose, Check::Names, "names a URI that is not one SPIFFE ID without a path"))
}

fn key_id(whose: &str, certificate: &X509Certificate<'_>) -> Result<KeyId, ChainFault> {
    subject_key(certificate).ok_or_else(|| {
        let reason = format!("has no subject key identifier of 1 to {KEY_ID_BYTES_MAX} bytes");
        fault(whose, Check::KeyId, reason)
    })
}

fn signed_by(whose: &str, child: &X509Certificate<'_>, parent: &X509Certificate<'_>) -> Result<(), ChainFault> {
    if !is_verified_everywhere(&child.signature_algorithm.algorithm) {
        let found = &child.signature_algorithm.algorithm;
        let reason = format!("is signed with {found}, expected ECDSA or RSA PKCS#1 with SHA-256 or more");
        return Err(fault(whose, Check::Algorithm, reason));
    }
    let issuer = child.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(found) => found.key_identifier.as_ref().map(|key| key.0),
        _ => None,
    });
    // Agents and operators know an SVID's authorities by these names.
    if issuer.and_then(KeyId::new) != subject_key(parent) {
        return Err(fault(whose, Check::KeyId, "authority key identifier is not its issuer's subject key identifier"));
    }
    if child.issuer().as_raw() != parent.subject().as_raw()
        || child.verify_signature(Some(parent.public_key())).is_err()
    {
        return Err(fault(whose, Check::Signature, "is not signed by the certificate above it"));
    }
    Ok(())
}

/// Checks that a certificate is for the key with this DER `SubjectPublicKeyInfo`.
///
/// # Errors
/// [`ChainFault`].
pub fn check_key(der: &[u8], spki: &[u8]) -> Result<(), ChainFault> {
    let certificate = parse("intermediate", der)?;
    if certificate.public_key().raw == spki {
        return Ok(());
    }
    Err(fault("intermediate", Check::Key, "is for another key than the one in the request"))
}

fn end(certificate: &X509Certificate<'_>) -> UnixTime {
    UnixTime(certificate.validity().not_after.timestamp())
}
