//! The process that connected to a Unix socket, held by a pidfd, so that its number cannot come to mean another one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::process;

/// The process that made a connection, and the credentials it had when it did. Keeps one file descriptor.
#[derive(Debug)]
pub struct Peer {
    pid: Pid,
    uid: u32,
    gid: u32,
    pidfd: AsyncFd<OwnedFd>,
    pin: Pin,
}

/// How the process behind a connection was taken hold of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// The kernel gave a pidfd of the process that connected (`SO_PEERPIDFD`, Linux 6.5): no race.
    Kernel,
    /// By its number, which the kernel gave (`SO_PEERCRED`). Credentials and start time were checked after the process
    /// was held; a process of the same user that took over the number before `accept` would not be told apart.
    Number,
}

/// Why the process behind a connection cannot be named.
#[derive(Debug, thiserror::Error)]
pub enum PeerFault {
    /// The kernel did not say.
    #[error("peer credentials could not be read")]
    Credentials(#[source] io::Error),
    /// It lives in a PID namespace that the agent does not see.
    #[error("peer has no process number here: it runs in another PID namespace")]
    Unseen,
    /// It has exited.
    #[error("peer process {pid} has exited")]
    Exited {
        /// Its number while it lived.
        pid: i32,
    },
    /// Another process has its number by now.
    #[error("process {pid} is not the one that connected")]
    Replaced {
        /// The number.
        pid: i32,
    },
    /// No pidfd could be had.
    #[error("peer process {pid} could not be held")]
    Pidfd {
        /// Its number.
        pid: i32,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl PeerFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "attest.peer.credentials",
            Self::Unseen => "attest.peer.unseen",
            Self::Exited { .. } => "attest.peer.exited",
            Self::Replaced { .. } => "attest.peer.replaced",
            Self::Pidfd { .. } => "attest.peer.pidfd",
        }
    }
}

impl Peer {
    /// The process at the other end of `socket`, which was accepted a moment ago.
    ///
    /// # Errors
    /// [`PeerFault`] where it is gone, out of sight, or cannot be held. Needs a tokio runtime.
    pub fn of(socket: impl AsFd) -> Result<Self, PeerFault> {
        let credentials =
            getsockopt(&socket, sockopt::PeerCredentials).map_err(|e| PeerFault::Credentials(e.into()))?;
        let (uid, gid) = (credentials.uid(), credentials.gid());
        // Zero stands for a process in a namespace that is none of ours or our children's.
        let pid = Pid::from_raw(credentials.pid()).filter(|_| credentials.pid() > 0).ok_or(PeerFault::Unseen)?;
        match getsockopt(&socket, sockopt::PeerPidfd) {
            Ok(pidfd) => Self::held(pid, uid, gid, pidfd, Pin::Kernel),
            Err(nix::Error::ESRCH | nix::Error::ENODATA | nix::Error::EINVAL) => {
                Err(PeerFault::Exited { pid: pid.as_raw_nonzero().get() })
            }
            // A kernel before 6.5.
            Err(nix::Error::ENOPROTOOPT) => Self::by_number(pid, uid, gid, process::boot_ticks()),
            Err(source) => Err(PeerFault::Pidfd { pid: pid.as_raw_nonzero().get(), source: source.into() }),
        }
    }

    /// The process that has the number `pid` now, for explanations: nobody connected.
    ///
    /// # Errors
    /// [`PeerFault`] where there is none, or it cannot be held. Needs a tokio runtime.
    pub fn numbered(pid: i32) -> Result<Self, PeerFault> {
        if pid <= 0 {
            return Err(PeerFault::Exited { pid });
        }
        let number = Pid::from_raw(pid).ok_or(PeerFault::Exited { pid })?;
        let held = |source| PeerFault::Pidfd { pid, source };
        let pidfd = pidfd_open(number, PidfdFlags::empty()).map_err(|error| match error {
            rustix::io::Errno::SRCH => PeerFault::Exited { pid },
            source => held(source.into()),
        })?;
        let peer = Self::held(number, 0, 0, pidfd, Pin::Number)?;
        let status = process::Process::open(&peer).and_then(|process| process.status()).map_err(held)?;
        Ok(Self { uid: status.uid, gid: status.gid, ..peer })
    }

