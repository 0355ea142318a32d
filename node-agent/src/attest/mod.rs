//! Who is at the other end of a Unix socket: selectors of a workload, by the kernel's word alone.
//!
//! Issues nothing and knows no registration entry. One file for each kind of attestor; a new kind is one more
//! [`Attestor`] in the list that [`Attestors`] is built of.

mod cgroup;
mod container;
mod containerd;
mod discovery;
mod docker;
mod executable;
mod gate;
mod http;
mod kubernetes;
mod names;
mod peer;
mod process;
mod recent;
mod selection;
#[cfg(test)]
mod service;
mod settings;
mod systemd;
mod unix;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all, try_join_all};
use holdfast_identity::Selector;

pub use cgroup::CgroupFault;
pub use container::ContainerFault;
pub use containerd::{Containerd, ContainerdFault, is_identifier};
pub use discovery::Discovery;
pub use docker::Docker;
pub use http::{Address, HttpFault};
pub use kubernetes::{ClientCertificate, KubeletFault, Kubernetes, KubernetesSettings};
pub use peer::{Peer, PeerFault, Pin};
pub use settings::{AttestorSettings, ContainerdSettings, EngineSettings};
pub use systemd::{Systemd, SystemdFault};
pub use unix::Unix;

/// Longest time that all attestors together may take for one workload, after which it is asked to come again.
const ATTEST_TIME_MAX: Duration = Duration::from_secs(10);

/// How selectors of a container's environment begin.
const ENVIRONMENT: &str = "docker:env:";

/// One way to learn a workload's properties.
pub trait Attestor: Send + Sync {
    /// The type of the selectors that it gives: `unix`, `k8s`, …
    fn kind(&self) -> &'static str;

    /// The selectors of `peer` at this moment. What may not be read (another user's executable, say) is left out; what
    /// could not be read this time is a fault.
    fn attest<'a>(&'a self, peer: &'a Peer) -> BoxFuture<'a, Result<BTreeSet<Selector>, AttestFault>>;

    /// The same without what only reading a whole program would tell: for as long as nobody's entry names that.
    fn attest_unread<'a>(&'a self, peer: &'a Peer) -> BoxFuture<'a, Result<BTreeSet<Selector>, AttestFault>> {
        self.attest(peer)
    }
}

/// Whether programs are read for their digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Some entry names a digest: `unix:sha256` is among the selectors.
    Whole,
    /// None does. A program of some hundred megabytes would keep its first SVID waiting for nothing.
    Unread,
}

