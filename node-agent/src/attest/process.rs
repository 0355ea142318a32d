//! What `/proc` says of one process, read through a directory that belongs to this process for ever.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::time::{ClockId, clock_gettime};

use super::peer::Peer;

/// Bytes of a `status` or `stat` file that are read. `Groups:` is what makes one long; 65,536 groups (the kernel's
/// limit) of ten digits would be 700 kB, a directory service's user has some hundred.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Supplementary groups that become selectors, in the order of the kernel, which is ascending.
const GROUPS_MAX: usize = 1024;
/// Bytes of a path that becomes a selector.
const PATH_BYTES_MAX: usize = 1000;
/// What the kernel writes behind the path of an executable that has been replaced or removed since.
const DELETED: &str = " (deleted)";

/// One process's folder in `/proc`, open.
pub(super) struct Process {
    folder: OwnedFd,
}

/// Whose the process is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Status {
    /// Effective user.
    pub(super) uid: u32,
    /// Effective group.
    pub(super) gid: u32,
    /// Supplementary groups.
    pub(super) groups: Vec<u32>,
}

/// Clock ticks since boot, the unit of a process's start.
pub(super) fn boot_ticks() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let per_second = rustix::param::clock_ticks_per_second();
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds * per_second + nanoseconds * per_second / 1_000_000_000
}

impl Process {
    /// The folder of `peer`. The descriptor answers for this process or not at all, whoever has its number later.
    pub(super) fn open(peer: &Peer) -> io::Result<Self> {
        let process = Self::numbered(peer.pid())?;
        // It lived after the folder was opened, so the folder is its own.
        if peer.has_exited() { Err(rustix::io::Errno::SRCH.into()) } else { Ok(process) }
    }

    /// The folder of the process that has this number now. It answers for that process alone.
    pub(super) fn numbered(pid: i32) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { folder: openat(CWD, format!("/proc/{pid}"), flags, Mode::empty())? })
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let file = openat(&self.folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut bytes = Vec::new();
        File::from(file).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        // A process names itself in `status` and `stat`, in any bytes it likes.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Its credentials now.
    pub(super) fn status(&self) -> io::Result<Status> {
        parse_status(&self.read("status")?).ok_or_else(|| io::Error::other("status has no credentials"))
    }

    /// Its control groups, as the kernel lists them.
    pub(super) fn cgroup(&self) -> io::Result<String> {
        self.read("cgroup")
    }

    /// When it started, in clock ticks since boot.
    pub(super) fn started(&self) -> io::Result<u64> {
        parse_started(&self.read("stat")?).ok_or_else(|| io::Error::other("stat has no start time"))
    }

    /// The path of its executable as the process sees it; also when the file was replaced since. `None` for a path
    /// that no selector can carry.
    pub(super) fn path(&self) -> io::Result<Option<String>> {
        let path = readlinkat(&self.folder, "exe", Vec::new())?;
        let Ok(path) = path.into_string() else { return Ok(None) };
        let path = match path.strip_suffix(DELETED) {
            Some(before) if self.is_deleted()? => before.to_owned(),
            _ => path,
        };
        Ok((path.len() <= PATH_BYTES_MAX).then_some(path))
    }

    /// Whether the executable has no name any more, or (an open file that was moved over) another file has it.
    fn is_deleted(&self) -> io::Result<bool> {
        Ok(rustix::fs::statat(&self.folder, "exe", rustix::fs::AtFlags::empty())?.st_nlink == 0)
    }

    /// Its executable, open for reading: the very file that runs, whatever its path leads to by now.
    pub(super) fn executable(&self) -> io::Result<File> {
        Ok(openat(&self.folder, "exe", OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?.into())
    }
}

fn parse_status(text: &str) -> Option<Status> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::split_ascii_whitespace);
    // Real, effective, saved, file system.
    let effective = |name| line(name)?.nth(1)?.parse().ok();
    Some(Status {
        uid: effective("Uid:")?,
        gid: effective("Gid:")?,
        groups: line("Groups:")?.take(GROUPS_MAX).map(str::parse).collect::<Result<_, _>>().ok()?,
    })
}

fn parse_started(text: &str) -> Option<u64> {
    // The second field is the process's own name in brackets, in which it may write what it likes.
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tevil\\nUid:\\t0\nUmask:\t0022\nPid:\t7\nUid:\t1000\t1001\t1002\t1003\n\
                          Gid:\t2000\t2001\t2002\t2003\nFDSize:\t64\nGroups:\t4 24 2001 \nNStgid:\t7\n";

    #[test]
    fn the_effective_user_and_group_count() {
        let status = parse_status(STATUS).unwrap();
        assert_eq!(status, Status { uid: 1001, gid: 2001, groups: vec![4, 24, 2001] });
    }

    #[test]
    fn a_status_without_credentials_is_none() {
        for missing in ["Uid:", "Gid:", "Groups:"] {
            assert_eq!(parse_status(&STATUS.replace(&format!("\n{missing}"), "\nX:")), None, "{missing}");
        }
        assert_eq!(parse_status(""), None);
    }

    #[test]
    fn a_process_cannot_write_its_start_time_into_its_name() {
        let rest = (3..=21).map(|n| format!(" {n}")).collect::<String>();
        let stat = format!("7 (a) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 5) {} 4711 23 24", rest.trim());
        assert_eq!(parse_started(&stat), Some(4711));
        assert_eq!(parse_started("7 (a) S 1"), None);
    }

    #[tokio::test]
    async fn the_own_process_is_read_as_it_is() {
        let (near, _far) = tokio::net::UnixStream::pair().unwrap();
        let process = Process::open(&Peer::of(&near).unwrap()).unwrap();
        let status = process.status().unwrap();
        assert_eq!(status.uid, rustix::process::geteuid().as_raw());
        assert_eq!(process.path().unwrap().unwrap(), std::env::current_exe().unwrap().to_str().unwrap());
        assert!(process.started().unwrap() <= boot_ticks());
    }
}
