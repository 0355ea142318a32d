//! The front before a guest's TPM: what the provider put there, by the guest's specification as it is at each command.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::command::{Passing, code};
use super::indices::{self, Indices};
use super::{azure, nitrotpm};
use crate::error::SimError;
use crate::guest::lab::Lab;
use crate::guest::place::{Guest, GuestSpec};
use crate::guest::random;
use crate::ports;
use crate::tamper::LogLie;
use crate::tpm::process::Swtpm;
use crate::tpm::wire::Exchange;

/// What a guest boots and quotes, and the lies about that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quoting {
    /// What it boots: a built-in profile or a file.
    pub profile: String,
    /// A lie in the firmware log.
    pub log_lie: Option<LogLie>,
    /// A lie about the quote.
    pub lie: Option<QuoteLie>,
}

/// What is done to a quote on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuoteLie {
    /// It answers another challenge.
    Replayed,
    /// It covers another PCR in place of the last that was asked.
    OtherSelection,
    /// It covers no PCR.
    NoPcrs,
    /// A bit of what was signed is flipped.
    Tampered,
}

impl Default for Quoting {
    fn default() -> Self {
        Self { profile: "shim-grub".to_owned(), log_lie: None, lie: None }
    }
}

/// What a provider puts before a TPM.
pub(super) trait Provider {
    /// NV indices that it serves, made with the TPM's help.
    ///
    /// # Errors
    /// [`SimError`].
    fn indices(&self, lab: &Lab, tpm: &mut Swtpm) -> Result<Indices, SimError>;

    /// What is quoted.
    fn quoting(&self) -> &Quoting;
}

/// A guest's front.
#[derive(Debug)]
pub(super) struct Front {
    lab: Lab,
    guest: Guest,
    known: Mutex<Option<Known>>,
    buffers: Mutex<nitrotpm::Buffers>,
}

/// What was made for a specification in one power cycle.
#[derive(Debug)]
struct Known {
    spec: GuestSpec,
    power_cycle: u64,
    indices: Indices,
}

impl Front {
    pub(super) fn new(lab: Lab, guest: Guest) -> Self {
        Self { lab, guest, known: Mutex::default(), buffers: Mutex::default() }
    }

    /// The indices of the guest as it is now.
    fn indices(&self, spec: &GuestSpec, provider: &dyn Provider, tpm: &mut Swtpm) -> Result<Indices, SimError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.as_ref() {
            Some(known) if known.spec == *spec && known.power_cycle == tpm.power_cycle => Ok(known.indices.clone()),
            _ => {
                let indices = provider.indices(&self.lab, tpm)?;
                *known = Some(Known { spec: spec.clone(), power_cycle: tpm.power_cycle, indices: indices.clone() });
                Ok(indices)
            }
        }
    }
}

impl ports::Front for Front {
    fn carry(&self, tpm: &mut Swtpm, bytes: &[u8]) -> Result<Vec<u8>, SimError> {
        let command = Passing::new(bytes);
        let spec = self.guest.spec()?;
        let provider: &dyn Provider = match &spec {
            GuestSpec::Azure(azure) => &azure::Named { spec: azure, guest: &self.guest },
            GuestSpec::Gcp(gcp) => &**gcp,
            GuestSpec::NitroTpm(nitrotpm) => {
                let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
                return buffers.carry(nitrotpm, &self.lab, tpm, command);
            }
            GuestSpec::Snp(_) | GuestSpec::Tdx(_) | GuestSpec::Nitro(_) => return tpm.exchange(bytes),
        };
        let indices = self.indices(&spec, provider, tpm)?;
        if let Some(answer) = indices::answer(&indices, command) {
            return Ok(answer);
        }
        if command.code() == code::QUOTE {
            return quote(provider.quoting().lie, command, tpm);
        }
        let answer = tpm.exchange(bytes)?;
        Ok(indices::listed(&indices, command, answer))
    }
}

/// Has a quote made, with a lie about it.
fn quote(lie: Option<QuoteLie>, command: Passing<'_>, tpm: &mut Swtpm) -> Result<Vec<u8>, SimError> {
    let mut bytes = command.bytes().to_vec();
    let parameters = command.parameters(1).unwrap_or(bytes.len()..bytes.len());
    match lie {
        Some(QuoteLie::Replayed) => {
            let place = command.sized(parameters.start).and_then(|range| bytes.get_mut(range));
            if let Some(place) = place {
                let other = hex::decode(random(place.len())).unwrap_or_default();
                place.copy_from_slice(&other);
            }
        }
        Some(QuoteLie::OtherSelection) => {
            // the last selection's last byte: PCR 16 to 23
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
        }
        Some(QuoteLie::NoPcrs) => {
            // the last selection's three bytes of PCRs
            bytes.iter_mut().rev().take(3).for_each(|byte| *byte = 0);
        }
        Some(QuoteLie::Tampered) | None => {}
    }
    let mut answer = tpm.exchange(&bytes)?;
    if lie == Some(QuoteLie::Tampered) {
        // header 10, parameter size 4, length 2, magic 4, type 2, qualified signer, extra data; the clock lies behind
        let signer = Passing::new(&answer).sized(22).map_or(0, |range| range.end);
        let clock = Passing::new(&answer).sized(signer).map_or(usize::MAX, |range| range.end);
        if let Some(byte) = answer.get_mut(clock.saturating_add(7)) {
            *byte ^= 1;
        }
    }
    Ok(answer)
}
