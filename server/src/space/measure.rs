//! How much room there is. Asks the file system, and for nothing else.

use std::io;
use std::path::PathBuf;

/// Room of one file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What we may still write.
    pub free: u64,
    /// Everything there is for us: what is used, and what is free.
    pub total: u64,
}

/// Who says how much room there is.
pub trait Disk: Send + Sync {
    /// The room at this moment.
    ///
    /// # Errors
    /// What the system answered.
    fn room(&self) -> io::Result<Room>;
}

/// The file system below a directory.
#[derive(Clone, Debug)]
pub struct FileSystem(pub PathBuf);

impl Disk for FileSystem {
    fn room(&self) -> io::Result<Room> {
        let found = rustix::fs::statvfs(&self.0)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        let used = found.f_blocks.saturating_sub(found.f_bfree);
        // Blocks that only root may take are no room of ours.
        Ok(Room { free: bytes(found.f_bavail), total: bytes(used.saturating_add(found.f_bavail)) })
    }
}

impl Room {
    /// The part that is free, in percent, rounded down.
    #[must_use]
    pub fn percent(&self) -> u64 {
        if self.total == 0 {
            0
        } else {
            u64::try_from(u128::from(self.free) * 100 / u128::from(self.total)).unwrap_or(100)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_below_a_directory_is_some_part_of_it() {
        let room = FileSystem(std::env::temp_dir()).room().unwrap();
        assert!(room.total > 0 && room.free <= room.total);
        assert!(room.percent() <= 100);
        assert!(FileSystem("/nowhere/at/all".into()).room().is_err());
    }

    #[test]
    fn a_percentage_is_rounded_down() {
        assert_eq!(Room { free: 99, total: 1000 }.percent(), 9);
        assert_eq!(Room { free: 1, total: 0 }.percent(), 0);
        assert_eq!(Room { free: u64::MAX, total: u64::MAX }.percent(), 100);
    }
}
