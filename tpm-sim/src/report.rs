//! What a machine says of itself: everything an agent's configuration and an operator's inventory need.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::SimError;
use crate::machine::Machine;
use crate::powered::Powered;

/// A machine, as the command line prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineReport {
    /// The number it was manufactured with.
    pub index: usize,
    /// Its directory.
    pub directory: PathBuf,
    /// Where firmware leaves the event log; the agent's `firmware_log`.
    pub firmware_log: PathBuf,
    /// Its endorsement keys.
    pub endorsements: Vec<EndorsementReport>,
    /// `None` for a machine without power.
    pub running: Option<RunningReport>,
}

/// One endorsement key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndorsementReport {
    /// `rsa-2048` or `p-256`.
    pub algorithm: String,
    /// Where the certificate lies in NV, as `0x01c00002`.
    pub nv_index: String,
    /// SHA-256 of the certificate's DER.
    pub certificate_sha256: String,
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    pub spki_sha256: String,
}

/// A machine with power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningReport {
    /// The agent's `tpm.swtpm`: `host=127.0.0.1,port=N`.
    pub tcti: String,
    /// The TPM's data port.
    pub port: u16,
    /// The profile's name.
    pub profile: String,
    /// What it stands for, changes included.
    pub description: String,
    /// Reboots since the TPM was last cleared.
    pub reset_count: u32,
    /// Suspends since the last reboot.
    pub restart_count: u32,
    /// Milliseconds of power since the TPM was last cleared.
    pub clock: u64,
    /// Commands that software has sent, by name.
    pub commands: BTreeMap<String, u64>,
    /// Faults in effect.
    pub faults: Vec<String>,
}

impl MachineReport {
    /// Of a machine at rest.
    pub fn at_rest(machine: &Machine) -> Self {
        let endorsements = machine.endorsements().into_iter().map(|endorsement| EndorsementReport {
            algorithm: endorsement.algorithm.name().to_owned(),
            nv_index: format!("0x{:08x}", endorsement.algorithm.certificate_index()),
            certificate_sha256: endorsement.certificate_sha256(),
            spki_sha256: endorsement.spki_sha256(),
        });
        Self {
            index: machine.index(),
            directory: machine.directory().to_owned(),
            firmware_log: machine.firmware_log_path(),
            endorsements: endorsements.collect(),
            running: None,
        }
    }

    /// Of a running machine.
    ///
    /// # Errors
    /// If its TPM does not answer.
    pub fn running(machine: &Powered) -> Result<Self, SimError> {
        let clock = machine.clock()?;
        let running = RunningReport {
            tcti: machine.tcti(),
            port: machine.port(),
            profile: machine.profile().name.clone(),
            description: machine.profile().description.clone(),
            reset_count: clock.reset_count,
            restart_count: clock.restart_count,
            clock: clock.clock,
            commands: machine.commands().into_iter().map(|(code, count)| (code.to_string(), count)).collect(),
            faults: machine.faults().iter().map(ToString::to_string).collect(),
        };
        Ok(Self { running: Some(running), ..Self::at_rest(machine.machine()) })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut out = format!("machine {}\n", self.index);
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            let _ = writeln!(out, "  {key:<13} {value}");
        };
        line("directory", &self.directory.display());
        line("firmware_log", &self.firmware_log.display());
        if let Some(running) = &self.running {
            line("tpm.swtpm", &running.tcti);
            line("profile", &format_args!("{} ({})", running.profile, running.description));
            line("resets", &format_args!("{} (suspends since: {})", running.reset_count, running.restart_count));
            if !running.commands.is_empty() {
                let each: Vec<String> =
                    running.commands.iter().map(|(name, count)| format!("{name} {count}")).collect();
                let total: u64 = running.commands.values().sum();
                line("commands", &format_args!("{total}: {}", each.join(", ")));
            }
            if !running.faults.is_empty() {
                line("faults", &running.faults.join(", "));
            }
        }
        for endorsement in &self.endorsements {
            let EndorsementReport { algorithm, nv_index, certificate_sha256, spki_sha256 } = endorsement;
            line(&format!("ek {algorithm}"), &format_args!("certificate at NV {nv_index}"));
            line("", &format_args!("certificate sha256 {certificate_sha256}"));
            line("", &format_args!("public key sha256  {spki_sha256}"));
        }
        out
    }
}
