//! Commands to a running machine.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Failure, Format, absolute};
use crate::change::Change;
use crate::console::{Request, tell};
use crate::fault::Fault;
use crate::profile::BUILT_IN;
use crate::tamper::LogLie;

#[derive(Debug, Subcommand)]
pub(super) enum Tell {
    /// Print how a running machine is: ports, profile, counters, commands.
    Status(Which),
    /// Reboot: connections drop, PCRs and log begin anew, resetCount rises.
    #[command(after_help = "Example:\n  holdfast-tpm-sim reboot --machine lab/machines/1 --profile changed-kernel")]
    Reboot {
        #[command(flatten)]
        which: Which,
        /// What it boots from now on: a built-in profile or a file; the same again if not given.
        #[arg(long)]
        profile: Option<String>,
        /// Cut the power instead of shutting down.
        #[arg(long)]
        pull_the_plug: bool,
    },
    /// Suspend and resume: PCRs stay, restartCount rises.
    Suspend(Which),
    /// Clear the TPM from the firmware's menu and boot again: counters fall to zero, keys are gone.
    Clear(Which),
    /// Go back to a snapshot of the TPM's state and boot again.
    Rollback {
        #[command(flatten)]
        which: Which,
        /// Where `snapshot` wrote it.
        #[arg(long)]
        from: PathBuf,
    },
    /// Boot something else, or lie in the firmware log.
    #[command(after_help = TAMPER_HELP)]
    Tamper {
        #[command(flatten)]
        which: Which,
        #[command(subcommand)]
        how: Tamper,
    },
    /// From now on these faults, and no others; none at all heals the machine.
    #[command(after_help = FAULT_EXAMPLES)]
    Fault {
        #[command(flatten)]
        which: Which,
        /// drop, delay:TIME, disconnect, refuse:0xCODE; with @COMMAND and *N.
        faults: Vec<Fault>,
    },
    /// Print the TPM commands that software has sent, by name.
    Commands {
        #[command(flatten)]
        which: Which,
        /// Count from zero from now on.
        #[arg(long)]
        forget: bool,
    },
}

const TAMPER_HELP: &str = "\
kernel, cmdline, initrd, firmware, secure-boot-off, allow-signer, undo-revocation and grub-command reboot the machine
with that one thing changed: the log is true, and the policy must notice. log-… change the log file alone: the PCRs
contradict it, and the verifier must notice. Events are numbered from 0, the Spec ID event.

Examples:
  holdfast-tpm-sim tamper --machine lab/machines/0 kernel
  holdfast-tpm-sim tamper --machine lab/machines/0 log-replace lab/machines/1/binary_bios_measurements
  holdfast-tpm-sim tamper --machine lab/machines/0 log-truth";

const FAULT_EXAMPLES: &str = "\
Examples:
  holdfast-tpm-sim fault --machine lab/machines/0 drop            no response ever arrives
  holdfast-tpm-sim fault --machine lab/machines/0 delay:2s@Quote  quotes come late
  holdfast-tpm-sim fault --machine lab/machines/0 refuse:0x922*3  three times TPM_RC_RETRY
  holdfast-tpm-sim fault --machine lab/machines/0                 all well again";

