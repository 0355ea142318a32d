//! Commands that need no running machine: manufacture, copies of state, certificates, reference values, logs.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};

use super::{Failure, Format};
use crate::boot;
use crate::digest::Bank;
use crate::error::{SimError, file};
use crate::factory::Factory;
use crate::keys::file_signer_pem;
use crate::log::{self, event_type};
use crate::machine::Machine;
use crate::maker::{Maker, MakerAttack};
use crate::profile::{BUILT_IN, Profile};
use crate::reference::ReferenceValues;
use crate::report::MachineReport;

#[derive(Debug, Args)]
pub(super) struct Manufacture {
    /// Where vendor and machines are kept.
    #[arg(long)]
    dir: PathBuf,
    /// How many machines there shall be.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    machines: u16,
}

#[derive(Debug, Subcommand)]
pub(super) enum Offline {
    /// Copy the TPM's state, of a running machine too; `rollback` goes back to it.
    Snapshot {
        /// The machine's directory.
        #[arg(long)]
        machine: PathBuf,
        /// Where to.
        #[arg(long)]
        to: PathBuf,
    },
    /// Copy a whole machine, of a running one too: two machines with one identity.
    Clone {
        /// The machine's directory.
        #[arg(long)]
        machine: PathBuf,
        /// The twin's directory; start it with `boot`.
        #[arg(long)]
        to: PathBuf,
    },
    /// Have a maker of machines put a platform certificate, an IAK and an IDevID into a machine that is not running.
    Provision {
        /// The machine's directory.
        #[arg(long)]
        machine: PathBuf,
        /// The maker's directory; made there if it holds none. Import its root.pem and issuing.pem for platform and device.
        #[arg(long)]
        maker: PathBuf,
        /// Serial number of the platform.
        #[arg(long)]
        serial: String,
        /// What shall not be as it must be: platform-holder, platform-self-signed, platform-expired, iak-copied,
        /// iak-unrestricted, idevid-without-residency or another-maker.
        #[arg(long)]
        attack: Option<MakerAttack>,
    },
    /// Print the vendor's root certificate, PEM: what an operator imports as `simulated`.
    #[command(group = ArgGroup::new("whose").required(true))]
    Ca {
        /// The directory of `run` or `manufacture`.
        #[arg(long, group = "whose")]
        dir: Option<PathBuf>,
        /// A machine's directory.
        #[arg(long, group = "whose")]
        machine: Option<PathBuf>,
    },
    /// Print a machine's endorsement keys: digests, or one certificate.
    Ek {
        /// The machine's directory.
        #[arg(long)]
        machine: PathBuf,
        /// Print this key's certificate as PEM instead.
        #[arg(long, value_name = "ALGORITHM", value_parser = ["rsa-2048", "p-256"])]
        certificate: Option<String>,
    },
    /// Print what a policy may expect of a machine that boots this profile.
    #[command(after_help = "Example:\n  holdfast-tpm-sim reference-values --profile shim-grub > shim-grub.toml")]
    ReferenceValues {
        /// A built-in profile or a file.
        #[arg(long)]
        profile: String,
        /// The bank of the policy.
        #[arg(long, default_value = "sha256", value_parser = ["sha256", "sha384"])]
        bank: String,
    },
    /// Print the public key of a profile's measured_files.signer, PEM: for `keys` of a policy's ima table.
    FileSigner {
        /// Its name.
        #[arg(default_value = "Holdfast Simulator IMA")]
        name: String,
    },
    /// List the built-in profiles, or print one as a start for your own.
    Profiles {
        /// Print this one.
        name: Option<String>,
    },
    /// List the events of a profile, or write its log as firmware would.
    EventLog {
        /// A built-in profile or a file.
        #[arg(long)]
        profile: String,
        /// Write the binary log here.
        #[arg(long)]
        write: Option<PathBuf>,
    },
}

impl Manufacture {
    pub(super) fn run(&self, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
        let factory = Factory::open(&self.dir)?;
        for index in 0..usize::from(self.machines) {
            let report = MachineReport::at_rest(&Machine::open(&factory.template(index)?)?);
            format.report(out, &report)?;
        }
        Ok(())
    }
}

