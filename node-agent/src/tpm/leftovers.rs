//! Objects and sessions that an agent left in the chip when it was killed. Only where nobody else cleans up: see
//! [`super::Interface::has_resource_manager`].

use tss_esapi::WrapperErrorKind;
use tss_esapi::constants::CapabilityType;
use tss_esapi::handles::TpmHandle;
use tss_esapi::structures::CapabilityData;

use super::TpmFault;
use super::chip::Chip;

/// First handle of the transient objects.
const TRANSIENT: u32 = 0x8000_0000;
/// First handle of the loaded sessions.
const LOADED_SESSION: u32 = 0x0200_0000;
/// First handle of the saved sessions.
const SAVED_SESSION: u32 = 0x0300_0000;
/// Handles asked for in one command; a chip has three to some dozens of slots.
const HANDLES_MAX: u32 = 254;

/// Flushes every transient object and every session, and says how many there were.
pub(super) fn flush(chip: &mut Chip) -> Result<usize, TpmFault> {
    let mut flushed = 0;
    for first in [TRANSIENT, LOADED_SESSION, SAVED_SESSION] {
        for handle in handles(chip, first)? {
            // The library flushes only what it has looked at.
            let object = chip.command("ReadPublic", |context| context.tr_from_tpm_public(handle))?;
            match chip.flush(object) {
                // The chip has flushed it; only the library's own books do not know policy sessions.
                Ok(())
                | Err(TpmFault::Command {
                    source: tss_esapi::Error::WrapperError(WrapperErrorKind::InvalidHandleState),
                    ..
                }) => flushed += 1,
                Err(fault) => return Err(fault),
            }
        }
    }
    Ok(flushed)
}

/// The handles in use from `first` on, of the same type as `first`.
pub(super) fn handles(chip: &mut Chip, first: u32) -> Result<Vec<TpmHandle>, TpmFault> {
    let (found, _) =
        chip.command("GetCapability", |context| context.get_capability(CapabilityType::Handles, first, HANDLES_MAX))?;
    match found {
        CapabilityData::Handles(list) => Ok(list.into_inner()),
        _ => Err(TpmFault::Form { what: "answer to GetCapability", expected: "a list of handles" }),
    }
}
