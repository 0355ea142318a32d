//! From a certificate to an anchor. Depth first, every issuer of the right name is tried, because some vendors
//! have several intermediates of one name with different keys. Signatures are verified over the original bytes.

use x509_parser::certificate::X509Certificate;
use x509_parser::error::X509Error;
use x509_parser::x509::AlgorithmIdentifier;

use super::crl::Verdict;
use super::issuer::{self, CaRights};
use super::{Anchor, ExpiredIssuers, PathRefused, Roots, Sha1Signatures};
use holdfast_identity::UnixTime;

/// Issuers above a certificate. The longest real chains (Intel on-die CA) have four.
const ISSUERS_MAX: usize = 5;
/// Signature checks spent on one certificate, whatever the chain it came with looks like.
const SIGNATURES_MAX: usize = 24;

/// A path that holds.
#[derive(Clone, Debug)]
pub struct Path<'r> {
    /// The root at its end.
    pub anchor: &'r Anchor,
    /// SHA-256 of the intermediates between, from the leaf upwards.
    pub intermediates: Vec<[u8; 32]>,
    /// The latest begin of any issuer of the path, seconds since 1970.
    pub not_before: i64,
    /// The earliest end of any certificate of the path, the leaf included, seconds since 1970.
    pub not_after: i64,
}

/// Looks for a path from `leaf` to an anchor, over `offered` certificates (DER, one each) and the intermediates that
/// were imported. Answers for signature, names, dates, CA rights, path length and revocation of every issuer; what the
/// leaf itself must be, its own dates included, is the caller's to say.
///
/// # Errors
/// [`PathRefused`]: of several paths that fail, the refusal of the one that got furthest.
pub fn find_path<'r>(
    leaf: &X509Certificate<'_>,
    offered: &[&'r [u8]],
    roots: &'r Roots,
    expired: ExpiredIssuers,
    now: UnixTime,
) -> Result<Path<'r>, PathRefused> {
    Search::new(roots, offered, expired, now).run(leaf)
}

/// One search.
struct Search<'r> {
    roots: &'r Roots,
    /// What came with the certificate, by raw subject.
    offered: Vec<(Vec<u8>, &'r [u8])>,
    expired: ExpiredIssuers,
    now: UnixTime,
    signatures_left: usize,
    /// The refusal that got furthest.
    worst: (usize, PathRefused),
}

