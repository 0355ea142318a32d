//! The authority of the moment: the issuer, the bundle and the server's own certificate, each exchanged while running.

use std::sync::{Arc, PoisonError, RwLock};

use holdfast_identity::{TrustDomain, UnixTime};
use tracing::{info, warn};

use super::{AuthorityFault, AuthorityFiles, Bundle, Issuer, OWN_CERTIFICATE_TTL_SECONDS, OwnCertificate, OwnKey};
use crate::store::{Actor, Store, StoreFault};

/// Seconds that the first list of an intermediate is valid: until the keeper of lists comes round.
const LIST_LIFETIME_FIRST: i64 = 3600;

/// The trust bundle as it is now; cheap to clone.
#[derive(Clone, Debug)]
pub struct CurrentBundle(Arc<RwLock<Arc<Bundle>>>);

impl CurrentBundle {
    fn new(bundle: Bundle) -> Self {
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
    files: AuthorityFiles,
    issuer: RwLock<Arc<Issuer>>,
    /// Intermediates that were taken over from: they sign lists as long as what they signed lives.
    former: RwLock<Vec<Arc<Issuer>>>,
    bundle: CurrentBundle,
    own: Arc<OwnCertificate>,
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
    /// Reads the files, publishes their roots in the store's bundle, and has its own certificate recorded and signed.
    ///
    /// # Errors
    /// [`OpeningFault`].
    pub async fn open(
        trust_domain: TrustDomain,
        files: AuthorityFiles,
        store: &dyn Store,
        now: UnixTime,
    ) -> Result<Self, OpeningFault> {
        let issuer = Issuer::load(&trust_domain, &files, now)?;
        for root in issuer.bundle().authorities() {
            store.publish_authority(root.clone(), Actor::Server, now).await?;
        }
        let bundle = CurrentBundle::new(issuer.bundle().as_ref().clone());
        let issuer = RwLock::new(Arc::new(issuer));
        let opened = Self {
            trust_domain,
            files,
            issuer,
            former: RwLock::default(),
            bundle,
            own: Arc::new(OwnCertificate::new()),
        };
        opened.read_bundle(store).await?;
        opened.renew_own(store, now).await?;
        Ok(opened)
    }

    /// The trust domain.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The issuer of this moment.
    #[must_use]
    pub fn issuer(&self) -> Arc<Issuer> {
        self.issuer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everybody who signs revocation lists: the issuer of this moment first, then its predecessors that have not ended.
    #[must_use]
    pub fn list_signers(&self, now: UnixTime) -> Vec<Arc<Issuer>> {
        let mut former = self.former.write().unwrap_or_else(PoisonError::into_inner);
        former.retain(|issuer| issuer.not_after() > now);
        std::iter::once(self.issuer()).chain(former.iter().cloned()).collect()
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

    /// Takes the bundle as the store has it now.
    ///
    /// # Errors
    /// [`StoreFault`]; the former bundle stays.
    pub async fn read_bundle(&self, store: &dyn Store) -> Result<(), StoreFault> {
        let state = store.bundle().await?;
        let authorities = state.authorities.into_iter().map(|authority| authority.der).collect();
        let bundle = Bundle::new(self.trust_domain.clone(), authorities, state.sequence);
        self.bundle.set(bundle.with_jwt_authorities(state.jwt_authorities));
        Ok(())
    }

    /// Renews what is due: takes up an intermediate that `init` has renewed, and replaces its own certificate after a
    /// third of its life. A fault leaves what there is; the caller asks again in a minute.
    ///
    /// # Errors
    /// [`OpeningFault`].
    pub async fn renew(&self, store: &dyn Store, now: UnixTime) -> Result<(), OpeningFault> {
        let mut renewed = false;
        match Issuer::load(&self.trust_domain, &self.files, now) {
            Ok(issuer) if issuer.intermediate() != self.issuer().intermediate() => {
                info!(not_after = issuer.not_after().seconds(), "intermediate taken up");
                // Its list is there before anything that it signs.
                super::publish(&issuer, store, LIST_LIFETIME_FIRST, now).await?;
                let taken = &mut *self.issuer.write().unwrap_or_else(PoisonError::into_inner);
                let former = std::mem::replace(taken, Arc::new(issuer));
                self.former.write().unwrap_or_else(PoisonError::into_inner).push(former);
                renewed = true;
            }
            Ok(_) => {}
            Err(fault) => warn!(code = fault.code(), %fault, "intermediate cannot be read again"),
        }
        if renewed || now >= self.own.renew_at() {
            self.renew_own(store, now).await?;
        }
        Ok(())
    }

    async fn renew_own(&self, store: &dyn Store, now: UnixTime) -> Result<(), OpeningFault> {
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
