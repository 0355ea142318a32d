//! Which pod and container a process is in, by the names of its control groups.
//!
//! The kubelet does not say which processes a container has, so names must be enough. A name is a claim of whoever made
//! the group: so each group from the root down must be one that kubelet, systemd or a runtime made, until the container's
//! own is reached. What somebody else called his group on the way ends the search, as does everything below a container.

use super::super::cgroup::{Cgroups, Membership};
use super::super::container::container_id;

/// Groups of the kubelet and of those that run it or its containers, as far as their names are whole.
const GROUPS: &[&str] = &[
    "kubepods",
    "kubelet",
    "kubelet.slice",
    "burstable",
    "besteffort",
    "system.slice",
    "runtime.slice",
    "containerd.service",
    "crio.service",
    "docker.service",
    "kubelet.service",
    "k3s.service",
    "k3s-agent.service",
    "rke2-server.service",
    "rke2-agent.service",
];
/// Slices for qualities of service; in kind they are below a slice `kubelet`, whose name they then begin with.
const SLICES: &[&str] = &["kubepods.slice", "kubepods-burstable.slice", "kubepods-besteffort.slice"];
/// CRI-O's groups; some of its set-ups have no pod in the name.
const CRIO: &str = "crio";

/// Where a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The pod's UID, with dashes; `None` where the names do not say: the agent is in the same pod, or CRI-O does not
    /// write it.
    pub(super) pod: Option<String>,
    /// The container's ID.
    pub(super) container: String,
}

/// Why it cannot be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("process is in container {one} by one control group and in {other} by another")]
pub(super) struct Conflict {
    pub(super) one: String,
    pub(super) other: String,
}

impl Place {
    /// Of a process with these groups, below `root`; `None` if it is in no pod.
    pub(super) fn of(cgroups: &Cgroups, root: &[String]) -> Result<Option<Self>, Conflict> {
        let mut found: Option<Self> = None;
        for place in cgroups.iter().filter_map(|membership| Self::by(membership, root)) {
            match &mut found {
                None => found = Some(place),
                Some(found) if found.container != place.container || differ(&found.pod, &place.pod) => {
                    return Err(Conflict { one: found.container.clone(), other: place.container });
                }
                Some(found) => found.pod = found.pod.take().or(place.pod),
            }
        }
        Ok(found)
    }

    fn by(membership: &Membership, root: &[String]) -> Option<Self> {
        let mut below = membership.path.strip_prefix(root)?.iter().map(String::as_str).skip_while(|name| *name == "..");
        let mut is_first = true;
        loop {
            let name = below.next()?;
            if let Some((before, id)) = container_id(name) {
                // With containerd on cgroupfs below a kubelet on systemd: SLICE:cri-containerd:ID.
                let pod = before.split_once(':').and_then(|(slice, _)| pod_uid(slice));
                let is_sibling = is_first && membership.path.first().is_some_and(|first| first == "..");
                let is_ours = pod.is_some() || is_sibling || before == CRIO;
                return is_ours.then(|| Self { pod, container: id.to_owned() });
            }
            if let Some(pod) = pod_uid(name) {
                let (_, id) = container_id(below.next()?)?;
                return Some(Self { pod: Some(pod), container: id.to_owned() });
            }
            if !is_of_the_system(name) {
                return None;
            }
            is_first = false;
        }
    }
}

