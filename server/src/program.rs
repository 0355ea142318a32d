//! The whole program in reading order: what is opened, in which order, and who holds whom.

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{Admin, AdminSocket};
use crate::config::Config;
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
    let limits = StoreLimits { entries_max: config.limits.entries_max, retention: config.record.retention };
    let store = SqliteStore::open(&config.database, config.trust_domain.clone(), limits).await?;
    let store: Arc<dyn Store> = Arc::new(store);
    let space = Space::default();
    let options = ServeOptions { space: space.clone(), ..ServeOptions::from(&config) };
    let server = Server::build(options, store.clone()).await?;
    let directory = config.database.parent().unwrap_or(&config.data_dir);
    let settings = SpaceSettings {
        free_percent_min: config.record.free_percent_min,
        reserve: config.record.reserve,
        reserve_file: config.database.with_extension("reserve"),
    };
    let keeper = SpaceKeeper::new(Box::new(FileSystem(directory.to_owned())), settings, space, store.clone());
    let socket = AdminSocket::bind(&config.admin_socket, &config.admin_group)?;
    let admin = Admin {
        store: store.clone(),
        endorser: server.endorser().clone(),
        trust_domain: config.trust_domain.clone(),
        simulated: config.simulated,
        roles: config.roles.clone(),
        rollout: config.rollout.clone(),
    };
    let fetching = tokio::spawn(server.endorser().clone().keep(stop.clone()));
    let serving = tokio::spawn(server.serve(stop.clone()));
    let operating = tokio::spawn(admin.serve(socket, stop.clone()));
    let keeping = tokio::spawn(upkeep::keep(store.clone(), keeper, stop.clone()));
    info!(trust_domain = %config.trust_domain, "server is up");
    wait_for_signal().await?;
    stop.cancel();
    serving.await?;
    operating.await??;
    keeping.await?;
    fetching.await?;
    store.close().await;
    info!("server has stopped");
    Ok(())
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
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
