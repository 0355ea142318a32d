//! One extended event without its strings, and the separators that divide firmware from what it starts.

use crate::crypto::Digest;
use crate::tpm::PcrSet;
use crate::tpm::event_log::{Event, EventType, Proof, UnprovenBoot};

/// Which side of its register's separator an event stands on. Registers above 7 have no separator of the firmware:
/// all their events are [`Stage::Loader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the separator: only firmware can have measured it.
    Firmware,
    /// After the separator (or the separator itself): boot loaders, and in the end whoever has root.
    Loader,
}

/// One event that extended a proven register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// Number of the event in the log.
    pub event: u32,
    /// The register.
    pub pcr: u8,
    /// The event type, as *claimed*.
    pub kind: EventType,
    /// The digest, in the bank of the facts: the only thing that is bound.
    pub digest: Digest,
    /// Before or after the separator.
    pub stage: Stage,
    /// Whether (part of) the event's data is bound by the digest.
    pub is_data_bound: bool,
}

impl Measurement {
    pub(super) fn new(event: &Event<'_>, digest: Digest, stage: Stage, proof: Proof<'_>) -> Self {
        Self {
            event: event.index,
            pcr: event.pcr_index(),
            kind: event.kind,
            digest,
            stage,
            is_data_bound: proof != Proof::Opaque,
        }
    }
}

/// Counts the separators of PCR 0 to 7: each has exactly one, and it says that all went well.
#[derive(Default)]
pub(super) struct Separators {
    /// Bit *n*: PCR *n* has had its separator.
    seen: u32,
}

impl Separators {
    /// The stage of `event`, which is extended and, if a separator, proven to be the digest of its data.
    pub(super) fn stage(&mut self, event: &Event<'_>) -> Result<Stage, UnprovenBoot> {
        let pcr = event.pcr_index();
        if pcr > 7 {
            return Ok(Stage::Loader);
        }
        let bit = 1_u32 << pcr;
        if event.kind == EventType::SEPARATOR {
            if event.data != [0; 4] {
                return Err(UnprovenBoot::SeparatorError { event: event.index, pcr });
            }
            if self.seen & bit != 0 {
                return Err(UnprovenBoot::SeparatorTwice { event: event.index, pcr });
            }
            self.seen |= bit;
        }
        Ok(if self.seen & bit == 0 { Stage::Firmware } else { Stage::Loader })
    }

    /// Checks that none is missing among PCR 0 to 7 as far as they are proven: a register that firmware never touched
    /// is one that anybody may fill.
    pub(super) fn finish(&self, proven: PcrSet) -> Result<(), UnprovenBoot> {
        let firmware = proven.intersection(PcrSet::FIRMWARE);
        match firmware.iter().find(|pcr| self.seen & (1 << pcr.get()) == 0) {
            Some(pcr) => Err(UnprovenBoot::SeparatorMissing { pcr: pcr.get() }),
            None => Ok(()),
        }
    }
}