impl Offline {
    pub(super) fn run(self, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Provision { machine, maker, serial, attack } => {
                let report = Machine::open(&machine)?.provision(&Maker::open(&maker)?, &serial, attack.as_ref())?;
                match format {
                    Format::Json => format.json(out, &report)?,
                    Format::Text => writeln!(
                        out,
                        "platform      {}\n              certificate sha256 {}\niak           public key sha256  {}\n\
                         idevid        public key sha256  {}",
                        report.platform_id, report.platform_certificate_sha256, report.iak_sha256, report.idevid_sha256
                    )?,
                }
            }
            Self::Snapshot { machine, to } => Machine::open(&machine)?.snapshot(&to)?,
            Self::Clone { machine, to } => {
                format.report(out, &MachineReport::at_rest(&Machine::copy_of(&machine, &to)?))?
            }
            Self::Ca { dir, machine } => match (dir, machine) {
                (_, Some(machine)) => write!(out, "{}", Machine::open(&machine)?.vendor_root_pem())?,
                (dir, None) => {
                    let path = Factory::root_path(&dir.unwrap_or_default());
                    write!(out, "{}", fs::read_to_string(&path).map_err(file("read", &path))?)?;
                }
            },
            Self::Ek { machine, certificate } => ek(&Machine::open(&machine)?, certificate.as_deref(), format, out)?,
            Self::ReferenceValues { profile, bank } => {
                let bank = Bank::ALL.into_iter().find(|known| known.name() == bank).unwrap_or(Bank::Sha256);
                let values = ReferenceValues::of(&Profile::load(&profile)?, bank)?;
                match format {
                    Format::Json => format.json(out, &values)?,
                    Format::Text => write!(out, "{}", values.to_toml())?,
                }
            }
            Self::FileSigner { name } => write!(out, "{}", file_signer_pem(&name)?)?,
            Self::Profiles { name } => profiles(name.as_deref(), format, out)?,
            Self::EventLog { profile, write } => {
                let profile = Profile::load(&profile)?;
                match write {
                    Some(path) => {
                        let bytes = log::encode(&boot::events(&profile)?, &profile.firmware.banks);
                        fs::write(&path, bytes).map_err(file("write", &path))?;
                    }
                    None => events(&profile, format, out)?,
                }
            }
        }
        Ok(())
    }
}

fn ek(machine: &Machine, certificate: Option<&str>, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    match certificate {
        Some(algorithm) => {
            let found = machine.endorsements().into_iter().find(|ek| ek.algorithm.name() == algorithm);
            let pem = found.map(|ek| ek.certificate_pem()).unwrap_or_default();
            write!(out, "{pem}")?;
        }
        None => {
            let report = MachineReport::at_rest(machine);
            match format {
                Format::Json => format.json(out, &report.endorsements)?,
                Format::Text => {
                    for ek in &report.endorsements {
                        writeln!(out, "{} certificate-sha256 {}", ek.algorithm, ek.certificate_sha256)?;
                        writeln!(out, "{} public-key-sha256 {}", ek.algorithm, ek.spki_sha256)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn profiles(name: Option<&str>, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    if let Some(name) = name {
        let found = BUILT_IN.iter().find(|(built_in, _)| *built_in == name);
        let (_, text) = found.ok_or_else(|| SimError::Profile {
            origin: name.to_owned(),
            problem: "not built in; `profiles` lists those that are".to_owned(),
        })?;
        write!(out, "{text}")?;
        return Ok(());
    }
    let all: Result<Vec<Profile>, SimError> = BUILT_IN.iter().map(|(name, _)| Profile::load(name)).collect();
    let all = all?;
    match format {
        Format::Json => {
            let names: std::collections::BTreeMap<_, _> =
                all.iter().map(|profile| (&profile.name, &profile.description)).collect();
            format.json(out, &names)?;
        }
        Format::Text => {
            for profile in &all {
                writeln!(out, "{:<16} {}", profile.name, profile.description)?;
            }
        }
    }
    Ok(())
}

/// One event as `event-log` lists it; number 0 is the Spec ID event, which is not listed.
#[derive(serde::Serialize)]
struct Listed {
    event: usize,
    pcr: u32,
    kind: &'static str,
    sha256: String,
    data_bytes: usize,
}

fn events(profile: &Profile, format: Format, out: &mut dyn Write) -> Result<(), Failure> {
    let listed: Vec<Listed> = boot::events(profile)?
        .iter()
        .zip(1..)
        .map(|(event, number)| Listed {
            event: number,
            pcr: event.pcr,
            kind: event_type::name(event.kind),
            sha256: hex::encode(event.digests.get(Bank::Sha256)),
            data_bytes: event.data.len(),
        })
        .collect();
    match format {
        Format::Json => format.json(out, &listed)?,
        Format::Text => {
            for Listed { event, pcr, kind, sha256, data_bytes } in &listed {
                writeln!(out, "{event:>3}  PCR {pcr:<2}  {kind:<33}  {sha256}  {data_bytes} bytes")?;
            }
        }
    }
    Ok(())
}
