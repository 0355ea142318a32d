//! Which attestors an agent has, and what each runs on; the list that [`Attestors`] is built of.

use std::path::PathBuf;
use std::time::Duration;

use super::{Attestor, Attestors, Containerd, Docker, Kubernetes, KubernetesSettings, Systemd, Unix};

/// What the attestors run on. `unix` is always there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestorSettings {
    /// How often the caller of an open stream is looked at when nothing else changes.
    pub look_again: Duration,
    /// The system bus, where systemd is asked.
    pub systemd: Option<PathBuf>,
    /// Docker.
    pub docker: Option<EngineSettings>,
    /// Podman.
    pub podman: Option<EngineSettings>,
    /// containerd.
    pub containerd: Option<ContainerdSettings>,
    /// The kubelet.
    pub kubernetes: Option<KubernetesSettings>,
}

/// A container engine that speaks Docker's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSettings {
    /// Its Unix socket.
    pub socket: PathBuf,
    /// Containers are looked for below this control group; names from the root down.
    pub cgroup_root: Vec<String>,
}

/// containerd, asked without Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerdSettings {
    /// Its Unix socket.
    pub socket: PathBuf,
    /// The namespaces whose containers are known.
    pub namespaces: Vec<String>,
    /// Containers are looked for below this control group; names from the root down.
    pub cgroup_root: Vec<String>,
}

impl Default for AttestorSettings {
    /// `unix` alone.
    fn default() -> Self {
        Self {
            look_again: Duration::from_secs(30),
            systemd: None,
            docker: None,
            podman: None,
            containerd: None,
            kubernetes: None,
        }
    }
}

impl Attestors {
    /// The attestors that `settings` name.
    #[must_use]
    pub fn of(settings: &AttestorSettings) -> Self {
        let AttestorSettings { look_again: _, systemd, docker, podman, containerd, kubernetes } = settings;
        let mut attestors: Vec<Box<dyn Attestor>> = vec![Box::new(Unix::default())];
        if let Some(bus) = systemd {
            attestors.push(Box::new(Systemd::at(bus.clone())));
        }
        if let Some(engine) = docker {
            attestors.push(Box::new(Docker::of_docker(engine.clone())));
        }
        if let Some(engine) = podman {
            attestors.push(Box::new(Docker::of_podman(engine.clone())));
        }
        if let Some(containerd) = containerd {
            attestors.push(Box::new(Containerd::of(containerd.clone())));
        }
        if let Some(kubelet) = kubernetes {
            attestors.push(Box::new(Kubernetes::of(kubelet.clone())));
        }
        Self::new(attestors)
    }
}
