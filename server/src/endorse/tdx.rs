//! Endorsements of TDX: Intel's collateral for a kind of platform, checked under Intel's root, from wherever it can be
//! had. Nothing is fetched for a quote whose certificates do not lead up to a trusted root.

use std::sync::Arc;

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::tdx::{
    CheckedCollateral, CollateralParts, KnownCollateral, PlatformKind, Quote, TdxEndorsements, Unverified, VerifiedPck,
    pck_chain,
};
use holdfast_evidence::x509::Roots;
use tracing::{debug, warn};

use super::endorser::{Endorser, Inner};
use super::fault::EndorseFault;
use super::intel::{self, ANY};
use super::kept::is_newer;
use super::pace::{Asker, Turn};
use super::service::Service;
use super::unknown::UNKNOWN;
use crate::clock;
use crate::store::{EndorsementSource, Which};

/// Bytes of one of the four documents. The largest seen have 7 KiB; CRLs grow.
const DOCUMENT_BYTES_MAX: usize = 2 << 20;

impl Endorser {
    /// What a quote's verification needs: roots, and collateral, if anybody has it. Which service TDs may be bound is
    /// the caller's to add. Intel's service is asked only when neither memory, store nor directory has collateral that
    /// counts now, and only once the quote's certificates have verified under a root for `serves` (TDX, or Azure's).
    ///
    /// A platform that Intel does not know is no fault: the quote does not verify without collateral.
    ///
    /// # Errors
    /// [`EndorseFault`]: the machine is neither refused nor admitted, and comes back.
    pub async fn tdx(
        &self,
        serves: EvidenceKind,
        quote: &Quote<'_>,
        asker: Asker,
    ) -> Result<TdxEndorsements, EndorseFault> {
        let roots = self.0.trust.roots(serves);
        // Where there is none, the verifier says by its own check what is wrong with it.
        let pck = pck_chain(quote, &roots, clock::now()).ok().map(Arc::new);
        let collateral = match &pck {
            Some(pck) => self.collateral(&roots, pck, asker).await?,
            None => None,
        };
        let collateral = collateral.map_or(KnownCollateral::None, KnownCollateral::Checked);
        Ok(TdxEndorsements { roots, collateral, pck, ..TdxEndorsements::default() })
    }

    async fn collateral(
        &self,
        roots: &Arc<Roots>,
        pck: &VerifiedPck,
        asker: Asker,
    ) -> Result<Option<Arc<CheckedCollateral>>, EndorseFault> {
        let (inner, kind) = (&self.0, pck.platform().kind);
        for place in [Place::Memory, Place::Store, Place::Directory] {
            for found in inner.collateral_in(place, kind, roots).await? {
                if serves(&found, pck) {
                    inner.unknown.found(&intel::about(kind, inner.settings.update.as_str()));
                    return Ok(count(place.as_str(), Some(inner.take_collateral(place, found).await)));
                }
            }
        }
        let found = self.fetch_collateral(kind, roots, asker).await?;
        // What the service has may revoke this very platform, and is right to.
        Ok(count(if found.is_some() { "service" } else { "nowhere" }, found))
    }

    /// Collateral from Intel's service; `None` where Intel does not know the platform.
    async fn fetch_collateral(
        &self,
        kind: PlatformKind,
        roots: &Arc<Roots>,
        asker: Asker,
    ) -> Result<Option<Arc<CheckedCollateral>>, EndorseFault> {
        let inner = &self.0;
        let about = intel::about(kind, inner.settings.update.as_str());
        if inner.unknown.is_unknown(&about) {
            return Ok(None);
        }
        let [path, ..] = intel::paths(kind, &inner.settings);
        let url = inner.intel.as_ref().map_or_else(|| path.clone(), |service| service.url(&path));
        let result = self.fly_for_collateral(kind, &about, roots, asker).await;
        match &result {
            Ok(Some(_)) => inner.unknown.found(&about),
            Ok(None) => inner.want(EvidenceKind::Tdx, &about, url, UNKNOWN, asker),
            Err(fault) => inner.want(EvidenceKind::Tdx, &about, url, fault.code(), asker),
        }
        result
    }

    async fn fly_for_collateral(
        &self,
        kind: PlatformKind,
        about: &str,
        roots: &Arc<Roots>,
        asker: Asker,
    ) -> Result<Option<Arc<CheckedCollateral>>, EndorseFault> {
        let inner = &self.0;
        let Some(intel) = &inner.intel else { return Err(EndorseFault::Missing { about: about.to_owned() }) };
        let turn = if inner.collateral.has(about) { Turn::OURS } else { intel.admit(asker)? };
        let (too, roots) = (Arc::clone(inner), Arc::clone(roots));
        let fetch = || async move { too.fetch_collateral(kind, &roots, turn).await };
        let (patience, _place) = inner.patience(asker);
        match inner.collateral.join(about, patience, fetch).await {
            Ok(result) => result,
            Err(not_yet) => Err(not_yet.fault(about)),
        }
    }
}

/// Where collateral is before anybody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Memory,
    Store,
    Directory,
}

impl Place {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Store => "store",
            Self::Directory => "directory",
        }
    }
}

fn count(place: &'static str, found: Option<Arc<CheckedCollateral>>) -> Option<Arc<CheckedCollateral>> {
    metrics::counter!("holdfast_endorsements_found_total", "serves" => "tdx", "place" => place).increment(1);
    found
}

