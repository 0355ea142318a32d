//! Keeps endorsements fresh before somebody needs them: collateral and revocation lists by themselves, everything else
//! when an operator asks. Sets the gauges.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_evidence::snp::{Product, VekKind, kds};
use holdfast_evidence::tdx::{CheckedCollateral, PlatformKind};
use holdfast_evidence::x509::Roots;
use holdfast_evidence::{EvidenceKind, TrustClass};
use holdfast_identity::UnixTime;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::amd::{VekKey, list_about};
use super::endorser::{Endorser, Inner};
use super::fault::EndorseFault;
use super::intel;
use super::kept::is_newer;
use super::pace::Turn;
use super::tdx::Place;
use crate::clock;
use crate::store::{Endorsement, EndorsementDraft, EndorsementRole, EndorsementSource, StoreFault, Which};

/// How often it is looked what is due.
const EVERY: Duration = Duration::from_secs(60);
/// How old collateral and lists grow before the vendor is asked again, in seconds: a day.
const AGE_MAX: i64 = 86_400;
/// How long before its end collateral is fetched anew whatever its age, in seconds: a week.
const AHEAD: i64 = 7 * 86_400;
/// Bytes of one of AMD's lists. They have about 1 KiB.
const LIST_BYTES_MAX: usize = 256 << 10;
/// How often it is tried.
const TRY_EVERY: Duration = Duration::from_secs(3600);

/// Whose lists AMD publishes apart.
const KINDS: [VekKind; 2] = [VekKind::Vcek, VekKind::Vlek];

/// What came of asking.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The kind of evidence that it serves.
    pub serves: EvidenceKind,
    /// What was asked for.
    pub about: String,
    /// Whether the service had it.
    pub result: Result<Had, EndorseFault>,
}

/// Whether the service had what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Had {
    /// It is held now.
    Fetched,
    /// The service does not know it.
    Unknown,
}

impl Endorser {
    /// Looks after everything until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = self.look_after() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Fetches what is due, and sets the gauges.
    pub async fn look_after(&self) {
        match self.due().await {
            Ok(due) => {
                for about in due {
                    let refreshed = self.refresh(&about).await;
                    match &refreshed.result {
                        Ok(had) => info!(about, ?had, "endorsement was due"),
                        Err(fault) => {
                            error!(about, code = fault.code(), %fault, "endorsement is due and not to be had")
                        }
                    }
                }
            }
            Err(fault) => error!(code = fault.code(), %fault, "it is not known what endorsements are due"),
        }
        if let Err(fault) = self.0.newer_from_directory().await {
            error!(code = fault.code(), %fault, "the directory's collateral is not looked at");
        }
        if let Err(fault) = self.0.measure().await {
            error!(code = fault.code(), %fault, "gauges of endorsements are not set");
        }
    }

    /// Everything that a service could be asked for: what is held of collateral and lists, and what machines of ours want.
    /// Strangers' inventions would take a day.
    ///
    /// # Errors
    /// [`EndorseFault::Store`].
    pub async fn refreshable(&self) -> Result<Vec<String>, EndorseFault> {
        let inner = &self.0;
        let mut all = Vec::new();
        if inner.intel.is_some() || inner.settings.directory.is_some() {
            all.extend(inner.kinds_held().await?.into_keys().map(|kind| inner.about(kind)));
        }
        if inner.amd.is_some() {
            all.extend(inner.lists());
        }
        let asked = |about: &String| VekKey::read(about).is_some() || intel::kind_of(about).is_some();
        let wanted = self.wanted().into_iter().filter(|wanted| wanted.ours).map(|wanted| wanted.about).filter(asked);
        let wanted: Vec<String> = wanted.filter(|about| !all.contains(about)).collect();
        all.extend(wanted);
        Ok(all)
    }

