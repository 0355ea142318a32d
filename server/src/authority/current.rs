//! The authority of the moment: the issuer, the bundle and the server's own certificate, each exchanged while running.

use std::sync::atomic::AtomicI64;
use std::sync::{Arc, PoisonError, RwLock};

use holdfast_identity::{TrustDomain, UnixTime};
use tracing::{error, info, warn};

use super::files::replace;
use super::{
    AuthorityFault, AuthorityFiles, Bundle, Issuer, KeyId, OWN_CERTIFICATE_TTL_SECONDS, OwnCertificate, OwnKey,
    Rotation,
};
use crate::store::{Actor, ServerId, Store, StoreFault};

/// Seconds that the first list of an intermediate is valid: until the keeper of lists comes round.
pub(super) const LIST_LIFETIME_FIRST: i64 = 3600;

/// The trust bundle as it is now; cheap to clone.
#[derive(Clone, Debug)]
pub struct CurrentBundle(Arc<RwLock<Arc<Bundle>>>);

impl CurrentBundle {
    pub(crate) fn new(bundle: Bundle) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(bundle))))
    }

    /// The bundle of this moment.
    #[must_use]
    pub fn get(&self) -> Arc<Bundle> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, bundle: Bundle) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(bundle);
    }
}

/// Everything that signs, while the server runs.
pub struct Authority {
    trust_domain: TrustDomain,
    pub(super) files: AuthorityFiles,
    pub(super) server: ServerId,
    pub(super) rotation: Rotation,
    issuer: RwLock<Arc<Issuer>>,
    /// The one that signs next, once it is prepared.
    prepared: RwLock<Option<Arc<Issuer>>>,
    /// Intermediates that signed before, while what they signed lives.
    former: RwLock<Vec<Arc<Issuer>>>,
    bundle: CurrentBundle,
    own: Arc<OwnCertificate>,
    /// Who changes the lives of authorities: one at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Who asks the upstream authority: one at a time.
    pub(super) asking: tokio::sync::Mutex<()>,
    /// When the upstream authority may be asked again, seconds since the epoch.
    pub(super) ask_again: AtomicI64,
    /// When an authority was tainted or revoked last, seconds since the epoch.
    tainted_at: AtomicI64,
}

/// What stops the authority from coming up or from renewing itself.
#[derive(Debug, thiserror::Error)]
pub enum OpeningFault {
    /// In its own files or keys.
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
    /// In the store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl Authority {
    /// Reads the files, brings them and the store in line, and has its own certificate recorded and signed.
    ///
    /// # Errors
    /// [`OpeningFault`].
    pub async fn open(
        trust_domain: TrustDomain,
        files: AuthorityFiles,
        store: &dyn Store,
        now: UnixTime,
    ) -> Result<Self, OpeningFault> {
        let opened = super::opening::open(&trust_domain, &files, store, now).await?;
        let bundle = CurrentBundle::new(opened.issuer.bundle().as_ref().clone());
        let authority = Self {
            trust_domain,
            files,
            server: opened.server,
            rotation: Rotation::by_hand(),
            issuer: RwLock::new(Arc::new(opened.issuer)),
            prepared: RwLock::new(opened.prepared.map(Arc::new)),
            former: RwLock::new(opened.former.into_iter().map(Arc::new).collect()),
            bundle,
            own: Arc::new(OwnCertificate::new()),
            turn: tokio::sync::Mutex::new(()),
            asking: tokio::sync::Mutex::new(()),
            ask_again: AtomicI64::new(i64::MIN),
            tainted_at: AtomicI64::new(i64::MIN),
        };
        authority.read_bundle(store).await?;
        authority.renew_own(store, now).await?;
        Ok(authority)
    }

    /// With intermediates that are replaced so.
    #[must_use]
    pub fn rotating(self, rotation: Rotation) -> Self {
        Self { rotation, ..self }
    }

    /// The trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Whether an upstream authority signs intermediates; else an operator does.
    #[must_use]
    pub const fn is_upstream(&self) -> bool {
        self.rotation.upstream.is_some()
    }

