//! What time asks of the store: expired entries and bodies go, room is measured, and the gauges are set.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::clock;
use crate::space::SpaceKeeper;
use crate::store::{Mode, NodeState, Store};

/// How often. An expired entry is judged as such at once; this is when its workloads are told.
const EVERY: Duration = Duration::from_secs(1);
/// How many of these pass between two looks at the gauges.
const GAUGES_EVERY: u32 = 15;
/// How many between two looks at the disk.
const SPACE_EVERY: u32 = 5;
/// Transactions that let bodies go in one turn: 2,000 bodies a second, more than a fleet brings.
const DROPS_IN_A_ROW: u32 = 10;

/// Keeps `store` until `stop`.
pub async fn keep(store: Arc<dyn Store>, space: SpaceKeeper, stop: CancellationToken) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    space.look().await;
    for count in 0_u32.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Err(fault) = store.prune(clock::now()).await {
            error!(code = fault.code(), %fault, "the store could not be pruned, it will be tried again");
        }
        drop_bodies(&*store, &stop).await;
        if count % SPACE_EVERY == 0 {
            space.look().await;
        }
        if count % GAUGES_EVERY == 0
            && let Err(fault) = measure(&*store).await
        {
            error!(code = fault.code(), %fault, "gauges are not set");
        }
    }
}

/// Lets bodies go whose time is over: a few in each transaction, and not so many in a row that attempts wait behind them.
async fn drop_bodies(store: &dyn Store, stop: &CancellationToken) {
    for _ in 0..DROPS_IN_A_ROW {
        match store.drop_bodies(clock::now()).await {
            Ok(dropped) if dropped.more && !stop.is_cancelled() => tokio::task::yield_now().await,
            Ok(_) => return,
            Err(fault) => {
                error!(code = fault.code(), %fault, "bodies whose time is over could not be let go");
                return;
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point; counts and seconds are far below 2^52")]
async fn measure(store: &dyn Store) -> Result<(), crate::store::StoreFault> {
    let now = clock::now();
    let fleet = store.count_nodes(now).await?;
    for state in NodeState::ALL {
        let count = fleet.states.iter().find(|(of, _)| *of == state).map_or(0, |(_, count)| *count);
        metrics::gauge!("holdfast_nodes", "state" => state.as_str()).set(count as f64);
    }
    if let Some(end) = fleet.first_svid_end {
        metrics::gauge!("holdfast_first_node_svid_expiry_seconds").set(end.since(now) as f64);
    }
    if let Some(policy) = store.policy_in(Mode::Enforce).await? {
        metrics::gauge!("holdfast_policy_age_seconds").set(now.since(policy.applied_at) as f64);
    }
    metrics::gauge!("holdfast_record_entries").set(store.head().await?.size as f64);
    Ok(())
}
