//! `guest serve`: what AMD and Intel serve over HTTP, for the chips and platforms of a lab.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::foreground::Signals;
use crate::cli::{Failure, Format, absolute};
use crate::error::file;
use crate::guest::{Lab, Service, ServiceFault, asked_file, faults_file, vendors};

pub(super) const EXAMPLES: &str = "\
Examples:
  holdfast-tpm-sim guest serve --dir lab --fault error:503@/vcek*1 --fault limit:10s@/vcek
  holdfast-tpm-sim guest fault --dir lab stall@/tdx       from now on, and nothing else
  holdfast-tpm-sim guest fault --dir lab                  heals it
  holdfast-tpm-sim guest asked --dir lab                  what it was asked

Faults: delay:TIME, error:STATUS, limit:TIME (429 but for one request in that time), lie (a bit flipped), garbage,
disconnect, stall, endless, redirect; with @/PATH for targets that begin so, and *N for N times.
A server asks it by endorsements.amd_url and endorsements.intel_url.";

#[derive(Debug, Args)]
pub(in crate::cli) struct Serve {
    /// The lab: certificates for chips and platforms of its guests.
    #[arg(long)]
    dir: PathBuf,
    /// Port on loopback; a free one if not given.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// What goes wrong from the start. May be given several times.
    #[arg(long, value_name = "FAULT")]
    fault: Vec<ServiceFault>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Faults {
    /// The lab whose service it is.
    #[arg(long)]
    dir: PathBuf,
    /// From now on these, and no others; none heals it.
    faults: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Asked {
    /// The lab whose service it is.
    #[arg(long)]
    dir: PathBuf,
}

impl Serve {
    pub(super) fn run(self, format: Format, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let mut signals = Signals::new()?;
        let directory = absolute(&self.dir)?;
        let service = Service::start_in(&directory, self.port, vendors(Lab::open(&directory)))?;
        service.faults(self.fault);
        match format {
            Format::Json => format.json(out, &json!({ "service": service.url() }))?,
            Format::Text => writeln!(out, "service         {}", service.url())?,
        }
        out.flush()?;
        signals.wait();
        Ok(ExitCode::SUCCESS)
    }
}

impl Faults {
    pub(super) fn run(self) -> Result<(), Failure> {
        for fault in &self.faults {
            fault
                .parse::<ServiceFault>()
                .map_err(|problem| crate::error::SimError::Guest { what: "fault", problem })?;
        }
        let path = faults_file(&absolute(&self.dir)?);
        // a reader sees the old list or the new one; two equal lists are told apart by nothing, and need not be
        let new = path.with_extension("new");
        fs::write(&new, self.faults.join("\n")).map_err(file("write", &new))?;
        Ok(fs::rename(&new, &path).map_err(file("write", &path))?)
    }
}

impl Asked {
    pub(super) fn run(&self, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
        let text = fs::read_to_string(asked_file(&absolute(&self.dir)?)).unwrap_or_default();
        match format {
            Format::Json => format.json(out, &text.lines().collect::<Vec<_>>())?,
            Format::Text => write!(out, "{text}")?,
        }
        Ok(())
    }
}
