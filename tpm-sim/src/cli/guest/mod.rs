//! `guest`: confidential guests and enclaves, launched, changed and attacked; and the vendors behind them.

mod evidence;
mod fields;
mod run;
mod serve;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Failure, Format, absolute};
use crate::console::{Request, is_running, tell};
use crate::error::SimError;
use crate::guest::vtpm::machine_of;
use crate::guest::{Guest, GuestKind, GuestSpec, Lab, attacks_of};
use crate::report::MachineReport;

pub(super) const EXAMPLES: &str = "\
Examples:
  Two SNP guests of one image on one chip, until Ctrl-C:
    holdfast-tpm-sim guest run --kind snp --count 2 --dir lab
  Meanwhile, in another shell:
    holdfast-tpm-sim guest attack --guest lab/guests/snp-0 tampered-image
    holdfast-tpm-sim guest set --guest lab/guests/snp-0 vmpl=1 reported_tcb.snp=20
    holdfast-tpm-sim guest relaunch --guest lab/guests/snp-1
  What an operator imports:
    holdfast-server endorsements import --class simulated --for snp lab/roots/snp/Milan/ARK-Milan.pem
  An agent finds the device by its configuration: tsm.path = \"sim:lab/guests/snp-0/device.sock\", or nitro.device.
  Evidence in files, without an agent:
    holdfast-tpm-sim guest evidence --guest lab/guests/snp-0 --binding 00ff… --to files
    holdfast-policy inspect snp --report files/report.bin --vek files/vek.pem --chain files/chain.pem …";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Launch guests, without anything that answers for them: for `evidence`, or for `run` later.
    Launch(run::Launch),
    /// Launch guests, print what an agent needs, keep their devices answering until Ctrl-C or SIGTERM.
    #[command(after_help = EXAMPLES)]
    Run(run::Run),
    /// Print what a guest is.
    Show(Which),
    /// Change fields of a guest: they show in its next evidence.
    Set {
        #[command(flatten)]
        which: Which,
        /// FIELD=VALUE as `show` prints them; a dot leads into a table.
        #[arg(required = true, value_name = "FIELD=VALUE")]
        fields: Vec<String>,
    },
    /// Make a guest what it was when it was launched.
    Heal(Which),
    /// Launch a guest anew: the same, but for what only one launch has (SNP's report_id, Nitro's module_id).
    Relaunch(Which),
    /// Try an attack: it shows in the guest's next evidence.
    Attack {
        #[command(flatten)]
        which: Which,
        /// Its name; see `attacks`.
        name: String,
    },
    /// List the attacks on a kind of guest, and what comes of each: as what it is refused, mostly.
    Attacks {
        /// The kind.
        #[arg(long, value_enum)]
        kind: GuestKind,
    },
    /// Print the certificates that an operator imports for the guests of a lab: their files.
    Roots {
        /// The lab.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Serve what AMD and Intel serve over HTTP, for the chips and platforms of a lab, until Ctrl-C or SIGTERM.
    #[command(after_help = serve::EXAMPLES)]
    Serve(serve::Serve),
    /// Have a lab's service go wrong, or right again.
    #[command(after_help = serve::EXAMPLES)]
    Fault(serve::Faults),
    /// Print what a lab's service was asked.
    Asked(serve::Asked),
    /// Write a guest's evidence, and what a verifier needs beside it, into files.
    Evidence(evidence::Evidence),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The guest's directory.
    #[arg(long)]
    guest: PathBuf,
}

/// A guest, as it is printed.
#[derive(Debug, Serialize)]
struct Report {
    directory: PathBuf,
    /// Where the agent's `tsm.path` or `nitro.device` finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// The agent's `tdx.event_log`.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_log: Option<PathBuf>,
    /// The agent's `tpm.swtpm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    tcti: Option<String>,
    /// The agent's `firmware_log`.
    #[serde(skip_serializing_if = "Option::is_none")]
    firmware_log: Option<PathBuf>,
    /// The agent's `azure.imds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<String>,
    /// SHA-256 of the SubjectPublicKeyInfo of a virtual TPM's attestation key.
    #[serde(skip_serializing_if = "Option::is_none")]
    attestation_key: Option<String>,
    /// What its boot leads to, for a policy: RTMRs of a TD; PCRs in the bank that its evidence has them in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    measured: BTreeMap<u32, String>,
    #[serde(flatten)]
    spec: GuestSpec,
}

/// An attack, as it is printed.
#[derive(Debug, Serialize)]
struct Listed {
    name: &'static str,
    description: &'static str,
    /// Absent where the guest is admitted as the node that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_as: Option<&'static str>,
}

