//! From a VEK to a trusted root: ARK → ASK (or ASVK) → VEK, two signatures by RSASSA-PSS over the original bytes. The
//! ARK is one that the operator trusts; a chain that a host brings along only helps to find it.

use holdfast_identity::UnixTime;
use x509_parser::certificate::X509Certificate;

use super::bits::VekKind;
use super::certificate::{self, Parsed, Vek, common_name, issuer_name};
use super::der::Signed;
use super::error::Unverified;
use super::product::Product;
use crate::crypto::{self, PublicKey};
use crate::x509::issuer::CaRights;
use crate::x509::{Anchor, ListDates, RootIdentity, Roots, Verdict};

/// Intermediates of the right name that are tried.
const INTERMEDIATES_TRIED: usize = 4;

/// A VEK whose chain was verified. Only [`verify_chain`] makes it; keep it by its digest until it ends, and a
/// re-attestation costs one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedVek {
    vek: Vek,
    sha256: [u8; 32],
    root: RootIdentity,
    not_before: i64,
    not_after: i64,
    crls: [u8; 32],
    list: Option<ListDates>,
    certificates: [Vec<u8>; 2],
}

impl VerifiedVek {
    /// What its certificate says.
    #[must_use]
    pub const fn vek(&self) -> &Vek {
        &self.vek
    }

    /// SHA-256 of its DER certificate.
    #[must_use]
    pub const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Its certificate and the intermediate above it, DER: what a record keeps, so that the chain can be verified again.
    #[must_use]
    pub const fn certificates(&self) -> &[Vec<u8>; 2] {
        &self.certificates
    }

    /// The root that its chain ends at.
    #[must_use]
    pub const fn root(&self) -> &RootIdentity {
        &self.root
    }

    /// The earliest end of any certificate of the chain.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        UnixTime(self.not_after)
    }

    /// How many whole days ago the root issued the newest of its revocation lists that was looked at; `None` where there
    /// was none, or it is out of its dates by now.
    #[must_use]
    pub fn crl_age_days(&self, now: UnixTime) -> Option<u64> {
        self.list.and_then(|list| list.age_days(now))
    }

    /// Whether the verification still counts: within its dates, under a root that is trusted as it was then, and no
    /// revocation list of that root has come or gone.
    #[must_use]
    pub fn holds(&self, roots: &Roots, now: UnixTime) -> bool {
        let is_ours = |anchor: &&Anchor| {
            *anchor.sha256() == self.root.sha256
                && anchor.class() == self.root.class
                && anchor.name() == self.root.name.as_str()
        };
        let anchor = roots.anchors().iter().find(is_ours);
        (self.not_before..=self.not_after).contains(&now.seconds())
            && anchor.is_some_and(|anchor| roots.crls_digest(&anchor.subject) == self.crls)
    }
}

/// Verifies the chain of a DER certificate: VEK, an intermediate among `issuers` (DER) and those of `roots`, an anchor
/// of `roots`.
///
/// # Errors
/// [`Unverified`]: of several intermediates that fail, the refusal of the last one.
pub fn verify_chain(
    der: &[u8],
    issuers: &[impl AsRef<[u8]>],
    roots: &Roots,
    now: UnixTime,
) -> Result<VerifiedVek, Unverified> {
    let leaf = Parsed::new(der).ok_or(Unverified::VekMalformed { what: "certificate" })?;
    let issuers: Vec<Parsed<'_>> = issuers.iter().filter_map(|der| Parsed::new(der.as_ref())).collect();
    verify_parsed(&leaf, Vek::read(&leaf.certificate)?, &issuers, roots, now)
}