fn differ(one: &Option<String>, other: &Option<String>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

fn is_of_the_system(name: &str) -> bool {
    let slice = name.strip_prefix("kubelet-").unwrap_or(name);
    GROUPS.contains(&name) || SLICES.contains(&slice)
}

/// The UID in the name of a pod's group: `podUID`, `kubepods-burstable-podUID.slice`, where systemd has `_` for `-`. A
/// static pod's is 32 digits without either.
fn pod_uid(name: &str) -> Option<String> {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let (before, uid) = name.rsplit_once("pod")?;
    let parent = before.strip_suffix('-').map(|parent| format!("{parent}.slice"));
    if !before.is_empty() && !parent.is_some_and(|parent| is_of_the_system(&parent)) {
        return None;
    }
    let uid = uid.replace('_', "-");
    let is_hexadecimal = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_uid = match uid.split('-').map(str::len).collect::<Vec<_>>().as_slice() {
        [8, 4, 4, 4, 12] | [32] => uid.split('-').all(is_hexadecimal),
        _ => false,
    };
    is_uid.then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::super::super::cgroup::names;
    use super::*;

    const A: &str = "9bca8d63d5fa610783847915bcff0ecac1273e5b4bed3f6fa1b07350e0135961";
    const B: &str = "09bc3d7ade839efec32b6bec4ec79d099027a668ddba043083ec21d3c3b8f1e6";
    const POD: &str = "2c48913c-b29f-11e7-9350-020968147796";
    const POD_: &str = "2c48913c_b29f_11e7_9350_020968147796";

    fn place(text: &str) -> Option<Place> {
        Place::of(&Cgroups::parse(text).unwrap(), &[]).unwrap()
    }

    fn path(path: &str) -> Option<(Option<String>, String)> {
        place(&format!("0::{path}\n")).map(|place| (place.pod, place.container))
    }

    #[test]
    fn drivers_runtimes_and_qualities_of_service_name_their_groups_in_these_ways() {
        for known in [
            format!("/kubepods/burstable/pod{POD}/{A}"),
            format!("/kubepods/pod{POD}/{A}"),
            format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice/docker-{A}.scope"),
            format!("/kubepods.slice/kubepods-pod{POD_}.slice/cri-containerd-{A}.scope"),
            format!("/kubepods.slice/kubepods-pod{POD_}.slice/crio-{A}.scope/container"),
            format!("/system.slice/containerd.service/kubepods-besteffort-pod{POD_}.slice:cri-containerd:{A}"),
            format!("/kubepods-besteffort-pod{POD_}.slice:cri-containerd:{A}"),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/\
                     kubelet-kubepods-besteffort-pod{POD_}.slice/cri-containerd-{A}.scope"
            ),
            format!("/../../../kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice/cri-containerd-{A}.scope"),
            format!("/../../pod{POD}/{A}"),
        ] {
            assert_eq!(path(&known), Some((Some(POD.to_owned()), A.to_owned())), "{known}");
        }
    }

    #[test]
    fn a_static_pod_has_a_digest_for_a_uid() {
        let hash = "c2a4dcde2d8ffa0a9f8a2ba6d2f5e07f";
        assert_eq!(path(&format!("/kubepods/pod{hash}/{A}")).unwrap().0.as_deref(), Some(hash));
    }

    #[test]
    fn a_sibling_in_the_agents_pod_and_a_group_of_cri_o_name_no_pod() {
        for known in [format!("/../cri-containerd-{A}.scope"), format!("/../{A}"), format!("/../crio-{A}.scope")] {
            assert_eq!(path(&known), Some((None, A.to_owned())), "{known}");
        }
        assert_eq!(path(&format!("/kubepods.slice/crio-{A}.scope")), Some((None, A.to_owned())));
    }

    #[test]
    fn who_is_in_no_pod_has_no_place() {
        for other in [
            "/".to_owned(),
            "/system.slice/sshd.service".to_owned(),
            format!("/system.slice/docker-{A}.scope"),
            format!("/docker/{A}"),
            format!("/../../../../system.slice/docker-{A}.scope"),
            format!("/kubepods/burstable/pod{POD}"),
            format!("/kubepods/burstable/pod{POD}/sandbox/{A}"),
        ] {
            assert_eq!(path(&other), None, "{other}");
        }
    }

    #[test]
    fn nobody_makes_a_pod_below_a_group_of_his_own() {
        let pod = format!("kubepods.slice/kubepods-pod{POD_}.slice/cri-containerd-{A}.scope");
        for owned in [
            format!("/user.slice/user-1000.slice/user@1000.service/{pod}"),
            format!("/system.slice/web.service/{pod}"),
            format!("/../../../../user.slice/user-1000.slice/user@1000.service/{pod}"),
            format!("/user.slice/{pod}"),
            format!("/mykubepods.slice/{pod}"),
            format!("/user-kubepods.slice/user-kubepods-pod{POD_}.slice/{A}"),
            format!("/user-pod{POD_}.slice/{A}"),
        ] {
            assert_eq!(path(&owned), None, "{owned}");
        }
    }

    #[test]
    fn nobody_makes_a_pod_inside_his_container() {
        let inner = format!("kubepods/pod{POD}/{B}");
        assert_eq!(path(&format!("/../cri-containerd-{A}.scope/{inner}")), Some((None, A.to_owned())));
        assert_eq!(path(&format!("/kubepods/pod{POD}/{A}/{inner}")).unwrap().1, A);
        assert_eq!(path(&format!("/docker/{A}/{inner}")), None);
    }

    #[test]
    fn what_is_no_uid_is_no_pod() {
        for uid in ["", "2c48913c", "2C48913C-B29F-11E7-9350-020968147796", "2c48913c-b29f-11e7-9350-02096814779g"] {
            assert_eq!(path(&format!("/kubepods/pod{uid}/{A}")), None, "{uid}");
        }
    }

    #[test]
    fn a_kubelet_in_a_container_has_its_groups_below_a_root_that_must_be_named() {
        let groups =
            format!("5:memory:/docker/{B}/kubepods/pod{POD}/{A}\n0::/docker/{B}/system.slice/containerd.service");
        let root = names(&format!("/docker/{B}")).unwrap();
        let place = Place::of(&Cgroups::parse(&groups).unwrap(), &root).unwrap().unwrap();
        assert_eq!((place.pod.as_deref(), place.container.as_str()), (Some(POD), A));
    }

    #[test]
    fn hierarchies_must_agree_and_may_say_nothing() {
        let both = |one: &str, other: &str| {
            Place::of(&Cgroups::parse(&format!("2:memory:{one}\n1:pids:{other}\n")).unwrap(), &[])
        };
        let real = format!("/kubepods/pod{POD}/{A}");
        assert!(both(&real, "/").unwrap().is_some());
        assert!(both(&real, &format!("/kubepods/pod{POD}/{B}")).is_err());
        assert!(both(&real, &format!("/kubepods/pod{}/{A}", POD.replace('2', "3"))).is_err());
        assert_eq!(both(&format!("/kubepods/crio-{A}"), &real).unwrap().unwrap().pod.as_deref(), Some(POD));
    }
}
