//! Reads NV indices. Three commands each (the library asks for an index's public area twice), more for an index larger
//! than the chip's buffer.

use tss_esapi::handles::{NvIndexHandle, NvIndexTpmHandle, TpmHandle};
use tss_esapi::interface_types::resource_handles::NvAuth;

use super::TpmFault;
use super::chip::Chip;
use super::leftovers;

/// Bytes asked for at once; chips' buffers are 768 to 2048, and one that refuses is asked for less.
const READ_BYTES: [u16; 3] = [2048, 1024, 512];
/// Bytes of the largest index that is read: a certificate is below 4 KiB.
const INDEX_BYTES_MAX: u16 = 8192;

/// The defined indices from `first` to `last`, both included. One command; what the chip lists beyond `last` is not
/// looked at.
pub(super) fn defined(chip: &mut Chip, first: u32, last: u32) -> Result<Vec<u32>, TpmFault> {
    let listed = leftovers::handles(chip, first)?;
    let indices = listed.into_iter().filter_map(|handle| match handle {
        TpmHandle::NvIndex(index) => Some(u32::from(index)),
        _ => None,
    });
    Ok(indices.filter(|index| (first..=last).contains(index)).collect())
}

/// What an index holds, read with the index's own empty password.
pub(super) fn read(chip: &mut Chip, index: u32) -> Result<Vec<u8>, TpmFault> {
    let form = |_| TpmFault::Form { what: "NV index", expected: "0x01000000 to 0x01ffffff" };
    let wanted = TpmHandle::NvIndex(NvIndexTpmHandle::new(index).map_err(form)?);
    let object = chip.command("NV_ReadPublic", |context| context.tr_from_tpm_public(wanted))?;
    let handle = NvIndexHandle::from(object);
    let (public, _) = chip.command("NV_ReadPublic", |context| context.nv_read_public(handle))?;
    let size = u16::try_from(public.data_size())
        .ok()
        .filter(|&size| size <= INDEX_BYTES_MAX)
        .ok_or(TpmFault::Form { what: "NV index of a certificate", expected: "at most 8192 bytes" })?;

    let mut bytes = Vec::with_capacity(size.into());
    let mut rounds = READ_BYTES.iter().copied().peekable();
    while let (true, Some(&most)) = (bytes.len() < usize::from(size), rounds.peek()) {
        let offset = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let length = most.min(size - offset);
        let read =
            chip.authorised("NV_Read", |context| context.nv_read(NvAuth::NvIndex(handle), handle, length, offset));
        match read {
            Ok(part) => bytes.extend_from_slice(part.value()),
            // The chip's buffer is smaller than this: less at a time, from here on.
            Err(fault) => {
                rounds.next();
                if rounds.peek().is_none() || length <= READ_BYTES[2] {
                    return Err(fault);
                }
            }
        }
    }
    Ok(bytes)
}
