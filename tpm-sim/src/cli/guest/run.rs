//! `guest run`: guests whose devices answer until the program ends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{Report, fields, place};
use crate::cli::foreground::Signals;
use crate::cli::{Failure, Format, absolute};
use crate::error::SimError;
use crate::guest::amd::SnpSpec;
use crate::guest::vtpm::RunningVtpm;
use crate::guest::{Device, Guest, GuestKind, GuestSpec, Lab, Running, Service, vendors};

#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    /// The kind of guests.
    #[arg(long, value_enum)]
    kind: GuestKind,
    /// How many; those of SNP share one chip, those of TDX one platform.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    count: u16,
    /// Keep vendors and guests here. Guests that are there already go on as they are.
    #[arg(long)]
    dir: PathBuf,
    /// Fields of guests that are launched now, as with `guest set`: `hardware=tdx` for an Azure machine on TDX,
    /// `hardware=none` for Trusted Launch, `product=Turin` for an SNP guest. May be given several times.
    #[arg(long, value_name = "FIELD=VALUE")]
    set: Vec<String>,
    /// Serve what AMD and Intel serve over HTTP as well; `guest serve` does it alone.
    #[arg(long)]
    serve: bool,
}

#[derive(Debug, Serialize)]
struct Ready {
    kind: GuestKind,
    /// The first of `roots`.
    root: PathBuf,
    /// What an operator imports: roots, and authorities between them and what guests bring along.
    roots: Vec<PathBuf>,
    guests: Vec<Report>,
    /// Address of the vendors' service.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
}

/// Dropping it stops it.
#[expect(dead_code, reason = "held until the program ends")]
enum Answering {
    Device(Running),
    Vtpm(RunningVtpm),
}

impl Run {
    pub(super) fn run(self, format: Format, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let mut signals = Signals::new()?;
        let directory = absolute(&self.dir)?;
        let lab = Lab::open(&directory);
        let (mut answering, mut guests) = (Vec::new(), Vec::new());
        let mut roots: Vec<PathBuf> = Vec::new();
        let mut neighbour = None;
        for index in 0..self.count {
            if signals.pending() {
                return Ok(ExitCode::SUCCESS);
            }
            let guest = self.guest(&lab, &directory, index, neighbour.as_ref())?;
            let spec = guest.spec()?;
            for root in lab.roots_of(&spec)? {
                if !roots.contains(&root) {
                    roots.push(root);
                }
            }
            let (held, report) = start(&lab, &guest, &spec)?;
            answering.push(held);
            guests.push(report);
            neighbour = Some(spec);
        }
        let service = if self.serve { Some(Service::start_in(&directory, 0, vendors(lab.clone()))?) } else { None };
        let ready = Ready {
            kind: self.kind,
            root: roots.first().cloned().unwrap_or_default(),
            roots,
            guests,
            service: service.as_ref().map(Service::url),
        };
        match format {
            Format::Json => format.json(out, &ready)?,
            Format::Text => {
                ready.guests.iter().try_for_each(|guest| write!(out, "{}", guest.to_text()))?;
                ready.roots.iter().try_for_each(|root| writeln!(out, "root            {}", root.display()))?;
                if let Some(service) = &ready.service {
                    writeln!(out, "service         {service}")?;
                }
                writeln!(out, "ready: {} guests", ready.guests.len())?;
            }
        }
        out.flush()?;
        signals.wait();
        drop(answering);
        Ok(ExitCode::SUCCESS)
    }

    fn guest(&self, lab: &Lab, directory: &Path, index: u16, neighbour: Option<&GuestSpec>) -> Result<Guest, SimError> {
        let name = format!("{}-{index}", self.kind.as_str());
        let kept = Guest::at(&place(directory, &name));
        if kept.spec().is_ok() {
            return Ok(kept);
        }
        let mut spec = GuestSpec::new(self.kind);
        // another processor family has other versions
        let product = self.set.iter().find_map(|field| field.strip_prefix("product="));
        if let (GuestSpec::Snp(snp), Some(product)) = (&mut spec, product) {
            **snp = SnpSpec::of(product);
        }
        fields::set(&mut spec, &self.set)?;
        if let Some(neighbour) = neighbour {
            spec.move_to(neighbour);
        }
        lab.launch(&name, &spec)
    }
}

/// Starts what answers for the guest, by its kind.
fn start(lab: &Lab, guest: &Guest, spec: &GuestSpec) -> Result<(Answering, Report), SimError> {
    if spec.quoting().is_none() {
        let device = Device::new(lab.clone(), guest.clone()).start()?;
        return Ok((Answering::Device(device), Report::of(guest, spec.clone())?));
    }
    let vtpm = RunningVtpm::start(lab, guest)?;
    let report = Report::of(guest, spec.clone())?.with_machine(&vtpm.report()?, vtpm.metadata());
    Ok((Answering::Vtpm(vtpm), report))
}
