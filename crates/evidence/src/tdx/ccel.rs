//! The CC event log (CCEL): which events lead to the quoted RTMRs. The log's index 1 to 4 is RTMR0 to RTMR3, in SHA-384.
//! What the events prove is for [`super::boot`] to say.

use super::error::Unverified;
use super::report::Measurement;
use crate::crypto::Digest;
use crate::tpm::Bank;
use crate::tpm::event_log::{Event, EventLog};

/// The one bank of a CC event log.
pub(super) const BANK: Bank = Bank::Sha384;

/// One event that extended an RTMR.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extended<'l, 'a> {
    /// 0 to 3.
    pub(super) register: u8,
    pub(super) digest: Digest,
    pub(super) event: &'l Event<'a>,
}

/// Every event that extended a register, in order. Informative events are left out.
///
/// # Errors
/// [`Unverified::LogUnproven`] for an event of a register that a TD cannot extend, or without a digest in SHA-384.
pub(super) fn extended<'l, 'a>(log: &'l EventLog<'a>) -> Result<Vec<Extended<'l, 'a>>, Unverified> {
    let measured = log.events().iter().filter(|event| event.is_extended());
    measured
        .map(|event| {
            let bad = |what| Unverified::LogUnproven { what, event: event.index };
            let register = event.pcr_index().checked_sub(1).filter(|register| *register < 4);
            let register = register.ok_or(bad("measures into a register that is no RTMR"))?;
            let digest = event.digest(BANK).and_then(|digest| Digest::new(BANK, digest));
            Ok(Extended { register, digest: digest.ok_or(bad("has no digest in SHA-384"))?, event })
        })
        .collect()
}

/// Checks that the events lead to exactly these registers, all four.
///
/// # Errors
/// [`Unverified::Replay`] names the first that differs.
pub(super) fn replay(events: &[Extended<'_, '_>], quoted: &[Measurement; 4]) -> Result<(), Unverified> {
    for (register, quoted) in (0u8..).zip(quoted) {
        let of_register = events.iter().filter(|event| event.register == register);
        let value = of_register.fold(Digest::zero(BANK), |value, event| value.extended(BANK, event.digest.as_bytes()));
        if value.as_bytes() != quoted {
            return Err(Unverified::Replay { register });
        }
    }
    Ok(())
}