    /// Asks the service for that, in the words of [`Wanted::about`](super::Wanted::about), whoever wants it.
    pub async fn refresh(&self, about: &str) -> Refreshed {
        let inner = &self.0;
        let (serves, result) = if let Some(kind) = intel::kind_of(about) {
            let roots = inner.roots(EvidenceKind::Tdx);
            let fetched = match &inner.intel {
                Some(_) => inner.fetch_collateral(kind, &roots, Turn::OURS).await.map(|found| found.is_some()),
                None => inner.take_from_directory(kind, about).await,
            };
            (EvidenceKind::Tdx, fetched)
        } else if let Some((kind, product)) = read_list(about) {
            (EvidenceKind::Snp, inner.fetch_list(kind, product).await)
        } else if let Some(key) = VekKey::read(about) {
            let roots = inner.roots(EvidenceKind::Snp);
            let fetched = match (key.path(), &inner.amd) {
                (Some(path), Some(_)) => inner.fetch_vek(&key, &path, &roots, Turn::OURS).await,
                _ => Err(EndorseFault::Missing { about: about.to_owned() }),
            };
            (EvidenceKind::Snp, fetched.map(|found| found.is_some()))
        } else {
            (EvidenceKind::Tpm, Err(EndorseFault::Missing { about: about.to_owned() }))
        };
        if matches!(result, Ok(true)) {
            inner.unknown.found(about);
        }
        let result = result.map(|had| if had { Had::Fetched } else { Had::Unknown });
        Refreshed { serves, about: about.to_owned(), result }
    }

    /// What should be fetched now, and was not tried lately.
    async fn due(&self) -> Result<Vec<String>, EndorseFault> {
        let (inner, now) = (&self.0, clock::now());
        let mut due = Vec::new();
        if inner.intel.is_some() || inner.settings.directory.is_some() {
            let held = inner.kinds_held().await?.into_iter();
            let old = held.filter(|(_, best)| is_due(best, now));
            due.extend(old.map(|(kind, _)| inner.about(kind)));
        }
        if inner.amd.is_some() {
            for about in inner.lists() {
                let held = inner.store.endorsements(Which::About(about.clone())).await?;
                if held.iter().all(|held| now.since(held.draft.fetched_at) >= AGE_MAX) {
                    due.push(about);
                }
            }
        }
        due.retain(|about| inner.tries(about));
        Ok(due)
    }
}

fn is_due(held: &Endorsement, now: UnixTime) -> bool {
    now.since(held.draft.fetched_at) >= AGE_MAX || held.draft.not_after.since(now) < AHEAD
}

/// The list that a name is about.
fn read_list(about: &str) -> Option<(VekKind, Product)> {
    let mut all = KINDS.into_iter().flat_map(|kind| Product::ALL.map(|product| (kind, product)));
    all.find(|(kind, product)| list_about(*kind, *product) == about)
}

impl Inner {
    fn about(&self, kind: PlatformKind) -> String {
        intel::about(kind, self.settings.update.as_str())
    }

    /// The collateral of each kind of platform that ends last.
    async fn kinds_held(&self) -> Result<BTreeMap<PlatformKind, Endorsement>, StoreFault> {
        let mut best: BTreeMap<PlatformKind, Endorsement> = BTreeMap::new();
        for held in self.store.endorsements(Which::Collateral).await? {
            let Some(kind) = intel::kind_of(&held.draft.about) else { continue };
            if best.get(&kind).is_none_or(|other| other.draft.not_after < held.draft.not_after) {
                best.insert(kind, held);
            }
        }
        Ok(best)
    }

    /// Roots for a kind, or else those for what Azure puts around it.
    fn roots(&self, kind: EvidenceKind) -> Arc<Roots> {
        let roots = self.trust.roots(kind);
        if roots.is_empty() { self.trust.roots(EvidenceKind::Azure) } else { roots }
    }

    /// The lists of those AMD products whose root is trusted; of keys that AMD gives to providers, where the intermediate
    /// above them is here. Of a simulator AMD knows nothing.
    fn lists(&self) -> Vec<String> {
        let roots = self.roots(EvidenceKind::Snp);
        let named = |der: &[u8], name: &str| {
            X509Certificate::from_der(der)
                .is_ok_and(|(_, found)| found.subject().iter_common_name().any(|common| common.as_str() == Ok(name)))
        };
        let has_root = |product: Product| {
            let real = roots.anchors().iter().filter(|anchor| anchor.class() != TrustClass::Simulated);
            real.into_iter().any(|anchor| named(anchor.der(), &format!("ARK-{product}")))
        };
        let has_issuer = |kind: VekKind, product: Product| match kind {
            VekKind::Vcek => true,
            VekKind::Vlek => roots.intermediates().any(|der| named(der, &format!("SEV-VLEK-{product}"))),
        };
        let products = Product::ALL.into_iter().filter(|product| has_root(*product));
        let all = products.flat_map(|product| KINDS.map(|kind| (kind, product)));
        all.filter(|(kind, product)| has_issuer(*kind, *product))
            .map(|(kind, product)| list_about(kind, product))
            .collect()
    }

