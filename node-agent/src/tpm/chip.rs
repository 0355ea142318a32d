//! The open connection to the chip: every command goes through [`Chip::command`], which counts it and lets the watchdog
//! see it.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use tss_esapi::Context;
use tss_esapi::handles::{KeyHandle, ObjectHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, Name, Public};
use tss_esapi::tcti_ldr::{DeviceConfig, NetworkTPMConfig, TctiNameConf};

use super::actor::Pulse;
use super::templates::Template;
use super::{Access, Interface, TpmFault};

/// A connection to the chip, and nothing else: no key, no state.
pub(super) struct Chip {
    context: Context,
    pulse: Arc<Pulse>,
}

/// A primary key that was just made and takes a slot until it is flushed.
pub(super) struct Primary {
    pub(super) handle: KeyHandle,
    pub(super) public: Public,
}

impl Chip {
    pub(super) fn open(access: &Access, pulse: Arc<Pulse>) -> Result<Self, TpmFault> {
        let fault = |source| TpmFault::Open { interface: access.interface.to_string(), source };
        let tcti = match &access.interface {
            Interface::Device(path) => TctiNameConf::Device(device(path).map_err(fault)?),
            Interface::Swtpm { host, port } => {
                TctiNameConf::Swtpm(NetworkTPMConfig::from_str(&format!("host={host},port={port}")).map_err(fault)?)
            }
        };
        let context = pulse.during("Open", || Context::new(tcti)).map_err(fault)?;
        let mut chip = Self { context, pulse };
        chip.authorise(ObjectHandle::Owner, access.owner_auth.as_deref())?;
        chip.authorise(ObjectHandle::Endorsement, access.endorsement_auth.as_deref())?;
        Ok(chip)
    }

    fn authorise(&mut self, hierarchy: ObjectHandle, value: Option<&Vec<u8>>) -> Result<(), TpmFault> {
        let Some(value) = value else { return Ok(()) };
        let form = |_| TpmFault::Form { what: "authorisation value", expected: "at most 64 bytes" };
        let auth = Auth::try_from(value.as_slice()).map_err(form)?;
        self.context.tr_set_auth(hierarchy, auth).map_err(form)
    }

    /// Runs one command. `name` is the specification's, without `TPM2_`.
    pub(super) fn command<T>(
        &mut self,
        name: &'static str,
        run: impl FnOnce(&mut Context) -> tss_esapi::Result<T>,
    ) -> Result<T, TpmFault> {
        self.pulse
            .command(name, || run(&mut self.context))
            .map_err(|source| TpmFault::Command { command: name, source })
    }

    /// Runs one command whose first handle is authorised by its password.
    pub(super) fn authorised<T>(
        &mut self,
        name: &'static str,
        run: impl FnOnce(&mut Context) -> tss_esapi::Result<T>,
    ) -> Result<T, TpmFault> {
        self.command(name, |context| context.execute_with_session(Some(AuthSession::Password), run))
    }

    /// Calls into the library that send no command.
    pub(super) fn library<T>(&mut self, run: impl FnOnce(&mut Context) -> tss_esapi::Result<T>) -> Result<T, TpmFault> {
        run(&mut self.context).map_err(|source| TpmFault::Command { command: "library", source })
    }

    pub(super) fn create_primary(&mut self, hierarchy: Hierarchy, template: Public) -> Result<Primary, TpmFault> {
        let made = self.authorised("CreatePrimary", |context| {
            context.create_primary(hierarchy, template, None, None, None, None)
        })?;
        Ok(Primary { handle: made.key_handle, public: made.out_public })
    }

    pub(super) fn make(&mut self, hierarchy: Hierarchy, template: &Template) -> Result<Primary, TpmFault> {
        self.create_primary(hierarchy, template.public()?)
    }

    /// The object in a persistent handle and its Name; `None` if the handle is empty. One command.
    pub(super) fn persistent(&mut self, handle: u32) -> Result<Option<(KeyHandle, Name)>, TpmFault> {
        let wanted = TpmHandle::Persistent(persistent_handle(handle)?);
        match self.command("ReadPublic", |context| context.tr_from_tpm_public(wanted)) {
            Ok(object) => {
                let name = self.library(|context| context.tr_get_name(object))?;
                Ok(Some((KeyHandle::from(object), name)))
            }
            Err(fault) if fault.is_empty_handle() => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    pub(super) fn read_public(&mut self, key: KeyHandle) -> Result<Public, TpmFault> {
        self.command("ReadPublic", |context| context.read_public(key)).map(|(public, _, _)| public)
    }

    /// Moves a primary into a persistent handle and gives its slot back. Two commands.
    pub(super) fn persist(&mut self, key: KeyHandle, handle: u32) -> Result<KeyHandle, TpmFault> {
        let place = Persistent::Persistent(persistent_handle(handle)?);
        let kept = self.authorised("EvictControl", |context| {
            context.evict_control(Provision::Owner, ObjectHandle::from(key), place)
        })?;
        self.flush(ObjectHandle::from(key))?;
        Ok(KeyHandle::from(kept))
    }

    /// Empties a persistent handle.
    pub(super) fn evict(&mut self, key: KeyHandle, handle: u32) -> Result<(), TpmFault> {
        let place = Persistent::Persistent(persistent_handle(handle)?);
        self.authorised("EvictControl", |context| {
            context.evict_control(Provision::Owner, ObjectHandle::from(key), place)
        })
        .map(drop)
    }

    pub(super) fn flush(&mut self, object: ObjectHandle) -> Result<(), TpmFault> {
        self.command("FlushContext", |context| context.flush_context(object))
    }
}

/// `DeviceConfig` is made only from text; the path must be one.
fn device(path: &Path) -> tss_esapi::Result<DeviceConfig> {
    let text = path.to_str().ok_or(tss_esapi::Error::WrapperError(tss_esapi::WrapperErrorKind::InvalidParam))?;
    DeviceConfig::from_str(text)
}

fn persistent_handle(handle: u32) -> Result<PersistentTpmHandle, TpmFault> {
    PersistentTpmHandle::new(handle)
        .map_err(|_| TpmFault::Form { what: "persistent handle", expected: "0x81000000 to 0x81ffffff" })
}
