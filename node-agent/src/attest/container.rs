//! Which container a process is in, by the names of its control groups, and whether another process is in the same.
//!
//! A name is a claim: whoever owns a group may call one below it like somebody else's container. So the *outermost*
//! name counts, since nobody makes groups above his own, and it counts for nothing before the container's first
//! process, as the runtime knows it, stands in the very same group.

use super::cgroup::Cgroups;

/// Below this are the groups of Podman's containers and pods where the driver is cgroupfs.
const LIBPOD_PARENT: &str = "libpod_parent";
/// Characters of a container's ID.
const ID_LENGTH: usize = 64;

/// A container, as the names of control groups claim it. Equal if it is the same group in the same hierarchies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    /// 64 hexadecimal digits; of containerd's, whatever they were called.
    pub(super) id: String,
    /// What stands before the ID: `docker`, `libpod`; empty where the driver is cgroupfs.
    pub(super) runtime: String,
    /// The container's own group, by hierarchy.
    groups: Vec<(String, Vec<String>)>,
}

/// Why it cannot be said which container a process is in.
#[derive(Debug, thiserror::Error)]
pub enum ContainerFault {
    /// One hierarchy has it in one container, another one in another.
    #[error("process is in container {one} by one control group and in {other} by another")]
    Conflict {
        /// One.
        one: String,
        /// Another.
        other: String,
    },
    /// The container's first process is in another group, or in none of that name.
    #[error("process is in a control group named after container {id}, which runs in another one")]
    Elsewhere {
        /// The container.
        id: String,
    },
    /// The container's first process cannot be looked at: the agent is not in the runtime's PID namespace, or it exited.
    #[error("first process {pid} of container {id} cannot be looked at")]
    Unseen {
        /// The container.
        id: String,
        /// Its first process, by the runtime.
        pid: i32,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ContainerFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => "attest.container.conflict",
            Self::Elsewhere { .. } => "attest.container.elsewhere",
            Self::Unseen { .. } => "attest.container.unseen",
        }
    }
}

impl Container {
    /// The outermost container below `root` whose groups a process stands in; `None` if it is in none.
    ///
    /// # Errors
    /// [`ContainerFault::Conflict`] where its groups name different ones.
    pub(super) fn outermost(cgroups: &Cgroups, root: &[String]) -> Result<Option<Self>, ContainerFault> {
        Self::outermost_named(cgroups, root, |_, _| None)
    }

    /// As [`Self::outermost`], where the group at the end of a way below `root` may also be a container by `also`: its
    /// ID, by the names above it and its own.
    pub(super) fn outermost_named(
        cgroups: &Cgroups,
        root: &[String],
        also: impl for<'a> Fn(&[String], &'a str) -> Option<&'a str>,
    ) -> Result<Option<Self>, ContainerFault> {
        let mut found: Option<Self> = None;
        for membership in cgroups.iter() {
            let Some(below) = membership.path.strip_prefix(root) else { continue };
            let mut named = below.iter().enumerate().filter(|(depth, _)| !is_pod(&membership.path, root.len() + depth));
            let named = named.find_map(|(depth, name)| {
                let also = also(below.get(..depth)?, name).map(|id| ("", id));
                Some((depth, also.or_else(|| container_id(name))?))
            });
            let Some((depth, (runtime, id))) = named else { continue };
            let group = membership.path.iter().take(root.len() + depth + 1).cloned().collect();
            let group = (membership.hierarchy.clone(), group);
            match &mut found {
                Some(found) if found.id != id => {
                    return Err(ContainerFault::Conflict { one: found.id.clone(), other: id.to_owned() });
                }
                Some(found) => found.groups.push(group),
                None => {
                    found = Some(Self { id: id.to_owned(), runtime: runtime.to_owned(), groups: vec![group] });
                }
            }
        }
        Ok(found)
    }
}

/// Whether a group is a pod of Podman's, which without systemd has the pod's ID for a name and the containers below it.
fn is_pod(path: &[String], depth: usize) -> bool {
    let name_at = |depth: usize| path.get(depth).map_or("", String::as_str);
    let is_bare = |name: &str| container_id(name).is_some_and(|(runtime, id)| runtime.is_empty() && name == id);
    depth > 0 && name_at(depth - 1) == LIBPOD_PARENT && is_bare(name_at(depth))
}

