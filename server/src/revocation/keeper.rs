//! Makes lists anew: at once when something was withdrawn, and at half of their life.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_identity::UnixTime;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{CurrentLists, ListSettings, files};
use crate::authority::{Authority, publish};
use crate::clock;
use crate::store::{IssuerKeyId, Notice, Store, StoreFault, Subscription};

/// Between two lists of what is withdrawn one after another, and as long the later of it is gathered for one list: ten
/// lists a second at most.
const GATHER: Duration = Duration::from_millis(100);
/// How often it is looked for lists of half their age, for files, and for what failed before.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Keeps the lists of what this server has signed.
pub struct ListKeeper {
    store: Arc<dyn Store>,
    authority: Arc<Authority>,
    lists: CurrentLists,
    settings: ListSettings,
    changes: Subscription,
}

impl ListKeeper {
    /// Makes the lists that are missing or may be old, before anybody asks for them.
    ///
    /// # Errors
    /// [`StoreFault`] where the lists cannot be read. One that cannot be made is tried again later.
    pub async fn open(
        store: Arc<dyn Store>,
        authority: Arc<Authority>,
        settings: ListSettings,
    ) -> Result<Self, StoreFault> {
        // Before anything is read: what is withdrawn meanwhile is heard of.
        let changes = store.changes();
        let keeper = Self { store, authority, lists: CurrentLists::default(), settings, changes };
        let now = clock::now();
        files::import(keeper.store.as_ref(), &keeper.authority, &keeper.settings.files, now).await;
        // Nobody knows what was withdrawn while no server was there to say so.
        let all = keeper.authority.list_signers(now).iter().map(|issuer| issuer.key_id()).collect();
        keeper.make(all, now).await;
        keeper.lists.read(keeper.store.as_ref()).await?;
        Ok(keeper)
    }

    /// The lists, kept current.
    #[must_use]
    pub const fn lists(&self) -> &CurrentLists {
        &self.lists
    }

    /// Keeps them until `stop`.
    pub async fn keep(mut self, stop: CancellationToken) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut due, mut pace) = (BTreeSet::new(), Pace::default());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                heard = self.changes.notices.recv() => match heard {
                    Ok(notice) => due.extend(revoked(&notice)),
                    Err(RecvError::Lagged(_)) => due.extend(self.all()),
                    Err(RecvError::Closed) => return,
                },
                _ = looks.tick() => {
                    let now = clock::now();
                    files::import(self.store.as_ref(), &self.authority, &self.settings.files, now).await;
                    due.extend(self.old(now));
                    self.measure(now);
                }
            }
            if due.is_empty() {
                continue;
            }
            tokio::time::sleep(pace.wait(Instant::now())).await;
            loop {
                match self.changes.notices.try_recv() {
                    Ok(notice) => due.extend(revoked(&notice)),
                    Err(TryRecvError::Lagged(_)) => due.extend(self.all()),
                    Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                }
            }
            // What fails is old at the next look, and made then.
            self.make(std::mem::take(&mut due), clock::now()).await;
            pace.made(Instant::now());
        }
    }

    /// Makes the lists of these issuers, as far as they are this server's.
    async fn make(&self, due: BTreeSet<IssuerKeyId>, now: UnixTime) {
        for issuer in self.authority.list_signers(now) {
            if !due.contains(&issuer.key_id()) {
                continue;
            }
            match publish(&issuer, self.store.as_ref(), self.settings.lifetime, now).await {
                Ok(list) => {
                    info!(issuer = %list.issuer, number = list.number, serials = list.revoked.len(), "revocation list signed");
                    metrics::counter!("holdfast_revocation_lists_total").increment(1);
                    if list.left_out > 0 {
                        error!(alarm = "crl.full", issuer = %list.issuer, left_out = list.left_out,
                            "revocation list is full: renew the intermediate and revoke it");
                        metrics::counter!("holdfast_alarms_total", "alarm" => "crl.full").increment(1);
                    }
                }
                Err(fault) => {
                    warn!(issuer = %issuer.key_id(), %fault, "revocation list not signed, it will be tried again")
                }
            }
        }
    }

    fn all(&self) -> BTreeSet<IssuerKeyId> {
        self.authority.list_signers(clock::now()).iter().map(|issuer| issuer.key_id()).collect()
    }

    /// Issuers without a list, or with one that has lived half of its life.
    fn old(&self, now: UnixTime) -> BTreeSet<IssuerKeyId> {
        let lists = self.lists.get();
        let is_fresh = |issuer: &IssuerKeyId| {
            lists.iter().find(|list| list.issuer == *issuer).is_some_and(|list| {
                let (from, to) = (list.validity.this_update, list.validity.next_update);
                now < from.plus(to.since(from) / 2)
            })
        };
        self.all().into_iter().filter(|issuer| !is_fresh(issuer)).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "gauges are floating-point; seconds are far below 2^52")]
    fn measure(&self, now: UnixTime) {
        let lists = self.lists.get();
        if let Some(first) = lists.iter().map(|list| list.validity.next_update.since(now)).min() {
            metrics::gauge!("holdfast_first_revocation_list_expiry_seconds").set(first as f64);
        }
    }
}

/// When the next list may be made: at once where none was made lately, so that nobody who is withdrawn alone is good any
/// longer than it takes.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
}

impl Pace {
    fn wait(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |last| GATHER.saturating_sub(now.saturating_duration_since(last)))
    }

    const fn made(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

fn revoked(notice: &Notice) -> BTreeSet<IssuerKeyId> {
    match notice {
        Notice::Revoked { issuers, .. } => issuers.clone(),
        _ => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_list_is_made_at_once_and_the_next_waits_for_company() {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        assert_eq!(pace.wait(begin), Duration::ZERO);
        pace.made(begin);
        assert_eq!(pace.wait(begin), GATHER);
        assert_eq!(pace.wait(begin + GATHER / 4), GATHER * 3 / 4);
        assert_eq!(pace.wait(begin + GATHER), Duration::ZERO);
        assert_eq!(pace.wait(begin + GATHER * 9), Duration::ZERO);
    }
}
