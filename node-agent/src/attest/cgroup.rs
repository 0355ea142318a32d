//! Where a process stands in the trees of control groups, by the kernel's word (`/proc/PID/cgroup`, cgroups(7)).
//!
//! The kernel writes where a process stands; what the groups on the way are called is the word of whoever made them.
//! So nothing here says yet that a process is in a container: see [`super::container`] and [`super::kubernetes`].

use super::process::Process;
use super::{AttestFault, Peer};

/// Bytes of the file; a line for each of a dozen hierarchies, each at most 4,096 bytes by the kernel's own limit.
const CGROUP_BYTES_MAX: usize = 64 << 10;
/// Lines: cgroups v1 has some 13 hierarchies, named ones come on top.
const LINES_MAX: usize = 64;
/// Groups on the way from the root to a process.
const DEPTH_MAX: usize = 128;

/// What is wrong with the list of a process's groups.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CgroupFault {
    /// Larger than any that the kernel writes.
    #[error("list of control groups has more than {limit} {what}")]
    TooLong {
        /// What there is too much of.
        what: &'static str,
        /// How much may be.
        limit: usize,
    },
    /// Not what the kernel writes.
    #[error("line {line} of the control groups is not hierarchy:controllers:/path")]
    Malformed {
        /// Counted from one.
        line: usize,
    },
}

impl CgroupFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "attest.cgroup.too_long",
            Self::Malformed { .. } => "attest.cgroup.malformed",
        }
    }
}

/// The groups of one process, one for each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroups(Vec<Membership>);

/// The group of a process in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Membership {
    /// The hierarchy as the kernel names it: `0:`, `5:memory`.
    pub(super) hierarchy: String,
    /// Names from the root of the reader's cgroup namespace down. Leading `..` lead above that root; there are none
    /// further on.
    pub(super) path: Vec<String>,
}

impl Cgroups {
    /// Those of `peer`.
    pub(super) fn of(peer: &Peer) -> Result<Self, AttestFault> {
        let read = Process::open(peer).and_then(|process| process.cgroup());
        let text = read.map_err(|source| {
            if peer.has_exited() {
                AttestFault::Exited { pid: peer.pid() }
            } else {
                AttestFault::Unreadable { pid: peer.pid(), what: "control groups", source }
            }
        })?;
        Ok(Self::parse(&text)?)
    }

    pub(super) fn parse(text: &str) -> Result<Self, CgroupFault> {
        if text.len() > CGROUP_BYTES_MAX {
            return Err(CgroupFault::TooLong { what: "bytes", limit: CGROUP_BYTES_MAX });
        }
        if text.lines().count() > LINES_MAX {
            return Err(CgroupFault::TooLong { what: "lines", limit: LINES_MAX });
        }
        let lines = text.lines().enumerate();
        let memberships = lines.map(|(index, line)| {
            let line = membership(line).ok_or(CgroupFault::Malformed { line: index + 1 })?;
            if line.path.len() > DEPTH_MAX {
                return Err(CgroupFault::TooLong { what: "groups on one way", limit: DEPTH_MAX });
            }
            Ok(line)
        });
        memberships.collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Membership> {
        self.0.iter()
    }
}

fn membership(line: &str) -> Option<Membership> {
    let (number, rest) = line.split_once(':')?;
    // A controller's list has no colon: the first one after it begins the path, which may have more.
    let (controllers, path) = rest.split_once(':')?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Membership { hierarchy: format!("{number}:{controllers}"), path: names(path)? })
}

/// The names of a path from the root; `None` for a path that is not absolute, or goes up after it went down.
pub(super) fn names(path: &str) -> Option<Vec<String>> {
    let below = path.strip_prefix('/')?;
    let mut names = Vec::new();
    for name in below.split('/').filter(|_| !below.is_empty()) {
        let is_up = name == "..";
        if name.is_empty() || name == "." || (is_up && names.last().is_some_and(|last| last != "..")) {
            return None;
        }
        names.push(name.to_owned());
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        Cgroups::parse(text).unwrap().iter().map(|line| line.path.join("/")).collect()
    }

    #[test]
    fn both_versions_of_control_groups_are_read() {
        assert_eq!(paths("0::/system.slice/a.service\n"), ["system.slice/a.service"]);
        let v1 = Cgroups::parse("11:cpu,cpuacct:/a\n1:name=systemd:/b:c/d\n0::/\n").unwrap();
        let read: Vec<_> = v1.iter().map(|line| (line.hierarchy.as_str(), line.path.join("/"))).collect();
        assert_eq!(read, [("11:cpu,cpuacct", "a".into()), ("1:name=systemd", "b:c/d".into()), ("0:", String::new())]);
    }

    #[test]
    fn a_path_may_begin_above_the_readers_root_and_goes_up_nowhere_else() {
        assert_eq!(paths("0::/../../pod.slice/x.scope"), ["../../pod.slice/x.scope"]);
        for line in ["0::/a/../b", "0::/../a/..", "0::/a/./b", "0::/a//b", "0::/a/"] {
            assert_eq!(Cgroups::parse(line), Err(CgroupFault::Malformed { line: 1 }), "{line}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_write_is_refused() {
        for line in ["", "0", "0:", "0::", "0::relative", "x::/a", ":cpu:/a", "-1::/a"] {
            let text = format!("0::/\n{line}\n");
            assert_eq!(Cgroups::parse(&text), Err(CgroupFault::Malformed { line: 2 }), "{line}");
        }
    }

    #[test]
    fn everything_has_a_limit() {
        let code = |text: &str| Cgroups::parse(text).unwrap_err().code();
        assert_eq!(code(&format!("0::/{}", "x".repeat(CGROUP_BYTES_MAX))), "attest.cgroup.too_long");
        assert_eq!(code(&"0::/\n".repeat(LINES_MAX + 1)), "attest.cgroup.too_long");
        assert_eq!(code(&format!("0::{}", "/x".repeat(DEPTH_MAX + 1))), "attest.cgroup.too_long");
    }

    #[tokio::test]
    async fn the_own_process_stands_somewhere() {
        let (near, _far) = tokio::net::UnixStream::pair().unwrap();
        assert!(Cgroups::of(&Peer::of(&near).unwrap()).unwrap().iter().count() > 0);
    }
}
