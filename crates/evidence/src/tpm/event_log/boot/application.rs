//! PCR 4: what the firmware started.

use super::{Measurement, Stage};
use crate::crypto::Digest;
use crate::tpm::event_log::{Event, EventType, device_path};

/// Something that was started (or measured as if), by the Authenticode digest of its PE image.
///
/// Made of every event of PCR 4 but separators and proven progress texts, whatever type it claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootApplication {
    /// Number of the event.
    pub event: u32,
    /// Authenticode digest in the bank of the facts.
    pub digest: Digest,
    /// Started before or after the firmware's separator. Firmware applications, and kernels that a hypervisor hands
    /// over (`-kernel`), come before it.
    pub stage: Stage,
    /// The event type, as *claimed*.
    pub kind: EventType,
    /// The file's path, as the event *claims* it; proven by nothing.
    pub path_hint: Option<String>,
}

impl BootApplication {
    pub(super) fn from_event(event: &Event<'_>, measurement: &Measurement) -> Self {
        Self {
            event: event.index,
            digest: measurement.digest,
            stage: measurement.stage,
            kind: event.kind,
            path_hint: device_path::image_path(event.data),
        }
    }
}
