//! The `k8s` attestor: the pod and the container that a process is in, by the kubelet of this machine, with selectors
//! spelled as SPIRE spells them. Asks no API server.

mod kubelet;
mod place;
mod pod;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use holdfast_identity::Selector;

use super::cgroup::Cgroups;
use super::http::{Address, HttpFault};
use super::{AttestFault, Attestor, ContainerFault, Peer};
use kubelet::Kubelet;
use place::Place;
use pod::PodList;

/// Where the kubelet is, and what it must show and be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesSettings {
    /// The kubelet.
    pub kubelet: Address,
    /// This node, as Kubernetes calls it: the name in the kubelet's certificate, and in the pods that are its own.
    pub node_name: String,
    /// PEM file of those who may vouch for the kubelet's certificate.
    pub ca: PathBuf,
    /// File with a token to be shown.
    pub token: Option<PathBuf>,
    /// A certificate to be shown.
    pub client: Option<ClientCertificate>,
    /// How often the kubelet is asked for a container whose status is not there yet.
    pub max_poll_attempts: u32,
    /// How long in between.
    pub poll_retry_interval: Duration,
    /// Pods are looked for below this control group; names from the root down.
    pub cgroup_root: Vec<String>,
}

/// A certificate and its key, PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The chain.
    pub certificate: PathBuf,
    /// The key.
    pub private_key: PathBuf,
}

/// Why the kubelet did not tell a process's pod.
#[derive(Debug, thiserror::Error)]
pub enum KubeletFault {
    /// It did not answer.
    #[error(transparent)]
    Http(#[from] HttpFault),
    /// A file that is needed to ask it cannot be used.
    #[error("{} cannot be used to ask the kubelet", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No certificate can have this name.
    #[error("node name {name:?} can be in no certificate")]
    Name {
        /// The configured one.
        name: String,
    },
    /// No pod has the container, after all attempts.
    #[error("kubelet has no pod with container {container} after {attempts} attempts")]
    NotListed {
        /// The container.
        container: String,
        /// How often it was asked.
        attempts: u32,
    },
    /// Two pods have it.
    #[error("kubelet has two pods with container {container}")]
    Ambiguous {
        /// The container.
        container: String,
    },
    /// The pod that has it is another one than the control groups name.
    #[error("kubelet has container {container} in pod {found}, its control group is of pod {expected}")]
    OtherPod {
        /// The container.
        container: String,
        /// By the control group.
        expected: String,
        /// By the kubelet.
        found: String,
    },
    /// The pod belongs to another node.
    #[error("kubelet has container {container} in a pod of node {found:?}, this is {expected:?}")]
    OtherNode {
        /// The container.
        container: String,
        /// As configured.
        expected: String,
        /// By the kubelet.
        found: String,
    },
}

impl KubeletFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Http(fault) => fault.code(),
            Self::File { .. } => "attest.kubelet.file",
            Self::Name { .. } => "attest.kubelet.name",
            Self::NotListed { .. } => "attest.kubelet.not_listed",
            Self::Ambiguous { .. } => "attest.kubelet.ambiguous",
            Self::OtherPod { .. } => "attest.kubelet.other_pod",
            Self::OtherNode { .. } => "attest.kubelet.other_node",
        }
    }
}

/// Gives the `k8s:` selectors of pod and container.
#[derive(Debug)]
pub struct Kubernetes {
    kubelet: Kubelet,
    settings: KubernetesSettings,
}

impl Kubernetes {
    /// Asks this kubelet.
    #[must_use]
    pub fn of(settings: KubernetesSettings) -> Self {
        Self { kubelet: Kubelet::of(settings.clone()), settings }
    }

    async fn gather(&self, peer: &Peer) -> Result<BTreeSet<Selector>, AttestFault> {
        let place = Place::of(&Cgroups::of(peer)?, &self.settings.cgroup_root)
            .map_err(|place::Conflict { one, other }| ContainerFault::Conflict { one, other })?;
        match place {
            Some(place) => self.locate(&place).await,
            None => Ok(BTreeSet::new()),
        }
    }

    /// The selectors of who is at `place`; waits for the container's status to be there.
    async fn locate(&self, place: &Place) -> Result<BTreeSet<Selector>, AttestFault> {
        let attempts = self.settings.max_poll_attempts;
        let mut known: Option<Instant> = None;
        for attempt in 1..=attempts {
            if attempt > 1 {
                tokio::time::sleep(self.settings.poll_retry_interval).await;
            }
            match self.kubelet.pods(known).await {
                Ok(listed) => {
                    known = Some(listed.asked);
                    if let Some(selectors) = find(&listed.pods, place, &self.settings.node_name)? {
                        return Ok(selectors);
                    }
                }
                Err(fault) if attempt == attempts => return Err(fault.into()),
                Err(_) => {}
            }
        }
        Err(KubeletFault::NotListed { container: place.container.clone(), attempts }.into())
    }
}

/// The selectors of who is at `place`, if the list has it.
fn find(list: &PodList, place: &Place, node: &str) -> Result<Option<BTreeSet<Selector>>, AttestFault> {
    let pods = list.items.iter().flatten();
    let mut holders = pods.filter_map(|pod| Some((pod, pod.container(&place.container)?)));
    let Some((pod, container)) = holders.next() else { return Ok(None) };
    let id = || place.container.clone();
    if holders.next().is_some() {
        return Err(KubeletFault::Ambiguous { container: id() }.into());
    }
    if let Some(expected) = place.pod.as_ref().filter(|uid| !pod.is(uid)) {
        let (expected, found) = (expected.clone(), pod.metadata.uid.clone());
        return Err(KubeletFault::OtherPod { container: id(), expected, found }.into());
    }
    if pod.spec.node_name != node {
        let (expected, found) = (node.to_owned(), pod.spec.node_name.clone());
        return Err(KubeletFault::OtherNode { container: id(), expected, found }.into());
    }
    pod.selectors(container).map(Some)
}

impl Attestor for Kubernetes {
    fn kind(&self) -> &'static str {
        "k8s"
    }

    fn attest<'a>(&'a self, peer: &'a Peer) -> BoxFuture<'a, Result<BTreeSet<Selector>, AttestFault>> {
        Box::pin(self.gather(peer))
    }
}

#[cfg(test)]
mod tests;
