//! One trust domain: its server, a machine with an agent, and workloads of this test's user.

use std::path::{Path, PathBuf};

use holdfast_tests::{Agent, Machines, Output, Process, Programs, Server, WorkDir, free_port, until};
use serde_json::Value;

use crate::stranger::{Issuer, address};

/// Seconds that anything may take to happen.
pub(crate) const PATIENCE: u64 = 120;
const PROFILE: &str = "shim-grub";
const POLICY: &str = include_str!("../../src/bin/holdfast-demo/policy.toml");

/// A server that shows its bundle and fetches others every second.
pub(crate) struct Domain {
    pub(crate) name: &'static str,
    pub(crate) server: Server,
    pub(crate) programs: Programs,
    pub(crate) port: u16,
    pub(crate) work: WorkDir,
}

impl Domain {
    /// Shows the server's own SVID, and believes hosts that `web` certifies.
    pub(crate) fn with_svid(name: &'static str, web: &Issuer) -> Self {
        Self::start(name, web, |_| "profile = \"https_spiffe\"\n".to_owned())
    }

    /// Shows a certificate of `web` for 127.0.0.1, and believes hosts that `web` certifies.
    pub(crate) fn with_certificate(name: &'static str, web: &Issuer) -> Self {
        Self::start(name, web, |folder| {
            let (certificate, key) = web.leaf_files(vec![address("127.0.0.1")], folder);
            format!(
                "profile = \"https_web\"\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n",
                certificate.display(),
                key.display()
            )
        })
    }

    fn start(name: &'static str, web: &Issuer, identity: impl FnOnce(&Path) -> String) -> Self {
        let (programs, work, port) =
            (Programs::beside_this_one().unwrap(), WorkDir::new().unwrap(), free_port().unwrap());
        let ca_file = work.path().join("web.pem");
        std::fs::write(&ca_file, web.pem()).unwrap();
        let pki = work.sub("pki").unwrap();
        put_root(&pki, name, "first");
        let upstream = crate::openssl::files(&pki.join("current.pem"), &pki.join("current.key"));
        let more = format!(
            "{upstream}[lifetimes]\nx509_svid = \"30s\"\n[federation]\nca_file = \"{}\"\nrefresh_min = \"1s\"\ntimeout = \"10s\"\n\
             [federation.bundle_endpoint]\nlisten = \"127.0.0.1:{port}\"\nrefresh_hint = \"1s\"\n{}",
            ca_file.display(),
            identity(work.path())
        );
        let server = Server::init_with(&programs, &work, name, &more).unwrap();
        let server = server.start(&work.path().join("server.log")).unwrap();
        Self { name, server, programs, port, work }
    }

