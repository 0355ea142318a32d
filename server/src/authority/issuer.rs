//! Drafts SVIDs and signs what was recorded, with the intermediate's key kept ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use holdfast_appraisal::AppraisedNode;
use holdfast_evidence::key::ProvenKey;
use holdfast_identity::{SpiffeId, TrustDomain, UnixTime};
use rcgen::KeyPair;
use ring::rand::SystemRandom;
use rustls_pki_types::CertificateDer;

use super::chain::{self, Path};
use super::init::{KeyAndCertificate, read_bundle};
use super::profile::{CertifiedKey, draw_serial, leaf};
use super::{AuthorityFault, AuthorityFiles, Bundle, Draft, Lifetime};
use crate::live::StandingNode;
use crate::store::{AttemptId, Entry, IssuerKeyId, Origin, Recorded};

/// The path of the server's own ID.
pub const SERVER_PATH: &str = "/holdfast/server";

/// This server's signing half: the intermediate and its key.
pub struct Issuer {
    trust_domain: TrustDomain,
    bundle: Arc<Bundle>,
    intermediate: CertificateDer<'static>,
    /// Those above it, without the root.
    above: Vec<CertificateDer<'static>>,
    path: Path,
    not_after: UnixTime,
    key_id: IssuerKeyId,
    /// Where relying parties find its revocation lists: stands in the leaves.
    list_url: Option<String>,
    /// The issuer's name and key identifier are parsed once, here.
    pub(super) prepared: rcgen::Issuer<'static, KeyPair>,
    rng: SystemRandom,
    /// The latest end of an SVID that was drafted.
    used_until: AtomicI64,
    /// It counts no more, and signs nothing.
    is_revoked: AtomicBool,
}

/// A signed SVID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedSvid {
    /// The ID in it.
    pub spiffe_id: SpiffeId,
    /// DER, leaf first, then the intermediate and those above it, without the root.
    pub chain: Vec<Vec<u8>>,
    /// End of validity.
    pub not_after: UnixTime,
}

impl Issuer {
    /// Reads the intermediate and the bundle below the data directory, and checks that they belong together.
    ///
    /// # Errors
    /// [`AuthorityFault::NotInitialised`] where there is no intermediate, [`AuthorityFault::IntermediateExpired`],
    /// and what may be wrong with the files.
    pub fn load(trust_domain: &TrustDomain, files: &AuthorityFiles, now: UnixTime) -> Result<Self, AuthorityFault> {
        let path = files.intermediate();
        if !super::files::exists(&path)? {
            return Err(AuthorityFault::NotInitialised { path });
        }
        Self::load_at(trust_domain, (files, &path), &read_bundle(trust_domain, files)?, now)
    }

    /// The same from one file, below the roots of `bundle`.
    pub(super) fn load_at(
        trust_domain: &TrustDomain,
        (files, path): (&AuthorityFiles, &std::path::Path),
        bundle: &Bundle,
        now: UnixTime,
    ) -> Result<Self, AuthorityFault> {
        let (bundle, path) = (bundle.clone(), path.to_owned());
        let pair = KeyAndCertificate::read(&path)?;
        let found = pair.trust_domain(&path)?;
        if found != *trust_domain {
            return Err(AuthorityFault::OtherRoot { expected: trust_domain.to_string(), found: found.to_string() });
        }
        let not_after = not_after(&pair.certificate, &path)?;
        if not_after <= now {
            return Err(AuthorityFault::IntermediateExpired { not_after: not_after.seconds() });
        }
        let chain: Vec<_> = std::iter::once(&pair.certificate).chain(&pair.above).collect();
        let checked = chain::check(trust_domain, &chain, bundle.authorities(), now)
            .map_err(|source| AuthorityFault::Chain { path: path.clone(), source })?;
        let key_id = super::revocation_list::key_id(&pair.certificate, &path)?;
        let list_url = files.list_url().map(|base| format!("{base}/{key_id}.crl"));
        let prepared = rcgen::Issuer::from_ca_cert_der(&pair.certificate, pair.key)
            .map_err(|_| AuthorityFault::Crypto { action: "read the intermediate certificate" })?;
        Ok(Self {
            trust_domain: trust_domain.clone(),
            bundle: Arc::new(bundle),
            intermediate: pair.certificate,
            above: pair.above,
            not_after: checked.not_after,
            path: checked,
            key_id,
            list_url,
            prepared,
            rng: SystemRandom::new(),
            used_until: AtomicI64::new(now.seconds()),
            is_revoked: AtomicBool::new(false),
        })
    }