impl Command {
    pub(super) fn run(self, format: Format, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        match self {
            Self::Launch(launch) => launch.run(format, out)?,
            Self::Run(run) => return run.run(format, out),
            Self::Show(which) => show(&which.open()?, format, out)?,
            Self::Set { which, fields } => which.change(format, out, |spec| fields::set(spec, &fields))?,
            Self::Heal(which) => {
                let guest = which.open()?;
                guest.heal()?;
                show(&guest, format, out)?;
            }
            Self::Relaunch(which) => {
                let guest = which.open()?;
                let mut spec = guest.spec()?;
                spec.relaunch();
                guest.launched(&spec)?;
                show(&guest, format, out)?;
            }
            Self::Attack { which, name } => which.change(format, out, |spec| attack(spec, &name))?,
            Self::Attacks { kind } => {
                let attacks = attacks_of(kind).iter();
                let listed: Vec<Listed> = attacks
                    .map(|attack| Listed {
                        name: attack.name,
                        description: attack.description,
                        refused_as: attack.refused_as,
                    })
                    .collect();
                match format {
                    Format::Json => format.json(out, &listed)?,
                    Format::Text => {
                        for Listed { name, description, refused_as } in listed {
                            let outcome = refused_as.map_or_else(
                                || "admitted, as the node that it is".to_owned(),
                                |code| format!("refused as {code}"),
                            );
                            writeln!(out, "{name:28} {description}\n{:28} {outcome}", "")?;
                        }
                    }
                }
            }
            Self::Roots { dir } => roots(&Lab::open(&absolute(&dir)?), format, out)?,
            Self::Serve(serve) => return serve.run(format, out),
            Self::Fault(faults) => faults.run()?,
            Self::Asked(asked) => asked.run(format, out)?,
            Self::Evidence(evidence) => evidence.run(format, out)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn attack(spec: &mut GuestSpec, name: &str) -> Result<(), SimError> {
    let known = attacks_of(spec.kind());
    let attack = known.iter().find(|attack| attack.name == name).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|attack| attack.name).collect();
        SimError::Guest { what: "attack", problem: format!("unknown; known: {}", names.join(", ")) }
    })?;
    attack.apply(spec);
    Ok(())
}

impl Which {
    fn open(&self) -> Result<Guest, SimError> {
        Ok(Guest::at(&absolute(&self.guest)?))
    }

    /// Changes what the guest is, and shows it.
    fn change(
        &self,
        format: Format,
        out: &mut dyn Write,
        change: impl FnOnce(&mut GuestSpec) -> Result<(), SimError>,
    ) -> Result<(), Failure> {
        let guest = self.open()?;
        let mut spec = guest.spec()?;
        change(&mut spec)?;
        guest.keep(&spec)?;
        show(&guest, format, out)
    }
}

impl Report {
    /// Of a guest, whether it runs or not.
    fn of(guest: &Guest, spec: GuestSpec) -> Result<Self, SimError> {
        let has_device = spec.quoting().is_none();
        let is_td = matches!(spec, GuestSpec::Tdx(_));
        let measured = spec.measured()?.into_iter().map(|(register, value)| (register, hex::encode(value)));
        Ok(Self {
            directory: guest.directory().to_owned(),
            device: has_device.then(|| format!("sim:{}", guest.socket().display())),
            event_log: is_td.then(|| guest.event_log()),
            tcti: None,
            firmware_log: None,
            metadata: None,
            attestation_key: None,
            measured: measured.collect(),
            spec,
        })
    }

    /// The same with where its machine answers.
    fn with_machine(mut self, machine: &MachineReport, metadata: Option<String>) -> Self {
        self.tcti = machine.running.as_ref().map(|running| running.tcti.clone());
        self.firmware_log = Some(machine.firmware_log.clone());
        self.metadata = metadata;
        self
    }

    /// For people.
    fn to_text(&self) -> String {
        let mut text = format!("guest           {}\n", self.directory.display());
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        for (name, value) in [
            ("device", self.device.clone()),
            ("event log", path(&self.event_log)),
            ("tpm.swtpm", self.tcti.clone()),
            ("firmware_log", path(&self.firmware_log)),
            ("azure.imds", self.metadata.clone()),
            ("key sha256", self.attestation_key.clone()),
        ] {
            if let Some(value) = value {
                let _ = writeln!(text, "  {name:<13} {value}");
            }
        }
        text
    }
}

/// The certificates to import, by kind of evidence.
fn roots(lab: &Lab, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let mut found: BTreeSet<(&'static str, PathBuf)> = BTreeSet::new();
    for guest in lab.guests()? {
        let spec = guest.spec()?;
        found.extend(lab.roots_of(&spec)?.into_iter().map(|root| (spec.kind().as_str(), root)));
    }
    match format {
        Format::Json => format.json(out, &found)?,
        Format::Text => found.iter().try_for_each(|(kind, root)| writeln!(out, "{kind:<10} {}", root.display()))?,
    }
    Ok(())
}

fn show(guest: &Guest, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let mut report = Report::of(guest, guest.spec()?)?;
    let machine = machine_of(guest.directory());
    if is_running(&machine) {
        report = report.with_machine(&tell(&machine, &Request::Status)?, None);
    }
    match format {
        Format::Json => format.json(out, &report)?,
        Format::Text => writeln!(out, "{}", serde_json::to_string_pretty(&report).unwrap_or_default())?,
    }
    Ok(())
}

/// The directory of a guest of that name in the lab.
fn place(lab: &Path, name: &str) -> PathBuf {
    lab.join("guests").join(name)
}
