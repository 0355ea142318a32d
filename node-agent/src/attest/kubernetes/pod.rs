//! What is read of the kubelet's list of pods, and the selectors that a pod and a container have.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_identity::Selector;
use serde::Deserialize;

use super::super::AttestFault;
use super::super::selection::Selection;

const KIND: &str = "k8s";
/// What the kubelet notes on a static pod: its UID in the names of control groups.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// The list (`v1.PodList`).
#[derive(Debug, Default, Deserialize)]
pub(super) struct PodList {
    pub(super) items: Option<Vec<Pod>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    name: String,
    namespace: String,
    pub(super) uid: String,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<Owner>>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    kind: String,
    name: String,
    uid: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(default)]
    pub(super) node_name: String,
    #[serde(default)]
    service_account_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    container_statuses: Option<Vec<Container>>,
    init_container_statuses: Option<Vec<Container>>,
}

/// `v1.ContainerStatus`.
#[derive(Debug, Deserialize)]
pub(super) struct Container {
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default, rename = "imageID")]
    image_id: String,
    #[serde(default, rename = "containerID")]
    container_id: String,
}

impl Pod {
    /// Whether its control groups have this UID.
    pub(super) fn is(&self, uid: &str) -> bool {
        let hash = self.metadata.annotations.as_ref().and_then(|notes| notes.get(CONFIG_HASH));
        self.metadata.uid == uid || hash.is_some_and(|hash| hash == uid)
    }

    /// The container of this ID, as far as its status is there yet.
    pub(super) fn container(&self, id: &str) -> Option<&Container> {
        // RUNTIME://ID
        let is_it = |container: &&Container| container.container_id.split_once("://").is_some_and(|(_, its)| its == id);
        self.containers().chain(self.init_containers()).find(is_it)
    }

    fn containers(&self) -> std::slice::Iter<'_, Container> {
        self.status.container_statuses.as_deref().unwrap_or_default().iter()
    }

    fn init_containers(&self) -> std::slice::Iter<'_, Container> {
        self.status.init_container_statuses.as_deref().unwrap_or_default().iter()
    }

    /// The selectors of a process in `container`, spelled as SPIRE spells them.
    pub(super) fn selectors(&self, container: &Container) -> Result<BTreeSet<Selector>, AttestFault> {
        let mut selection = Selection::of(KIND);
        let Self { metadata, spec, .. } = self;
        selection.add("ns", &metadata.namespace);
        selection.add("sa", &spec.service_account_name);
        selection.add("node-name", &spec.node_name);
        selection.add("pod-uid", &metadata.uid);
        selection.add("pod-name", &metadata.name);
        for (key, value) in metadata.labels.iter().flatten() {
            selection.add("pod-label", format_args!("{key}:{value}"));
        }
        for owner in metadata.owner_references.iter().flatten() {
            selection.add("pod-owner", format_args!("{}:{}", owner.kind, owner.name));
            selection.add("pod-owner-uid", format_args!("{}:{}", owner.kind, owner.uid));
        }
        selection.add("pod-image-count", self.containers().len());
        selection.add("pod-init-image-count", self.init_containers().len());
        for (name, containers) in
            [("pod-image", self.containers().as_slice()), ("pod-init-image", self.init_containers().as_slice())]
        {
            for container in containers {
                selection.add(name, &container.image);
                selection.add(name, &container.image_id);
            }
        }
        selection.add("container-name", &container.name);
        selection.add("container-image", &container.image);
        selection.add("container-image", &container.image_id);
        selection.finish()
    }
}