    /// The trust domain it signs for.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots that its signatures lead to.
    #[must_use]
    pub const fn bundle(&self) -> &Arc<Bundle> {
        &self.bundle
    }

    /// DER of the intermediate certificate.
    #[must_use]
    pub fn intermediate(&self) -> &[u8] {
        &self.intermediate
    }

    /// DER of the certificates above it, without the root.
    #[must_use]
    pub fn above(&self) -> &[CertificateDer<'static>] {
        &self.above
    }

    /// By what certificates and lists of this intermediate are told from others'.
    #[must_use]
    pub const fn key_id(&self) -> IssuerKeyId {
        self.key_id
    }

    /// The latest end of what it has signed for others, as far as it is known.
    pub(super) fn used_until(&self) -> UnixTime {
        UnixTime(self.used_until.load(Ordering::Relaxed)).min(self.not_after)
    }

    /// What it signed before it was loaded may live until then.
    pub(super) fn was_used_until(&self, end: UnixTime) {
        self.used_until.fetch_max(end.seconds(), Ordering::Relaxed);
    }

    /// Whether it counts no more.
    pub(super) fn is_revoked(&self) -> bool {
        self.is_revoked.load(Ordering::Relaxed)
    }

    /// It counts no more, or does after all; says whether that is news.
    pub(super) fn set_revoked(&self, is_revoked: bool) -> bool {
        self.is_revoked.swap(is_revoked, Ordering::Relaxed) != is_revoked
    }

    fn stands(&self) -> Result<(), AuthorityFault> {
        if self.is_revoked() { Err(AuthorityFault::Revoked { key_id: self.path.key_id.clone() }) } else { Ok(()) }
    }

    /// The path from the intermediate to its root.
    #[must_use]
    pub const fn path(&self) -> &Path {
        &self.path
    }

    /// End of the intermediate and of all above it: nothing it signs lives longer.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }

    /// Drafts this server's own certificate for a key that it holds itself.
    ///
    /// # Errors
    /// [`AuthorityFault::NoLifetime`] where the intermediate has ended.
    pub fn draft_server(&self, spki: &[u8], ttl: i64, now: UnixTime) -> Result<Draft, AuthorityFault> {
        let id = self
            .trust_domain
            .with_path(SERVER_PATH)
            .map_err(|_| AuthorityFault::Crypto { action: "name this server" })?;
        self.draft(Origin::Server, id, spki, Vec::new(), (now, ttl, &[]))
    }

    /// Drafts a node's SVID from what appraisal admitted: for the proven node key, no longer than the policy's TTL,
    /// `ttl_max` seconds, and the evidence.
    ///
    /// # Errors
    /// [`AuthorityFault::NoLifetime`]; [`AuthorityFault::UnsupportedKey`].
    pub fn draft_node(
        &self,
        node: &AppraisedNode,
        attempt: AttemptId,
        ttl_max: i64,
        now: UnixTime,
    ) -> Result<Draft, AuthorityFault> {
        let ttl = i64::from(node.svid_ttl()).min(ttl_max);
        let ends = [node.evidence_expires()];
        let lifetime = (now, ttl, ends.as_slice());
        self.draft(Origin::Node { attempt }, node.spiffe_id().clone(), node.node_key_spki(), Vec::new(), lifetime)
    }

