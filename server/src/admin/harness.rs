//! The operator's services on a real socket and a real store, for tests.

use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::{Admin, AdminSocket, Roles, WHAT_IFS_MAX};
use crate::authority::{Authority, AuthorityFiles, InitOptions, TokenAuthority, init};
use crate::clock;
use crate::config::Simulated;
use crate::desk::CurrentRules;
use crate::ear::{EarIssuer, EarKey};
use crate::endorse::{EndorseSettings, Endorser};
use crate::federation::{CurrentFederations, FederationSettings, Federator};
use crate::outbox::{Outbox, Pace as SendingPace};
use crate::record::{Pace, ReadLog, Signer, SignerOptions, open_key};
use crate::rollout::RolloutSettings;
use crate::store::Store;
use crate::store::sqlite::{SqliteStore, StoreLimits};

pub(super) struct Operated {
    pub(super) store: Arc<dyn Store>,
    pub(super) admin: Admin,
    pub(super) channel: Channel,
    pub(super) what_ifs: Arc<Semaphore>,
    stop: CancellationToken,
    _directory: tempfile::TempDir,
}

impl Drop for Operated {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(super) async fn operated(simulated: Simulated) -> Operated {
    operated_with(simulated, RolloutSettings::default()).await
}

pub(super) async fn operated_with(simulated: Simulated, rollout: RolloutSettings) -> Operated {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("store.sqlite");
    let trust_domain: holdfast_identity::TrustDomain = "td".parse().unwrap();
    let limits = StoreLimits::default();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&database, trust_domain.clone(), limits).await.unwrap());
    let (path, stop) = (directory.path().join("admin.sock"), CancellationToken::new());
    let socket = AdminSocket::bind(&path, "no-such-group").unwrap();
    let rules = CurrentRules::read(store.as_ref(), simulated == Simulated::Allowed).await.unwrap();
    let endorser = Endorser::new(store.clone(), Arc::new(rules), EndorseSettings::default());
    let signer = Ok(Arc::new(signer(&store, directory.path()).await));
    let (outbox, _) = Outbox::open(&[], store.clone(), trust_domain.clone(), SendingPace::default()).await.unwrap();
    let outbox = Arc::new(outbox);
    let place = InitOptions::new(
        trust_domain.clone(),
        directory.path().join("data"),
        directory.path().join("root"),
        clock::now(),
    );
    init(&place).unwrap();
    let files = AuthorityFiles::below(&place.data_dir);
    // In a store of its own: what it records is not what these tests count.
    let apart = directory.path().join("authority.sqlite");
    let apart = SqliteStore::open(&apart, trust_domain.clone(), limits).await.unwrap();
    let authority = Authority::open(trust_domain.clone(), files, &apart, clock::now()).await.unwrap();
    let authority = Arc::new(authority);
    let key = EarKey::open(&directory.path().join("ear.key")).unwrap();
    let ear = Arc::new(EarIssuer::new(store.clone(), trust_domain.clone(), key));
    let own = authority.bundle().clone();
    let federations = CurrentFederations::read(store.as_ref()).await.unwrap();
    let federator = Federator::new(store.clone(), federations, own, FederationSettings::default());
    let tokens = Arc::new(TokenAuthority::at_rest(AuthorityFiles::below(directory.path())));
    let reads = ReadLog::start(store.clone());
    let roles = Roles::everybody();
    let what_ifs = Arc::new(Semaphore::new(WHAT_IFS_MAX));
    let admin = Admin {
        store: store.clone(),
        endorser,
        federator,
        tokens,
        trust_domain,
        authority,
        simulated,
        reads,
        signer,
        outbox,
        exchange: None,
        ear,
        roles,
        rollout,
        what_ifs: what_ifs.clone(),
    };
    tokio::spawn(admin.clone().serve(socket, stop.clone()));
    Operated { store, admin, channel: connect(&path).await, what_ifs, stop, _directory: directory }
}

async fn signer(store: &Arc<dyn Store>, directory: &Path) -> Signer {
    let key_file = directory.join("record.key");
    let key = open_key(&key_file, Some("td/log"), &"td".parse().unwrap()).unwrap();
    let pace = Pace { interval: std::time::Duration::from_secs(60), entries: 1000 };
    Signer::open(store.clone(), SignerOptions { key, key_file, pace }).await.unwrap()
}

async fn connect(path: &Path) -> Channel {
    let path = path.to_owned();
    let connector = service_fn(move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://holdfast.invalid").connect_with_connector(connector).await.unwrap()
}
