//! Confidential guests and enclaves, as `holdfast-tpm-sim guest` runs them.
#![expect(clippy::indexing_slicing, reason = "a JSON value that is not there is null")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
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
    roots: Vec<PathBuf>,
    service: String,
    lab: PathBuf,
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
    /// Registers that its boot leads to, by number.
    pub measured: Value,
    /// SHA-256 of its attestation key, where it has one that a provider made.
    attestation_key: Option<String>,
    /// Lines of TOML for the top of the agent's configuration.
    pub agent_top: String,
    kind: String,
}

impl Guests {
    /// Launches `count` guests of `kind`; those of SNP share one chip, those of TDX one platform.
    ///
    /// # Errors
    /// If they are not up in time.
    pub fn start(programs: &Programs, work: &WorkDir, kind: &str, count: usize, log: &Path) -> anyhow::Result<Self> {
        Self::start_with(programs, work, kind, count, &[], log)
    }

    /// The same with fields that the guests have from the start, as `FIELD=VALUE`.
    ///
    /// # Errors
    /// If they are not up in time.
    pub fn start_with(
        programs: &Programs,
        work: &WorkDir,
        kind: &str,
        count: usize,
        fields: &[&str],
        log: &Path,
    ) -> anyhow::Result<Self> {
        let directory = work.sub("guests")?;
        let ready_file = work.path().join(format!("guests-{kind}.json"));
        let mut command = programs.command("holdfast-tpm-sim");
        let count = count.to_string();
        command.args(["--output", "json", "guest", "run", "--serve", "--kind", kind, "--count", &count, "--dir"]);
        command.arg(&directory);
        for field in fields {
            command.args(["--set", field]);
        }
        let mut process = Process::start_apart(&mut command, &ready_file, log)?;
        let ready: Value = until("guests are up", LAUNCH_SECONDS, || {
            if process.ended().is_some() {
                return Some(Err(anyhow::anyhow!("the simulator ended: {}", process.log())));
            }
            let text = std::fs::read_to_string(&ready_file).ok()?;
            serde_json::from_str(text.lines().next()?).ok().map(Ok)
        })??;
        let roots = ready["roots"].as_array().context("no roots")?.iter().filter_map(Value::as_str);
        let roots = roots.map(PathBuf::from).collect();
        let service = ready["service"].as_str().context("no service")?.to_owned();
        let guests = ready["guests"].as_array().context("no guests")?.iter().map(|guest| Guest::read(kind, guest));
        let guests = guests.collect::<anyhow::Result<_>>()?;
        Ok(Self { programs: programs.clone(), guests, roots, service, lab: directory, kind: kind.to_owned(), process })
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[Guest] {
        &self.guests
    }

    /// The PEM files that an operator imports for their kind.
    #[must_use]
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// Lines of TOML for a server's configuration: AMD and Intel are the simulator.
    #[must_use]
    pub fn server(&self) -> String {
        format!(
            "[endorsements]\namd_url = \"{0}\"\namd_interval = \"1s\"\nintel_url = \"{0}\"\ntimeout = \"5s\"\n",
            self.service
        )
    }

    /// Their kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The attacks on their kind, as `guest attacks` lists them.
    ///
    /// # Errors
    /// If the simulator refuses.
    pub fn attacks(&self) -> anyhow::Result<Value> {
        let mut command = self.programs.command("holdfast-tpm-sim");
        Output::of(command.args(["--output", "json", "guest", "attacks", "--kind", &self.kind]))?.success()?.json()
    }

    /// Has the vendors' service go wrong, or right again.
    ///
    /// # Errors
    /// If the simulator refuses.
    pub fn fault(&self, faults: &[&str]) -> anyhow::Result<()> {
        self.of_lab("fault", faults).map(drop)
    }

    /// What the vendors' service was asked: method and target.
    ///
    /// # Errors
    /// If the simulator refuses.
    pub fn asked(&self) -> anyhow::Result<Vec<String>> {
        Ok(self.of_lab("asked", &[])?.stdout.lines().map(str::to_owned).collect())
    }

    /// Asks the vendors' service itself, as anybody may.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn ask(&self, path: &str) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.service.trim_start_matches("http://"))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map(drop).context("the vendors' service")
    }

