//! Nothing is dropped while what signs is replaced again and again, at lives of seconds and under load.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use holdfast_tests::{Agent, Machines, Process, Programs, Server, WorkDir, free_port, until};
use serde_json::Value;

use crate::openssl::{files, key_id, root};

const DOMAIN: &str = "lives.test";
const PROFILE: &str = "shim-grub";
pub(crate) const PATIENCE: u64 = 120;
/// Seconds that everything together may take on a busy machine.
const LONG: u64 = 900;
const LIFE_SECONDS: u64 = 36;
const SVID_SECONDS: u64 = 10;
/// Intermediates after the first one.
const ROTATIONS: usize = 5;
const TALKERS: usize = 3;
const POLICY: &str = include_str!("../../src/bin/holdfast-demo/policy.toml");

/// In the order in which they are to end.
pub(crate) struct World {
    talkers: Vec<Process>,
    listener: Process,
    pub(crate) agent: Agent,
    pub(crate) server: Server,
    _machines: Machines,
    work: WorkDir,
}

fn id(path: &str) -> String {
    format!("spiffe://{DOMAIN}/{path}")
}

pub(crate) fn put_root(folder: &Path, name: &str) -> String {
    let extensions = ["basicConstraints=critical,CA:TRUE,pathlen:1", &format!("subjectAltName=URI:spiffe://{DOMAIN}")];
    let (certificate, key) = root(folder, name, &extensions);
    let id = key_id(&certificate);
    // One after the other, as a hand would: in between nothing is signed, for they do not belong together.
    std::fs::rename(key, folder.join("current.key")).unwrap();
    std::fs::rename(certificate, folder.join("current.pem")).unwrap();
    id
}

impl World {
    fn new(pki: impl FnOnce(&Path) -> String) -> (Self, String) {
        Self::living(LIFE_SECONDS, SVID_SECONDS, pki)
    }

    /// With intermediates that live so many seconds, and SVIDs.
    pub(crate) fn living(intermediate: u64, svid: u64, pki: impl FnOnce(&Path) -> String) -> (Self, String) {
        let (programs, work) = (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap());
        let folder = work.sub("pki").unwrap();
        let first = pki(&folder);
        let machines = Machines::start(&programs, &work, 1, PROFILE, &work.path().join("tpm-sim.log")).unwrap();
        let more = format!(
            "[lifetimes]\nintermediate = \"{intermediate}s\"\nx509_svid = \"{svid}s\"\n{}",
            files(&folder.join("current.pem"), &folder.join("current.key"))
        );
        let server = Server::init_with(&programs, &work, DOMAIN, &more).unwrap();
        let server = server.start(&work.path().join("server.log")).unwrap();
        let simulated = machines.root().display().to_string();
        server.operator(&["endorsements", "import", "--class", "simulated", &simulated]).unwrap();
        let policy = work.sub("policy").unwrap();
        std::fs::write(policy.join("shim-grub.toml"), machines.reference_values(PROFILE).unwrap()).unwrap();
        std::fs::write(policy.join("policy.toml"), POLICY).unwrap();
        server.operator(&["policy", "apply", &policy.join("policy.toml").display().to_string()]).unwrap();
        let machine = &machines.all()[0];
        server.operator(&["node", "allow", "--ek-sha256", &machine.ek_sha256]).unwrap();
        let agent = Agent::configure(&programs, &work, &server, machine, "agent").unwrap();
        let agent = agent.start(&work.path().join("agent.log")).unwrap();
        agent.until_ready(PATIENCE).unwrap();
        let nodes = server.json(&["node", "list"]).unwrap();
        let parent = nodes["nodes"][0]["spiffe_id"].as_str().unwrap().to_owned();
        let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
        let selector = format!("unix:uid:{uid}");
        let words = ["entry", "create", "--spiffe-id", &id("peer"), "--parent-id", &parent, "--selector", &selector];
        server.operator(&words).unwrap();
        let address = format!("127.0.0.1:{}", free_port().unwrap());
        let workload = |words: &[&str], log: &str| {
            let mut command = programs.command("demo-workload");
            command.args(words).args(["--expect", &id("peer")]).env("SPIFFE_ENDPOINT_SOCKET", agent.socket_url());
            Process::start(&mut command, &work.path().join(log)).unwrap()
        };
        let listener = workload(&["serve", "--listen", &address], "listener.log");
        until("the listening workload", PATIENCE, || listener.log().contains("listens on").then_some(())).unwrap();
        let talkers =
            (0..TALKERS).map(|number| workload(&["talk", "--connect", &address], &format!("talker-{number}.log")));
        let talkers = talkers.collect();
        (Self { talkers, listener, agent, server, _machines: machines, work }, first)
    }

    fn show(&self) -> Value {
        // Whoever waits for something asks again and again.
        std::thread::sleep(Duration::from_millis(250));
        self.server.json(&["authority", "x509", "show"]).unwrap()
    }

    pub(crate) fn at(&self, stage: &str) -> Vec<(String, String)> {
        let shown = self.show();
        let of_stage = |one: &&Value| one["stage"] == stage;
        let word = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        let found = shown["authorities"].as_array().unwrap().iter().filter(of_stage);
        found.map(|one| (word(one, "authority_id"), word(one, "upstream_authority_subject_key_id"))).collect()
    }

