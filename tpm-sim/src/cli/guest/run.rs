//! `guest launch` and `guest run`: guests, and what answers for them until the program ends.

use std::io::Write;
use std::path::PathBuf;
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
pub(in crate::cli) struct Launch {
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
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    #[command(flatten)]
    launch: Launch,
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

impl Launch {
    /// Launches guests, and leaves them.
    pub(super) fn run(&self, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
        let lab = Lab::open(&absolute(&self.dir)?);
        let (mut roots, mut reports) = (Vec::new(), Vec::new());
        for guest in self.guests(&lab)? {
            let spec = guest.spec()?;
            note(&mut roots, lab.roots_of(&spec)?);
            reports.push(Report::of(&guest, spec)?);
        }
        Ready::new(self.kind, roots, reports, None).print(format, out)
    }

    /// The guests, those that are there already and those that are launched now.
    fn guests(&self, lab: &Lab) -> Result<Vec<Guest>, SimError> {
        let mut guests = Vec::new();
        let mut neighbour = None;
        for index in 0..self.count {
            let guest = self.guest(lab, index, neighbour.as_ref())?;
            neighbour = Some(guest.spec()?);
            guests.push(guest);
        }
        Ok(guests)
    }

    fn guest(&self, lab: &Lab, index: u16, neighbour: Option<&GuestSpec>) -> Result<Guest, SimError> {
        let name = format!("{}-{index}", self.kind.as_str());
        let kept = Guest::at(&place(lab.directory(), &name));
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

impl Run {
    pub(super) fn run(self, format: Format, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let mut signals = Signals::new()?;
        let lab = Lab::open(&absolute(&self.launch.dir)?);
        let (mut answering, mut roots, mut reports) = (Vec::new(), Vec::new(), Vec::new());
        for guest in self.launch.guests(&lab)? {
            if signals.pending() {
                return Ok(ExitCode::SUCCESS);
            }
            let spec = guest.spec()?;
            note(&mut roots, lab.roots_of(&spec)?);
            let (held, report) = start(&lab, &guest, &spec)?;
            answering.push(held);
            reports.push(report);
        }
        let service = match self.serve {
            true => Some(Service::start_in(lab.directory(), 0, vendors(lab.clone()))?),
            false => None,
        };
        let url = service.as_ref().map(Service::url);
        Ready::new(self.launch.kind, roots, reports, url).print(format, out)?;
        out.flush()?;
        signals.wait();
        drop(answering);
        Ok(ExitCode::SUCCESS)
    }
}

impl Ready {
    fn new(kind: GuestKind, roots: Vec<PathBuf>, guests: Vec<Report>, service: Option<String>) -> Self {
        Self { kind, root: roots.first().cloned().unwrap_or_default(), roots, guests, service }
    }

    fn print(&self, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
        if format == Format::Json {
            return Ok(format.json(out, self)?);
        }
        self.guests.iter().try_for_each(|guest| write!(out, "{}", guest.to_text()))?;
        self.roots.iter().try_for_each(|root| writeln!(out, "root            {}", root.display()))?;
        if let Some(service) = &self.service {
            writeln!(out, "service         {service}")?;
        }
        Ok(writeln!(out, "ready: {} guests", self.guests.len())?)
    }
}

/// Adds those that are not there yet.
fn note(roots: &mut Vec<PathBuf>, more: Vec<PathBuf>) {
    for root in more {
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
}

/// Starts what answers for the guest, by its kind.
fn start(lab: &Lab, guest: &Guest, spec: &GuestSpec) -> Result<(Answering, Report), SimError> {
    let report = Report::of(guest, spec.clone())?;
    if spec.quoting().is_none() {
        let device = Device::new(lab.clone(), guest.clone()).start()?;
        return Ok((Answering::Device(device), report));
    }
    let vtpm = RunningVtpm::start(lab, guest)?;
    let mut report = report.with_machine(&vtpm.report()?, vtpm.metadata());
    report.attestation_key = vtpm.attestation_key()?;
    Ok((Answering::Vtpm(vtpm), report))
}
