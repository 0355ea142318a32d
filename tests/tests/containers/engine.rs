//! A Docker and a Podman of a test's own. Both are told by the same words.

use std::path::{Path, PathBuf};
use std::process::Command;

use holdfast_tests::{Output, Process, WorkDir, until};

use super::ctr::{Containerd, unmount_below};
use super::site::{CALLER, Mount};
use super::{PATIENCE, can_run, image, program};

/// Limits that a container may be given by a root that is in one itself, where Podman's own are too high.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
const IMAGE: &str = "registry.test/trial:1";

/// A running engine. Dropping it ends its containers and removes what they leave.
pub(crate) struct Engine {
    daemon: Process,
    /// Program and flags of every command.
    client: Vec<String>,
    socket: PathBuf,
    /// What Docker runs on.
    pub(crate) containerd: Option<Containerd>,
    work: WorkDir,
}

/// What a container is made with.
#[derive(Clone, Copy)]
pub(crate) struct Made<'a> {
    pub(crate) name: &'a str,
    pub(crate) image: &'a str,
    pub(crate) label: &'a str,
    pub(crate) variable: &'a str,
    pub(crate) mounts: &'a [Mount],
}

impl Engine {
    /// Docker; `None` where it can run no containers here; says why.
    pub(crate) fn docker() -> Option<Self> {
        if !can_run(&["dockerd", "docker"]) {
            return None;
        }
        let containerd = Containerd::start()?;
        let (work, at) = work();
        // The machine's own settings are not for this one, and it touches no network.
        std::fs::write(at("settings"), "{}").unwrap();
        let socket = work.path().join("sock");
        let host = format!("unix://{}", socket.display());
        let mut command = Command::new(program("dockerd").unwrap());
        command.args(["--config-file", &at("settings"), "--containerd"]).arg(containerd.socket());
        command.args(["--host", &host, "--data-root", &at("root"), "--exec-root", &at("exec")]);
        command.args(["--pidfile", &at("pid"), "--storage-driver", "vfs", "--bridge", "none"]);
        command.args(["--iptables=false", "--ip6tables=false", "--ip-masq=false"]);
        let client = [program("docker").unwrap().display().to_string(), "--host".to_owned(), host].into();
        Self::started(&mut command, client, socket, Some(containerd), work)
    }

    /// Podman as root; `None` where it can run no containers here; says why.
    pub(crate) fn podman() -> Option<Self> {
        if !can_run(&["podman"]) {
            return None;
        }
        let (work, at) = work();
        let socket = work.path().join("sock");
        let mut client = vec![program("podman").unwrap().display().to_string()];
        client.extend([
            "--root".to_owned(),
            at("root"),
            "--runroot".to_owned(),
            at("run"),
            "--tmpdir".to_owned(),
            at("tmp"),
        ]);
        client
            .extend(["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file"].map(str::to_owned));
        // crun, which it prefers, knows no machine with both versions of control groups.
        client.extend(program("runc").map(|runc| format!("--runtime={}", runc.display())));
        let mut command = Command::new(&client[0]);
        command
            .args(&client[1..])
            .args(["system", "service", "--time", "0"])
            .arg(format!("unix://{}", socket.display()));
        Self::started(&mut command, client, socket, None, work)
    }

    fn started(
        command: &mut Command,
        client: Vec<String>,
        socket: PathBuf,
        containerd: Option<Containerd>,
        work: WorkDir,
    ) -> Option<Self> {
        let daemon = Process::start(command, &work.path().join("log")).unwrap();
        let mut engine = Self { daemon, client, socket, containerd, work };
        let up = until("a container engine", PATIENCE, || {
            let is_up = std::os::unix::net::UnixStream::connect(&engine.socket).is_ok();
            let ended = engine.daemon.ended().is_some();
            (ended || is_up && engine.tell(&["version"]).code == 0).then_some(())
        });
        up.unwrap_or_else(|why| panic!("{why}\n{}", engine.daemon.log()));
        // One that ended may be one that cannot be here: as root of a small part of a machine, say.
        if let Some(code) = engine.daemon.ended() {
            eprintln!("SKIPPED: {} ended with {code}: {}", engine.client[0], engine.daemon.log());
            return None;
        }
        engine.runs().then_some(engine)
    }

    /// Whether a container runs at all; says why not. Nothing of ours has a part in that.
    fn runs(&self) -> bool {
        self.import(IMAGE, "trial");
        let usr = [Mount::of_usr()];
        let made = Made { name: "trial", image: IMAGE, label: "a=b", variable: "A=b", mounts: &usr };
        let trial = self.run(made, &["true"]);
        if trial.code != 0 {
            eprintln!("SKIPPED: {} runs no container here: {}{}", self.client[0], trial.stdout, trial.stderr);
        }
        trial.code == 0
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Makes an image that is called `name` and labelled `made=MADE`; its digest.
    pub(crate) fn import(&self, name: &str, made: &str) -> String {
        let folder = self.work.sub(&format!("image-{made}")).unwrap();
        let files = image::files(&folder).display().to_string();
        let label = format!("LABEL made={made}");
        let said = self.tell(&["import", "--change", &label, &files, name]).success().unwrap().stdout;
        said.trim().to_owned()
    }

    /// Runs `words` as the first process of a container, to its end, and removes the container.
    pub(crate) fn run(&self, made: Made<'_>, words: &[&str]) -> Output {
        self.create("--rm", made, words)
    }

    /// A container whose first process sleeps; its number, and the container's ID.
    pub(crate) fn sleeping(&self, made: Made<'_>) -> (u32, String) {
        let id = self.create("--detach", made, &["sleep", "infinity"]).success().unwrap().stdout;
        (self.first(made.name), id.trim().to_owned())
    }

    /// The number of a running container's first process.
    pub(crate) fn first(&self, name: &str) -> u32 {
        let said = self.tell(&["inspect", "--format", "{{.State.Pid}}", name]).success().unwrap().stdout;
        said.trim().parse().unwrap()
    }

    fn create(&self, how: &str, made: Made<'_>, words: &[&str]) -> Output {
        let Made { name, image, label, variable, mounts } = made;
        let mounts: Vec<String> = mounts.iter().map(Mount::for_docker).collect();
        let mounts: Vec<&str> = mounts.iter().flat_map(|mount| ["--volume", mount.as_str()]).collect();
        let with = ["--network", "none", "--name", name, "--label", label];
        let with = [&with[..], &["--env", variable, "--env", CALLER.environment]].concat();
        let all: [&[&str]; 6] = [&["run", how], &LIMITS, &with, &mounts, &[image], words];
        self.tell(&all.concat())
    }

    /// Runs `words` in a running container, beside its first process.
    pub(crate) fn exec(&self, name: &str, words: &[&str]) -> Output {
        self.tell(&[&["exec", name], words].concat())
    }

    pub(crate) fn remove(&self, name: &str) {
        self.tell(&["rm", "--force", name]).success().unwrap();
    }

    pub(crate) fn tell(&self, words: &[&str]) -> Output {
        Output::of(Command::new(&self.client[0]).args(&self.client[1..]).args(words)).unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let all = self.tell(&["ps", "--all", "--quiet"]).stdout;
        for id in all.lines() {
            self.tell(&["rm", "--force", id]);
        }
        self.daemon.stop();
        unmount_below(self.work.path());
    }
}

/// A folder, and where something is in it.
fn work() -> (WorkDir, impl Fn(&str) -> String) {
    let work = WorkDir::new().unwrap();
    let folder = work.path().to_owned();
    (work, move |name| folder.join(name).display().to_string())
}