/// Why a workload's selectors are not known. None of these is a refusal.
#[derive(Debug, thiserror::Error)]
pub enum AttestFault {
    /// The process has exited.
    #[error("process {pid} has exited")]
    Exited {
        /// Its number while it lived.
        pid: i32,
    },
    /// The process does not have the credentials any more that it connected with.
    #[error("process {pid} connected as {connected_uid}:{connected_gid} and is {uid}:{gid} now")]
    CredentialsChanged {
        /// The process.
        pid: i32,
        /// User of the `connect`.
        connected_uid: u32,
        /// Group of the `connect`.
        connected_gid: u32,
        /// Effective user now.
        uid: u32,
        /// Effective group now.
        gid: u32,
    },
    /// Something of the process could not be read.
    #[error("{what} of process {pid} could not be read")]
    Unreadable {
        /// The process.
        pid: i32,
        /// What it was: `status`, `executable`.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An attestor took too long.
    #[error("{kind} took longer than {} s", limit.as_secs())]
    TimedOut {
        /// The attestor.
        kind: &'static str,
        /// What it may take.
        limit: Duration,
    },
    /// An attestor has more selectors for it than anybody could name.
    #[error("{kind} has more than {limit} selectors for this workload")]
    TooMany {
        /// The attestor.
        kind: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Its control groups are not what the kernel writes.
    #[error(transparent)]
    Cgroup(#[from] CgroupFault),
    /// It cannot be said which container it is in.
    #[error(transparent)]
    Container(#[from] ContainerFault),
    /// The container engine did not answer.
    #[error(transparent)]
    Engine(#[from] HttpFault),
    /// containerd did not tell the container.
    #[error(transparent)]
    Containerd(#[from] ContainerdFault),
    /// The kubelet did not tell the pod.
    #[error(transparent)]
    Kubelet(#[from] KubeletFault),
    /// systemd did not tell the unit.
    #[error(transparent)]
    Systemd(#[from] SystemdFault),
}

impl AttestFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Exited { .. } => "attest.exited",
            Self::CredentialsChanged { .. } => "attest.credentials_changed",
            Self::Unreadable { .. } => "attest.unreadable",
            Self::TimedOut { .. } => "attest.timed_out",
            Self::TooMany { .. } => "attest.too_many",
            Self::Cgroup(fault) => fault.code(),
            Self::Container(fault) => fault.code(),
            Self::Engine(fault) => fault.code(),
            Self::Containerd(fault) => fault.code(),
            Self::Kubelet(fault) => fault.code(),
            Self::Systemd(fault) => fault.code(),
        }
    }

    /// Whether the connection itself is spent: what comes over it is not from the one who made it.
    #[must_use]
    pub const fn ends_connection(&self) -> bool {
        match self {
            Self::Exited { .. } | Self::CredentialsChanged { .. } => true,
            Self::Unreadable { .. }
            | Self::TimedOut { .. }
            | Self::TooMany { .. }
            | Self::Cgroup(_)
            | Self::Container(_)
            | Self::Engine(_)
            | Self::Containerd(_)
            | Self::Kubelet(_)
            | Self::Systemd(_) => false,
        }
    }
}

/// All attestors of this agent; a workload has the selectors of each.
pub struct Attestors(Vec<Box<dyn Attestor>>);

impl Attestors {
    /// These attestors.
    #[must_use]
    pub fn new(attestors: Vec<Box<dyn Attestor>>) -> Self {
        Self(attestors)
    }

    /// The selectors of `peer` at this moment.
    ///
    /// # Errors
    /// [`AttestFault`] of the first attestor that has one: half of the selectors would be another workload's.
    pub async fn attest(&self, peer: &Peer, reading: Reading) -> Result<BTreeSet<Selector>, AttestFault> {
        let all = self.0.iter().map(|attestor| attest_in_time(attestor.as_ref(), peer, reading));
        let selectors = try_join_all(all).await?.into_iter().flatten().collect();
        // A process that exited while it was being read is not whom the answer would go to.
        if peer.has_exited() { Err(AttestFault::Exited { pid: peer.pid() }) } else { Ok(selectors) }
    }
}

impl Attestors {
    /// All that each attestor says of `peer`, by its kind. For explanations: half of it is nobody's.
    pub async fn attest_each(&self, peer: &Peer) -> Vec<(&'static str, Result<BTreeSet<Selector>, AttestFault>)> {
        let each = self
            .0
            .iter()
            .map(|attestor| async { (attestor.kind(), attest_in_time(attestor.as_ref(), peer, Reading::Whole).await) });
        join_all(each).await
    }
}

async fn attest_in_time(
    attestor: &dyn Attestor,
    peer: &Peer,
    reading: Reading,
) -> Result<BTreeSet<Selector>, AttestFault> {
    let attested = match reading {
        Reading::Whole => attestor.attest(peer),
        Reading::Unread => attestor.attest_unread(peer),
    };
    tokio::time::timeout(ATTEST_TIME_MAX, attested)
        .await
        .unwrap_or(Err(AttestFault::TimedOut { kind: attestor.kind(), limit: ATTEST_TIME_MAX }))
}

/// `selectors` as a log may have them: a container's environment holds passwords, so it is named without its values.
#[must_use]
pub fn for_log(selectors: &BTreeSet<Selector>) -> Vec<String> {
    let shown = |text: String| match text.strip_prefix(ENVIRONMENT).and_then(|variable| variable.split_once('=')) {
        Some((name, _)) => format!("{ENVIRONMENT}{name}=…"),
        None => text,
    };
    selectors.iter().map(|selector| shown(selector.to_string())).collect()
}

impl Default for Attestors {
    /// The Unix attestor.
    fn default() -> Self {
        Self::new(vec![Box::new(Unix::default())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_no_containers_passwords() {
        let selectors = ["docker:env:PASSWORD=a=b", "docker:env:BARE", "docker:label:a:b=c", "unix:uid:1"];
        let shown = for_log(&selectors.iter().map(|text| text.parse().unwrap()).collect());
        assert_eq!(shown, ["docker:env:BARE", "docker:env:PASSWORD=…", "docker:label:a:b=c", "unix:uid:1"]);
    }
}
