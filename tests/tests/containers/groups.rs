//! Control groups that a test makes, or that an engine leaves.

use std::path::{Path, PathBuf};

/// Where the hierarchies are mounted; the one of version 2 first.
fn hierarchies() -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let of = |kind: &str| -> Vec<PathBuf> {
        let lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        lines.filter(|fields| fields.get(2) == Some(&kind)).map(|fields| fields[1].into()).collect()
    };
    [of("cgroup2"), of("cgroup")].concat()
}

/// Whether a process stands in several groups at once: wherever there are hierarchies of version 1.
pub(crate) fn are_many() -> bool {
    hierarchies().len() > 1
}

/// Removes the groups of every hierarchy whose names begin with `mark`, and those below them, where no process is in them.
pub(crate) fn remove_those_of(mark: &str) {
    for group in hierarchies().iter().flat_map(std::fs::read_dir).flatten().flatten() {
        if group.file_name().to_string_lossy().starts_with(mark) {
            remove_empty(&group.path());
        }
    }
}

fn remove_empty(group: &Path) {
    for below in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&below.path());
        }
    }
    // Not there, or not empty.
    let _ = std::fs::remove_dir(group);
}

/// A group of one hierarchy; removed when dropped, unless somebody is in it.
pub(crate) struct Group {
    path: PathBuf,
    top: String,
}

impl Group {
    /// `path` in the first hierarchy, and all above it, made if need be.
    pub(crate) fn new(path: &str) -> Self {
        let hierarchy = hierarchies().swap_remove(0);
        let top = path.split('/').next().unwrap().to_owned();
        let path = hierarchy.join(path);
        std::fs::create_dir_all(&path).unwrap();
        Self { path, top }
    }

    /// What a process's number is written to.
    pub(crate) fn entrance(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove_those_of(&self.top);
    }
}