#[derive(Debug, Args)]
pub(super) struct Which {
    /// The machine's directory.
    #[arg(long)]
    machine: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum Tamper {
    /// Boot another kernel.
    Kernel {
        /// Its contents.
        #[arg(default_value = "a kernel nobody has approved")]
        image: String,
    },
    /// Boot with another command line.
    Cmdline {
        /// The command line.
        text: String,
    },
    /// Boot with another initrd.
    Initrd {
        /// Its contents.
        #[arg(default_value = "an initrd nobody has approved")]
        image: String,
    },
    /// Boot other firmware.
    Firmware {
        /// Its version.
        #[arg(value_name = "VERSION", default_value = "Holdfast Simulator 0.0.1")]
        release: String,
    },
    /// Boot with Secure Boot switched off.
    SecureBootOff,
    /// Boot with a further certificate in db.
    AllowSigner {
        /// Its common name.
        #[arg(default_value = "Holdfast Simulator Intruder")]
        name: String,
    },
    /// Boot with dbx one entry shorter.
    UndoRevocation,
    /// Boot with a command typed into GRUB's shell.
    GrubCommand {
        /// The command.
        command: String,
    },
    /// Extend a PCR now, with no event in any log.
    Pcr {
        /// Which.
        index: u32,
        /// The digests of this text are extended.
        text: String,
    },
    /// Start a file that nobody signed, on a kernel that measures (profile signed-files): into PCR 10 and its list.
    File {
        /// Where it lies.
        path: String,
        /// What is in it.
        #[arg(default_value = "a tool nobody has approved")]
        text: String,
    },
    /// Flip a bit of one byte of the log.
    LogByte {
        /// Its offset.
        offset: usize,
    },
    /// Flip a bit of an event's data.
    LogData {
        /// The event.
        event: usize,
    },
    /// Flip a bit of an event's digests.
    LogDigest {
        /// The event.
        event: usize,
    },
    /// Claim another type for an event.
    LogRelabel {
        /// The event.
        event: usize,
        /// The type, as 0x8000000d or decimal.
        #[arg(value_parser = number)]
        kind: u32,
    },
    /// Claim other data under an event's digests.
    LogOtherData {
        /// The event.
        event: usize,
        /// The data.
        text: String,
    },
    /// Leave an event out.
    LogOmit {
        /// The event.
        event: usize,
    },
    /// Tell an event twice.
    LogRepeat {
        /// The event.
        event: usize,
    },
    /// Exchange an event with the next.
    LogSwap {
        /// The event.
        event: usize,
    },
    /// Cut the log after so many bytes.
    LogCut {
        /// Bytes that stay.
        bytes: usize,
    },
    /// Append text to the log.
    LogTrailing {
        /// The text.
        text: String,
    },
    /// Put another log in its place.
    LogReplace {
        /// The other log.
        file: PathBuf,
    },
    /// Leave a log of no bytes.
    LogEmpty,
    /// Remove the log.
    LogRemove,
    /// Put the true log back.
    LogTruth,
}

impl Tell {
    pub(super) fn run(self, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
        let (which, request) = match self {
            Self::Status(which) => (which, Request::Status),
            Self::Reboot { which, profile, pull_the_plug } => {
                let profile = profile.map(|name| profile_name(&name)).transpose()?;
                (which, Request::Reboot { profile, changes: Vec::new(), pull_the_plug })
            }
            Self::Suspend(which) => (which, Request::Suspend),
            Self::Clear(which) => (which, Request::Clear),
            Self::Rollback { which, from } => (which, Request::Rollback { from: absolute(&from)? }),
            Self::Tamper { which, how } => (which, how.request()?),
            Self::Fault { which, faults } => (which, Request::Faults(faults.iter().map(ToString::to_string).collect())),
            Self::Commands { which, forget } => return commands(&which, forget, format, out),
        };
        format.report(out, &tell(&which.machine, &request)?)?;
        Ok(())
    }
}

fn commands(which: &Which, forget: bool, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let before = tell(&which.machine, &Request::Status)?;
    if forget {
        tell(&which.machine, &Request::ForgetCommands)?;
    }
    let counts = before.running.map(|running| running.commands).unwrap_or_default();
    match format {
        Format::Json => format.json(out, &counts)?,
        Format::Text => {
            for (name, count) in &counts {
                writeln!(out, "{count:>6} {name}")?;
            }
            writeln!(out, "{:>6} in all", counts.values().sum::<u64>())?;
        }
    }
    Ok(())
}

impl Tamper {
    fn request(self) -> Result<Request, Failure> {
        let change = match self {
            Self::Kernel { image } => Change::Kernel(image),
            Self::Cmdline { text } => Change::CommandLine(text),
            Self::Initrd { image } => Change::Initrd(image),
            Self::Firmware { release } => Change::Firmware(release),
            Self::SecureBootOff => Change::SecureBootOff,
            Self::AllowSigner { name } => Change::AllowedSigner(name),
            Self::UndoRevocation => Change::RevocationUndone,
            Self::GrubCommand { command } => Change::GrubCommand(command),
            Self::Pcr { index, text } => return Ok(Request::Extend { pcr: index, text }),
            Self::File { path, text } => return Ok(Request::StartFile { path, text }),
            Self::LogByte { offset } => return Ok(Request::Lie(LogLie::Byte(offset))),
            Self::LogData { event } => return Ok(Request::Lie(LogLie::Data(event))),
            Self::LogDigest { event } => return Ok(Request::Lie(LogLie::Digest(event))),
            Self::LogRelabel { event, kind } => return Ok(Request::Lie(LogLie::Relabelled { event, kind })),
            Self::LogOtherData { event, text } => {
                return Ok(Request::Lie(LogLie::OtherData { event, data: text.into_bytes() }));
            }
            Self::LogOmit { event } => return Ok(Request::Lie(LogLie::Omitted(event))),
            Self::LogRepeat { event } => return Ok(Request::Lie(LogLie::Repeated(event))),
            Self::LogSwap { event } => return Ok(Request::Lie(LogLie::Swapped(event))),
            Self::LogCut { bytes } => return Ok(Request::Lie(LogLie::Cut(bytes))),
            Self::LogTrailing { text } => return Ok(Request::Lie(LogLie::Trailing(text.into_bytes()))),
            Self::LogReplace { file } => return Ok(Request::Lie(LogLie::Replaced(absolute(&file)?))),
            Self::LogEmpty => return Ok(Request::Lie(LogLie::Empty)),
            Self::LogRemove => return Ok(Request::Lie(LogLie::Removed)),
            Self::LogTruth => return Ok(Request::Truth),
        };
        Ok(Request::Reboot { profile: None, changes: vec![change], pull_the_plug: false })
    }
}

/// A profile's name as the running machine can load it.
fn profile_name(name: &str) -> Result<String, Failure> {
    if BUILT_IN.iter().any(|(built_in, _)| *built_in == name) {
        return Ok(name.to_owned());
    }
    Ok(absolute(name.as_ref())?.to_string_lossy().into_owned())
}

fn number(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text:?} is no number of 32 bits"))
}
