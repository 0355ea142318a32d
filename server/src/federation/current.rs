//! Foreign trust domains as they are now, read from the store whenever something is new, for those who push and fetch.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use holdfast_identity::TrustDomain;
use holdfast_protocol::agent as wire;
use holdfast_svid::bundle::Bundle;
use holdfast_svid::jwk::Jwk;
use tracing::error;

use crate::store::{Federation, Store, StoreFault};

/// One foreign trust domain, with its bundle as it reads.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// As the store has it.
    pub federation: Federation,
    /// Its bundle, if there is one that can be read.
    pub bundle: Option<Arc<Bundle>>,
    /// The same as agents get it; `None` without a bundle, and for one that trusts nobody.
    pub message: Option<Arc<wire::Bundle>>,
}

type All = BTreeMap<TrustDomain, Foreign>;

/// All of them; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CurrentFederations(Arc<Held>);

#[derive(Debug, Default)]
struct Held {
    all: RwLock<Arc<All>>,
    /// One reads the store at a time: what was read first must not be written last.
    reading: tokio::sync::Mutex<()>,
}

impl CurrentFederations {
    /// Those of the store.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub async fn read(store: &dyn Store) -> Result<Self, StoreFault> {
        let current = Self::default();
        current.refresh(store).await?;
        Ok(current)
    }

    /// Reads them all again.
    ///
    /// # Errors
    /// [`StoreFault`]; what was known stays.
    pub async fn refresh(&self, store: &dyn Store) -> Result<(), StoreFault> {
        let _reading = self.0.reading.lock().await;
        let (all, before) = (store.federations().await?, self.get());
        let read = |federation: Federation| {
            let former = before.get(&federation.trust_domain);
            (federation.trust_domain.clone(), Foreign::of(federation, former))
        };
        let all = all.into_iter().map(read);
        *self.0.all.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(all.collect());
        Ok(())
    }

    /// Reads one again.
    ///
    /// # Errors
    /// [`StoreFault`]; what was known stays.
    pub async fn refresh_one(&self, store: &dyn Store, trust_domain: &TrustDomain) -> Result<(), StoreFault> {
        let _reading = self.0.reading.lock().await;
        let found = store.federation(trust_domain.clone()).await?;
        let mut current = self.0.all.write().unwrap_or_else(PoisonError::into_inner);
        let mut all: All = current.as_ref().clone();
        match found {
            Some(federation) => {
                let read = Foreign::of(federation, all.get(trust_domain));
                all.insert(trust_domain.clone(), read)
            }
            None => all.remove(trust_domain),
        };
        *current = Arc::new(all);
        Ok(())
    }

    /// Those of this moment.
    #[must_use]
    pub fn get(&self) -> Arc<All> {
        self.0.all.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Foreign {
    /// What it reads as; what reads as before is the same value, which nobody need compare.
    fn of(federation: Federation, former: Option<&Self>) -> Self {
        if let Some(former) = former.filter(|former| former.federation.bundle == federation.bundle) {
            return Self { federation, bundle: former.bundle.clone(), message: former.message.clone() };
        }
        let bundle = federation.bundle.as_ref().and_then(|document| {
            // It was read before it was kept; one that reads no longer trusts nobody.
            let read = Bundle::read(&federation.trust_domain, &document.bytes);
            read.map_err(|bad| {
                error!(trust_domain = %federation.trust_domain, code = bad.code(), %bad, "foreign bundle cannot be read");
            })
            .ok()
        });
        let bundle = bundle.map(Arc::new);
        let message = bundle.as_ref().filter(|bundle| !bundle.is_empty()).map(|bundle| {
            Arc::new(wire::Bundle {
                trust_domain: federation.trust_domain.to_string(),
                x509_authorities: bundle.x509_authorities.clone(),
                sequence: bundle.sequence.unwrap_or_default(),
                refresh_hint: bundle.refresh_hint.and_then(|hint| hint.try_into().ok()).unwrap_or_default(),
                jwt_authorities: bundle.jwt_authorities.iter().filter_map(jwt_authority).collect(),
                // What another trust domain taints is its own to replace.
                tainted_key_ids: Vec::new(),
            })
        });
        Self { federation, bundle, message }
    }
}

fn jwt_authority(key: &Jwk) -> Option<wire::JwtAuthority> {
    Some(wire::JwtAuthority { authority_id: key.key_id.clone()?, spki: key.key.spki(), tainted: false })
}