    /// Whether it may be tried again; takes note that it is.
    fn tries(&self, about: &str) -> bool {
        let mut tried = self.tried.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if tried.get(about).is_some_and(|at| at.elapsed() < TRY_EVERY) {
            return false;
        }
        tried.insert(about.to_owned(), Instant::now());
        true
    }

    /// Takes collateral from the operator's directory that is newer than what is held.
    async fn newer_from_directory(&self) -> Result<(), EndorseFault> {
        if self.settings.directory.is_none() {
            return Ok(());
        }
        let roots = self.roots(EvidenceKind::Tdx);
        for kind in self.kinds_held().await?.into_keys() {
            let held = self.collateral_in(Place::Store, kind, &roots).await?.into_iter().next();
            let newer = |found: &Arc<CheckedCollateral>| held.as_ref().is_none_or(|held| is_newer(found, held));
            let found = self.collateral_in(Place::Directory, kind, &roots).await?.into_iter().find(newer);
            if let Some(found) = found {
                self.take_collateral(Place::Directory, found).await;
            }
        }
        Ok(())
    }

    /// Collateral from the operator's directory, where there is no service.
    async fn take_from_directory(&self, kind: PlatformKind, about: &str) -> Result<bool, EndorseFault> {
        let roots = self.roots(EvidenceKind::Tdx);
        match self.collateral_in(Place::Directory, kind, &roots).await?.into_iter().next() {
            Some(found) => {
                self.take_collateral(Place::Directory, found).await;
                Ok(true)
            }
            None => Err(EndorseFault::Missing { about: about.to_owned() }),
        }
    }

    /// A revocation list of AMD's, checked under the root before anybody is refused for it.
    async fn fetch_list(&self, kind: VekKind, product: Product) -> Result<bool, EndorseFault> {
        let about = list_about(kind, product);
        let Some(amd) = &self.amd else { return Err(EndorseFault::Missing { about }) };
        let answer = amd.get(&about, &kds::crl_path(kind, product), LIST_BYTES_MAX, Turn::Free).await?;
        let Some(answer) = answer else { return Ok(false) };
        let bad = |reason: String| amd.bad_answer(&about, reason);
        let (_, list) = CertificateRevocationList::from_der(&answer.body).map_err(|error| bad(error.to_string()))?;
        let issuer = format!("ARK-{product}");
        let is_its = list.issuer().iter_common_name().any(|name| name.as_str() == Ok(issuer.as_str()));
        if !is_its || !self.roots(EvidenceKind::Snp).signed_crl(&answer.body) {
            return Err(bad(format!("no list of {issuer} that the root signed")));
        }
        self.keep(vec![EndorsementDraft {
            role: EndorsementRole::Crl,
            serves: EvidenceKind::Snp.into(),
            class: String::new(),
            name: format!("revoked under {issuer}"),
            subject: list.issuer().to_string(),
            not_after: list.next_update().map_or(UnixTime(0), |time| UnixTime(time.timestamp())),
            about,
            source: EndorsementSource::Service,
            fetched_at: clock::now(),
            content: answer.body.clone(),
        }])
        .await;
        Ok(true)
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point; counts and seconds are far below 2^52")]
    async fn measure(&self) -> Result<(), StoreFault> {
        let now = clock::now();
        for of in self.store.count_endorsements().await? {
            let role = of.role.as_str();
            metrics::gauge!("holdfast_endorsements", "role" => role).set(of.count as f64);
            metrics::gauge!("holdfast_first_endorsement_expiry_seconds", "role" => role)
                .set(of.first_end.since(now) as f64);
        }
        for (kind, held) in self.kinds_held().await? {
            let labels = [("fmspc", hex::encode(kind.fmspc)), ("ca", kind.ca.as_str().to_owned())];
            let draft = &held.draft;
            metrics::gauge!("holdfast_collateral_age_seconds", &labels).set(now.since(draft.fetched_at) as f64);
            metrics::gauge!("holdfast_collateral_expiry_seconds", &labels).set(draft.not_after.since(now) as f64);
            metrics::gauge!("holdfast_collateral_next_update_timestamp_seconds", &labels)
                .set(draft.not_after.seconds() as f64);
        }
        metrics::gauge!("holdfast_endorsements_wanted").set(self.unknown.list().len() as f64);
        Ok(())
    }
}
