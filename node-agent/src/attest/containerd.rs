//! The `containerd` attestor, for containers that nerdctl, ctr and others make without Kubernetes: labels, image and
//! namespace of the container that a process is in.
//!
//! IDs are the caller's of containerd, so an ID may come back with another container behind it. What is told of a
//! container is therefore bound to its first process, which is held from before the container was asked for.

mod api;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use holdfast_identity::Selector;
use tokio::sync::Semaphore;

use self::api::{Account, Api};
use super::cgroup::Cgroups;
use super::container::{Container, ContainerFault};
use super::gate::Gate;
use super::process::Process;
use super::recent::Recent;
use super::selection::Selection;
use super::settings::ContainerdSettings;
use super::{AttestFault, Attestor, Peer};

const KIND: &str = "containerd";
/// What nerdctl calls its containers' groups where the driver is systemd.
const NERDCTL: &str = "nerdctl";
/// Characters of a namespace's or a container's name, by containerd's own limit.
const IDENTIFIER_MAX: usize = 76;
/// How long containerd may take for all that it is asked about one container.
const PATIENCE: Duration = Duration::from_secs(3);
/// Questions at once, and for one user: whoever may make control groups can name containers without end.
const QUESTIONS_MAX: usize = 8;
const QUESTIONS_PER_USER_MAX: usize = 4;
/// How often containerd is asked, and how long after the first, second and third answer that does not help: a container's
/// first process may be faster than containerd's own account of it.
const PAUSES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];

/// Why containerd did not tell the container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerdFault {
    /// It cannot be reached.
    #[error("containerd does not answer at {}", socket.display())]
    Unreachable {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// It refused, broke off, or said too much.
    #[error("containerd did not answer {method}")]
    Call {
        /// What was asked.
        method: &'static str,
        /// Why.
        #[source]
        source: Box<tonic::Status>,
    },
    /// It answered something else than what was asked.
    #[error("answer of containerd to {method} cannot be used")]
    Answer {
        /// What was asked.
        method: &'static str,
    },
    /// It took too long.
    #[error("containerd took longer than {} s", limit.as_secs())]
    TimedOut {
        /// What it may take.
        limit: Duration,
    },
    /// Containers of two namespaces have the ID, and both run in the process's control group.
    #[error("container {id} of namespace {one} and that of {other} run in one control group")]
    Ambiguous {
        /// The container.
        id: String,
        /// One namespace.
        one: String,
        /// Another.
        other: String,
    },
}

impl ContainerdFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "attest.containerd.unreachable",
            Self::Call { .. } => "attest.containerd.call",
            Self::Answer { .. } => "attest.containerd.answer",
            Self::TimedOut { .. } => "attest.containerd.timed_out",
            Self::Ambiguous { .. } => "attest.containerd.ambiguous",
        }
    }
}

/// Reads the control groups of one process, whoever has its number later.
type Held = Arc<dyn Fn() -> io::Result<String> + Send + Sync>;
/// Holds the process that has a number now.
type Hold = Box<dyn Fn(i32) -> io::Result<Held> + Send + Sync>;

/// Gives `containerd:namespace:NAME`, `containerd:label:KEY:VALUE`, `containerd:image_id:NAME` and
/// `containerd:image_digest:…`.
pub struct Containerd {
    api: Api,
    namespaces: Vec<String>,
    cgroup_root: Vec<String>,
    hold: Hold,
    places: Semaphore,
    users: Gate<u32>,
    /// Of the containers asked about a moment ago, by ID; one for each namespace that has it.
    accounts: Recent<Arc<[Account]>>,
}

impl Containerd {
    /// Asks containerd about containers of these namespaces.
    #[must_use]
    pub fn of(settings: ContainerdSettings) -> Self {
        Self::holding(settings, |pid| {
            let process = Process::numbered(pid)?;
            Ok(Arc::new(move || process.cgroup()))
        })
    }

    fn holding(settings: ContainerdSettings, hold: impl Fn(i32) -> io::Result<Held> + Send + Sync + 'static) -> Self {
        let ContainerdSettings { socket, namespaces, cgroup_root } = settings;
        Self {
            api: Api::at(socket),
            namespaces,
            cgroup_root,
            hold: Box::new(hold),
            places: Semaphore::new(QUESTIONS_MAX),
            users: Gate::new(QUESTIONS_PER_USER_MAX),
            accounts: Recent::new(),
        }
    }