    /// Which of the servers of the store this is.
    #[must_use]
    pub const fn server(&self) -> ServerId {
        self.server
    }

    /// The issuer of this moment.
    #[must_use]
    pub fn issuer(&self) -> Arc<Issuer> {
        self.issuer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Those that signed before, while what they signed lives.
    #[must_use]
    pub fn former(&self) -> Vec<Arc<Issuer>> {
        self.former.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one that signs next.
    pub(super) fn prepared(&self) -> Option<Arc<Issuer>> {
        self.prepared.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_prepared(&self, issuer: Option<Arc<Issuer>>) {
        *self.prepared.write().unwrap_or_else(PoisonError::into_inner) = issuer;
    }

    /// Signs with another from now on; the one before is a former one.
    pub(super) fn sign_with(&self, issuer: Arc<Issuer>) {
        let mut current = self.issuer.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, issuer);
        self.former.write().unwrap_or_else(PoisonError::into_inner).push(before);
    }

    /// Forgets a former one's key.
    pub(super) fn let_go(&self, key_id: &KeyId) {
        self.former.write().unwrap_or_else(PoisonError::into_inner).retain(|one| one.path().key_id != *key_id);
        if let Err(fault) = self.files.forget(key_id) {
            warn!(code = fault.code(), %fault, "a former intermediate's key is not removed");
        }
    }

    /// Everybody who signs revocation lists: the issuer of this moment first, then its predecessors and its successor that
    /// have not ended. A successor's is there before anything that it signs.
    #[must_use]
    pub fn list_signers(&self, now: UnixTime) -> Vec<Arc<Issuer>> {
        let others = self.former().into_iter().chain(self.prepared()).filter(|issuer| issuer.not_after() > now);
        std::iter::once(self.issuer()).chain(others).collect()
    }

    /// Who stands above intermediates of ours, DER: the roots of the bundle, and those between them and us.
    #[must_use]
    pub fn above(&self) -> Vec<Vec<u8>> {
        let issuers = self.former().into_iter().chain(self.prepared()).chain([self.issuer()]);
        let mut above = self.bundle.get().authorities().to_vec();
        for der in issuers.flat_map(|issuer| issuer.above().iter().map(|der| der.to_vec()).collect::<Vec<_>>()) {
            if !above.contains(&der) {
                above.push(der);
            }
        }
        above
    }

    /// Has intermediates that count no more sign nothing. Says whether the one that signs is among them.
    pub fn heed(&self, revokes: impl Fn(&[u8]) -> bool) -> bool {
        for issuer in self.former().into_iter().chain(self.prepared()).chain([self.issuer()]) {
            let is_revoked = revokes(issuer.intermediate());
            if issuer.set_revoked(is_revoked) && is_revoked {
                let authority = &issuer.path().key_id;
                error!(alarm = "authority.revoked", %authority, "an intermediate of this server is revoked: it signs no more");
                metrics::counter!("holdfast_alarms_total", "alarm" => "authority.revoked").increment(1);
            }
        }
        self.issuer().is_revoked()
    }

    /// The files, for those who import the lists among them.
    #[must_use]
    pub const fn files(&self) -> &AuthorityFiles {
        &self.files
    }

    /// The bundle, kept current.
    #[must_use]
    pub const fn bundle(&self) -> &CurrentBundle {
        &self.bundle
    }

    /// What the listener presents.
    #[must_use]
    pub const fn own(&self) -> &Arc<OwnCertificate> {
        &self.own
    }

    /// When an authority was tainted or revoked last: what nodes were given before then is replaced when they attest.
    #[must_use]
    pub fn tainted_at(&self) -> UnixTime {
        UnixTime(self.tainted_at.load(std::sync::atomic::Ordering::Relaxed))
    }

    /// Takes the bundle as the store has it now.
    ///
    /// # Errors
    /// [`StoreFault`]; the former bundle stays.
    pub async fn read_bundle(&self, store: &dyn Store) -> Result<(), StoreFault> {
        let (state, x509) = (store.bundle().await?, store.x509_authorities().await?);
        let authorities: Vec<_> = state.authorities.into_iter().map(|authority| authority.der).collect();
        let tainted = x509.marks.iter().map(|mark| mark.key_id.clone()).collect();
        let revoked = x509.marks.iter().filter(|mark| mark.revoked);
        let revoked = revoked.map(|mark| mark.key_id.clone()).collect();
        if let Some(last) = x509.marks.iter().map(|mark| mark.at.seconds()).max() {
            self.tainted_at.store(last, std::sync::atomic::Ordering::Relaxed);
        }
        let bundle = Bundle::new(self.trust_domain.clone(), authorities, state.sequence)
            .with_jwt_authorities(state.jwt_authorities)
            .with_marks(tainted, revoked);
        let is_news = self.bundle.get().authorities() != bundle.authorities();
        self.bundle.set(bundle);
        if is_news {
            self.write_bundle();
        }
        Ok(())
    }

    /// The files follow: `init`, the next start and new agents go by them.
    fn write_bundle(&self) {
        let bundle = self.bundle.get();
        if bundle.authorities().is_empty() {
            return;
        }
        let pem = replace(&self.files.bundle_pem(), bundle.to_pem(), 0o644);
        if let Err(fault) = pem.and_then(|()| replace(&self.files.bundle(), bundle.to_json(), 0o644)) {
            warn!(code = fault.code(), %fault, "files of the bundle are not up to date");
        }
    }

    /// Renews what is due: takes up an intermediate that `init` has renewed, and replaces its own certificate after a
    /// third of its life. A fault leaves what there is; the caller asks again in a minute.
    ///
    /// # Errors
    /// [`OpeningFault`].
    pub async fn renew(&self, store: &dyn Store, now: UnixTime) -> Result<(), OpeningFault> {
        // Whoever has the turn may be waiting for an upstream authority: this looks again in a minute.
        let Ok(_turn) = self.turn.try_lock() else { return Ok(()) };
        let mut renewed = false;
        match Issuer::load(&self.trust_domain, &self.files, now) {
            Ok(issuer) if issuer.intermediate() != self.issuer().intermediate() => {
                let former = self.issuer();
                match super::opening::adopt(&issuer, (self.server, Some(&former)), &self.files, store, now).await {
                    Ok(()) => {
                        info!(not_after = issuer.not_after().seconds(), "intermediate taken up");
                        // Its list is there before anything that it signs.
                        super::publish(&issuer, store, LIST_LIFETIME_FIRST, now).await?;
                        self.sign_with(Arc::new(issuer));
                        self.read_bundle(store).await?;
                        renewed = true;
                    }
                    Err(OpeningFault::Authority(fault)) => {
                        warn!(code = fault.code(), %fault, "intermediate is not taken up");
                    }
                    Err(fault) => return Err(fault),
                }
            }
            Ok(_) => {}
            Err(fault) => warn!(code = fault.code(), %fault, "intermediate cannot be read again"),
        }
        if renewed || now >= self.own.renew_at() {
            self.renew_own(store, now).await?;
        }
        Ok(())
    }

    /// Replaces the server's own certificate where it is due.
    pub(super) async fn renew_own_if_due(&self, store: &dyn Store, now: UnixTime) -> Result<(), OpeningFault> {
        if now >= self.own.renew_at() { self.renew_own(store, now).await } else { Ok(()) }
    }

    pub(super) async fn renew_own(&self, store: &dyn Store, now: UnixTime) -> Result<(), OpeningFault> {
        let issuer = self.issuer();
        let key = OwnKey::generate()?;
        let draft = issuer.draft_server(&key.spki(), OWN_CERTIFICATE_TTL_SECONDS, now)?;
        let judged_at = store.revision().n;
        let recorded = store.record_issuances(vec![draft.issuance()], judged_at, now).await?.pop();
        let recorded = recorded.and_then(Result::ok).ok_or(AuthorityFault::NotRecorded)?;
        let svid = issuer.sign(&draft, recorded)?;
        self.own.install(&key, &svid, now)?;
        Ok(())
    }
}

/// By what the store's records name this server.
pub(super) const BY: Actor = Actor::Server;