impl<'r> Search<'r> {
    fn new(roots: &'r Roots, chain: &[&'r [u8]], expired: ExpiredIssuers, now: UnixTime) -> Self {
        // what came along may have been changed wherever no signature covers it
        let offered = chain.iter().filter_map(|der| {
            let certificate = issuer::parse(der).filter(|certificate| issuer::is_canonical(der, certificate))?;
            Some((certificate.subject().as_raw().to_vec(), *der))
        });
        Self {
            roots,
            offered: offered.collect(),
            expired,
            now,
            signatures_left: SIGNATURES_MAX,
            worst: (0, PathRefused::NoPath { depth: 1 }),
        }
    }

    /// The first path that holds.
    fn run(mut self, leaf: &X509Certificate<'_>) -> Result<Path<'r>, PathRefused> {
        let mut intermediates = Vec::new();
        let mut window = (i64::MIN, issuer::validity(leaf).1);
        match self.extend(leaf, 0, false, &mut intermediates, &mut window) {
            Some(anchor) => Ok(Path { anchor, intermediates, not_before: window.0, not_after: window.1 }),
            None => Err(self.worst.1),
        }
    }

    /// Looks for issuers of `child`, the certificate at `depth`; `sha1` if a signature below was SHA-1. Narrows the window
    /// to theirs.
    fn extend(
        &mut self,
        child: &X509Certificate<'_>,
        depth: usize,
        sha1: bool,
        intermediates: &mut Vec<[u8; 32]>,
        window: &mut (i64, i64),
    ) -> Option<&'r Anchor> {
        if depth >= ISSUERS_MAX {
            self.note(depth, PathRefused::TooDeep);
            return None;
        }
        let roots = self.roots;
        let wanted = child.issuer().as_raw();
        let sha1 = sha1 || is_sha1(child);
        for anchor in roots.anchors.iter().filter(|anchor| anchor.subject == wanted) {
            if sha1 && anchor.sha1 == Sha1Signatures::Refused {
                self.note(depth, PathRefused::Sha1 { depth });
                continue;
            }
            if self.issued(child, &anchor.der, depth, true) {
                narrow(window, (anchor.not_before, anchor.not_after));
                return Some(anchor);
            }
        }
        let known = roots.intermediates.iter().map(|known| (&known.subject, known.der.as_slice()));
        let offered: Vec<_> = self
            .offered
            .iter()
            .map(|(subject, der)| (subject, *der))
            .chain(known)
            .filter(|(subject, _)| subject.as_slice() == wanted)
            .map(|(_, der)| der)
            .collect();
        for der in offered {
            let digest = crate::crypto::sha256(&[der]);
            if intermediates.contains(&digest) || !self.issued(child, der, depth, false) {
                continue;
            }
            let Some(parent) = issuer::parse(der) else { continue };
            intermediates.push(digest);
            self.note(depth + 1, PathRefused::NoPath { depth: depth + 2 });
            if let Some(anchor) = self.extend(&parent, depth + 1, sha1, intermediates, window) {
                narrow(window, issuer::validity(&parent));
                return Some(anchor);
            }
            intermediates.pop();
        }
        None
    }

    /// Whether the certificate `der` issued `child`, by every rule there is.
    fn issued(&mut self, child: &X509Certificate<'_>, der: &[u8], depth: usize, is_anchor: bool) -> bool {
        let Some(parent) = issuer::parse(der) else { return false };
        match self.check_issuer(child, &parent, depth, is_anchor) {
            Ok(()) => true,
            Err(refusal) => {
                self.note(depth, refusal);
                false
            }
        }
    }

    fn check_issuer(
        &mut self,
        child: &X509Certificate<'_>,
        parent: &X509Certificate<'_>,
        depth: usize,
        is_anchor: bool,
    ) -> Result<(), PathRefused> {
        self.signatures_left = self.signatures_left.checked_sub(1).ok_or(PathRefused::TooDeep)?;
        verify_signature(child, parent, depth)?;
        if !issuer::understands_extensions(parent) {
            return Err(PathRefused::CriticalExtension { depth: depth + 1 });
        }
        let rights = CaRights::of(parent);
        // an anchor of old (version 1) has no basicConstraints; the operator vouches for it
        if !rights.is_ca.unwrap_or(is_anchor) || !rights.may_sign {
            return Err(PathRefused::NotCa { depth: depth + 1 });
        }
        // `depth` counts the issuers between this one and the leaf
        if let Some(allowed) = rights.path_length.filter(|allowed| u64::from(*allowed) < depth as u64) {
            return Err(PathRefused::PathLength { depth: depth + 1, allowed });
        }
        self.check_dates(parent, depth + 1)?;
        for crl in &self.roots.crls {
            match crl.judge(parent, child.raw_serial()) {
                Verdict::NotConcerned | Verdict::Clear => {}
                Verdict::BadSignature => return Err(PathRefused::CrlSignature { depth: depth + 1 }),
                Verdict::Revoked => return Err(PathRefused::Revoked { depth }),
            }
        }
        Ok(())
    }

    fn check_dates(&self, parent: &X509Certificate<'_>, depth: usize) -> Result<(), PathRefused> {
        let (not_before, not_after) = issuer::validity(parent);
        let now = self.now.seconds();
        let expired = now > not_after && self.expired == ExpiredIssuers::Refused;
        if now < not_before || expired {
            return Err(PathRefused::IssuerExpired { depth, not_before, not_after, now });
        }
        Ok(())
    }

    /// Keeps the refusal that came from furthest up; of two at one depth, the one that is no mere "no issuer found".
    fn note(&mut self, depth: usize, refusal: PathRefused) {
        let is_vague = matches!(self.worst.1, PathRefused::NoPath { .. } | PathRefused::Signature { .. });
        if depth > self.worst.0 || depth == self.worst.0 && is_vague {
            self.worst = (depth, refusal);
        }
    }
}

fn narrow(window: &mut (i64, i64), by: (i64, i64)) {
    *window = (window.0.max(by.0), window.1.min(by.1));
}

fn is_sha1(certificate: &X509Certificate<'_>) -> bool {
    names_sha1(&certificate.signature_algorithm)
}

/// Whether a signature by this algorithm is over SHA-1.
pub(super) fn names_sha1(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    matches!(
        algorithm.algorithm.to_id_string().as_str(),
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" | "1.2.840.10045.4.1"
    )
}

/// Verifies `child`'s signature, over its original bytes, under `parent`'s key.
fn verify_signature(
    child: &X509Certificate<'_>,
    parent: &X509Certificate<'_>,
    depth: usize,
) -> Result<(), PathRefused> {
    if child.signature_algorithm != child.tbs_certificate.signature {
        return Err(PathRefused::Signature { depth });
    }
    child.verify_signature(Some(parent.public_key())).map_err(|error| match error {
        X509Error::SignatureUnsupportedAlgorithm => PathRefused::SignatureAlgorithm { depth },
        _ => PathRefused::Signature { depth },
    })
}
