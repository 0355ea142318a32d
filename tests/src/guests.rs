//! Confidential guests and enclaves, as `holdfast-tpm-sim guest` runs them.
#![expect(clippy::indexing_slicing, reason = "a JSON value that is not there is null")]

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::{Output, Process, Programs, WorkDir, until};

/// How long launching may take: the first guest makes its vendor's keys.
const LAUNCH_SECONDS: u64 = 60;

/// Running guests of one kind; dropping this takes their devices away.
#[derive(Debug)]
pub struct Guests {
    programs: Programs,
    guests: Vec<Guest>,
    root: PathBuf,
    kind: String,
    process: Process,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Where the simulator keeps it.
    pub directory: PathBuf,
    /// What the agent's configuration says of it, as lines of TOML.
    pub agent: String,
    /// What it was when it was launched.
    pub spec: Value,
    kind: String,
}

impl Guests {
    /// Launches `count` guests of `kind`; those of SNP share one chip.
    ///
    /// # Errors
    /// If they are not up in time.
    pub fn start(programs: &Programs, work: &WorkDir, kind: &str, count: usize, log: &Path) -> anyhow::Result<Self> {
        let directory = work.sub("guests")?;
        let ready_file = work.path().join(format!("guests-{kind}.json"));
        let mut command = programs.command("holdfast-tpm-sim");
        let count = count.to_string();
        command.args(["--output", "json", "guest", "run", "--kind", kind, "--count", &count, "--dir"]).arg(&directory);
        let mut process = Process::start_apart(&mut command, &ready_file, log)?;
        let ready: Value = until("guests are up", LAUNCH_SECONDS, || {
            if process.ended().is_some() {
                return Some(Err(anyhow::anyhow!("the simulator ended: {}", process.log())));
            }
            let text = std::fs::read_to_string(&ready_file).ok()?;
            serde_json::from_str(text.lines().next()?).ok().map(Ok)
        })??;
        let root = PathBuf::from(ready["root"].as_str().context("no root")?);
        let guests = ready["guests"].as_array().context("no guests")?.iter().map(|guest| Guest::read(kind, guest));
        let guests = guests.collect::<anyhow::Result<_>>()?;
        Ok(Self { programs: programs.clone(), guests, root, kind: kind.to_owned(), process })
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[Guest] {
        &self.guests
    }

    /// The PEM file of the vendor's root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Their kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Runs `holdfast-tpm-sim guest WORD --guest G MORE…`, such as `attack` with `debug`: what the guest is then.
    ///
    /// # Errors
    /// If the simulator refuses.
    pub fn tell(&self, index: usize, word: &str, more: &[&str]) -> anyhow::Result<Value> {
        let guest = self.guests.get(index).context("no such guest")?;
        let mut command = self.programs.command("holdfast-tpm-sim");
        command.args(["--output", "json", "guest", word, "--guest"]).arg(&guest.directory).args(more);
        Output::of(&mut command)?.success().with_context(|| format!("{word} {more:?}"))?.json()
    }

    /// A policy that demands what the first guest was launched with.
    #[must_use]
    pub fn policy(&self) -> String {
        let kind = self.kind.as_str();
        let spec = self.guests.first().map(|guest| &guest.spec).unwrap_or(&Value::Null);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (name, require) = match kind {
            "snp" => (
                "{snp.report_id}",
                format!(
                    "snp.measurement = \"{}\"\nsnp.platform.alias_check_complete = true\n\
                     snp.tcb.reported.microcode = {{ at_least = 215 }}\nsnp.tcb.reported.snp = {{ at_least = 24 }}\n",
                    text(&spec["measurement"])
                ),
            ),
            _ => ("{nitro.module_id}", format!("nitro.pcr.0 = \"{}\"\n", text(&spec["pcrs"]["0"]))),
        };
        format!(
            "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"{kind}\"\n\
             [issue]\nnode_id = \"/holdfast/node/{kind}/{name}\"\nselectors = [\"{kind}.class\"]\n\
             [[rule]]\nname = \"{kind}-guests\"\nevidence = \"{kind}\"\nownership = \"inventory\"\n\
             trust_classes = [\"simulated\"]\n[rule.require]\n{require}"
        )
    }

    /// The simulator.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Guest {
    fn read(kind: &str, report: &Value) -> anyhow::Result<Self> {
        let device = report["device"].as_str().context("no device")?;
        let agent = match kind {
            "snp" | "tdx" => format!("[tsm]\npath = \"{device}\"\n"),
            "nitro" => format!("[nitro]\ndevice = \"{device}\"\n"),
            other => anyhow::bail!("no agent knows the device of kind {other}"),
        };
        Ok(Self {
            directory: PathBuf::from(report["directory"].as_str().context("no directory")?),
            agent,
            spec: report[kind].clone(),
            kind: kind.to_owned(),
        })
    }

    /// What makes it ours, as `node allow --fact` takes it: its chip, or its instance.
    #[must_use]
    pub fn ours(&self) -> String {
        let (fact, field) = match self.kind.as_str() {
            "snp" => ("snp.chip_id", "chip_id"),
            _ => ("nitro.instance_id", "instance_id"),
        };
        format!("{fact}={}", self.spec[field].as_str().unwrap_or_default())
    }
}
