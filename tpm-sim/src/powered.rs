//! A machine with power: booted from a profile, its TPM reachable, rebooted, suspended, cleared, rolled back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::boot;
use crate::digest::{Bank, Digests};
use crate::error::SimError;
use crate::fault::Fault;
use crate::log::{self, Event};
use crate::machine::{Machine, write_log};
use crate::measuring::kernel_starts;
use crate::ports::{Front, Ports};
use crate::profile::Profile;
use crate::tpm::CommandCode;
use crate::tpm::commands::{self, ClockCounters, StartupType};
use crate::tpm::process::Swtpm;

/// A running machine. Dropping it shuts the TPM down in order, ends swtpm and closes the ports.
#[derive(Debug)]
pub struct Powered {
    machine: Machine,
    profile: Profile,
    events: Vec<Event>,
    ports: Ports,
}

/// What is in use inside a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedHandles {
    /// Transient objects; a TPM has three places.
    pub transient: Vec<u32>,
    /// Sessions; a TPM has three places.
    pub sessions: Vec<u32>,
    /// Persistent objects.
    pub persistent: Vec<u32>,
}

impl Powered {
    pub(crate) fn start(machine: Machine, profile: &Profile, front: Option<Arc<dyn Front>>) -> Result<Self, SimError> {
        let events = boot::events(profile)?;
        let mut tpm = Swtpm::spawn(machine.directory())?;
        power_up(&mut tpm, &machine, profile, &events, Firmware::Boots)?;
        let ports = Ports::open(tpm, front)?;
        Ok(Self { machine, profile: profile.clone(), events, ports })
    }

    /// `host=127.0.0.1,port=N`: for tss-esapi's swtpm TCTI and the agent's `tpm.swtpm`.
    pub fn tcti(&self) -> String {
        format!("host=127.0.0.1,port={}", self.ports.port())
    }

    /// The TPM's data port; its control port is one above.
    pub fn port(&self) -> u16 {
        self.ports.port()
    }

    /// What it was last booted from.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The events of the last boot as measured, whatever was done to the log file since.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The machine itself.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// An orderly reboot into `profile`: connections drop, the TPM is shut down and reset (resetCount rises), PCRs
    /// and log begin anew. The ports stay.
    ///
    /// # Errors
    /// What swtpm or the disk say; the machine is then without power.
    pub fn reboot(&mut self, profile: &Profile) -> Result<(), SimError> {
        self.cycle(profile, Power::InOrder, Firmware::Boots)
    }

    /// Pulls the plug and boots `profile`: as [`Powered::reboot`], but the TPM was not told.
    ///
    /// # Errors
    /// As [`Powered::reboot`].
    pub fn cut_power(&mut self, profile: &Profile) -> Result<(), SimError> {
        self.cycle(profile, Power::Pulled, Firmware::Boots)
    }

    /// Suspends to memory and resumes: the TPM keeps PCRs and keys' hierarchies, restartCount rises, connections drop.
    ///
    /// # Errors
    /// As [`Powered::reboot`].
    pub fn suspend(&mut self) -> Result<(), SimError> {
        self.ports.alone(|tpm| {
            commands::shutdown(tpm, StartupType::State)?;
            tpm.power_off()?;
            tpm.power_on()?;
            commands::startup(tpm, StartupType::State)
        })
    }

    /// Clears the TPM from the firmware's menu and boots `profile`: owner and endorsement hierarchy forget their keys
    /// and authorisations, clock and counters fall to zero; the endorsement seed and the EK certificates stay.
    ///
    /// # Errors
    /// As [`Powered::reboot`].
    pub fn clear(&mut self, profile: &Profile) -> Result<(), SimError> {
        self.cycle(profile, Power::InOrder, Firmware::ClearsAndBoots)
    }

    /// Goes back to a snapshot of the TPM's state ([`Machine::snapshot`]) and boots `profile`, as a hypervisor can.
    ///
    /// # Errors
    /// As [`Powered::reboot`], or if there is no snapshot at `from`.
    pub fn rollback(&mut self, from: &Path, profile: &Profile) -> Result<(), SimError> {
        self.cycle(profile, Power::RolledBack(from), Firmware::Boots)
    }

    /// Shuts the machine down in order.
    ///
    /// # Errors
    /// If the TPM does not answer; it is ended all the same.
    pub fn stop(mut self) -> Result<Machine, SimError> {
        let machine = Machine::open(self.machine.directory())?;
        self.take_down()?;
        Ok(machine)
    }

    /// Commands that software has sent since the start or the last [`Powered::forget_commands`], by command. The
    /// simulator's own are not counted.
    pub fn commands(&self) -> BTreeMap<CommandCode, u64> {
        self.ports.counts()
    }

    /// How many commands [`Powered::commands`] has counted.
    pub fn command_total(&self) -> u64 {
        self.ports.counts().values().sum()
    }

