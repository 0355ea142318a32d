//! What vouched for an image: the entry of db, of shim's lists or shim itself by which its signature was accepted.

use crate::crypto::sha256;
use crate::tpm::event_log::{Guid, Stage};

/// One `EV_EFI_VARIABLE_AUTHORITY` event. All of it is bound by the digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Number of the event.
    pub event: u32,
    /// Before the separator (drivers and option ROMs) or after it (boot loaders).
    pub stage: Stage,
    /// Vendor GUID of the variable.
    pub variable_owner: Guid,
    /// Name of the variable: `db`, `Shim`, `MokListRT`, `vendor_db`, `SbatLevel`, `MokListTrusted`.
    pub variable: String,
    /// SHA-256 of the variable's contents as measured (for db: owner GUID and certificate).
    pub data_sha256: [u8; 32],
    /// SHA-256 of the DER certificate that vouched, where the contents are one (with or without an owner GUID before).
    pub certificate_sha256: Option<[u8; 32]>,
    /// The contents of `SbatLevel` as text.
    pub sbat_level: Option<String>,
}

impl Authority {
    pub(super) fn new(event: u32, stage: Stage, variable_owner: Guid, variable: String, data: &[u8]) -> Self {
        let certificate = [data.get(16..), Some(data)].into_iter().flatten().find(|bytes| is_one_der_sequence(bytes));
        let text = std::str::from_utf8(data).ok().filter(|text| variable == "SbatLevel" && !text.contains('\0'));
        Self {
            event,
            stage,
            data_sha256: sha256(&[data]),
            certificate_sha256: certificate.map(|der| sha256(&[der])),
            sbat_level: text.map(str::to_owned),
            variable_owner,
            variable,
        }
    }
}

/// Whether the bytes are exactly one DER SEQUENCE of 128 to 65535 bytes, as every certificate is.
fn is_one_der_sequence(bytes: &[u8]) -> bool {
    match bytes {
        [0x30, 0x82, high, low, rest @ ..] => usize::from(u16::from_be_bytes([*high, *low])) == rest.len(),
        [0x30, 0x81, length, rest @ ..] => usize::from(*length) == rest.len(),
        _ => false,
    }
}