    fn roots(&self) -> Vec<String> {
        let shown = self.show();
        let in_bundle = |root: &&Value| root["in_bundle"] == true;
        let roots = shown["roots"].as_array().unwrap().iter().filter(in_bundle);
        roots.map(|root| root["subject_key_id"].as_str().unwrap().to_owned()).collect()
    }

    /// Nobody's greeting has failed, nobody refused a peer, nobody was without an identity, and everybody goes on.
    pub(crate) fn assert_nothing_dropped(&mut self) {
        let answered = |log: &str| log.lines().filter(|line| line.ends_with("answered")).count();
        let before: Vec<_> = self.talkers.iter().map(|talker| answered(&talker.log())).collect();
        for (talker, before) in self.talkers.iter_mut().zip(before) {
            let goes_on = until("another greeting", PATIENCE, || {
                (talker.ended().is_some() || answered(&talker.log()) > before + 5).then_some(())
            });
            goes_on.unwrap();
            assert_eq!(talker.ended(), None, "{}\n{}", tail(&talker.log()), tail(&self.listener.log()));
        }
        assert_eq!(self.listener.ended(), None, "{}", tail(&self.listener.log()));
        assert!(!self.listener.log().contains("refused a peer"), "{}", tail(&self.listener.log()));
        for workload in self.talkers.iter().chain([&self.listener]) {
            assert!(!workload.log().contains("was withdrawn"), "{}\n{}", tail(&workload.log()), self.logs());
        }
    }

    /// Waits until a workload gets an SVID that this intermediate has not signed.
    pub(crate) fn until_replaced(&self, old: &str) {
        let fetched = until("an SVID that is not below it", PATIENCE, || {
            let folder = self.work.sub("fetched").ok()?;
            let mut command = Programs::beside_this_one().ok()?.command("demo-workload");
            command.args(["fetch", "--write"]).arg(&folder).env("SPIFFE_ENDPOINT_SOCKET", self.agent.socket_url());
            command.output().ok().filter(|output| output.status.success())?;
            let path = folder.join("svid.pem").display().to_string();
            let words = ["x509", "-in", &path, "-noout", "-ext", "authorityKeyIdentifier"];
            let text = crate::openssl::openssl(&folder, &words).replace(':', "").to_lowercase();
            (!text.contains(old)).then_some(())
        });
        fetched.unwrap_or_else(|why| panic!("{why}\n{}", self.logs()));
    }

    pub(crate) fn server_log(&self) -> String {
        std::fs::read_to_string(self.work.path().join("server.log")).unwrap_or_default()
    }

    pub(crate) fn agent_log(&self) -> String {
        std::fs::read_to_string(self.work.path().join("agent.log")).unwrap_or_default()
    }

    pub(crate) fn logs(&self) -> String {
        let of = |name: &str| tail(&std::fs::read_to_string(self.work.path().join(name)).unwrap_or_default());
        format!("--- server\n{}\n--- agent\n{}", of("server.log"), of("agent.log"))
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(25)..].join("\n")
}

#[test]
fn nothing_is_dropped_while_intermediates_and_the_root_are_replaced_under_load() {
    let (mut world, first_root) = World::new(|folder| put_root(folder, "first"));
    let mut seen = BTreeSet::new();
    let mut second_root = None;
    let turns = until("rotations of the intermediate", LONG, || {
        seen.extend(world.at("active").into_iter().map(|(id, _)| id));
        // In the middle of it all the upstream authority gets another root.
        if seen.len() == ROTATIONS / 2 && second_root.is_none() {
            second_root = Some(put_root(&world.work.path().join("pki"), "second"));
        }
        (seen.len() > ROTATIONS).then_some(())
    });
    turns.unwrap_or_else(|why| panic!("{why}: {seen:?}\n{}", world.logs()));
    world.assert_nothing_dropped();
    let second_root = second_root.unwrap();
    let gone = until("the old root leaves the bundle", LONG, || (world.roots() == [second_root.clone()]).then_some(()));
    gone.unwrap_or_else(|why| panic!("{why}: {}\n{}", world.show(), world.logs()));
    assert!(world.at("active").iter().all(|(_, root)| *root == second_root && *root != first_root));
    world.assert_nothing_dropped();

    // By command: another one signs, the one before is tainted, and nothing below it is left in use.
    let old = until("an old intermediate", LONG, || {
        let (active, _) = world.at("active").first().cloned()?;
        if world.at("prepared").is_empty() {
            world.server.cli(&["authority", "x509", "prepare"]).ok()?;
        }
        let (prepared, _) = world.at("prepared").first().cloned()?;
        let done = world.server.cli(&["authority", "x509", "activate", "--authority-id", &prepared]).ok()?;
        (done.code == 0).then_some(active)
    });
    let old = old.unwrap_or_else(|why| panic!("{why}: {}\n{}", world.show(), world.logs()));
    let (active, _) = world.at("active")[0].clone();
    let refused = world.server.cli(&["authority", "x509", "taint", "--authority-id", &active]).unwrap();
    assert!(refused.code == 1 && refused.stderr.contains("authority.life.stage"), "{refused:?}");
    world.server.operator(&["authority", "x509", "taint", "--authority-id", &old]).unwrap();
    world.until_replaced(&old);
    world.assert_nothing_dropped();
    world.server.operator(&["audit", "verify"]).unwrap();
}
