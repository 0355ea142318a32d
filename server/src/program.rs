//! The whole program in reading order: what is opened, in which order, and who holds whom.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::{Admin, AdminSocket, WHAT_IFS_MAX};
use crate::config::Config;
use crate::ear::{EarIssuer, EarKey};
use crate::exchange::Exchange;
use crate::federation::{BundleEndpoint, Federator};
use crate::oidc::OidcSite;
use crate::outbox::{Outbox, Pace};
use crate::record::{ReadLog, RecordFault, Shown, Signer, SignerOptions, open_key};
use crate::revocation::ListListener;
use crate::serve::{ServeOptions, Server};
use crate::space::{FileSystem, Space, SpaceKeeper, SpaceSettings};
use crate::store::Store;
use crate::store::sqlite::{SqliteStore, StoreLimits};
use crate::{metrics, upkeep};

/// Builds the server from `config` and runs it until SIGINT or SIGTERM.
///
/// # Errors
/// If something cannot be opened; what was opened is closed again.
pub async fn run(config: Config) -> anyhow::Result<()> {
    raise_file_limit();
    let stop = CancellationToken::new();
    let prometheus = metrics::record()?;
    if let Some(address) = config.metrics_listen {
        tokio::spawn(metrics::serve(address, prometheus, stop.clone()));
    }
    let limits = StoreLimits { entries_max: config.limits.entries_max, retention: config.keeping.retention };
    let store = SqliteStore::open(&config.database, config.trust_domain.clone(), limits).await?;
    let store: Arc<dyn Store> = Arc::new(store);
    let space = Space::default();
    let options = ServeOptions { space: space.clone(), ..ServeOptions::from(&config) };
    let server = Server::build(options, store.clone()).await?;
    let directory = config.database.parent().unwrap_or(&config.data_dir);
    let settings = SpaceSettings {
        free_percent_min: config.keeping.free_percent_min,
        reserve: config.keeping.reserve,
        reserve_file: config.database.with_extension("reserve"),
    };
    let keeper = SpaceKeeper::new(Box::new(FileSystem(directory.to_owned())), settings, space, store.clone());
    let (outbox, couriers) =
        Outbox::open(&config.sinks, store.clone(), config.trust_domain.clone(), Pace::default()).await?;
    let exchange = config.exchange.clone().map(|rules| Exchange::new(store.clone(), server.tokens().clone(), rules));
    let exchange = exchange.map(Arc::new);
    if let Some(oidc) = config.oidc.clone() {
        let site = OidcSite::new(store.clone(), oidc.issuer, oidc.jwks_uri, exchange.clone());
        oidc.site.bind(Arc::new(site), stop.clone()).await?;
    }
    let socket = AdminSocket::bind(&config.admin_socket, &config.admin_group)?;
    let signer = signer(&config, &store).await;
    let federator = Federator::new(
        store.clone(),
        server.federations().clone(),
        server.authority().bundle().clone(),
        config.federation.clone(),
    );
    if let Some(settings) = config.bundle_endpoint.clone() {
        let (bundle, own) = (server.authority().bundle().clone(), server.authority().own().clone());
        let endpoint = BundleEndpoint::bind(settings, bundle, own).await?;
        tokio::spawn(endpoint.serve(stop.clone()));
    }
    let admin = Admin {
        store: store.clone(),
        federator: federator.clone(),
        endorser: server.endorser().clone(),
        tokens: server.tokens().clone(),
        trust_domain: config.trust_domain.clone(),
        authority: server.authority().clone(),
        simulated: config.simulated,
        reads: ReadLog::start(store.clone()),
        signer: signer.clone(),
        outbox: Arc::new(outbox),
        exchange,
        ear: Arc::new(EarIssuer::new(store.clone(), config.trust_domain.clone(), EarKey::open(&config.ear_key)?)),
        roles: config.roles.clone(),
        rollout: config.rollout.clone(),
        what_ifs: Arc::new(Semaphore::new(WHAT_IFS_MAX)),
    };
    if let Some(address) = config.lists.listen {
        ListListener::new(server.lists().clone()).bind(address, stop.clone()).await?;
    }
    let fetching = tokio::spawn(server.endorser().clone().keep(stop.clone()));
    let federating = tokio::spawn(federator.keep(stop.clone()));
    let serving = tokio::spawn(server.serve(stop.clone()));
    let operating = tokio::spawn(admin.serve(socket, stop.clone()));
    let keeping = tokio::spawn(upkeep::keep(store.clone(), keeper, stop.clone()));
    if let (Some(address), Ok(signer)) = (config.record.listen, &signer) {
        Shown { store: store.clone(), signer: signer.clone() }.bind(address, stop.clone()).await?;
    }
    let signing = signer.ok().map(|signer| tokio::spawn(signer.keep(stop.clone())));
    let sending = tokio::spawn(couriers.run(stop.clone()));
    info!(trust_domain = %config.trust_domain, "server is up");
    wait_for_signal().await?;
    stop.cancel();
    serving.await?;
    operating.await??;
    keeping.await?;
    fetching.await?;
    federating.await?;
    if let Some(signing) = signing {
        signing.await?;
    }
    sending.await?;
    store.close().await;
    info!("server has stopped");
    Ok(())
}

/// Who signs the record. Where nobody may, machines are served all the same, and whoever asks is told why.
async fn signer(config: &Config, store: &Arc<dyn Store>) -> Result<Arc<Signer>, Arc<RecordFault>> {
    let settings = &config.record;
    let opened = async {
        let key = open_key(&settings.key, settings.origin.as_deref(), &config.trust_domain)?;
        let options = SignerOptions { key, key_file: settings.key.clone(), pace: settings.pace };
        Signer::open(store.clone(), options).await
    };
    let opened = opened.await;
    if let Err(fault) = &opened {
        error!(alarm = fault.code(), %fault, "the record is not signed");
        ::metrics::counter!("holdfast_alarms_total", "alarm" => fault.code()).increment(1);
    }
    opened.map(Arc::new).map_err(Arc::new)
}

/// A connection is a file: takes as many as the system lets us have.
fn raise_file_limit() {
    let limits = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits }) {
        warn!(%error, "the limit of open files stays as it is");
    }
}

async fn wait_for_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // Whoever rotates files of events may say so: they are opened anew each time, so there is nothing to do but to live on.
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => {}
        }
    }
}