/// The same for certificates that are read already.
pub(super) fn verify_parsed(
    leaf: &Parsed<'_>,
    vek: Vek,
    issuers: &[Parsed<'_>],
    roots: &Roots,
    now: UnixTime,
) -> Result<VerifiedVek, Unverified> {
    // a key whose time is over needs no issuer to be refused
    check_dates(&leaf.certificate, 0, now)?;
    let mut refusal = Unverified::IssuerMissing { name: issuer_name(vek.kind, vek.product) };
    let wanted = leaf.certificate.issuer().as_raw();
    // an operator has many vendors' certificates: only those of the right name are read
    let known = roots.intermediates.iter().filter(|known| known.subject == wanted);
    let known: Vec<Parsed<'_>> = known.filter_map(|known| Parsed::new(&known.der)).collect();
    let all = known.iter().chain(issuers);
    let named = all.filter(|issuer| issuer.certificate.subject().as_raw() == wanted);
    for intermediate in named.take(INTERMEDIATES_TRIED) {
        let link = Link { leaf, vek: &vek, intermediate };
        match link.verify(roots, now) {
            Ok(Held { anchor, not_before, not_after, list }) => {
                let (root, crls) = (anchor.identity(), roots.crls_digest(&anchor.subject));
                let sha256 = crypto::sha256(&[leaf.der]);
                let certificates = [leaf.der, intermediate.der].map(<[u8]>::to_vec);
                return Ok(VerifiedVek { sha256, root, not_before, not_after, crls, list, certificates, vek });
            }
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// What a chain that holds ends at, and for how long.
struct Held<'r> {
    anchor: &'r Anchor,
    /// The latest start of any certificate.
    not_before: i64,
    /// The earliest end.
    not_after: i64,
    /// Of the newest list of the anchor that is issued by now.
    list: Option<ListDates>,
}

/// A VEK and one intermediate of its issuer's name.
struct Link<'a> {
    leaf: &'a Parsed<'a>,
    vek: &'a Vek,
    intermediate: &'a Parsed<'a>,
}

impl Link<'_> {
    /// Every rule of the chain.
    fn verify<'r>(&self, roots: &'r Roots, now: UnixTime) -> Result<Held<'r>, Unverified> {
        let (product, intermediate) = (self.vek.product, &self.intermediate.certificate);
        if !may_issue(intermediate, self.vek.kind, product) {
            return Err(Unverified::NotCa);
        }
        let mut refusal = Unverified::Untrusted { product };
        let wanted = intermediate.issuer().as_raw();
        for anchor in roots.anchors().iter().filter(|anchor| anchor.subject == wanted) {
            let Some(root) = certificate::parse(anchor.der()) else { continue };
            if common_name(root.subject()) != Some(&format!("ARK-{product}")) {
                continue;
            }
            let root_key = PublicKey::from_parsed(root.public_key()).ok_or(Unverified::ChainAlgorithm { depth: 2 })?;
            match signed_by(self.intermediate.der, &root_key, 1) {
                Ok(()) => {}
                Err(error) => {
                    refusal = error;
                    continue;
                }
            }
            let issuer_key = PublicKey::from_parsed(intermediate.public_key());
            signed_by(self.leaf.der, &issuer_key.ok_or(Unverified::ChainAlgorithm { depth: 1 })?, 0)?;
            let mut dates = (i64::MIN, i64::MAX);
            for (depth, certificate) in [(2, &root), (1, intermediate), (0, &self.leaf.certificate)] {
                let (not_before, not_after) = check_dates(certificate, depth, now)?;
                dates = (dates.0.max(not_before), dates.1.min(not_after));
            }
            let mut list: Option<ListDates> = None;
            for crl in roots.crls() {
                match crl.judge(&root, intermediate.raw_serial()) {
                    Verdict::NotConcerned => {}
                    Verdict::Clear => {
                        let newest = list.map_or(i64::MIN, |list| list.this_update);
                        if (newest..=now.seconds()).contains(&crl.dates.this_update) {
                            list = Some(crl.dates);
                        }
                    }
                    Verdict::BadSignature => return Err(Unverified::ListSignature { product }),
                    Verdict::Revoked => return Err(Unverified::Revoked),
                }
            }
            return Ok(Held { anchor, not_before: dates.0, not_after: dates.1, list });
        }
        Err(refusal)
    }
}

/// Whether the intermediate is the CA for VEKs of that kind and product.
fn may_issue(intermediate: &X509Certificate<'_>, kind: VekKind, product: Product) -> bool {
    let rights = CaRights::of(intermediate);
    rights.is_ca == Some(true)
        && rights.may_sign
        && common_name(intermediate.subject()) == Some(&issuer_name(kind, product))
}

/// The certificate is signed by that key, by the one algorithm that AMD uses.
fn signed_by(der: &[u8], key: &PublicKey, depth: u8) -> Result<(), Unverified> {
    let signed = Signed::split(der).filter(Signed::is_pss_sha384);
    match (signed, key) {
        (Some(signed), PublicKey::Rsa { .. }) => crypto::verify_pss_sha384(key, signed.tbs, signed.signature)
            .map_err(|_| Unverified::ChainSignature { depth }),
        (None, _) | (_, PublicKey::Ec { .. }) => Err(Unverified::ChainAlgorithm { depth }),
    }
}

fn check_dates(certificate: &X509Certificate<'_>, depth: u8, now: UnixTime) -> Result<(i64, i64), Unverified> {
    let validity = certificate.validity();
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now = now.seconds();
    if (not_before..=not_after).contains(&now) {
        Ok((not_before, not_after))
    } else {
        Err(Unverified::ChainExpired { depth, not_before, not_after, now })
    }
}
