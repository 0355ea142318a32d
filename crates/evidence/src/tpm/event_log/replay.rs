//! The registers a log leads to, in one named bank. Compares them with nothing: the quote's digest does that.

use super::{Event, EventLog, EventType, UnprovenBoot};
use crate::crypto::Digest;
use crate::tpm::{Bank, PCR_COUNT, PcrIndex, PcrSet};

/// The outcome of a replay: a value per register, and which registers had events at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    bank: Bank,
    values: [Digest; PCR_COUNT],
    events: [u16; PCR_COUNT],
}

impl Replay {
    /// The bank that was replayed.
    #[must_use]
    pub const fn bank(&self) -> Bank {
        self.bank
    }

    /// The value of `pcr` after the last event; its start value if it had none.
    #[must_use]
    pub fn value(&self, pcr: PcrIndex) -> Digest {
        self.values.get(usize::from(pcr.get())).copied().unwrap_or(Digest::zero(self.bank))
    }

    /// How many events extended `pcr`. A register that is quoted with another value than its start value, and has no
    /// event here, is covered by no log: its value is a claim that policy must name, or a refusal.
    #[must_use]
    pub fn events(&self, pcr: PcrIndex) -> u16 {
        self.events.get(usize::from(pcr.get())).copied().unwrap_or(0)
    }

    /// The registers that had events.
    #[must_use]
    pub fn extended(&self) -> PcrSet {
        PcrIndex::all().filter(|pcr| self.events(*pcr) > 0).collect()
    }

    /// The value every register has at start-up: `FF…` for 17 to 22, zeros for the others. PCR 0 may also start with
    /// the locality of start-up, which only a log tells.
    #[must_use]
    pub fn start_value(bank: Bank, pcr: PcrIndex) -> Digest {
        if (17..=22).contains(&pcr.get()) { Digest::ones(bank) } else { Digest::zero(bank) }
    }
}

impl EventLog<'_> {
    /// Computes the registers of `bank` from all events but `EV_NO_ACTION`.
    ///
    /// PCR 0 starts with the locality of `StartupLocality`, or with 4 where an H-CRTM event says so.
    ///
    /// # Errors
    /// [`UnprovenBoot::BankMissing`], [`UnprovenBoot::DigestMissing`] if the log lacks digests of the bank,
    /// [`UnprovenBoot::BankUnused`] if nothing was measured into PCR 0 to 7.
    pub fn replay(&self, bank: Bank) -> Result<Replay, UnprovenBoot> {
        if !self.has_bank(bank) {
            return Err(UnprovenBoot::BankMissing { bank: bank.as_str() });
        }
        let mut values = [Digest::zero(bank); PCR_COUNT];
        for (pcr, value) in PcrIndex::all().zip(values.iter_mut()) {
            *value = Replay::start_value(bank, pcr);
        }
        let mut events = [0_u16; PCR_COUNT];
        if let Some(first) = values.first_mut() {
            *first = start_of_pcr0(bank, self.locality_of_pcr0());
        }
        for event in &self.events {
            let Some(pcr) = event.register().map(|pcr| usize::from(pcr.get())) else { continue };
            let digest = event.require_digest(bank)?;
            if let (Some(value), Some(count)) = (values.get_mut(pcr), events.get_mut(pcr)) {
                *value = value.extended(bank, digest.as_bytes());
                *count = count.saturating_add(1);
            }
        }
        if events.iter().take(8).all(|count| *count == 0) {
            return Err(UnprovenBoot::BankUnused { bank: bank.as_str() });
        }
        Ok(Replay { bank, values, events })
    }

    fn locality_of_pcr0(&self) -> u8 {
        let hcrtm = || self.events.iter().any(|event| event.kind == EventType::HCRTM_EVENT && event.pcr == 0);
        self.startup_locality.unwrap_or_else(|| if hcrtm() { 4 } else { 0 })
    }
}

/// Zeros with the locality of start-up as the last byte.
fn start_of_pcr0(bank: Bank, locality: u8) -> Digest {
    let mut bytes = [0; 64];
    let start = bytes.get_mut(..bank.size()).unwrap_or_default();
    if let Some(last) = start.last_mut() {
        *last = locality;
    }
    Digest::new(bank, start).unwrap_or(Digest::zero(bank))
}

impl Event<'_> {
    /// The digest for `bank`.
    ///
    /// # Errors
    /// [`UnprovenBoot::DigestMissing`] if the event has none.
    pub fn require_digest(&self, bank: Bank) -> Result<Digest, UnprovenBoot> {
        self.digest(bank).and_then(|bytes| Digest::new(bank, bytes)).ok_or(UnprovenBoot::DigestMissing {
            event: self.index,
            pcr: self.pcr_index(),
            bank: bank.as_str(),
        })
    }
}
