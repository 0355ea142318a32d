//! Commands that keep machines running: `run` and `boot`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, Format, absolute};
use crate::console::{Console, is_running};
use crate::error::{SimError, file};
use crate::factory::Factory;
use crate::fault::Fault;
use crate::machine::Machine;
use crate::profile::Profile;
use crate::report::MachineReport;

pub(super) const RUN_EXAMPLES: &str = "\
Examples:
  holdfast-tpm-sim run --machines 3 --output json
  holdfast-tpm-sim run --machines 2 --dir lab --profile ./my-server.toml --fault delay:50ms
  holdfast-tpm-sim run -- sh -c 'TPM2TOOLS_TCTI=swtpm:$HOLDFAST_SIM_TCTI_0 tpm2_pcrread sha256'

A command after -- finds HOLDFAST_SIM_ROOT (the vendor's root, PEM), HOLDFAST_SIM_DIR, and for each machine N
HOLDFAST_SIM_TCTI_N and HOLDFAST_SIM_LOG_N in its environment.";

/// How long a command after `--` has to end once it was told to.
const COMMAND_ENDS_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Run {
    /// How many machines.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    machines: u16,
    /// Keep vendor and machines here, to find them again: the same EKs, counters going on. Without it they live in a
    /// temporary directory that is removed at the end.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Take the machines as they left the factory, even if --dir has used ones.
    #[arg(long)]
    fresh: bool,
    /// What they boot: a built-in profile (see `profiles`) or a file.
    #[arg(long, default_value = "shim-grub")]
    profile: String,
    /// What goes wrong from the start: drop, delay:TIME, disconnect, refuse:0xCODE; with @COMMAND for one TPM command
    /// and *N for N times. May be given several times.
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Fault>,
    /// Run this once all machines are up, and end with it.
    #[arg(last = true)]
    command: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Boot {
    /// The machine's directory.
    #[arg(long)]
    machine: PathBuf,
    /// What it boots: a built-in profile (see `profiles`) or a file.
    #[arg(long, default_value = "shim-grub")]
    profile: String,
    /// What goes wrong from the start, as with `run`.
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Fault>,
}

/// What is printed once all machines are up.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    directory: &'a Path,
    vendor_root: &'a Path,
    machines: &'a [MachineReport],
}

impl Run {
    pub(super) fn run(self, format: Format, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let mut signals = Signals::new()?;
        let start = Instant::now();
        let profile = Profile::load(&self.profile)?;
        let temporary = match self.dir {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("holdfast-tpm-sim-")
                    .tempdir()
                    .map_err(file("create", &std::env::temp_dir()))?,
            ),
        };
        let directory = match (&self.dir, &temporary) {
            (Some(directory), _) => absolute(directory)?,
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => std::env::temp_dir(),
        };
        let factory = Factory::open(&directory)?;
        let root = Factory::root_path(&directory);
        let mut consoles = Vec::new();
        for index in 0..usize::from(self.machines) {
            if signals.pending() {
                return Ok(ExitCode::SUCCESS);
            }
            let place = directory.join("machines").join(index.to_string());
            let machine = self.machine(&factory, index, &place)?;
            consoles.push(start_one(machine, &profile, &self.fault)?);
        }
        let reports: Vec<MachineReport> = consoles.iter().map(Console::report).collect::<Result<_, _>>()?;
        let ready = Ready { directory: &directory, vendor_root: &root, machines: &reports };
        match format {
            Format::Json => format.json(out, &ready)?,
            Format::Text => {
                reports.iter().try_for_each(|report| write!(out, "{}", report.to_text()))?;
                writeln!(out, "vendor root     {}", root.display())?;
                writeln!(out, "ready: {} machines up in {:.1} s", reports.len(), start.elapsed().as_secs_f64())?;
            }
        }
        out.flush()?;
        match self.command.split_first() {
            Some((program, arguments)) => Ok(signals.command(program, arguments, &ready)?),
            None => {
                signals.wait();
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    fn machine(&self, factory: &Factory, index: usize, place: &Path) -> Result<Machine, SimError> {
        if place.exists() && is_running(place) {
            return Err(already_running(place));
        }
        if self.fresh && place.exists() {
            std::fs::remove_dir_all(place).map_err(file("remove", place))?;
        }
        if place.exists() { Machine::open(place) } else { factory.machine(index, place) }
    }
}

impl Boot {
    pub(super) fn run(self, format: Format, out: &mut dyn Write) -> Result<ExitCode, Failure> {
        let mut signals = Signals::new()?;
        let directory = absolute(&self.machine)?;
        let machine = Machine::open(&directory)?;
        if is_running(&directory) {
            return Err(already_running(&directory).into());
        }
        let console = start_one(machine, &Profile::load(&self.profile)?, &self.fault)?;
        format.report(out, &console.report()?)?;
        out.flush()?;
        signals.wait();
        Ok(ExitCode::SUCCESS)
    }
}

fn start_one(machine: Machine, profile: &Profile, faults: &[Fault]) -> Result<Console, SimError> {
    let machine = machine.start(profile)?;
    faults.iter().for_each(|fault| machine.inject(fault.clone()));
    Console::open(machine)
}

fn already_running(place: &Path) -> SimError {
    SimError::Console { path: place.to_owned(), problem: "it is running already".to_owned() }
}

/// SIGINT, SIGTERM and SIGHUP, caught from the first moment on: machines are always stopped in order.
pub(super) struct Signals {
    runtime: tokio::runtime::Runtime,
    each: [Signal; 3],
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let guard = runtime.enter();
        let each = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
        drop(guard);
        Ok(Self { runtime, each })
    }

    /// Whether one has come already.
    pub(super) fn pending(&mut self) -> bool {
        let each = &mut self.each;
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = any(each) => true,
                () = tokio::time::sleep(Duration::from_millis(1)) => false,
            }
        })
    }

    pub(super) fn wait(&mut self) {
        self.runtime.block_on(any(&mut self.each));
    }

    /// Runs a command with the machines in its environment, until it ends or a signal ends it.
    fn command(&mut self, program: &str, arguments: &[String], ready: &Ready<'_>) -> Result<ExitCode, SimError> {
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).kill_on_drop(true);
        command.env("HOLDFAST_SIM_ROOT", ready.vendor_root).env("HOLDFAST_SIM_DIR", ready.directory);
        for machine in ready.machines {
            command.env(format!("HOLDFAST_SIM_LOG_{}", machine.index), &machine.firmware_log);
            if let Some(running) = &machine.running {
                command.env(format!("HOLDFAST_SIM_TCTI_{}", machine.index), &running.tcti);
            }
        }
        let failed = file("run", Path::new(program));
        let each = &mut self.each;
        let status = self.runtime.block_on(async {
            let mut child = command.spawn()?;
            tokio::select! {
                status = child.wait() => return status,
                () = any(each) => {}
            }
            let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
            if let Some(id) = id {
                let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
            }
            match tokio::time::timeout(COMMAND_ENDS_WITHIN, child.wait()).await {
                Ok(status) => status,
                Err(_) => {
                    child.kill().await?;
                    child.wait().await
                }
            }
        });
        let code = status.map_err(failed)?.code().and_then(|code| u8::try_from(code).ok());
        Ok(ExitCode::from(code.unwrap_or(super::USAGE)))
    }
}

async fn any(each: &mut [Signal; 3]) {
    let [interrupt, terminate, hangup] = each;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
