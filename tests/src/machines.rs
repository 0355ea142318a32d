//! Machines with a software TPM, as `holdfast-tpm-sim` runs them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::{Output, Process, Programs, WorkDir, until};

/// How long manufacturing one machine may take.
const MANUFACTURE_SECONDS: u64 = 20;

/// Running machines; dropping this switches them off.
#[derive(Debug)]
pub struct Machines {
    programs: Programs,
    machines: Vec<Machine>,
    root: PathBuf,
    process: Process,
}

/// One of them, as it was when it was switched on.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where the simulator keeps it.
    pub directory: PathBuf,
    /// What the agent's `tpm.swtpm` says.
    pub tcti: String,
    /// What the agent's `firmware_log` says.
    pub firmware_log: PathBuf,
    /// SHA-256 of the public key of its first EK, hex: what `node allow --ek-sha256` takes.
    pub ek_sha256: String,
    /// The same of all its EKs.
    pub eks: Vec<String>,
    /// SHA-256 of its EK certificates.
    pub ek_certificates: Vec<String>,
}

#[derive(Deserialize)]
struct Ready {
    vendor_root: PathBuf,
    machines: Vec<Report>,
}

#[derive(Deserialize)]
struct Report {
    directory: PathBuf,
    firmware_log: PathBuf,
    endorsements: Vec<Endorsement>,
    running: Running,
}

#[derive(Deserialize)]
struct Endorsement {
    certificate_sha256: String,
    spki_sha256: String,
}

#[derive(Deserialize)]
struct Running {
    tcti: String,
}

impl Machines {
    /// Switches `count` new machines on, in `work`, with `profile`.
    ///
    /// # Errors
    /// If they are not up in time.
    pub fn start(programs: &Programs, work: &WorkDir, count: usize, profile: &str, log: &Path) -> anyhow::Result<Self> {
        let directory = work.sub("machines")?;
        let ready_file = work.path().join("machines.json");
        let mut command = programs.command("holdfast-tpm-sim");
        command.args(["--output", "json", "run", "--profile", profile, "--machines", &count.to_string(), "--dir"]);
        command.arg(&directory);
        let mut process = Process::start_apart(&mut command, &ready_file, log)?;
        let limit = MANUFACTURE_SECONDS * (count as u64 + 1);
        let ready: Ready = until("machines are up", limit, || {
            if process.ended().is_some() {
                return Some(Err(anyhow::anyhow!("the simulator ended: {}", process.log())));
            }
            let text = std::fs::read_to_string(&ready_file).ok()?;
            serde_json::from_str(text.lines().next()?).ok().map(Ok)
        })??;
        let machines = ready.machines.into_iter().map(Machine::from).collect();
        Ok(Self { programs: programs.clone(), machines, root: ready.vendor_root, process })
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[Machine] {
        &self.machines
    }

    /// The PEM file of the vendor's root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The reference values of `profile`, as a file's text.
    ///
    /// # Errors
    /// If the simulator prints none.
    pub fn reference_values(&self, profile: &str) -> anyhow::Result<String> {
        let mut command = self.programs.command("holdfast-tpm-sim");
        Ok(Output::of(command.args(["reference-values", "--profile", profile]))?.success()?.stdout)
    }

    /// Runs `holdfast-tpm-sim WORD --machine M MORE…`, such as `reboot` with `--profile changed-kernel`.
    ///
    /// # Errors
    /// If the simulator refuses.
    pub fn tell(&self, index: usize, word: &str, more: &[&str]) -> anyhow::Result<Output> {
        let machine = self.machines.get(index).context("no such machine")?;
        let mut command = self.programs.command("holdfast-tpm-sim");
        command.args(["--output", "json", word, "--machine"]).arg(&machine.directory).args(more);
        Output::of(&mut command)?.success().with_context(|| format!("{word} {more:?}"))
    }

    /// TPM commands that software has sent to a machine, in all.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub fn commands(&self, index: usize) -> anyhow::Result<serde_json::Value> {
        self.tell(index, "commands", &[])?.json()
    }

    /// The simulator.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Machine {
    /// One line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{}  EK {}…", self.tcti, self.ek_sha256.get(..16).unwrap_or_default())
    }
}

impl From<Report> for Machine {
    fn from(report: Report) -> Self {
        let eks: Vec<String> = report.endorsements.iter().map(|ek| ek.spki_sha256.clone()).collect();
        Self {
            directory: report.directory,
            tcti: report.running.tcti,
            firmware_log: report.firmware_log,
            ek_sha256: eks.first().cloned().unwrap_or_default(),
            eks,
            ek_certificates: report.endorsements.into_iter().map(|ek| ek.certificate_sha256).collect(),
        }
    }
}
