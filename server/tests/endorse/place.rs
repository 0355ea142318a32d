//! A server's store and its endorser, without the server: whom it trusts, a test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::TrustClass;
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_server::budget::{Rate, Source};
use holdfast_server::endorse::{Asker, EndorseSettings, Endorser, Trust};
use holdfast_server::store::sqlite::{SqliteStore, StoreLimits};
use holdfast_server::store::{Endorsement, Store, Which};

use crate::stand_in::StandIn;

/// Trusts what it is told to.
#[derive(Default)]
pub(crate) struct Trusting(Mutex<Roots>);

impl Trusting {
    pub(crate) fn root(&self, der: &[u8]) {
        self.0.lock().unwrap().add(Anchor::new(der, TrustClass::Firmware).unwrap());
    }
}

impl Trust for Trusting {
    fn roots(&self, _: EvidenceKind) -> Arc<Roots> {
        Arc::new(self.0.lock().unwrap().clone())
    }
}

pub(crate) struct Place {
    _directory: tempfile::TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) trust: Arc<Trusting>,
    pub(crate) service: StandIn,
    pub(crate) endorser: Endorser,
}

/// A quick service, and strangers who may ask as often as they like.
pub(crate) fn settings(service: &StandIn) -> EndorseSettings {
    let free = Rate { per_second: 1000.0, burst: 1000.0 };
    EndorseSettings {
        amd_url: Some(service.url.clone()),
        amd_interval: Duration::ZERO,
        intel_url: Some(service.url.clone()),
        timeout: Duration::from_secs(1),
        patience: Duration::from_secs(5),
        per_source: free,
        strangers: free,
        ..EndorseSettings::default()
    }
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut EndorseSettings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let service = StandIn::start().await;
        let mut settings = settings(&service);
        change(&mut settings);
        let database = directory.path().join("store.sqlite");
        let store = SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(store);
        let trust = Arc::new(Trusting::default());
        let endorser = Endorser::new(store.clone(), trust.clone(), settings);
        Self { _directory: directory, store, trust, service, endorser }
    }

    /// The same store with an endorser that remembers nothing: a server that was restarted.
    pub(crate) fn restarted(&self, change: impl FnOnce(&mut EndorseSettings)) -> Endorser {
        let mut settings = settings(&self.service);
        change(&mut settings);
        Endorser::new(self.store.clone(), self.trust.clone(), settings)
    }

    /// What is held.
    pub(crate) async fn held(&self) -> Vec<Endorsement> {
        self.store.endorsements(Which::After { number: 0, limit: 0 }).await.unwrap()
    }
}

/// A stranger from that address.
pub(crate) fn stranger(last: u8) -> Asker {
    Asker::Stranger(Source::of([192, 0, 2, last].into()))
}