    /// Takes hold of process `pid`, and checks then that it can be the one which connected as `uid`:`gid` before
    /// `accepted` (clock ticks since boot).
    fn by_number(pid: Pid, uid: u32, gid: u32, accepted: u64) -> Result<Self, PeerFault> {
        let number = pid.as_raw_nonzero().get();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| match e {
            rustix::io::Errno::SRCH => PeerFault::Exited { pid: number },
            source => PeerFault::Pidfd { pid: number, source: source.into() },
        })?;
        let peer = Self::held(pid, uid, gid, pidfd, Pin::Number)?;
        let same = process::Process::open(&peer).and_then(|process| {
            let status = process.status()?;
            Ok(status.uid == uid && status.gid == gid && process.started()? <= accepted)
        });
        match same {
            Ok(true) => Ok(peer),
            Ok(false) => Err(PeerFault::Replaced { pid: number }),
            Err(_) if peer.has_exited() => Err(PeerFault::Exited { pid: number }),
            Err(source) => Err(PeerFault::Pidfd { pid: number, source }),
        }
    }

    fn held(pid: Pid, uid: u32, gid: u32, pidfd: OwnedFd, pin: Pin) -> Result<Self, PeerFault> {
        let number = pid.as_raw_nonzero().get();
        #[expect(
            deprecated,
            reason = "unsound for types that change descriptors only; its successor is unsafe to call"
        )]
        let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE)
            .map_err(|source| PeerFault::Pidfd { pid: number, source })?;
        Ok(Self { pid, uid, gid, pidfd, pin })
    }

    /// Its process number in the agent's PID namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Its effective user when it connected.
    #[must_use]
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// Its effective group when it connected.
    #[must_use]
    pub const fn gid(&self) -> u32 {
        self.gid
    }

    /// How it was taken hold of.
    #[must_use]
    pub const fn pin(&self) -> Pin {
        self.pin
    }

    /// Whether the process has exited, though others may still hold its sockets.
    #[must_use]
    pub fn has_exited(&self) -> bool {
        // A pidfd is readable from the exit on. Where the kernel does not answer, nothing is known to live.
        let mut fds = [PollFd::new(self.pidfd.get_ref(), PollFlags::IN)];
        !matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0))
    }

    /// Ready once the process has exited. Remembers one waker: for one task alone.
    pub fn poll_exited(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Ok(mut guard) = ready!(self.pidfd.poll_read_ready(cx)) else { return Poll::Ready(()) };
            if self.has_exited() {
                return Poll::Ready(());
            }
            guard.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AttestFault, Attestor, Attestors, Reading, Unix};
    use super::*;
    use std::collections::BTreeSet;
    use std::process::{Child, Command, Stdio};

    use futures_util::future::BoxFuture;
    use holdfast_identity::Selector;

    fn sleeper() -> Child {
        Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap()
    }

    fn pid(child: &Child) -> Pid {
        Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
    }

    fn own() -> (u32, u32) {
        (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    #[tokio::test]
    async fn the_kernel_names_the_process_that_connected() {
        let (near, _far) = tokio::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&near).unwrap();
        assert_eq!(peer.pid(), i32::try_from(std::process::id()).unwrap());
        assert_eq!((peer.uid(), peer.gid()), own());
        assert!(!peer.has_exited());
    }

    #[tokio::test]
    async fn an_exit_is_seen_at_once_and_stays_seen() {
        let mut child = sleeper();
        let (uid, gid) = own();
        let peer = Peer::by_number(pid(&child), uid, gid, u64::MAX).unwrap();
        let mut exited = Box::pin(std::future::poll_fn(|cx| peer.poll_exited(cx)));
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), &mut exited).await.is_err());
        child.kill().unwrap();
        tokio::time::timeout(std::time::Duration::from_secs(5), exited).await.unwrap();
        // Neither as a zombie nor after it was reaped does the number mean anything any more.
        assert!(peer.has_exited());
        child.wait().unwrap();
        assert!(peer.has_exited());
    }

    #[tokio::test]
    async fn without_a_kernels_pidfd_another_users_process_is_refused() {
        let mut child = sleeper();
        let (uid, gid) = own();
        let refused = Peer::by_number(pid(&child), uid + 1, gid, u64::MAX).unwrap_err();
        assert_eq!(refused.code(), "attest.peer.replaced");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn without_a_kernels_pidfd_a_process_younger_than_the_connection_is_refused() {
        let accepted = process::boot_ticks();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let mut child = sleeper();
        let (uid, gid) = own();
        let refused = Peer::by_number(pid(&child), uid, gid, accepted).unwrap_err();
        assert_eq!(refused.code(), "attest.peer.replaced");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn without_a_kernels_pidfd_a_process_that_is_gone_is_refused() {
        let mut child = sleeper();
        let gone = pid(&child);
        child.kill().unwrap();
        child.wait().unwrap();
        let (uid, gid) = own();
        assert_eq!(Peer::by_number(gone, uid, gid, u64::MAX).unwrap_err().code(), "attest.peer.exited");
    }

    /// A process that has exited, and whose number means another one by now: this one.
    fn reused() -> Peer {
        let mut child = sleeper();
        let pidfd = pidfd_open(pid(&child), PidfdFlags::empty()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let (uid, gid) = own();
        Peer::held(rustix::process::getpid(), uid, gid, pidfd, Pin::Kernel).unwrap()
    }

    #[tokio::test]
    async fn nothing_is_read_of_a_process_that_took_over_the_number() {
        let peer = reused();
        assert!(process::Process::open(&peer).is_err());
        let refused = Unix::default().attest(&peer).await.unwrap_err();
        assert_eq!(refused.code(), "attest.exited");
    }

    /// Knows everybody.
    struct Gullible;

    impl Attestor for Gullible {
        fn kind(&self) -> &'static str {
            "gullible"
        }

        fn attest<'a>(&'a self, _: &'a Peer) -> BoxFuture<'a, Result<BTreeSet<Selector>, AttestFault>> {
            Box::pin(async { Ok(BTreeSet::from(["gullible:yes".parse().unwrap()])) })
        }
    }

    #[tokio::test]
    async fn whatever_an_attestor_says_a_process_that_exited_has_no_selectors() {
        let attestors = || Attestors::new(vec![Box::new(Gullible)]);
        assert_eq!(attestors().attest(&reused(), Reading::Whole).await.unwrap_err().code(), "attest.exited");
        let (near, _far) = tokio::net::UnixStream::pair().unwrap();
        assert_eq!(attestors().attest(&Peer::of(&near).unwrap(), Reading::Unread).await.unwrap().len(), 1);
    }
}
