//! `guest`: confidential guests and enclaves, launched, changed and attacked.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::foreground::Signals;
use super::{Failure, Format, absolute};
use crate::error::SimError;
use crate::guest::{Device, Guest, GuestKind, GuestSpec, Lab, attacks_of};

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
  An agent finds the device by its configuration: tsm.path = \"sim:lab/guests/snp-0/device.sock\", or nitro.device.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Launch guests, print what an agent needs, keep their devices answering until Ctrl-C or SIGTERM.
    #[command(after_help = EXAMPLES)]
    Run(Run),
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
    /// Launch a guest anew: the same, but for what only one launch has (SNP's report_id, Nitro's module_id).
    Relaunch(Which),
    /// Try an attack: it shows in the guest's next evidence.
    Attack {
        #[command(flatten)]
        which: Which,
        /// Its name; see `attacks`.
        name: String,
    },
    /// List the attacks on a kind of guest.
    Attacks {
        /// The kind.
        #[arg(long, value_enum)]
        kind: GuestKind,
    },
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The guest's directory.
    #[arg(long)]
    guest: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The kind of guests.
    #[arg(long, value_enum)]
    kind: GuestKind,
    /// How many; SNP guests share one chip.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    count: u16,
    /// Keep vendors and guests here. Guests that are there already go on as they are.
    #[arg(long)]
    dir: PathBuf,
}

#[derive(Debug, Serialize)]
struct Ready {
    kind: GuestKind,
    root: PathBuf,
    guests: Vec<Report>,
}

#[derive(Debug, Serialize)]
struct Report {
    directory: PathBuf,
    device: String,
    #[serde(flatten)]
    spec: GuestSpec,
}

impl Command {
    pub(super) fn run(self, format: Format, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        match self {
            Self::Run(run) => return run.run(format, out),
            Self::Show(which) => show(&which.open()?, format, out)?,
            Self::Set { which, fields } => {
                let guest = which.open()?;
                let mut spec = serde_json::to_value(guest.spec()?).unwrap_or_default();
                for field in &fields {
                    set(&mut spec, field)?;
                }
                let spec = serde_json::from_value(spec)
                    .map_err(|error| SimError::Guest { what: "field", problem: error.to_string() })?;
                guest.keep(&spec)?;
                show(&guest, format, out)?;
            }
            Self::Relaunch(which) => {
                let guest = which.open()?;
                let mut spec = guest.spec()?;
                spec.relaunch();
                guest.keep(&spec)?;
                show(&guest, format, out)?;
            }
            Self::Attack { which, name } => {
                let guest = which.open()?;
                let mut spec = guest.spec()?;
                let attack = attacks_of(spec.kind()).iter().find(|attack| attack.name == name).ok_or_else(|| {
                    let names: Vec<&str> = attacks_of(spec.kind()).iter().map(|attack| attack.name).collect();
                    SimError::Guest { what: "attack", problem: format!("unknown; known: {}", names.join(", ")) }
                })?;
                attack.apply(&mut spec);
                guest.keep(&spec)?;
                show(&guest, format, out)?;
            }
            Self::Attacks { kind } => {
                for attack in attacks_of(kind) {
                    match format {
                        Format::Text => writeln!(out, "{:24} {}", attack.name, attack.description)?,
                        Format::Json => {
                            format.json(out, &[attack.name, attack.description])?;
                        }
                    }
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Which {
    fn open(&self) -> Result<Guest, SimError> {
        Ok(Guest::at(&absolute(&self.guest)?))
    }
}

impl Run {
    fn run(self, format: Format, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let mut signals = Signals::new()?;
        let directory = absolute(&self.dir)?;
        let lab = Lab::open(&directory);
        let mut chip = None;
        let (mut running, mut guests) = (Vec::new(), Vec::new());
        let mut root = PathBuf::new();
        for index in 0..self.count {
            let guest = self.guest(&lab, &directory, index, chip.as_deref())?;
            let spec = guest.spec()?;
            chip = spec.chip().map(str::to_owned).or(chip);
            root = lab.root_of(&spec)?;
            running.push(Device::new(lab.clone(), guest.clone()).start()?);
            guests.push(report(&guest, spec));
        }
        let ready = Ready { kind: self.kind, root, guests };
        match format {
            Format::Json => format.json(out, &ready)?,
            Format::Text => {
                for guest in &ready.guests {
                    writeln!(out, "guest           {}\n  device        {}", guest.directory.display(), guest.device)?;
                }
                writeln!(out, "root            {}\nready: {} guests", ready.root.display(), ready.guests.len())?;
            }
        }
        out.flush()?;
        signals.wait();
        drop(running);
        Ok(ExitCode::SUCCESS)
    }

    fn guest(&self, lab: &Lab, directory: &Path, index: u16, chip: Option<&str>) -> Result<Guest, SimError> {
        let name = format!("{}-{index}", self.kind.as_str());
        let kept = Guest::at(&directory.join("guests").join(&name));
        if kept.spec().is_ok() { Ok(kept) } else { lab.launch(&name, self.kind, chip) }
    }
}

fn report(guest: &Guest, spec: GuestSpec) -> Report {
    let device = format!("sim:{}", guest.socket().display());
    Report { directory: guest.directory().to_owned(), device, spec }
}

fn show(guest: &Guest, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let report = report(guest, guest.spec()?);
    match format {
        Format::Json => format.json(out, &report)?,
        Format::Text => writeln!(out, "{}", serde_json::to_string_pretty(&report).unwrap_or_default())?,
    }
    Ok(())
}

/// `field=value` or `table.field=value` of the one kind in `spec`; a value that is no JSON is text.
fn set(spec: &mut Value, field: &str) -> Result<(), SimError> {
    let problem = |problem: String| SimError::Guest { what: "field", problem };
    let (path, value) = field.split_once('=').ok_or_else(|| problem(format!("{field:?} is not FIELD=VALUE")))?;
    let kinds = spec.as_object_mut().and_then(|kinds| kinds.values_mut().next());
    let mut at = kinds.ok_or_else(|| problem("guest of no kind".to_owned()))?;
    for name in path.split('.') {
        if !at.is_object() {
            *at = Value::Object(serde_json::Map::new());
        }
        at = at
            .as_object_mut()
            .map(|table| table.entry(name.to_owned()).or_insert(Value::Null))
            .ok_or_else(|| problem(format!("{path} is no field")))?;
    }
    let is_text = at.is_string() || serde_json::from_str::<Value>(value).is_err();
    *at = if is_text { value.into() } else { serde_json::from_str(value).unwrap_or_default() };
    Ok(())
}
