//! An agent as a machine runs it: a configuration file, the daemon, and its Workload API socket.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::{Guest, Machine, Output, Process, Programs, Server, WorkDir, until};

/// An agent in a directory of its own.
#[derive(Debug)]
pub struct Agent {
    programs: Programs,
    folder: PathBuf,
    daemon: Option<Process>,
}

impl Agent {
    /// Writes a configuration for `machine`, to enrol with `server`, whose bundle it is given.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn configure(
        programs: &Programs,
        work: &WorkDir,
        server: &Server,
        machine: &Machine,
        name: &str,
    ) -> anyhow::Result<Self> {
        let device = format!("[tpm]\nswtpm = \"{}\"\n", machine.tcti);
        let log = machine.firmware_log.display().to_string();
        Self::configure_with(programs, work, server, name, &format!("firmware_log = \"{log}\"\n"), &device)
    }

    /// Writes a configuration for a guest that has evidence of `kind` and nothing else.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn configure_guest(
        programs: &Programs,
        work: &WorkDir,
        server: &Server,
        kind: &str,
        guest: &Guest,
        name: &str,
    ) -> anyhow::Result<Self> {
        Self::configure_with(
            programs,
            work,
            server,
            name,
            &format!("evidence = [\"{kind}\"]\n{}", guest.agent_top),
            &guest.agent,
        )
    }

    /// `top` are lines of the file's first part, `tables` those of its end.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn configure_with(
        programs: &Programs,
        work: &WorkDir,
        server: &Server,
        name: &str,
        top: &str,
        tables: &str,
    ) -> anyhow::Result<Self> {
        let folder = work.sub(name)?;
        let bundle = folder.join("bundle.pem");
        std::fs::write(&bundle, server.operator(&["bundle", "show"])?)?;
        let agent = Self { programs: programs.clone(), folder, daemon: None };
        let config = format!(
            "server = \"{}\"\ntrust_domain = \"{}\"\ntrust_bundle = \"{}\"\ndata_dir = \"{}/state\"\n\
             {top}{tables}[workload_api]\nsocket = \"{}\"\n[log]\nlevel = \"info,holdfast_agent=debug\"\n",
            server.address(),
            server.domain(),
            bundle.display(),
            agent.folder.display(),
            agent.socket().display(),
        );
        std::fs::write(agent.config(), config)?;
        Ok(agent)
    }

    /// Starts the daemon with its output in `log`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(mut self, log: &Path) -> anyhow::Result<Self> {
        self.start_again(log)?;
        Ok(self)
    }

    /// Starts the daemon of an agent that was stopped or killed.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start_again(&mut self, log: &Path) -> anyhow::Result<()> {
        let mut command = self.programs.command("holdfast-agent");
        self.daemon = Some(Process::start(command.args(["run", "--config"]).arg(self.config()), log)?);
        Ok(())
    }

    /// Waits until the agent says that it holds a node identity.
    ///
    /// # Errors
    /// If it does not within `seconds`.
    pub fn until_ready(&self, seconds: u64) -> anyhow::Result<()> {
        until("holdfast-agent healthcheck", seconds, || {
            self.cli(&["healthcheck"]).ok().filter(|output| output.code == 0)
        })
        .with_context(|| self.daemon.as_ref().map(Process::log).unwrap_or_default())?;
        Ok(())
    }

    /// Runs a command of the agent's program with its configuration.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn cli(&self, words: &[&str]) -> anyhow::Result<Output> {
        Output::of(self.command().args(words).arg("--config").arg(self.config()))
    }

    /// The daemon, if it was started.
    pub fn daemon(&mut self) -> Option<&mut Process> {
        self.daemon.as_mut()
    }

    /// The daemon's process id, if it was started.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.daemon.as_ref().map(Process::id)
    }

    /// Sends the daemon a signal by name, such as `HUP`.
    pub fn tell(&self, signal: &str) {
        if let Some(daemon) = &self.daemon {
            daemon.signal(signal);
        }
    }

    /// The Workload API's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("api.sock")
    }

    /// The same as `SPIFFE_ENDPOINT_SOCKET` wants it.
    #[must_use]
    pub fn socket_url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Its directory.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn config(&self) -> PathBuf {
        self.folder.join("agent.toml")
    }

    fn command(&self) -> Command {
        self.programs.command("holdfast-agent")
    }
}
