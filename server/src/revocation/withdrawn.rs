//! What was withdrawn of JWT-SVIDs, for streams: read from the store when it says that there is more, and kept until it has
//! ended.

use std::sync::Arc;

use holdfast_identity::UnixTime;
use tokio::sync::{Mutex, watch};
use tracing::error;

use crate::store::{GRANTS_MAX, Store, StoreFault, WithdrawnGrant};

/// Seconds after a withdrawal in which what was signed before it may have been dated: it waits for its turn at the store.
const DATED_WITHIN: i64 = 60;
/// How long after the end of its tokens a grant is told: clocks differ.
const END_GRACE: i64 = 300;

/// What is withdrawn at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawn {
    /// In their order, at most [`GRANTS_MAX`].
    pub grants: Vec<WithdrawnGrant>,
    /// All JWT-SVIDs that were made until then are withdrawn: among them are some that have no room above.
    pub made_until: Option<UnixTime>,
}

/// The same, kept current; cheap to clone.
#[derive(Clone, Debug)]
pub struct CurrentWithdrawn(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    current: watch::Sender<Arc<Withdrawn>>,
    /// The place of the last one that was read. One reads at a time.
    read: Mutex<u64>,
}

impl Default for CurrentWithdrawn {
    fn default() -> Self {
        Self(Arc::new(Shared { current: watch::Sender::default(), read: Mutex::default() }))
    }
}

impl CurrentWithdrawn {
    /// What is withdrawn now, and every change of it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Withdrawn>> {
        self.0.current.subscribe()
    }

    /// Reads what the store has behind what is known.
    ///
    /// # Errors
    /// [`StoreFault`]; what is known stays.
    pub async fn read(&self, store: &dyn Store, now: UnixTime) -> Result<(), StoreFault> {
        let mut place = self.0.read.lock().await;
        let found = store.withdrawn_grants(*place, now).await?;
        let Some(last) = found.grants.last() else { return Ok(()) };
        *place = last.place;
        let before = self.0.current.borrow().clone();
        let mut grants: Vec<WithdrawnGrant> =
            before.grants.iter().filter(|one| one.ends.plus(END_GRACE) > now).copied().collect();
        grants.extend(&found.grants);
        let without_room = grants.len().saturating_sub(GRANTS_MAX);
        let left_out = grants.drain(..without_room).map(|one| one.at).chain(found.left_out).max();
        let left_out = left_out.map(|at| at.plus(DATED_WITHIN).min(now));
        if let Some(until) = left_out {
            error!(
                alarm = "jwt.withdrawn_full",
                until = until.seconds(),
                "more JWT-SVIDs are withdrawn than agents have room for: all that were made until then are refused"
            );
            metrics::counter!("holdfast_alarms_total", "alarm" => "jwt.withdrawn_full").increment(1);
        }
        let made_until = before.made_until.max(left_out);
        self.0.current.send_replace(Arc::new(Withdrawn { grants, made_until }));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::{SqliteStore, StoreLimits};

    const NOW: UnixTime = UnixTime(1_700_000_000);

    /// A store with so many withdrawn grants, all of them at that time.
    async fn with(count: usize, at: UnixTime) -> (tempfile::TempDir, SqliteStore) {
        use sqlx::Connection as _;
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("store.sqlite");
        let open = async || SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await.unwrap();
        drop(open().await);
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
        let mut beside = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < $1) \
             INSERT INTO withdrawn_grants (id, ends, at) SELECT randomblob(12), $2, $3 FROM n",
        )
        .bind(i64::try_from(count).unwrap())
        .bind(NOW.plus(300).seconds())
        .bind(at.seconds())
        .execute(&mut beside)
        .await
        .unwrap();
        let store = loop {
            match SqliteStore::open(&database, "td".parse().unwrap(), StoreLimits::default()).await {
                Ok(store) => break store,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        (directory, store)
    }

    #[tokio::test]
    async fn what_has_room_is_told_by_name_and_nothing_more_is_refused() {
        let (_directory, store) = with(GRANTS_MAX, NOW.plus(-100)).await;
        let current = CurrentWithdrawn::default();
        current.read(&store, NOW).await.unwrap();
        let now = current.watch().borrow().clone();
        assert_eq!((now.grants.len(), now.made_until), (GRANTS_MAX, None));
        assert!(now.grants.is_sorted_by_key(|one| one.place));
    }

    #[tokio::test]
    async fn what_has_no_room_takes_all_with_it_that_was_made_by_then() {
        let (_directory, store) = with(GRANTS_MAX + 1, NOW.plus(-100)).await;
        let current = CurrentWithdrawn::default();
        current.read(&store, NOW).await.unwrap();
        let now = current.watch().borrow().clone();
        assert_eq!((now.grants.len(), now.made_until), (GRANTS_MAX, Some(NOW.plus(-40))));
        // Nothing new, nothing told; and it does not fall when more comes.
        let mut watch = current.watch();
        current.read(&store, NOW).await.unwrap();
        assert!(!watch.has_changed().unwrap());
        let _ = watch.borrow_and_update();
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_there_when_it_can_be() {
        use sqlx::Connection as _;
        let (directory, store) = with(1, NOW).await;
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.path().join("store.sqlite"));
        let mut beside = sqlx::sqlite::SqliteConnection::connect_with(&options).await.unwrap();
        let current = CurrentWithdrawn::default();
        sqlx::raw_sql("ALTER TABLE withdrawn_grants RENAME TO away").execute(&mut beside).await.unwrap();
        assert!(current.read(&store, NOW).await.is_err());
        sqlx::raw_sql("ALTER TABLE away RENAME TO withdrawn_grants").execute(&mut beside).await.unwrap();
        current.read(&store, NOW).await.unwrap();
        assert_eq!(current.watch().borrow().grants.len(), 1);
    }
}
