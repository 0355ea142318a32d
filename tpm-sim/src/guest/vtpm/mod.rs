//! Guests whose evidence comes through a virtual TPM: swtpm with a provider's front before it, which serves NV indices,
//! answers a vendor command, or changes what passes. The machine lies in the guest's directory, below `machine`.

mod ak;
pub mod azure;
mod ca;
mod command;
mod forged;
mod front;
mod gather;
pub mod gcp;
mod indices;
pub mod nitrotpm;

pub use ca::{Certified, VtpmAuthority};
pub use front::{QuoteLie, Quoting};
pub use gather::gather;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lab::Lab;
use super::place::{Guest, GuestSpec};
use super::service::Service;
use crate::console::{Console, Request, is_running, tell};
use crate::error::SimError;
use crate::factory::Factory;
use crate::machine::Machine;
use crate::profile::Profile;
use crate::report::MachineReport;
use crate::tpm::client::Client;
use crate::tpm::commands;

/// The machine of a guest.
const MACHINE: &str = "machine";

/// A guest's TPM that answers, and its metadata service where the provider has one. Dropping it stops both.
#[derive(Debug)]
pub struct RunningVtpm {
    console: Console,
    metadata: Option<Service>,
}

impl RunningVtpm {
    /// Starts the machine of `guest`, manufactured the first time.
    ///
    /// # Errors
    /// [`SimError::SwtpmMissing`] without swtpm; what swtpm or the disk say.
    pub fn start(lab: &Lab, guest: &Guest) -> Result<Self, SimError> {
        let spec = guest.spec()?;
        let directory = machine_of(guest.directory());
        if is_running(&directory) {
            return Err(SimError::Console { path: directory, problem: "it is running already".to_owned() });
        }
        let machine = if directory.exists() {
            Machine::open(&directory)?
        } else {
            // Each guest of a run has seeds of its own: `azure-3` those of machine 3.
            let name = guest.directory().file_name().unwrap_or_default().to_string_lossy();
            let index = name.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(0);
            Factory::open(&lab.directory().join("factory"))?.machine(index, &directory)?
        };
        let front = Arc::new(front::Front::new(lab.clone(), guest.clone()));
        let powered = machine.start_behind(&profile_of(&spec)?, front)?;
        let metadata = match &spec {
            GuestSpec::Azure(_) => Some(Service::start(azure::metadata(lab.clone(), guest.clone()))?),
            _ => None,
        };
        let running = Self { console: Console::open(powered)?, metadata };
        obey(guest, &spec, None)?;
        Ok(running)
    }

    /// How its machine is.
    ///
    /// # Errors
    /// If its TPM does not answer.
    pub fn report(&self) -> Result<MachineReport, SimError> {
        self.console.report()
    }

    /// SHA-256 of the attestation key's SubjectPublicKeyInfo, hex, where the provider has put one into a handle.
    ///
    /// # Errors
    /// If its TPM does not answer.
    pub fn attestation_key(&self) -> Result<Option<String>, SimError> {
        if self.metadata.is_none() {
            return Ok(None);
        }
        let report = self.report()?;
        let Some(running) = report.running else { return Ok(None) };
        let mut tpm = Client::connect(running.port, &report.directory)?;
        // the first command has the front put the key there
        Ok(ak::spki_sha256(&commands::read_public(&mut tpm, azure::AK)?))
    }

    /// `http://127.0.0.1:PORT`, where the provider has a metadata service.
    #[must_use]
    pub fn metadata(&self) -> Option<String> {
        self.metadata.as_ref().map(Service::url)
    }
}

/// The machine of a guest, whether it runs or not.
#[must_use]
pub fn machine_of(guest: &Path) -> PathBuf {
    guest.join(MACHINE)
}

/// Does to a running machine what only a machine can do: boot something else, lie in its firmware log.
///
/// # Errors
/// [`SimError::Console`] if the machine cannot.
pub(super) fn obey(guest: &Guest, spec: &GuestSpec, before: Option<&GuestSpec>) -> Result<(), SimError> {
    let directory = machine_of(guest.directory());
    let Some(quoting) = spec.quoting() else { return Ok(()) };
    if !directory.exists() || !is_running(&directory) {
        return Ok(());
    }
    let former = before.and_then(GuestSpec::quoting);
    if former.is_some_and(|former| former.profile != quoting.profile) {
        let profile = Some(quoting.profile.clone());
        tell(&directory, &Request::Reboot { profile, changes: Vec::new(), pull_the_plug: false })?;
    }
    match (&quoting.log_lie, former.and_then(|former| former.log_lie.as_ref())) {
        (Some(lie), _) => tell(&directory, &Request::Lie(lie.clone())).map(drop),
        (None, Some(_)) => tell(&directory, &Request::Truth).map(drop),
        (None, None) => Ok(()),
    }
}

fn profile_of(spec: &GuestSpec) -> Result<Profile, SimError> {
    let quoting = spec.quoting().ok_or(SimError::Guest { what: "kind", problem: "it has no TPM".to_owned() })?;
    Profile::load(&quoting.profile)
}
