//! A containerd of a test's own, told by `ctr`.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_tests::{Output, Process, WorkDir, until};

use super::image::Image;
use super::site::{CALLER, Mount};
use super::{PATIENCE, can_run, groups, program};

/// Snapshots are plain copies: a work directory may stand on what no overlay can be laid over.
const SNAPSHOTTER: [&str; 2] = ["--snapshotter", "native"];

/// A running containerd. Dropping it ends its containers and removes what they leave.
pub(crate) struct Containerd {
    daemon: Process,
    work: WorkDir,
}

/// What a container is made with.
#[derive(Clone, Copy)]
pub(crate) struct Made<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) id: &'a str,
    pub(crate) image: &'a Image,
    pub(crate) label: &'a str,
    /// Its control group, in place of containerd's own choice.
    pub(crate) group: Option<&'a str>,
    pub(crate) mounts: &'a [Mount],
}

impl Containerd {
    /// `None` where none can run containers here; says why.
    pub(crate) fn start() -> Option<Self> {
        if !can_run(&["containerd", "containerd-shim-runc-v2", "ctr", "runc"]) {
            return None;
        }
        let work = WorkDir::new().unwrap();
        let folder = work.path();
        // Without the parts for Kubernetes, and the one that makes a folder in /opt.
        let config = format!(
            "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.internal.v1.opt\"]\n\
             root = {:?}\nstate = {:?}\n[grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            folder.join("root"),
            folder.join("state"),
            folder.join("sock"),
            folder.join("ttrpc"),
        );
        std::fs::write(folder.join("config.toml"), config).unwrap();
        let daemon = daemon(folder);
        let containerd = Self { daemon, work };
        containerd.until_up();
        containerd.runs().then_some(containerd)
    }

    /// Ends the daemon and starts another one in its place.
    pub(crate) fn restart(&mut self) {
        self.daemon.stop();
        self.daemon = daemon(self.folder());
        self.until_up();
    }

    fn until_up(&self) {
        let up = until("containerd", PATIENCE, || (self.ctr("default", &["version"]).code == 0).then_some(()));
        up.unwrap_or_else(|why| panic!("{why}\n{}", self.daemon.log()));
    }

    /// Whether a container runs at all; says why not. Nothing of ours has a part in that.
    fn runs(&self) -> bool {
        let image = self.image("registry.test/nothing:1", "nothing");
        let namespace = self.namespace("trial");
        self.import(&namespace, &image);
        let usr = [Mount::of_usr()];
        let made = Made { namespace: &namespace, id: "trial", image: &image, label: "a=b", group: None, mounts: &usr };
        let trial = self.run(made, &["true"]);
        if trial.code != 0 {
            eprintln!("SKIPPED: containerd runs no container here: {}{}", trial.stdout, trial.stderr);
        }
        trial.code == 0
    }

    /// A namespace that no other containerd has: namespaces are names of control groups too. All groups of this one begin
    /// with its mark.
    pub(crate) fn namespace(&self, name: &str) -> String {
        format!("{}-{name}", self.mark())
    }

    fn mark(&self) -> &str {
        self.folder().file_name().unwrap().to_str().unwrap()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.work.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder().join("sock")
    }

    /// An image that other tests' containerds do not have.
    pub(crate) fn image(&self, name: &str, made: &str) -> Image {
        Image::new(self.folder(), name, made)
    }

    /// Gives the image's name to it in `namespace`.
    pub(crate) fn import(&self, namespace: &str, image: &Image) {
        let archive = image.archive.display().to_string();
        let words: [&[&str]; 3] = [&["images", "import"], &SNAPSHOTTER, &[&archive]];
        self.ctr(namespace, &words.concat()).success().unwrap();
    }

    /// Runs `words` as the first process of a container, to its end, and removes the container.
    pub(crate) fn run(&self, made: Made<'_>, words: &[&str]) -> Output {
        self.create(&["--rm"], made, words)
    }

    /// A container whose first process sleeps; its number.
    pub(crate) fn started(&self, made: Made<'_>) -> u32 {
        self.create(&["--detach", "--null-io"], made, &["sleep", "infinity"]).success().unwrap();
        let tasks = self.ctr(made.namespace, &["tasks", "ls"]).success().unwrap().stdout;
        let mut lines = tasks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.find(|fields| fields.first() == Some(&made.id)).unwrap()[1].parse().unwrap()
    }

    fn create(&self, how: &[&str], made: Made<'_>, words: &[&str]) -> Output {
        let Made { namespace, id, image, label, group, mounts } = made;
        let mounts: Vec<String> = mounts.iter().map(Mount::for_ctr).collect();
        let mounts: Vec<&str> = mounts.iter().flat_map(|mount| ["--mount", mount.as_str()]).collect();
        let runc = self.folder().join("runc").display().to_string();
        let with = ["--runc-root", &runc, "--label", label, "--env", CALLER.environment];
        let group: Vec<&str> = group.iter().flat_map(|group| ["--cgroup", group]).collect();
        let which = [image.name.as_str(), id];
        let words: [&[&str]; 8] = [&["run"], how, &with, &SNAPSHOTTER, &group, &mounts, &which, words];
        self.ctr(namespace, &words.concat())
    }

    /// Runs `words` in a running container, beside its first process.
    pub(crate) fn exec(&self, made: Made<'_>, words: &[&str]) -> Output {
        let words: [&[&str]; 2] = [&["tasks", "exec", "--exec-id", "other", made.id], words];
        self.ctr(made.namespace, &words.concat())
    }

    pub(crate) fn remove(&self, namespace: &str, id: &str) {
        // Prints that a signal ended the task.
        self.ctr(namespace, &["tasks", "rm", "--force", id]);
        self.ctr(namespace, &["containers", "rm", id]).success().unwrap();
    }

    fn ctr(&self, namespace: &str, words: &[&str]) -> Output {
        let mut command = Command::new(program("ctr").unwrap());
        command.arg("--address").arg(self.socket()).args(["--namespace", namespace]).args(words);
        Output::of(&mut command).unwrap()
    }

    fn names(&self, namespace: &str, of: &str) -> Vec<String> {
        let listed = self.ctr(namespace, &[of, "ls", "--quiet"]).stdout;
        listed.lines().map(str::to_owned).collect()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for namespace in self.names("default", "namespaces") {
            for id in self.names(&namespace, "tasks") {
                self.ctr(&namespace, &["tasks", "rm", "--force", &id]);
            }
            for id in self.names(&namespace, "containers") {
                self.ctr(&namespace, &["containers", "rm", &id]);
            }
        }
        self.daemon.stop();
        unmount_below(self.folder());
        groups::remove_those_of(self.mark());
    }
}

fn daemon(folder: &Path) -> Process {
    let mut command = Command::new(program("containerd").unwrap());
    Process::start(command.arg("--config").arg(folder.join("config.toml")), &folder.join("log")).unwrap()
}

/// Takes away what engines mount, before the folder is removed with all that is in it.
pub(crate) fn unmount_below(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let ours: Vec<&str> = places.filter(|place| Path::new(place).starts_with(folder)).collect();
    for place in ours.iter().rev() {
        let _ = Command::new("umount").args(["--lazy", place]).output();
    }
}
