//! From the certificate of a document to a root that the operator trusts, along `cabundle` in the order in which it
//! stands: nothing is searched, nothing is left over. Judges no document.
//!
//! The root is trusted by value, never because a document brings it. AWS advises against its CRLs (the certificates live
//! for hours), and none are asked.

use std::sync::Arc;

use holdfast_identity::UnixTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;

use super::document::Document;
use super::refusal::ChainRefused;
use crate::crypto::{Curve, HashAlg, Hasher, PublicKey};
use crate::x509::issuer::{self, CaRights};
use crate::x509::{Anchor, RootIdentity, Roots};

/// `ecdsa-with-SHA384`: the one algorithm of this PKI.
const ECDSA_WITH_SHA384: &str = "1.2.840.10045.4.3.3";

/// A chain whose every signature and constraint was checked. Only [`verify_chain`] makes it; keep it for the next
/// document with the same certificates, which then costs one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedChain {
    id: [u8; 32],
    key: PublicKey,
    common_name: Option<String>,
    root: RootIdentity,
    not_before: UnixTime,
    not_after: UnixTime,
}

impl VerifiedChain {
    /// SHA-256 over the certificates, each behind its length, the document's own last.
    #[must_use]
    pub const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// The key that may sign documents.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Common name of the certificate of that key.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The root.
    #[must_use]
    pub const fn root(&self) -> &RootIdentity {
        &self.root
    }

    /// The earliest end of any of its certificates.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }
}

/// What names a chain before it is verified: [`VerifiedChain::id`] of the document's certificates.
#[must_use]
pub fn chain_id(document: &Document<'_>) -> [u8; 32] {
    let mut hasher = Hasher::new(HashAlg::Sha256);
    for der in document.cabundle.iter().chain([&document.certificate]) {
        // A certificate has at most 1024 bytes here.
        hasher.update(&u32::try_from(der.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(der);
    }
    hasher.finish().as_bytes().first_chunk().copied().unwrap_or_default()
}

/// Verifies the document's certificates against the roots; one of `verified` with exactly these certificates, below a
/// root that is still trusted, is taken in place of its signatures.
///
/// # Errors
/// [`ChainRefused`] at the first certificate, root first, that does not hold.
pub fn verify_chain(
    document: &Document<'_>,
    roots: &Roots,
    verified: &[Arc<VerifiedChain>],
    now: UnixTime,
) -> Result<Arc<VerifiedChain>, ChainRefused> {
    let root = document.cabundle.first().copied().unwrap_or_default();
    let anchor = roots.anchors().iter().find(|anchor| anchor.der() == root).ok_or(ChainRefused::Root)?;
    let id = chain_id(document);
    let known = verified.iter().find(|known| known.id == id && known.root == anchor.identity());
    if let Some(known) = known.filter(|known| (known.not_before..=known.not_after).contains(&now)) {
        return Ok(Arc::clone(known));
    }
    walk(document, anchor, id, now).map(Arc::new)
}

fn walk(document: &Document<'_>, anchor: &Anchor, id: [u8; 32], now: UnixTime) -> Result<VerifiedChain, ChainRefused> {
    let leaf_position = document.cabundle.len();
    let mut window = (i64::MIN, i64::MAX);
    let mut parent: Option<X509Certificate<'_>> = None;
    for (position, der) in document.cabundle.iter().enumerate() {
        let certificate = read(der, position, now, &mut window)?;
        if let Some(parent) = &parent {
            check_issued(&certificate, parent, position)?;
        }
        check_ca(&certificate, position, leaf_position)?;
        parent = Some(certificate);
    }
    let leaf = read(document.certificate, leaf_position, now, &mut window)?;
    let parent = parent.ok_or(ChainRefused::Root)?;
    check_issued(&leaf, &parent, leaf_position)?;
    let key = check_leaf(&leaf, leaf_position)?;
    let common_name = leaf.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned);
    let (not_before, not_after) = (UnixTime(window.0), UnixTime(window.1));
    Ok(VerifiedChain { id, key, common_name, root: anchor.identity(), not_before, not_after })
}

/// A certificate from exactly these bytes that is valid now and says nothing critical that we do not understand.
/// Narrows the window.
fn read<'a>(
    der: &'a [u8],
    position: usize,
    now: UnixTime,
    window: &mut (i64, i64),
) -> Result<X509Certificate<'a>, ChainRefused> {
    let certificate = issuer::parse(der).ok_or(ChainRefused::Malformed { position })?;
    if !issuer::understands_extensions(&certificate) {
        return Err(ChainRefused::CriticalExtension { position });
    }
    let (not_before, not_after) = issuer::validity(&certificate);
    if !(not_before..=not_after).contains(&now.seconds()) {
        return Err(ChainRefused::Expired { position, not_before, not_after, now: now.seconds() });
    }
    *window = (window.0.max(not_before), window.1.min(not_after));
    Ok(certificate)
}

/// `parent` issued `child`: by name, by algorithm, by signature.
fn check_issued(
    child: &X509Certificate<'_>,
    parent: &X509Certificate<'_>,
    position: usize,
) -> Result<(), ChainRefused> {
    let issued_itself = child.issuer().as_raw() == child.subject().as_raw();
    if issued_itself || child.issuer().as_raw() != parent.subject().as_raw() {
        return Err(ChainRefused::Issuer { position });
    }
    let is_ours = child.signature_algorithm == child.tbs_certificate.signature
        && child.signature_algorithm.algorithm.to_id_string() == ECDSA_WITH_SHA384;
    if !is_ours {
        return Err(ChainRefused::Algorithm { position });
    }
    child.verify_signature(Some(parent.public_key())).map_err(|_| ChainRefused::Signature { position })
}

/// A CA that says so, may sign certificates, and has room for the issuers below it.
fn check_ca(certificate: &X509Certificate<'_>, position: usize, leaf_position: usize) -> Result<(), ChainRefused> {
    let rights = CaRights::of(certificate);
    if rights.is_ca != Some(true) {
        return Err(ChainRefused::NotCa { position });
    }
    if !usage(certificate, |usage| usage.key_cert_sign()) {
        return Err(ChainRefused::KeyUsage { position });
    }
    let issuers_below = leaf_position.saturating_sub(position + 1);
    match rights.path_length {
        Some(allowed) if usize::try_from(allowed).unwrap_or(usize::MAX) < issuers_below => {
            Err(ChainRefused::PathLength { position, allowed })
        }
        _ => p384(certificate).map(drop).ok_or(ChainRefused::Key { position }),
    }
}

/// A key for signatures and nothing else.
fn check_leaf(certificate: &X509Certificate<'_>, position: usize) -> Result<PublicKey, ChainRefused> {
    if CaRights::of(certificate).is_ca == Some(true) {
        return Err(ChainRefused::LeafIsCa);
    }
    if !usage(certificate, |usage| usage.digital_signature() && !usage.key_cert_sign()) {
        return Err(ChainRefused::KeyUsage { position });
    }
    p384(certificate).ok_or(ChainRefused::Key { position })
}

/// Whether there is a keyUsage and it allows this; a certificate without one may do nothing here.
fn usage(certificate: &X509Certificate<'_>, allows: impl Fn(&x509_parser::extensions::KeyUsage) -> bool) -> bool {
    certificate.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::KeyUsage(usage) => allows(usage),
        _ => false,
    })
}

fn p384(certificate: &X509Certificate<'_>) -> Option<PublicKey> {
    let key = PublicKey::from_parsed(certificate.public_key());
    key.filter(|key| matches!(key, PublicKey::Ec { curve: Curve::P384, .. }))
}