    /// Where its bundle is shown.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn server_id(&self) -> String {
        format!("spiffe://{}/holdfast/server", self.name)
    }

    /// Its bundle in a file, as a partner would be sent it.
    pub(crate) fn bundle_file(&self) -> PathBuf {
        let file = self.work.path().join("bundle.json");
        std::fs::write(&file, self.server.operator(&["bundle", "show", "--format", "spiffe"]).unwrap()).unwrap();
        file
    }

    /// `federation create` with `other` by its host's certificate.
    pub(crate) fn federate_by_host(&self, other: &str, url: &str) -> Output {
        let words = ["federation", "create", "--trust-domain", other, "--bundle-endpoint-profile", "https_web"];
        self.server.cli(&[&words[..], &["--bundle-endpoint-url", url]].concat()).unwrap()
    }

    /// The same by the endpoint's SVID, beginning with a bundle.
    pub(crate) fn federate_by_svid(&self, other: &str, url: &str, id: &str, bundle: &Path) -> Output {
        let bundle = bundle.display().to_string();
        let words = ["federation", "create", "--trust-domain", other, "--bundle-endpoint-profile", "https_spiffe"];
        let more = ["--bundle-endpoint-url", url, "--endpoint-spiffe-id", id, "--trust-domain-bundle-path", &bundle];
        self.server.cli(&[&words[..], &more].concat()).unwrap()
    }

    /// What `federation show` says.
    pub(crate) fn federation(&self, other: &str) -> Value {
        self.server.json(&["federation", "show", "--trust-domain", other]).unwrap()
    }

    /// Waits until `federation show` is as it should be.
    pub(crate) fn until_federation(&self, other: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let found = until(what, PATIENCE, || Some(self.federation(other)).filter(|found| is(found)));
        found.unwrap_or_else(|why| panic!("{why}\n{:#}\n{}", self.federation(other), self.log()))
    }

    pub(crate) fn log(&self) -> String {
        let text = std::fs::read_to_string(self.work.path().join("server.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Gives the upstream authority another root, and has an intermediate prepared below it; its ID.
    pub(crate) fn prepare_below_another_root(&self) -> String {
        put_root(&self.work.path().join("pki"), self.name, "second");
        self.server.operator(&["authority", "x509", "prepare"]).unwrap();
        let shown = self.server.json(&["authority", "x509", "show"]).unwrap();
        let prepared = shown["authorities"].as_array().unwrap().iter().find(|one| one["stage"] == "prepared");
        prepared.unwrap()["authority_id"].as_str().unwrap().to_owned()
    }

    /// The prepared one signs from now on.
    pub(crate) fn activate(&self, authority_id: &str) {
        self.server.operator(&["authority", "x509", "activate", "--early", "--authority-id", authority_id]).unwrap();
    }

    /// Everything below the domain for workloads: `machines` are switched on, the first is its own.
    pub(crate) fn enrol(&self, machines: &Machines, index: usize) -> Workloads {
        let root = machines.root().display().to_string();
        self.server.operator(&["endorsements", "import", "--class", "simulated", &root]).unwrap();
        let folder = self.work.sub("policy").unwrap();
        std::fs::write(folder.join("shim-grub.toml"), machines.reference_values(PROFILE).unwrap()).unwrap();
        std::fs::write(folder.join("policy.toml"), POLICY).unwrap();
        self.server.operator(&["policy", "apply", &folder.join("policy.toml").display().to_string()]).unwrap();
        let machine = &machines.all()[index];
        self.server.operator(&["node", "allow", "--ek-sha256", &machine.ek_sha256]).unwrap();
        let agent = Agent::configure(&self.programs, &self.work, &self.server, machine, "agent").unwrap();
        let agent = agent.start(&self.work.path().join("agent.log")).unwrap();
        agent.until_ready(PATIENCE).unwrap();
        let nodes = self.server.json(&["node", "list"]).unwrap();
        let node = nodes["nodes"][0]["spiffe_id"].as_str().unwrap().to_owned();
        Workloads { agent, node, domain: self.name, programs: self.programs.clone() }
    }
}

/// Switches machines on; the folder must outlive them.
pub(crate) fn machines(count: usize, work: &WorkDir) -> Machines {
    let programs = Programs::beside_this_one().unwrap();
    Machines::start(&programs, work, count, PROFILE, &work.path().join("tpm-sim.log")).unwrap()
}

/// The agent of a domain's machine, and what runs there.
pub(crate) struct Workloads {
    pub(crate) agent: Agent,
    node: String,
    domain: &'static str,
    programs: Programs,
}

impl Workloads {
    /// An entry for this test's user with SVIDs that live for seconds; its ID.
    pub(crate) fn enter(&self, domain: &Domain, path: &str, federates_with: &[&str]) -> String {
        self.entry(domain, &["create"], path, federates_with)
    }

    /// The same with other foreign trust domains.
    pub(crate) fn enter_again(&self, domain: &Domain, entry: &str, path: &str, federates_with: &[&str]) {
        self.entry(domain, &["update", entry], path, federates_with);
    }

    fn entry(&self, domain: &Domain, what: &[&str], path: &str, federates_with: &[&str]) -> String {
        let (id, user) = (self.id(path), own_uid());
        let mut words = [&["entry"], what].concat();
        words.extend(["--spiffe-id", &id, "--parent-id", &self.node, "--x509-svid-ttl", "20s", "--selector", &user]);
        words.extend(federates_with.iter().flat_map(|name| ["--federates-with", name]));
        domain.server.json(&words).unwrap()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn id(&self, path: &str) -> String {
        format!("spiffe://{}/{path}", self.domain)
    }

    /// What a workload is handed, as JSON.
    pub(crate) fn fetched(&self) -> Option<Value> {
        let mut command = self.programs.command("holdfast-agent");
        command.args(["api", "fetch", "x509", "--output", "json", "--socket-path"]).arg(self.agent.socket());
        Output::of(&mut command).ok()?.success().ok()?.json().ok()
    }

    /// A JWT-SVID for an audience.
    pub(crate) fn token(&self, audience: &str) -> Option<String> {
        let fetched = self.api(&["fetch", "jwt", "--audience", audience]).success().ok()?.json().ok()?;
        fetched["svids"][0]["svid"].as_str().map(str::to_owned)
    }

    /// What a workload is told of a token.
    pub(crate) fn validate(&self, audience: &str, token: &str) -> Output {
        self.api(&["validate", "jwt", "--audience", audience, "--svid", token])
    }

    fn api(&self, words: &[&str]) -> Output {
        let mut command = self.programs.command("holdfast-agent");
        command.arg("api").args(words).args(["--output", "json", "--socket-path"]).arg(self.agent.socket());
        Output::of(&mut command).unwrap()
    }

    /// The authorities of a foreign trust domain that a workload is handed.
    pub(crate) fn foreign(&self, domain: &str) -> Option<Vec<String>> {
        let fetched = self.fetched()?;
        let found = fetched["federated_bundles"][format!("spiffe://{domain}")].as_array().cloned().unwrap_or_default();
        Some(found.iter().map(|der| der.as_str().unwrap().to_owned()).collect())
    }

    /// Waits until a workload is handed so many authorities of a foreign trust domain.
    pub(crate) fn until_foreign(&self, domain: &str, count: usize) {
        let seen = until("foreign authorities", PATIENCE, || {
            self.foreign(domain).filter(|found| found.len() == count).map(|_| ())
        });
        seen.unwrap_or_else(|why| panic!("{why}: {count} of {domain} in {:#?}", self.fetched()));
    }

    /// A workload that answers `expect` by mTLS, and where.
    pub(crate) fn serve(&self, expect: &str, log: &Path) -> (Process, String) {
        let listen = format!("127.0.0.1:{}", free_port().unwrap());
        let mut command = self.programs.command("demo-workload");
        command.args(["serve", "--listen", &listen, "--expect", expect]);
        command.env("SPIFFE_ENDPOINT_SOCKET", self.agent.socket_url());
        let process = Process::start(&mut command, log).unwrap();
        until("a workload listens", PATIENCE, || process.log().contains("listens on").then_some(())).unwrap();
        (process, listen)
    }

    /// One call of a workload that is there.
    pub(crate) fn call(&self, at: &str, expect: &str) -> Output {
        let mut command = self.programs.command("demo-workload");
        command.args(["call", "--connect", at, "--expect", expect]);
        Output::of(command.env("SPIFFE_ENDPOINT_SOCKET", self.agent.socket_url())).unwrap()
    }

    /// The serial numbers of the certificates that sign this workload's SVID, by their DER.
    pub(crate) fn signers(&self) -> Vec<String> {
        let fetched = self.fetched().unwrap_or_default();
        let chain = fetched["svids"][0]["x509_svid"].as_array().cloned().unwrap_or_default();
        chain.iter().skip(1).map(|der| der.as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn own_uid() -> String {
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    format!("unix:uid:{uid}")
}

fn put_root(folder: &Path, domain: &str, name: &str) {
    let named = format!("subjectAltName=URI:spiffe://{domain}");
    let extensions = ["basicConstraints=critical,CA:TRUE,pathlen:1", named.as_str()];
    let (certificate, key) = crate::openssl::root(folder, name, &extensions);
    std::fs::rename(key, folder.join("current.key")).unwrap();
    std::fs::rename(certificate, folder.join("current.pem")).unwrap();
}
