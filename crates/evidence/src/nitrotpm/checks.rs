//! The checks that only a NitroTPM's document needs; those before them are in [`nitro::checks`](crate::nitro::checks).

use super::error::Unverified;
use crate::nitro::Pcrs;
use crate::tpm::{PCR_COUNT, PcrIndex, PcrSet};

/// PCR 0 to 7 are there and firmware extended them, and there is none that a TPM does not have.
///
/// # Errors
/// [`Unverified::MissingPcr`], [`Unverified::UnknownPcr`], [`Unverified::BankUnextended`].
pub fn measured(pcrs: &Pcrs<'_>) -> Result<(), Unverified> {
    if let Some((pcr, _)) = pcrs.iter().find(|(pcr, _)| usize::from(*pcr) >= PCR_COUNT) {
        return Err(Unverified::UnknownPcr { pcr });
    }
    if let Some(pcr) = PcrSet::FIRMWARE.iter().map(PcrIndex::get).find(|pcr| pcrs.get(*pcr).is_none()) {
        return Err(Unverified::MissingPcr { pcr });
    }
    let is_zero = |pcr: PcrIndex| pcrs.get(pcr.get()).is_none_or(|value| value.iter().all(|byte| *byte == 0));
    if PcrSet::FIRMWARE.iter().all(is_zero) { Err(Unverified::BankUnextended) } else { Ok(()) }
}