    /// Drafts a workload's SVID: by an entry, below a node that stands, for a key that its request proved. It ends
    /// with the entry, the node's evidence and the intermediate, whichever is first. `ttl_default` is for entries that
    /// name none.
    ///
    /// # Errors
    /// [`AuthorityFault::NoLifetime`]; [`AuthorityFault::UnsupportedKey`]; [`AuthorityFault::DnsName`].
    pub fn draft_workload(
        &self,
        node: &StandingNode,
        entry: &Entry,
        key: &ProvenKey,
        ttl_default: i64,
        now: UnixTime,
    ) -> Result<Draft, AuthorityFault> {
        let wanted = &entry.draft;
        let ttl = if wanted.x509_svid_ttl > 0 { wanted.x509_svid_ttl } else { ttl_default };
        let origin = Origin::Workload { node: node.number(), entry: entry.number, revision: entry.revision_number };
        let entry_end = wanted.expires_at.unwrap_or(UnixTime(i64::MAX));
        let ends = [node.evidence_expires(), entry_end];
        let lifetime = (now, ttl, ends.as_slice());
        self.draft(origin, wanted.spiffe_id.clone(), key.spki(), wanted.dns_names.clone(), lifetime)
    }

    pub(super) fn draft(
        &self,
        origin: Origin,
        spiffe_id: SpiffeId,
        spki: &[u8],
        dns_names: Vec<String>,
        (now, ttl, ends): (UnixTime, i64, &[UnixTime]),
    ) -> Result<Draft, AuthorityFault> {
        self.stands()?;
        let end = ends.iter().fold(self.not_after, |earliest, end| earliest.min(*end));
        let lifetime = Lifetime::cut(now, ttl, &[end])
            .ok_or(AuthorityFault::NoLifetime { not_after: end.seconds(), now: now.seconds() })?;
        // An unusable key is found before anything is recorded about it.
        CertifiedKey::from_spki(spki)?;
        let serial = draw_serial(&self.rng)?;
        // The server's own is replaced whenever the intermediate is.
        if !matches!(origin, Origin::Server) {
            self.was_used_until(lifetime.not_after);
        }
        Ok(Draft { issuer: self.key_id, origin, spiffe_id, spki: spki.to_vec(), dns_names, serial, lifetime })
    }

    /// Signs what was recorded: one P-256 signature and a few microseconds of encoding.
    ///
    /// # Errors
    /// [`AuthorityFault::OtherRecord`] if `recorded` is the store's answer to something else;
    /// [`AuthorityFault::Revoked`] if the intermediate was revoked meanwhile. The other faults are
    /// ours too: the draft was checked when it was made.
    pub fn sign(&self, draft: &Draft, recorded: Recorded) -> Result<IssuedSvid, AuthorityFault> {
        if recorded.redeem() != draft.issuance() || draft.issuer != self.key_id {
            return Err(AuthorityFault::OtherRecord);
        }
        self.stands()?;
        let key = CertifiedKey::from_spki(&draft.spki)?;
        let validity = (draft.lifetime.not_before, draft.lifetime.not_after);
        let mut params = leaf(&draft.spiffe_id, &draft.dns_names, draft.serial, validity)?;
        // The server's own certificate stands on no list.
        if let (Some(url), Origin::Node { .. } | Origin::Workload { .. }) = (&self.list_url, draft.origin) {
            params.crl_distribution_points = vec![rcgen::CrlDistributionPoint { uris: vec![url.clone()] }];
        }
        let certificate =
            params.signed_by(&key, &self.prepared).map_err(|_| AuthorityFault::Crypto { action: "sign an SVID" })?;
        Ok(IssuedSvid {
            spiffe_id: draft.spiffe_id.clone(),
            chain: [certificate.der(), &self.intermediate]
                .into_iter()
                .chain(&self.above)
                .map(|der| der.to_vec())
                .collect(),
            not_after: draft.lifetime.not_after,
        })
    }
}

/// End of a certificate's validity.
pub(super) fn not_after(certificate: &CertificateDer<'_>, path: &std::path::Path) -> Result<UnixTime, AuthorityFault> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| AuthorityFault::Content {
        path: path.to_owned(),
        expected: "a certificate",
        found: error.to_string(),
    })?;
    Ok(UnixTime(parsed.validity().not_after.timestamp()))
}

/// The same, where it parses.
pub(crate) fn end_of(der: &[u8]) -> Option<UnixTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(UnixTime(parsed.validity().not_after.timestamp()))
}
