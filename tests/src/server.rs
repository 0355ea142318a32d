//! A server as its operator runs it: a directory, a configuration file, the daemon, and the command line beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::{Output, Process, Programs, WorkDir, free_port, until};

/// How long the server may take to answer `healthcheck`.
const START_SECONDS: u64 = 20;

/// A server in a directory of its own, initialised; running after [`Server::start`].
#[derive(Debug)]
pub struct Server {
    programs: Programs,
    folder: PathBuf,
    port: u16,
    metrics_port: u16,
    domain: String,
    daemon: Option<(Process, PathBuf)>,
}

impl Server {
    /// Writes a configuration and makes the trust domain's keys.
    ///
    /// # Errors
    /// If `holdfast-server init` fails.
    pub fn init(programs: &Programs, work: &WorkDir, domain: &str) -> anyhow::Result<Self> {
        Self::init_with(programs, work, domain, "")
    }

    /// The same with more lines in the configuration file.
    ///
    /// # Errors
    /// If `holdfast-server init` fails.
    pub fn init_with(programs: &Programs, work: &WorkDir, domain: &str, more: &str) -> anyhow::Result<Self> {
        let folder = work.sub("server")?;
        let server = Self {
            programs: programs.clone(),
            port: free_port()?,
            metrics_port: free_port()?,
            domain: domain.to_owned(),
            folder,
            daemon: None,
        };
        // No test asks AMD or Intel, unless a simulator stands in for them.
        let nobody = "[endorsements]\namd_url = \"none\"\nintel_url = \"none\"\n";
        let services = if more.contains("[endorsements]") { "" } else { nobody };
        let config = format!(
            "trust_domain = \"{domain}\"\ndata_dir = \"{0}/state\"\nlisten = \"127.0.0.1:{1}\"\n\
             admin_socket = \"{0}/admin.sock\"\nmetrics_listen = \"127.0.0.1:{2}\"\nallow_simulated = true\n{more}{services}",
            server.folder.display(),
            server.port,
            server.metrics_port
        );
        std::fs::write(server.config(), config)?;
        let root_key = server.folder.join("root.key").display().to_string();
        // Where somebody else signs, no root key is at hand.
        let words =
            if more.contains("[upstream_authority]") { vec!["init"] } else { vec!["init", "--root-key", &root_key] };
        server.cli(&words)?.success()?;
        Ok(server)
    }

    /// Starts the daemon, with its output in `log`, and waits until it is healthy.
    ///
    /// # Errors
    /// If it does not become healthy.
    pub fn start(mut self, log: &Path) -> anyhow::Result<Self> {
        self.start_again(log)?;
        Ok(self)
    }

    /// Starts the daemon of a server that was stopped or killed.
    ///
    /// # Errors
    /// If it does not become healthy.
    pub fn start_again(&mut self, log: &Path) -> anyhow::Result<()> {
        let daemon = Process::start(self.command().args(["run", "--config"]).arg(self.config()), log)?;
        self.daemon = Some((daemon, log.to_owned()));
        until("holdfast-server healthcheck", START_SECONDS, || {
            self.cli(&["healthcheck"]).ok().filter(|output| output.code == 0)
        })
        .with_context(|| std::fs::read_to_string(log).unwrap_or_default())?;
        Ok(())
    }

    /// Runs an operator's command against this server.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn cli(&self, words: &[&str]) -> anyhow::Result<Output> {
        Output::of(self.command().args(words).arg("--config").arg(self.config()))
    }

    /// The same, and it must succeed; what it printed.
    ///
    /// # Errors
    /// If its exit code is not 0.
    pub fn operator(&self, words: &[&str]) -> anyhow::Result<String> {
        Ok(self.cli(words)?.success().with_context(|| words.join(" "))?.stdout)
    }

    /// The same with `--output json`.
    ///
    /// # Errors
    /// If its exit code is not 0 or it prints no JSON.
    pub fn json(&self, words: &[&str]) -> anyhow::Result<Value> {
        let words: Vec<&str> = words.iter().copied().chain(["--output", "json"]).collect();
        self.cli(&words)?.success().with_context(|| words.join(" "))?.json()
    }

    /// The daemon, if it was started.
    pub fn daemon(&mut self) -> Option<&mut Process> {
        self.daemon.as_mut().map(|(process, _)| process)
    }

    /// The daemon's process id, if it was started.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(|(process, _)| process.id())
    }

    /// The agent port on loopback.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its trust domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The metrics port on loopback.
    #[must_use]
    pub fn metrics_port(&self) -> u16 {
        self.metrics_port
    }

    /// Where its state is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn config(&self) -> PathBuf {
        self.folder.join("server.toml")
    }

    fn command(&self) -> Command {
        self.programs.command("holdfast-server")
    }
}
