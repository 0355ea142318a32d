//! Whose executables an agent may read, and so for whom `unix:path` and `unix:sha256` exist.

use std::io;

/// CAP_SYS_PTRACE's bit in a capability set (`capability.h`).
const CAP_SYS_PTRACE: u32 = 19;

/// For which workloads an agent knows `path` and `sha256`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// All: it has CAP_SYS_PTRACE.
    Everyone,
    /// Those of this user, which is its own.
    OwnUser(u32),
}

impl Discovery {
    /// Of this process.
    ///
    /// # Errors
    /// Where `/proc` cannot be read.
    pub fn of_this_process() -> io::Result<Self> {
        Self::read("/proc/self/status")
    }

    /// Of process `pid`, such as the agent that listens on a socket.
    ///
    /// # Errors
    /// Where `/proc` cannot be read, or the process is gone.
    pub fn of(pid: i32) -> io::Result<Self> {
        Self::read(&format!("/proc/{pid}/status"))
    }

    fn read(path: &str) -> io::Result<Self> {
        parse(&std::fs::read_to_string(path)?).ok_or_else(|| io::Error::other("status has no capabilities"))
    }

    /// One sentence for an operator.
    #[must_use]
    pub fn explain(self) -> String {
        match self {
            Self::Everyone => "unix:path and unix:sha256 are known for every workload".to_owned(),
            Self::OwnUser(uid) => format!(
                "unix:path and unix:sha256 are known for workloads of uid {uid} only: the agent lacks CAP_SYS_PTRACE"
            ),
        }
    }
}

fn parse(status: &str) -> Option<Discovery> {
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let effective = u64::from_str_radix(line("CapEff:")?.trim(), 16).ok()?;
    if effective >> CAP_SYS_PTRACE & 1 == 1 {
        return Some(Discovery::Everyone);
    }
    Some(Discovery::OwnUser(line("Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_capability_decides() {
        let status = |caps: &str| format!("Name:\tx\nUid:\t0\t1000\t0\t0\nCapEff:\t{caps}\n");
        assert_eq!(parse(&status("0000000000080000")), Some(Discovery::Everyone));
        assert_eq!(parse(&status("000001fffff7ffff")), Some(Discovery::OwnUser(1000)));
        assert_eq!(parse("Name:\tx\n"), None);
        assert!(Discovery::OwnUser(1000).explain().contains("CAP_SYS_PTRACE"));
    }

    #[test]
    fn this_process_can_say() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(Discovery::of_this_process().unwrap(), Discovery::of(pid).unwrap());
    }
}