    fn of_lab(&self, word: &str, more: &[&str]) -> anyhow::Result<Output> {
        let mut command = self.programs.command("holdfast-tpm-sim");
        command.args(["guest", word, "--dir"]).arg(&self.lab).args(more);
        Output::of(&mut command)?.success()
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
        let measured = self.guests.first().map(|guest| &guest.measured).unwrap_or(&Value::Null);
        let registers = |fact: &str, numbers: &[u8]| {
            let line = |number: &u8| format!("{fact}{number} = \"{}\"\n", text(&measured[number.to_string()]));
            numbers.iter().map(line).collect::<String>()
        };
        let (name, require) = match kind {
            "snp" => ("{snp.report_id}", snp_demands(spec)),
            "tdx" => (
                "{tdx.instance}",
                format!(
                    "tdx.mrtd = \"{}\"\ntdx.tcb.status = \"UpToDate\"\ntdx.secure_boot.enabled = true\n\
                     tdx.platform.cached_keys = false\ntdx.platform.dynamic = false\n\
                     tdx.attributes.perfmon = false\n{}",
                    text(&spec["mrtd"]),
                    registers("tdx.rtmr", &[1, 2])
                ),
            ),
            "nitrotpm" => ("{nitrotpm.instance_id}", registers("nitrotpm.pcr.", &[4, 7, 8, 9])),
            "azure" => {
                let paravisor = match spec["hardware"].as_str() {
                    Some("snp") => format!(
                        "snp.id_key_digest = \"{}\"\nsnp.tcb.reported.snp = {{ at_least = {} }}\n",
                        text(&spec["snp"]["id_key_digest"]),
                        spec["snp"]["reported_tcb"]["snp"]
                    ),
                    _ => String::new(),
                };
                ("{azure.instance}", registers("tpm.pcr.", &[4, 7, 8, 9]) + &paravisor)
            }
            "gcp" => {
                let ours = format!("gcp.project_number = \"{}\"\ngcp.production = true\n", spec["project_number"]);
                ("{gcp.instance_id}", registers("tpm.pcr.", &[4, 7, 8, 9]) + &ours)
            }
            _ => {
                let pcr = |number: u8| match spec["pcrs"][number.to_string()].as_str() {
                    Some(value) => format!("nitro.pcr.{number} = \"{value}\"\n"),
                    None => String::new(),
                };
                ("{nitro.module_id}", [0, 2, 3, 8].map(pcr).concat())
            }
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
        let text = |name: &str| report[name].as_str().with_context(|| format!("no {name}"));
        let tpm = || Ok::<_, anyhow::Error>(format!("[tpm]\nswtpm = \"{}\"\n", text("tcti")?));
        let agent = match kind {
            "snp" => format!("[tsm]\npath = \"{}\"\n", text("device")?),
            "tdx" => {
                format!("[tsm]\npath = \"{}\"\n[tdx]\nevent_log = \"{}\"\n", text("device")?, text("event_log")?)
            }
            "nitro" => format!("[nitro]\ndevice = \"{}\"\n", text("device")?),
            "azure" => format!("{}[azure]\nimds = \"{}\"\n", tpm()?, text("metadata")?),
            "nitrotpm" | "gcp" => tpm()?,
            other => anyhow::bail!("no agent knows the device of kind {other}"),
        };
        let log = report["firmware_log"].as_str();
        Ok(Self {
            directory: PathBuf::from(text("directory")?),
            agent,
            spec: report[kind].clone(),
            measured: report["measured"].clone(),
            attestation_key: report["attestation_key"].as_str().map(str::to_owned),
            agent_top: log.map(|log| format!("firmware_log = \"{log}\"\n")).unwrap_or_default(),
            kind: kind.to_owned(),
        })
    }

    /// What makes it ours, as `node allow --fact` takes it: its chip, or its instance.
    #[must_use]
    pub fn ours(&self) -> String {
        if let (Some("none"), Some(key)) = (self.spec["hardware"].as_str(), &self.attestation_key) {
            return format!("azure.ak.spki_sha256={key}");
        }
        let (fact, value) = match self.kind.as_str() {
            "snp" => ("snp.chip_id", &self.spec["chip_id"]),
            "tdx" => ("tdx.piid", &self.spec["platform"]["instance_id"]),
            "nitrotpm" => ("nitrotpm.instance_id", &self.spec["instance_id"]),
            "azure" => ("azure.vm_unique_id", &self.spec["vm_unique_id"]),
            "gcp" => ("gcp.instance_id", &self.spec["instance_id"]),
            _ => ("nitro.instance_id", &self.spec["instance_id"]),
        };
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_lowercase);
        format!("{fact}={value}")
    }
}

/// What an operator demands of SNP guests: the image, the versions that the platform has, and every protection of it.
fn snp_demands(spec: &Value) -> String {
    let measurement = spec["measurement"].as_str().unwrap_or_default();
    let mut demands = format!("snp.measurement = \"{measurement}\"\nsnp.vmpl = {}\n", spec["vmpl"]);
    for (fact, number) in [
        ("reported.microcode", &spec["reported_tcb"]["microcode"]),
        ("reported.snp", &spec["reported_tcb"]["snp"]),
        ("committed.snp", &spec["committed_tcb"]["snp"]),
    ] {
        demands += &format!("snp.tcb.{fact} = {{ at_least = {number} }}\n");
    }
    demands += "snp.platform.alias_check_complete = true\n";
    if spec["platform_info"].as_u64().is_some_and(|bits| bits & (1 << 4) != 0) {
        demands += "snp.platform.ciphertext_hiding = true\n";
    }
    if spec["version"] == 5 {
        demands += &format!("snp.mitigations.current = {{ all_bits = {} }}\n", spec["current_mitigations"]);
    }
    demands
}