    /// The selectors of a process of user `uid` with these groups.
    async fn identify(&self, uid: u32, cgroups: &Cgroups) -> Result<BTreeSet<Selector>, AttestFault> {
        let Some(container) = self.container(cgroups)? else {
            return Ok(BTreeSet::new());
        };
        if !matches!(container.runtime.as_str(), "" | NERDCTL) {
            return Ok(BTreeSet::new());
        }
        // The name may be another container's by now, or the container have been started again.
        let stand = |accounts: &Arc<[Account]>| !accounts.iter().any(Account::is_over);
        let accounts = self.accounts.get(&container.id, stand, self.ask(uid, &container.id)).await?;
        // A namespace may have a container of this name that is not this one.
        let (mut own, mut fault) = (None::<&Account>, None);
        for account in accounts.iter() {
            match (self.is_in(&container, account), own) {
                (Ok(()), None) => own = Some(account),
                (Ok(()), Some(other)) => {
                    let (one, other) = (other.namespace.clone(), account.namespace.clone());
                    return Err(ContainerdFault::Ambiguous { id: container.id, one, other }.into());
                }
                (Err(found), _) => fault = Some(found),
            }
        }
        match (own, fault) {
            (Some(account), _) => selectors(account),
            (None, Some(fault)) => Err(fault),
            // Some other runtime's, or of a namespace that is not named.
            (None, None) => Ok(BTreeSet::new()),
        }
    }

    /// The outermost container that the groups name. `/NAMESPACE/ID` is one whatever the ID is, since ctr asks for it.
    fn container(&self, cgroups: &Cgroups) -> Result<Option<Container>, ContainerFault> {
        Container::outermost_named(cgroups, &self.cgroup_root, |above, name| match above {
            [namespace] if self.namespaces.contains(namespace) && is_identifier(name) => Some(name),
            _ => None,
        })
    }

    /// Whether the first process of the container that `account` is about stands in the groups that claim to be it.
    fn is_in(&self, container: &Container, account: &Account) -> Result<(), AttestFault> {
        let unseen = |source| ContainerFault::Unseen { id: container.id.clone(), pid: account.pid, source };
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let groups = account.first.as_ref().ok_or_else(gone).and_then(|first| first());
        let first = Cgroups::parse(&groups.map_err(unseen)?)?;
        if self.container(&first)?.as_ref() != Some(container) {
            return Err(ContainerFault::Elsewhere { id: container.id.clone() }.into());
        }
        Ok(())
    }

    /// What containerd says of containers with this ID, after a while if none runs yet.
    async fn ask(&self, uid: u32, id: &str) -> Result<Arc<[Account]>, ContainerdFault> {
        let mut pauses = PAUSES.iter();
        loop {
            let accounts = self.ask_once(uid, id).await;
            let is_final = accounts
                .as_ref()
                .is_ok_and(|accounts| accounts.is_empty() || accounts.iter().any(|account| account.first.is_some()));
            match (is_final, pauses.next()) {
                (true, _) | (false, None) => return accounts.map(Arc::from),
                (false, Some(pause)) => tokio::time::sleep(*pause).await,
            }
        }
    }

    async fn ask_once(&self, uid: u32, id: &str) -> Result<Vec<Account>, ContainerdFault> {
        let _own = self.users.pass(uid).await;
        let _place = self.places.acquire().await;
        let asked = async {
            let mut line = self.api.connect().await?;
            let mut accounts = Vec::new();
            for namespace in &self.namespaces {
                accounts.extend(line.account(namespace, id, &self.hold).await?);
            }
            Ok(accounts)
        };
        let timed_out = Err(ContainerdFault::TimedOut { limit: PATIENCE });
        tokio::time::timeout(PATIENCE, asked).await.unwrap_or(timed_out)
    }
}

fn selectors(account: &Account) -> Result<BTreeSet<Selector>, AttestFault> {
    let mut selection = Selection::of(KIND);
    selection.add("namespace", &account.namespace);
    for (key, value) in &account.labels {
        selection.add("label", format_args!("{key}:{value}"));
    }
    selection.add("image_id", &account.image);
    selection.add_some("image_digest", account.digest.as_ref());
    selection.finish()
}

/// Whether containerd may call a namespace or a container so.
#[must_use]
pub fn is_identifier(name: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    bytes.len() <= IDENTIFIER_MAX
        && is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

impl Attestor for Containerd {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn attest<'a>(&'a self, peer: &'a Peer) -> BoxFuture<'a, Result<BTreeSet<Selector>, AttestFault>> {
        Box::pin(async move { self.identify(peer.uid(), &Cgroups::of(peer)?).await })
    }
}

#[cfg(test)]
mod standin;
#[cfg(test)]
mod tests;
