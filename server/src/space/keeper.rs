//! Watches the room, says so when it runs out and when it is back, and keeps the reserve: a file of a few dozen megabytes
//! that is given up when next to nothing is left, so that the record can still be written.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, fallocate};
use serde_json::json;
use tracing::{error, info, warn};

use super::{Disk, Room, Space};
use crate::clock;
use crate::store::{Actor, Operation, Store};

/// Percent above the limit at which room counts as back: nobody flaps.
const MARGIN: u64 = 1;

/// What the keeper is told by configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceSettings {
    /// Percent that must be free; 0 to watch nothing.
    pub free_percent_min: u64,
    /// Bytes of the reserve; 0 for none.
    pub reserve: u64,
    /// Where the reserve lies: beside the database.
    pub reserve_file: PathBuf,
}

/// The keeper.
pub struct SpaceKeeper {
    disk: Box<dyn Disk>,
    settings: SpaceSettings,
    space: Space,
    store: Arc<dyn Store>,
}

impl SpaceKeeper {
    /// A keeper that tells `space` what `disk` says.
    #[must_use]
    pub fn new(disk: Box<dyn Disk>, settings: SpaceSettings, space: Space, store: Arc<dyn Store>) -> Self {
        Self { disk, settings, space, store }
    }

    /// Looks once, and does what follows.
    pub async fn look(&self) {
        if self.settings.free_percent_min == 0 {
            return;
        }
        let room = match self.disk.room() {
            Ok(room) => room,
            Err(error) => {
                error!(%error, "room on the disk cannot be measured, what was found last stands");
                return;
            }
        };
        measure(room);
        let (percent, least) = (room.percent(), self.settings.free_percent_min);
        let was_low = self.space.is_low();
        let is_low = percent < if was_low { least + MARGIN } else { least };
        self.space.set_low(is_low);
        metrics::gauge!("holdfast_storage_low").set(if is_low { 1.0 } else { 0.0 });
        self.keep_reserve(room, is_low);
        if is_low == was_low {
            return;
        }
        if is_low {
            metrics::counter!("holdfast_alarms_total", "alarm" => "storage.low").increment(1);
            error!(free = room.free, percent, "alarm: storage is low, no new machine is taken in");
        } else {
            info!(free = room.free, percent, "storage has room again");
        }
        let operation = Operation {
            action: if is_low { "storage.low" } else { "storage.recovered" },
            subject: String::new(),
            detail: json!({ "free_bytes": room.free, "free_percent": percent }),
        };
        if let Err(fault) = self.store.record_operation(operation, Actor::Server, clock::now()).await {
            error!(code = fault.code(), %fault, "the state of storage could not be recorded");
        }
    }

    /// Lays the reserve by while there is room for it, and gives it up when less is left than it holds.
    fn keep_reserve(&self, room: Room, is_low: bool) {
        let SpaceSettings { reserve, reserve_file, .. } = &self.settings;
        if *reserve == 0 {
            return;
        }
        let is_there = reserve_file.exists();
        if is_low && is_there && room.free < *reserve {
            match fs::remove_file(reserve_file) {
                Ok(()) => warn!(bytes = reserve, "the reserve is given up, so that the record can be written"),
                Err(error) => error!(%error, "the reserve could not be given up"),
            }
        } else if !is_low
            && !is_there
            && room.free > reserve.saturating_mul(2)
            && let Err(error) = self.lay_by()
        {
            let _ = fs::remove_file(reserve_file);
            warn!(%error, "the reserve could not be laid by");
        }
    }

    fn lay_by(&self) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.settings.reserve_file)?;
        fallocate(&file, FallocateFlags::empty(), 0, self.settings.reserve)?;
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating-point")]
fn measure(room: Room) {
    metrics::gauge!("holdfast_storage_free_bytes").set(room.free as f64);
    metrics::gauge!("holdfast_storage_total_bytes").set(room.total as f64);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::store::conformance;

    struct Said(Arc<Mutex<Room>>);

    impl Disk for Said {
        fn room(&self) -> io::Result<Room> {
            Ok(*self.0.lock().unwrap())
        }
    }

    #[tokio::test]
    async fn low_room_is_said_once_recorded_and_over_when_there_is_room_again() {
        let (directory, store) = conformance::open().await;
        let room = Arc::new(Mutex::new(Room { free: 500 << 20, total: 1000 << 20 }));
        let reserve_file = directory.path().join("reserve");
        let settings = SpaceSettings { free_percent_min: 10, reserve: 1 << 20, reserve_file: reserve_file.clone() };
        let space = Space::default();
        let keeper = SpaceKeeper::new(Box::new(Said(room.clone())), settings, space.clone(), store.clone());
        let say = |free: u64| room.lock().unwrap().free = free << 20;
        keeper.look().await;
        assert!(!space.is_low());
        assert_eq!(reserve_file.metadata().unwrap().len(), 1 << 20);

        say(99);
        keeper.look().await;
        keeper.look().await;
        assert!(space.is_low());
        assert!(reserve_file.exists());

        say(0);
        keeper.look().await;
        assert!(!reserve_file.exists(), "the reserve stays when nothing is left");

        // One percent more than the limit, or nobody knows where he stands.
        say(105);
        keeper.look().await;
        assert!(space.is_low());
        say(111);
        keeper.look().await;
        assert!(!space.is_low());
        assert!(reserve_file.exists());

        let entries = store.ledger_entries(0, 100).await.unwrap();
        let acts: Vec<String> = entries.iter().map(|entry| String::from_utf8_lossy(&entry.leaf).into_owned()).collect();
        assert_eq!(acts.iter().filter(|act| act.contains("storage.low")).count(), 1);
        assert_eq!(acts.iter().filter(|act| act.contains("storage.recovered")).count(), 1);
    }
}
