//! The keys about what makes a machine somebody's: `tpm.platform_certificate`, `tpm.iak`, `tpm.idevid`, and their places.

use super::persistent_handle;
use super::reader::Reader;
use crate::tpm::{DevicePlace, Offer, Ownership};

/// As [`super::build`]: every key before the first `?`.
pub(super) fn read(reader: &mut Reader) -> Option<Ownership> {
    let platform = reader.required("tpm.platform_certificate", offer);
    let platform_index = reader.required("tpm.platform_certificate_index", nv_index);
    let iak = reader.required("tpm.iak", offer);
    let iak_handle = reader.required("tpm.iak_handle", persistent_handle);
    let iak_index = reader.required("tpm.iak_certificate_index", nv_index);
    let idevid = reader.required("tpm.idevid", offer);
    let idevid_handle = reader.required("tpm.idevid_handle", persistent_handle);
    let idevid_index = reader.required("tpm.idevid_certificate_index", nv_index);
    Some(Ownership {
        platform: platform?,
        platform_index: platform_index?,
        iak: DevicePlace { offer: iak?, index: iak_index?, handle: iak_handle? },
        idevid: DevicePlace { offer: idevid?, index: idevid_index?, handle: idevid_handle? },
    })
}

fn offer(text: &str) -> Result<Offer, String> {
    match text {
        "auto" => Ok(Offer::Auto),
        "on" => Ok(Offer::On),
        "off" => Ok(Offer::Off),
        other => Err(format!("expected \"auto\", \"on\" or \"off\", found {other:?}")),
    }
}

fn nv_index(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let radix = if digits.len() == text.len() { 10 } else { 16 };
    u32::from_str_radix(digits, radix)
        .ok()
        .filter(|index| (0x0100_0000..=0x01ff_ffff).contains(index))
        .ok_or_else(|| format!("expected an NV index, 0x01000000 to 0x01ffffff, found {text:?}"))
}