/// What stands before a container's ID, and the ID, in the name of a group: `docker-ID.scope`, `libpod-ID`, `ID`,
/// `…:cri-containerd:ID`. A container's monitor is not in the container.
pub(super) fn container_id(name: &str) -> Option<(&str, &str)> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let (before, id) = name.split_at_checked(name.len().checked_sub(ID_LENGTH)?)?;
    if !id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    if before.is_empty() {
        return Some(("", id));
    }
    let runtime = before.strip_suffix(['-', ':'])?;
    (!runtime.ends_with("conmon")).then_some((runtime, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const B: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

    fn find(text: &str) -> Option<Container> {
        Container::outermost(&Cgroups::parse(text).unwrap(), &[]).unwrap()
    }

    fn found(text: &str) -> Option<(String, String)> {
        find(text).map(|container| (container.runtime, container.id))
    }

    #[test]
    fn the_names_that_runtimes_and_drivers_give_are_known() {
        for (path, runtime) in [
            (format!("/docker/{A}"), ""),
            (format!("/system.slice/docker-{A}.scope"), "docker"),
            (format!("/libpod_parent/libpod-{A}"), "libpod"),
            (format!("/libpod_parent/{B}/libpod-{A}"), "libpod"),
            (format!("/libpod_parent/{B}/libpod-{A}/container"), "libpod"),
            (format!("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope"), "libpod"),
            (format!("/machine.slice/libpod-{A}.scope/container"), "libpod"),
            (format!("/../../docker-{A}.scope/init.scope"), "docker"),
            (format!("/my.slice/cri-containerd-{A}.scope"), "cri-containerd"),
        ] {
            assert_eq!(found(&format!("0::{path}\n")), Some((runtime.to_owned(), A.to_owned())), "{path}");
        }
    }

    #[test]
    fn what_only_looks_like_a_container_is_none() {
        let upper = A.to_uppercase();
        for name in [
            A.get(1..).unwrap(),
            &format!("{A}0"),
            &format!("docker{A}.scope"),
            &format!("docker-{upper}.scope"),
            &format!("docker-{A}.scope (deleted)"),
            &format!("libpod-conmon-{A}.scope"),
            &format!("crio-conmon-{A}"),
            &format!("-{}é", A.get(..63).unwrap()),
            ".scope",
        ] {
            assert_eq!(found(&format!("0::/{name}")), None, "{name}");
        }
    }

    #[test]
    fn the_outermost_container_counts_whatever_names_are_given_below_it() {
        let inside = find(&format!("0::/docker/{A}/docker/{B}")).unwrap();
        assert_eq!(inside, find(&format!("0::/docker/{A}")).unwrap());
    }

    #[test]
    fn a_pod_of_podmans_is_no_container_and_only_where_podman_makes_pods() {
        assert_eq!(found(&format!("0::/libpod_parent/{B}")), None);
        assert_eq!(found(&format!("0::/libpod_parent/{B}/conmon")), None);
        assert_eq!(found(&format!("0::/other/{B}/libpod-{A}")), Some((String::new(), B.to_owned())));
        let (real, forged) = (format!("0::/libpod_parent/{B}/libpod-{A}"), format!("0::/libpod_parent/{A}/libpod-{A}"));
        assert_ne!(find(&real), find(&forged));
    }

    #[test]
    fn a_group_of_the_same_name_elsewhere_is_another_container() {
        let real = find(&format!("0::/system.slice/docker-{A}.scope")).unwrap();
        for forged in [
            format!("0::/user.slice/user-1000.slice/user@1000.service/docker-{A}.scope"),
            format!("0::/user.slice/system.slice/docker-{A}.scope"),
            format!("0::/../system.slice/docker-{A}.scope"),
        ] {
            assert_ne!(find(&forged).unwrap(), real, "{forged}");
        }
        // One hierarchy of many is not enough.
        let both = find(&format!("2:memory:/docker/{A}\n1:pids:/docker/{A}\n")).unwrap();
        assert_ne!(find(&format!("2:memory:/docker/{A}\n1:pids:/\n")).unwrap(), both);
    }

    #[test]
    fn hierarchies_that_disagree_are_a_fault() {
        let cgroups = Cgroups::parse(&format!("2:memory:/docker/{A}\n1:pids:/docker/{B}\n")).unwrap();
        assert_eq!(Container::outermost(&cgroups, &[]).unwrap_err().code(), "attest.container.conflict");
    }

    #[test]
    fn below_a_root_only_what_is_there_counts() {
        let root = super::super::cgroup::names(&format!("/docker/{A}")).unwrap();
        let below = |text: &str| Container::outermost(&Cgroups::parse(text).unwrap(), &root).unwrap();
        assert_eq!(below(&format!("0::/docker/{A}/docker/{B}")).unwrap().id, B);
        assert_eq!(below(&format!("0::/docker/{B}")), None);
        assert_eq!(below(&format!("0::/docker/{A}/system.slice")), None);
    }
}