/// Whether it says something about that platform: that it is revoked, say. What is about another, or not signed by
/// whom it must be, does not stand in the way of what is.
fn serves(found: &CheckedCollateral, pck: &VerifiedPck) -> bool {
    matches!(found.admits(pck), Ok(()) | Err(Unverified::PckRevoked { .. }))
}

impl Inner {
    /// Collateral that counts now, from one place, the best first.
    pub(super) async fn collateral_in(
        &self,
        place: Place,
        kind: PlatformKind,
        roots: &Arc<Roots>,
    ) -> Result<Vec<Arc<CheckedCollateral>>, EndorseFault> {
        let now = clock::now();
        let trusted = |root: &[u8; 32]| roots.anchors().iter().any(|anchor| anchor.sha256() == root);
        let mut found = Vec::new();
        match place {
            Place::Memory => found.extend(
                self.kept_collateral
                    .get(kind)
                    .filter(|kept| kept.is_current(now).is_ok() && trusted(&kept.root().sha256)),
            ),
            Place::Store => {
                for channel in [self.settings.update.as_str(), ANY] {
                    for held in self.store.endorsements(Which::About(intel::about(kind, channel))).await? {
                        found.extend(check(&held.draft.content, kind, roots));
                    }
                }
            }
            Place::Directory => {
                let files = self.directory.files().await;
                match files.collateral.check(kind, roots, now) {
                    Ok(checked) => found.push(Arc::new(checked)),
                    Err(Unverified::CollateralMissing { .. }) => {}
                    Err(refused) => debug!(error = %refused, "collateral in the directory does not count"),
                }
            }
        }
        found.sort_by_key(|checked| std::cmp::Reverse(checked.collateral().issued_at()));
        Ok(found)
    }

    /// Remembers it; what came from the directory is held from now on.
    pub(super) async fn take_collateral(&self, place: Place, found: Arc<CheckedCollateral>) -> Arc<CheckedCollateral> {
        match place {
            Place::Memory => return found,
            Place::Store => {}
            Place::Directory => {
                let source = EndorsementSource::Directory;
                self.keep(vec![intel::draft(&found, ANY, source, clock::now())]).await;
            }
        }
        self.kept_collateral.put(&found);
        found
    }

    /// Fetches the four documents, checks them, and keeps them together.
    pub(super) async fn fetch_collateral(
        &self,
        kind: PlatformKind,
        roots: &Arc<Roots>,
        turn: Turn,
    ) -> Result<Option<Arc<CheckedCollateral>>, EndorseFault> {
        let Some(intel) = &self.intel else { return Ok(None) };
        let about = intel::about(kind, self.settings.update.as_str());
        let Some((parts, ca)) = self.documents(intel, kind, &about, turn).await? else { return Ok(None) };
        let bad = |refused: Unverified| intel.bad_answer(&about, refused.to_string());
        let now = clock::now();
        let checked = parts.check(kind, roots, now).map_err(bad)?;
        let ca = ca.ok_or_else(|| intel.bad_answer(&about, "PCK CRL without its issuer"))?;
        match checked.check_pck_list(&ca, roots, now) {
            // Intel revokes a CA of its own: news that must be kept, or yesterday's collateral would go on counting.
            Ok(()) | Err(Unverified::PckRevoked { .. }) => {}
            Err(refused) => return Err(bad(refused)),
        }
        let checked = Arc::new(checked);
        for held in self.collateral_in(Place::Store, kind, roots).await? {
            if is_newer(&held, &checked) {
                // Signed, and of yesterday: a cache that lags, or somebody who wants yesterday's verdict.
                warn!(about, service = intel.name(), "service has older collateral than is held, which is used on");
                self.kept_collateral.put(&held);
                return Ok(Some(held));
            }
        }
        let source = EndorsementSource::Service;
        self.keep(vec![intel::draft(&checked, intel::channel(self.settings.update, source), source, now)]).await;
        self.kept_collateral.put(&checked);
        Ok(Some(checked))
    }

    /// The four documents, and the CA whose list the PCK CRL should be.
    async fn documents(
        &self,
        intel: &Service,
        kind: PlatformKind,
        about: &str,
        turn: Turn,
    ) -> Result<Option<(CollateralParts, Option<Vec<u8>>)>, EndorseFault> {
        let (mut parts, mut ca) = (CollateralParts::new(), None);
        let mut turn = Some(turn);
        for (at, path) in intel::paths(kind, &self.settings).iter().enumerate() {
            let answer = intel.get(about, path, DOCUMENT_BYTES_MAX, turn.take().unwrap_or(Turn::Free)).await?;
            let Some(answer) = answer else {
                // The TCB info is by platform; that the others are not there is the service's fault.
                return if at == 0 { Ok(None) } else { Err(intel.bad_answer(about, format!("it has no {path}"))) };
            };
            for name in intel::CHAINS {
                let Some(chain) = answer.headers.get(name) else { continue };
                let added = parts.add(chain.as_bytes());
                added.map_err(|error| intel.bad_answer(about, format!("{name}: {error}")))?;
                if name == intel::LIST_CHAIN {
                    ca = intel::first_of(chain.as_bytes());
                }
            }
            parts.add(&answer.body).map_err(|error| intel.bad_answer(about, format!("{path}: {error}")))?;
        }
        Ok(Some((parts, ca)))
    }
}

/// Collateral as it is held, if it counts now.
fn check(content: &[u8], kind: PlatformKind, roots: &Arc<Roots>) -> Option<Arc<CheckedCollateral>> {
    let mut parts = CollateralParts::new();
    parts.add(content).ok()?;
    parts.check(kind, roots, clock::now()).ok().map(Arc::new)
}
