//! The `docker` attestor, for Docker and for Podman as root, which speaks the same API: labels, environment and image of
//! the container that a process is in, with selectors spelled as SPIRE spells them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use holdfast_identity::Selector;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::cgroup::Cgroups;
use super::container::{Container, ContainerFault};
use super::gate::Gate;
use super::http::{Address, HttpFault, Question};
use super::process::Process;
use super::recent::Recent;
use super::selection::Selection;
use super::settings::EngineSettings;
use super::{AttestFault, Attestor, Peer};

/// Podman's selectors are of this kind too: an entry carries over.
const KIND: &str = "docker";
/// What Podman calls its containers' groups.
const LIBPOD: &str = "libpod";
/// Bytes of an engine's answer. Some 10 kB; labels and environment are what makes one long.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How long an engine may take for one answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Questions at once, and for one user: whoever may make control groups can name containers without end.
const QUESTIONS_MAX: usize = 8;
const QUESTIONS_PER_USER_MAX: usize = 4;
/// How often an engine is asked, and how long after the first, second and third answer that does not help: a container's
/// first process may be faster than the engine's own account of it.
const PAUSES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];

/// Gives `docker:label:KEY:VALUE`, `docker:env:NAME=VALUE`, `docker:image_id:NAME` and `docker:image_config_digest:…`.
#[derive(Debug)]
pub struct Docker {
    engine: Engine,
    address: Address,
    cgroup_root: Vec<String>,
    places: Semaphore,
    users: Gate<u32>,
    /// Of the containers asked about a moment ago.
    accounts: Recent<Option<Arc<Account>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Docker,
    Podman,
}

/// What is read of an engine's account of a container.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Account {
    id: String,
    state: State,
    /// ID of the image that it was made of.
    #[serde(default)]
    image: String,
    config: Config,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    pid: i32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    /// Name of the image, as it was asked for.
    image: Option<String>,
    env: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
}

impl Docker {
    /// Asks Docker about containers that are not Podman's.
    #[must_use]
    pub fn of_docker(settings: EngineSettings) -> Self {
        Self::with(Engine::Docker, settings)
    }

    /// Asks Podman about its containers.
    #[must_use]
    pub fn of_podman(settings: EngineSettings) -> Self {
        Self::with(Engine::Podman, settings)
    }

    fn with(engine: Engine, settings: EngineSettings) -> Self {
        let EngineSettings { socket, cgroup_root } = settings;
        let (places, users) = (Semaphore::new(QUESTIONS_MAX), Gate::new(QUESTIONS_PER_USER_MAX));
        Self { engine, address: Address::Unix(socket), cgroup_root, places, users, accounts: Recent::new() }
    }

    /// The selectors of a process of user `uid` with these groups; `groups_of` reads those of another process.
    async fn identify(
        &self,
        uid: u32,
        cgroups: &Cgroups,
        groups_of: impl Fn(i32) -> io::Result<String> + Send,
    ) -> Result<BTreeSet<Selector>, AttestFault> {
        let Some(container) = Container::outermost(cgroups, &self.cgroup_root)? else {
            return Ok(BTreeSet::new());
        };
        let engine = if container.runtime.starts_with(LIBPOD) { Engine::Podman } else { Engine::Docker };
        if engine != self.engine {
            return Ok(BTreeSet::new());
        }
        // The container may have been started again.
        let stands = |account: &Option<Arc<Account>>| {
            account.as_ref().is_none_or(|account| account.state.pid <= 0 || groups_of(account.state.pid).is_ok())
        };
        let account = self.accounts.get(&container.id, stands, self.account(uid, &container.id)).await?;
        let Some(account) = account else {
            // Some other runtime's.
            return Ok(BTreeSet::new());
        };
        let pid = account.state.pid;
        let unseen = |source| ContainerFault::Unseen { id: container.id.clone(), pid, source };
        // The container's first process must stand in the groups that claim to be the container.
        let first = Cgroups::parse(&groups_of(pid).map_err(unseen)?)?;
        if Container::outermost(&first, &self.cgroup_root)?.as_ref() != Some(&container) {
            return Err(ContainerFault::Elsewhere { id: container.id }.into());
        }
        selectors(&account)
    }

    /// The engine's account of a running container; `None` if it has no such container.
    async fn account(&self, uid: u32, id: &str) -> Result<Option<Arc<Account>>, HttpFault> {
        let mut pauses = PAUSES.iter();
        loop {
            let account = self.ask(uid, id).await;
            let is_final = match &account {
                Ok(None) => true,
                Ok(Some(account)) => account.state.running && account.state.pid > 0,
                Err(_) => false,
            };
            match (is_final, pauses.next()) {
                (true, _) | (false, None) => return account.map(|account| account.map(Arc::new)),
                (false, Some(pause)) => tokio::time::sleep(*pause).await,
            }
        }
    }

    async fn ask(&self, uid: u32, id: &str) -> Result<Option<Account>, HttpFault> {
        let _own = self.users.pass(uid).await;
        let _place = self.places.acquire().await;
        let path = format!("/containers/{id}/json");
        let question = Question {
            address: &self.address,
            tls: None,
            path: &path,
            authorization: None,
            bytes_max: ANSWER_BYTES_MAX,
            patience: PATIENCE,
        };
        let address = || self.address.to_string();
        match question.ask().await? {
            (200, body) => {
                let read = serde_json::from_slice::<Account>(&body);
                let account = read.map_err(|source| HttpFault::Answer { address: address(), source })?;
                // Engines look containers up by name too.
                Ok((account.id == id).then_some(account))
            }
            (404, _) => Ok(None),
            (status, _) => Err(HttpFault::Status { address: address(), status }),
        }
    }
}

fn selectors(account: &Account) -> Result<BTreeSet<Selector>, AttestFault> {
    let mut selection = Selection::of(KIND);
    for (key, value) in account.config.labels.iter().flatten() {
        selection.add("label", format_args!("{key}:{value}"));
    }
    for variable in account.config.env.iter().flatten() {
        selection.add("env", variable);
    }
    selection.add_some("image_id", account.config.image.as_ref());
    // A container of a plain folder has an image ID without a digest.
    selection.add_some("image_config_digest", Some(&account.image).filter(|id| is_digest(id)));
    selection.finish()
}

fn is_digest(id: &str) -> bool {
    let digits = id.strip_prefix("sha256:").unwrap_or_default();
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Attestor for Docker {
    fn kind(&self) -> &'static str {
        match self.engine {
            Engine::Docker => "docker",
            Engine::Podman => "podman",
        }
    }

    fn attest<'a>(&'a self, peer: &'a Peer) -> BoxFuture<'a, Result<BTreeSet<Selector>, AttestFault>> {
        let groups_of = |pid| Process::numbered(pid).and_then(|process| process.cgroup());
        Box::pin(async move { self.identify(peer.uid(), &Cgroups::of(peer)?, groups_of).await })
    }
}

#[cfg(test)]
mod tests;
