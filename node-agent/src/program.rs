//! The whole agent in reading order: what is opened, what runs, and how it ends.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::FlockOperation;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attest::{Attestors, Discovery};
use crate::clock::ServerClock;
use crate::collect::{Assembly, FirmwareLogFile, MeasuredFilesFile};
use crate::config::Config;
use crate::connection::Opener;
use crate::enrol::{Exchanger, Keeper, Parts};
use crate::exposition::Exposition;
use crate::state::StateDir;
use crate::status::{self, Status};
use crate::svids::{KeyPool, SvidCache, SvidSource};
use crate::tpm::{Patience, Stall, Tpm};
use crate::trust::Trust;
use crate::{why, workload_api};

/// Held by the agent that uses a state directory.
const LOCK: &str = "agent.lock";
/// How long everything may take to end after the signal.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the agent until SIGTERM or SIGINT. SIGHUP makes it attest at once.
///
/// # Errors
/// Where something cannot be opened at the start, or the Workload API ends. A server that is away is no error.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    let mut signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);

    let state = StateDir::open(&config.data_dir)?;
    let _lock = lock(&state)?;
    let trust = Arc::new(Trust::load(config.trust_domain.clone(), &config.bootstrap, state.clone())?);
    let clock = Arc::new(ServerClock::default());
    let tpm = Tpm::start(config.tpm.clone(), state.clone(), Patience::default(), stalled)?;
    let keys = KeyPool::new(config.workload_key_type);
    keys.start();
    let cache = Arc::new(SvidCache::new(Arc::clone(&clock)).with_keys(keys));
    let (status, statuses) = watch::channel(Arc::new(Status { limitations: limitations(), ..Status::default() }));

    let mut tasks = JoinSet::new();
    if let Some(address) = config.metrics_listen {
        let exposition = Exposition::open(address).await?;
        let stop = stop.clone();
        tasks.spawn(async move {
            exposition.serve(stop).await;
            Ok(())
        });
    }
    let listener = status::bind(&state)?;
    let (counted, chip, stopped) = (Arc::clone(&cache), tpm.clone(), stop.clone());
    tasks.spawn(async move {
        let count = |status: &mut Status| {
            (status.entries, status.svids) = counted.counts();
            status.tpm_commands = chip.commands();
        };
        status::serve(listener, statuses, count, stopped).await;
        Ok(())
    });
    let (source, stopped) = (Arc::clone(&cache) as Arc<dyn SvidSource>, stop.clone());
    let attestors = Arc::new(Attestors::of(&config.attestors));
    let (asked, look_again) = (Arc::clone(&attestors), config.attestors.look_again);
    tasks.spawn(async move { workload_api::serve(&config.workload_api, source, asked, look_again, stopped).await });
    let (listener, stopped) = (why::bind(&state)?, stop.clone());
    let sources = why::Sources { attestors, cache: Arc::clone(&cache) };
    tasks.spawn(async move {
        why::serve(listener, sources, stopped).await;
        Ok(())
    });
    let keeper = Keeper::new(Parts {
        opener: Opener::new(config.server.clone(), Arc::clone(&trust)),
        exchanger: Exchanger::new(
            Assembly::new(
                config.sources.clone(),
                config.tpm.clone(),
                tpm.clone(),
                FirmwareLogFile(config.firmware_log.clone()),
                config.trust_domain.clone(),
                state.clone(),
            ),
            Arc::clone(&trust),
            Arc::clone(&clock),
        )
        .with_measured_files(MeasuredFilesFile(config.measured_files.clone())),
        trust,
        clock,
        cache,
        state: state.clone(),
        status,
    });
    let (again, stopped) = (Arc::new(Notify::new()), stop.clone());
    let (told, mut hangups) = (Arc::clone(&again), signal(SignalKind::hangup())?);
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            told.notify_one();
        }
    });
    tasks.spawn(async move {
        keeper.run(again, stopped).await;
        Ok(())
    });
    tracing::info!(server = %config.server, trust_domain = %config.trust_domain, tpm = %config.tpm.interface, "agent started");

    let ended = tokio::select! {
        _ = signals.0.recv() => Ok(()),
        _ = signals.1.recv() => Ok(()),
        Some(ended) = tasks.join_next() => match ended {
            Ok(Ok(())) => Err(anyhow::anyhow!("a part of the agent ended by itself")),
            Ok(Err(error)) => Err(error),
            Err(panicked) => Err(panicked).context("a part of the agent broke"),
        },
    };
    stop.cancel();
    let _ = tokio::time::timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await;
    tasks.abort_all();
    let _ = tokio::time::timeout(GRACE, tpm.close()).await;
    let _ = state.remove(status::SOCKET);
    let _ = state.remove(why::SOCKET);
    tracing::info!("agent ended");
    ended
}

/// Takes the state directory for this process alone.
///
/// # Errors
/// Where another process has it.
pub fn lock(state: &StateDir) -> anyhow::Result<File> {
    let path = state.file(LOCK);
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another holdfast-agent uses {}", state.file("").display()))?;
    Ok(file)
}

/// Nothing can be done about a stalled TPM but to say so and let the supervisor start us anew.
fn stalled(stall: Stall) {
    tracing::error!(code = stall.code(), command = stall.command, seconds = stall.seconds, "TPM is stalled");
    eprintln!("holdfast-agent: {stall}");
    std::process::exit(2);
}

/// What the attestors cannot find out about workloads here, in words.
fn limitations() -> Vec<String> {
    match Discovery::of_this_process() {
        Ok(Discovery::Everyone) => Vec::new(),
        Ok(limited @ Discovery::OwnUser(_)) => vec![limited.explain()],
        Err(error) => vec![format!("workloads' paths and hashes may be out of reach: {error}")],
    }
}
