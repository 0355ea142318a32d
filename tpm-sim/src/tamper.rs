//! Lies in the firmware log: the file is changed, the PCRs are not. Each is something that a verifier must notice.

use std::fs;
use std::path::PathBuf;

use crate::digest::Bank;
use crate::error::{SimError, file};
use crate::log::{self, Event};
use crate::machine::write_log;
use crate::powered::Powered;

/// One lie. Events are numbered as verifiers number them: 0 is the Spec ID event, which no lie here touches.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLie {
    /// One bit of the byte at this offset flipped.
    Byte(usize),
    /// One bit of an event's data flipped, its digests left as they are.
    Data(usize),
    /// One bit of an event's digest flipped in every bank.
    Digest(usize),
    /// An event said to be of another type, digest and data as they are.
    Relabelled {
        /// The event.
        event: usize,
        /// The type it claims.
        kind: u32,
    },
    /// Other data under the right digests: a better-looking story.
    OtherData {
        /// The event.
        event: usize,
        /// The data it claims.
        data: Vec<u8>,
    },
    /// An event left out.
    Omitted(usize),
    /// An event told twice.
    Repeated(usize),
    /// An event and the next in the other order.
    Swapped(usize),
    /// The log cut after so many bytes.
    Cut(usize),
    /// Bytes after the last event.
    Trailing(Vec<u8>),
    /// Another log altogether: of another machine, or of an earlier boot.
    Replaced(PathBuf),
    /// A log of no bytes, as some clouds serve it.
    Empty,
    /// No log.
    Removed,
}

impl Powered {
    /// Tells this lie in the firmware log, from the true log of the last boot. The PCRs stay what they are.
    ///
    /// # Errors
    /// [`SimError::NoPlace`] if the log has no such event or byte, [`SimError::File`] if a file cannot be read or
    /// written.
    pub fn lie(&self, lie: &LogLie) -> Result<(), SimError> {
        match told(self.events(), &self.profile().firmware.banks, lie)? {
            Some(bytes) => write_log(self.machine(), &bytes),
            None => {
                let path = self.machine().firmware_log_path();
                fs::remove_file(&path).map_err(file("remove", &path))
            }
        }
    }

    /// Puts the true log of the last boot back.
    ///
    /// # Errors
    /// [`SimError::File`] if it cannot be written.
    pub fn tell_the_truth(&self) -> Result<(), SimError> {
        write_log(self.machine(), &log::encode(self.events(), &self.profile().firmware.banks))
    }
}

/// The log of these events with that lie in it; `None` if there is no log any more.
pub(crate) fn told(events: &[Event], banks: &[Bank], lie: &LogLie) -> Result<Option<Vec<u8>>, SimError> {
    match lie {
        LogLie::Removed => return Ok(None),
        LogLie::Empty => return Ok(Some(Vec::new())),
        LogLie::Replaced(other) => return fs::read(other).map(Some).map_err(file("read", other)),
        _ => {}
    }
    let truth = log::encode(events, banks);
    let place = || SimError::NoPlace { lie: format!("{lie:?}"), events: events.len() + 1, bytes: truth.len() };
    let bytes = match edited(events, lie) {
        Some(events) => Some(log::encode(&events, banks)),
        None => cut(truth.clone(), lie),
    };
    bytes.map(Some).ok_or_else(place)
}

/// Lies about events; `None` if the lie is not one, or its event is not there.
fn edited(events: &[Event], lie: &LogLie) -> Option<Vec<Event>> {
    let mut events = events.to_vec();
    let place = |event: usize| event.checked_sub(1);
    match lie {
        LogLie::Data(event) => {
            let byte = events.get_mut(place(*event)?)?.data.last_mut()?;
            *byte ^= 1;
        }
        LogLie::Digest(event) => events.get_mut(place(*event)?)?.digests.flip(),
        LogLie::Relabelled { event, kind } => events.get_mut(place(*event)?)?.kind = *kind,
        LogLie::OtherData { event, data } => events.get_mut(place(*event)?)?.data.clone_from(data),
        LogLie::Omitted(event) => {
            let at = place(*event).filter(|at| *at < events.len())?;
            events.remove(at);
        }
        LogLie::Repeated(event) => {
            let again = events.get(place(*event)?)?.clone();
            events.insert(place(*event)?, again);
        }
        LogLie::Swapped(event) => {
            let at = place(*event).filter(|at| at + 1 < events.len())?;
            events.swap(at, at + 1);
        }
        LogLie::Byte(_)
        | LogLie::Cut(_)
        | LogLie::Trailing(_)
        | LogLie::Replaced(_)
        | LogLie::Empty
        | LogLie::Removed => return None,
    }
    Some(events)
}

/// Lies about bytes; `None` if the lie is not one, or its byte is not there.
fn cut(mut bytes: Vec<u8>, lie: &LogLie) -> Option<Vec<u8>> {
    match lie {
        LogLie::Byte(at) => *bytes.get_mut(*at)? ^= 1,
        LogLie::Cut(length) if *length < bytes.len() => bytes.truncate(*length),
        LogLie::Trailing(more) => bytes.extend_from_slice(more),
        _ => return None,
    }
    Some(bytes)
}