    /// Counts from zero again.
    pub fn forget_commands(&self) {
        self.ports.forget_counts();
    }

    /// From now on this goes wrong as well; the first fault that fits a command takes effect.
    pub fn inject(&self, fault: Fault) {
        self.ports.inject(fault);
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.ports.heal();
    }

    /// The faults in effect.
    pub fn faults(&self) -> Vec<Fault> {
        self.ports.faults()
    }

    /// The TPM's counters as they are.
    ///
    /// # Errors
    /// If the TPM does not answer.
    pub fn clock(&self) -> Result<ClockCounters, SimError> {
        self.ports.with(|tpm| commands::read_clock(tpm))
    }

    /// A PCR's value.
    ///
    /// # Errors
    /// If the TPM does not answer, or has no such PCR.
    pub fn pcr(&self, bank: Bank, index: u32) -> Result<Vec<u8>, SimError> {
        self.ports.with(|tpm| commands::pcr(tpm, bank, index))
    }

    /// Extends a PCR with the digests of `bytes` in all banks, and logs nothing: what software does after boot.
    ///
    /// # Errors
    /// If the TPM does not answer, or has no such PCR.
    pub fn extend(&self, pcr: u32, bytes: &[u8]) -> Result<(), SimError> {
        self.ports.with(|tpm| commands::extend(tpm, pcr, &Digests::of(bytes), &Bank::ALL))
    }

    pub(crate) fn with_tpm<T>(&self, work: impl FnOnce(&mut Swtpm) -> Result<T, SimError>) -> Result<T, SimError> {
        self.ports.with(work)
    }

    /// What is loaded in the TPM now: to see whether an agent leaks places.
    ///
    /// # Errors
    /// If the TPM does not answer.
    pub fn loaded_handles(&self) -> Result<LoadedHandles, SimError> {
        let [transient, sessions, persistent] = self.ports.with(|tpm| commands::handles(tpm))?;
        Ok(LoadedHandles { transient, sessions, persistent })
    }

    /// swtpm's process id.
    ///
    /// # Errors
    /// If the machine is down.
    pub fn swtpm_id(&self) -> Result<u32, SimError> {
        self.ports.with(|tpm| Ok(tpm.id()))
    }

    fn cycle(&mut self, profile: &Profile, power: Power<'_>, firmware: Firmware) -> Result<(), SimError> {
        let events = boot::events(profile)?;
        self.ports.alone(|tpm| {
            match power {
                Power::InOrder => {
                    commands::shutdown(tpm, StartupType::Clear)?;
                    tpm.power_off()?;
                }
                Power::Pulled => tpm.power_off()?,
                Power::RolledBack(from) => {
                    tpm.power_off()?;
                    self.machine.restore(from)?;
                }
            }
            power_up(tpm, &self.machine, profile, &events, firmware)
        })?;
        self.profile = profile.clone();
        self.events = events;
        Ok(())
    }

    fn take_down(&mut self) -> Result<(), SimError> {
        let Some(mut tpm) = self.ports.close() else { return Ok(()) };
        commands::shutdown(&mut tpm, StartupType::Clear)?;
        tpm.power_off()
    }
}

impl std::ops::Deref for Powered {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.machine
    }
}

impl Drop for Powered {
    fn drop(&mut self) {
        if let Err(error) = self.take_down() {
            tracing::debug!(%error, "swtpm ended out of order");
        }
    }
}

/// How the power goes.
enum Power<'a> {
    InOrder,
    Pulled,
    RolledBack(&'a Path),
}

/// What firmware does with the power.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Firmware {
    Boots,
    ClearsAndBoots,
}

/// Power on, TPM2_Startup, the boot's extends, the log; what firmware may do and nobody after it, is closed.
fn power_up(
    tpm: &mut Swtpm,
    machine: &Machine,
    profile: &Profile,
    events: &[Event],
    firmware: Firmware,
) -> Result<(), SimError> {
    tpm.power_on()?;
    if profile.firmware.locality != 0 {
        tpm.locality(profile.firmware.locality)?;
    }
    commands::startup(tpm, StartupType::Clear)?;
    tpm.locality(0)?;
    if firmware == Firmware::ClearsAndBoots {
        commands::clear(tpm)?;
        commands::set_lockout(tpm)?;
    }
    for event in events.iter().filter(|event| event.is_extended()) {
        commands::extend(tpm, event.pcr, &event.digests, &profile.firmware.banks)?;
    }
    commands::disable_platform(tpm)?;
    machine.forget_measured_files()?;
    write_log(machine, &log::encode(events, &profile.firmware.banks))?;
    match &profile.measured_files {
        Some(kept) => kernel_starts(tpm, machine, kept),
        None => Ok(()),
    }
}
