//! What makes a machine somebody's beside its endorsement keys: the platform certificate, by which its maker names the
//! whole machine, and the device keys IAK and IDevID with the maker's certificates.
//!
//! A certificate alone proves nothing: it can be copied. A platform certificate counts because it names an endorsement
//! key that is activated in the same attestation, a device key because it speaks of the attestation key over the binding.
//! TCG Platform Certificate Profile 1.0 and 1.1; TCG TPM 2.0 Keys for Device Identity and Attestation 1.0; RFC 5755.

mod attribute;
mod device;
mod error;
mod holder;
mod identity;
mod names;
mod offered;
mod platform;
mod residency;

pub use device::check_device_key;
pub use error::Unowned;
pub use identity::{DeviceIdentity, Ownership, PlatformIdentity};
pub use offered::{DEVICE_KEYS_MAX, DeviceRole, Factor, OfferedDeviceKey, OfferedOwnership};

use device::verify_device_certificate;
use holder::Holder;
use holdfast_identity::UnixTime;
use platform::verify_platform_certificate;
pub(super) use residency::check_residency;

use super::ek::EkIdentity;
use super::error::Unverified;
use super::public::Public;
use crate::x509::{ExpiredIssuers, Roots};

/// Whose word counts for what: roots of their own, for a maker of machines is no maker of TPMs.
#[derive(Clone, Copy, Debug)]
pub struct OwnershipEndorsers<'a> {
    /// Whose platform certificates count.
    pub platforms: &'a Roots,
    /// Whose certificates of device keys count.
    pub devices: &'a Roots,
    /// Whether intermediates may have expired.
    pub expired_issuers: ExpiredIssuers,
}

/// What was offered and holds so far, and the device keys that must still speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Examined {
    pub(super) ownership: Ownership,
    pub(super) due: Vec<(DeviceRole, Public)>,
}

/// Examines what a machine offers. `eks` are its endorsement keys with their certificates as read.
///
/// What no imported root speaks for is left aside and named: a fleet has machines of makers whose roots nobody imported.
/// Everything else must hold.
///
/// # Errors
/// [`Unverified::Ownership`] at the first check that fails.
pub(super) fn examine(
    offered: &OfferedOwnership,
    eks: &[(&EkIdentity, &[u8])],
    endorsers: &OwnershipEndorsers<'_>,
    now: UnixTime,
) -> Result<Examined, Unverified> {
    let mut examined = Examined::default();
    if offered.is_empty() {
        return Ok(examined);
    }
    let holders: Vec<Holder<'_>> = eks.iter().filter_map(|(ek, certificate)| Holder::of(ek, certificate)).collect();
    if let Some(certificate) = &offered.platform {
        match verify_platform_certificate(certificate, &holders, endorsers.platforms, endorsers.expired_issuers, now) {
            Ok(platform) => examined.ownership.platform = Some(platform),
            Err(Unowned::Untrusted { factor }) => examined.ownership.left_aside.push(factor),
            Err(unowned) => return Err(unowned.into()),
        }
    }
    for key in &offered.device_keys {
        let devices = &examined.ownership.devices;
        if devices.iter().any(|known| known.role == key.role) {
            return Err(Unowned::Malformed { factor: key.role.into(), what: "it is offered twice" }.into());
        }
        match verify_device_certificate(key, &holders, endorsers, now) {
            Ok((identity, public)) => {
                examined.ownership.devices.push(identity);
                examined.due.push((key.role, public));
            }
            Err(Unowned::Untrusted { factor }) => examined.ownership.left_aside.push(factor),
            Err(unowned) => return Err(unowned.into()),
        }
    }
    Ok(examined)
}
