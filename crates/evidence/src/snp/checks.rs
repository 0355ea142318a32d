//! The checks on a report, one function each, in the order in which they are made. `verify` composes them for the
//! service; `holdfast-policy inspect` calls them one by one on raw files.
//!
//! | # | check | here |
//! | --- | --- | --- |
//! | 1 | 1184 bytes | [`Report::parse`] |
//! | 2 | version 2, 3 or 5 | [`version`] |
//! | 3 | algorithm 1 | [`signature_algorithm`] |
//! | 4 | signed by VCEK or VLEK, not masked | [`signing_key`] |
//! | 5 | report data | [`report_data`] |
//! | 6 | the certificate, strictly | [`Vek::parse`] |
//! | 7 | it is of the kind that signed | [`vek_kind`] |
//! | 8 | its product is CPUID's | [`product`] |
//! | 9 | its TCB is the reported one | [`tcb`] |
//! | 10 | its chip is the report's | [`chip_id`] |
//! | 11 | chain to a trusted ARK, dates, revocation | [`verify_chain`](super::verify_chain) |
//! | 12 | signature over the raw bytes | [`signature`] |
//! | 13 | reserved bytes are zero | [`reserved`] |
//! | 14 | a guest's VMPL | [`vmpl`] |
//! | 15 | no debugging, no migration agent, bits of the guest policy | [`guest_policy`] |

use super::bits::VekKind;
use super::certificate::Vek;
use super::error::Unverified;
use super::product::Product;
use super::report::{Report, TcbOf};
use crate::crypto::{self, HashAlg, SignatureAlg, SignatureValue};

/// Versions whose every field is known.
pub const VERSIONS: [u32; 3] = [2, 3, 5];
/// ECDSA on P-384 with SHA-384.
const ECDSA_P384_SHA384: u32 = 1;
/// Bytes of a number on P-384.
const NUMBER_BYTES: usize = 48;

/// The report is of a version whose fields we know.
///
/// # Errors
/// [`Unverified::Version`].
pub fn version(report: &Report) -> Result<(), Unverified> {
    let found = report.version();
    if VERSIONS.contains(&found) { Ok(()) } else { Err(Unverified::Version { found }) }
}

/// The report is signed by ECDSA on P-384 with SHA-384.
///
/// # Errors
/// [`Unverified::SignatureAlgorithm`].
pub fn signature_algorithm(report: &Report) -> Result<(), Unverified> {
    match report.signature_algorithm() {
        ECDSA_P384_SHA384 => Ok(()),
        found => Err(Unverified::SignatureAlgorithm { found }),
    }
}

/// The report is signed, by a VCEK or a VLEK.
///
/// # Errors
/// [`Unverified::ChipKeyMasked`], [`Unverified::SigningKey`].
pub fn signing_key(report: &Report) -> Result<VekKind, Unverified> {
    let info = report.key_info();
    if info.chip_key_masked() {
        return Err(Unverified::ChipKeyMasked);
    }
    info.signed_by().ok_or(Unverified::SigningKey { found: info.signing_key() })
}

/// The guest's own bytes begin with `expected`, compared in constant time, and are zero behind it; an empty
/// expectation is never met.
///
/// # Errors
/// [`Unverified::ReportData`].
pub fn report_data(report: &Report, expected: &[u8]) -> Result<(), Unverified> {
    let mut whole = [0; 64];
    let fits = whole.get_mut(..expected.len()).filter(|_| !expected.is_empty());
    fits.ok_or(Unverified::ReportData)?.copy_from_slice(expected);
    if crypto::equal(&whole, &report.report_data()) { Ok(()) } else { Err(Unverified::ReportData) }
}

/// The certificate is for the kind of key that signed.
///
/// # Errors
/// [`Unverified::VekKind`]; as [`signing_key`].
pub fn vek_kind(report: &Report, vek: &Vek) -> Result<(), Unverified> {
    let expected = signing_key(report)?;
    if vek.kind == expected { Ok(()) } else { Err(Unverified::VekKind { expected, found: vek.kind }) }
}

/// The certificate is for the product that CPUID names. Reports of version 2 have no CPUID: there the certificate's
/// issuer decides alone.
///
/// # Errors
/// [`Unverified::ProductUnknown`], [`Unverified::Product`].
pub fn product(report: &Report, vek: &Vek) -> Result<Product, Unverified> {
    if report.version() < 3 {
        return Ok(vek.product);
    }
    let [family, model, _] = report.cpuid();
    match report.product() {
        Some(product) if product == vek.product => Ok(product),
        Some(report) => Err(Unverified::Product { report, certificate: vek.product }),
        None => Err(Unverified::ProductUnknown { family, model }),
    }
}

/// The certificate is for the reported TCB, component by component.
///
/// # Errors
/// [`Unverified::Tcb`].
pub fn tcb(report: &Report, vek: &Vek) -> Result<(), Unverified> {
    let reported = report.tcb(TcbOf::Reported, vek.product.layout());
    if reported == Some(vek.tcb) { Ok(()) } else { Err(Unverified::Tcb { reported, certificate: vek.tcb }) }
}

/// A VCEK's certificate is for the chip that the report names: all 64 bytes of it, or 8 and zeros. A VLEK is no
/// chip's.
///
/// # Errors
/// [`Unverified::ChipId`], [`Unverified::ChipIdMasked`].
pub fn chip_id(report: &Report, vek: &Vek) -> Result<(), Unverified> {
    let Some(certified) = &vek.chip_id else { return Ok(()) };
    let reported = report.chip_id();
    if reported == [0; 64] {
        return Err(Unverified::ChipIdMasked);
    }
    let (id, spare) = reported.split_at_checked(certified.len()).ok_or(Unverified::ChipId)?;
    if id == certified.as_slice() && spare.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(Unverified::ChipId) }
}

/// The VEK signed the report's bytes.
///
/// # Errors
/// [`Unverified::SignatureEncoding`] if spare bytes of the signature are not zero, [`Unverified::Signature`].
pub fn signature(report: &Report, vek: &Vek) -> Result<(), Unverified> {
    let raw = report.signature();
    if raw.spare.iter().any(|byte| *byte != 0) {
        return Err(Unverified::SignatureEncoding);
    }
    let (r, s) = (number(raw.r)?, number(raw.s)?);
    let value = SignatureValue::Ecdsa { r: &r, s: &s };
    crypto::verify(&vek.key, SignatureAlg::Ecdsa, HashAlg::Sha384, report.signed(), value)
        .map_err(|_| Unverified::Signature)
}

/// 48 bytes big-endian out of 72 little-endian, of which the upper 24 are zero.
fn number(little_endian: &[u8]) -> Result<[u8; NUMBER_BYTES], Unverified> {
    let (value, spare) = little_endian.split_first_chunk().ok_or(Unverified::SignatureEncoding)?;
    if spare.iter().any(|byte| *byte != 0) {
        return Err(Unverified::SignatureEncoding);
    }
    let mut value: [u8; NUMBER_BYTES] = *value;
    value.reverse();
    Ok(value)
}

/// Every reserved byte is zero: of the report, of all four TCB versions in the product's layout, and of the key flags.
///
/// # Errors
/// [`Unverified::Reserved`].
pub fn reserved(report: &Report, product: Product) -> Result<(), Unverified> {
    let dirty = report.reserved().find(|(_, bytes)| bytes.iter().any(|byte| *byte != 0)).map(|(offset, _)| offset);
    let unread = TcbOf::ALL.into_iter().find(|of| report.tcb(*of, product.layout()).is_none());
    let flags = (report.key_info().unknown_bits() != 0).then_some(0x48);
    match dirty.or(unread.map(TcbOf::offset)).or(flags) {
        Some(offset) => Err(Unverified::Reserved { offset }),
        None => Ok(()),
    }
}

/// A guest asked for the report, at one of its four privilege levels. The host's own reports have none of these.
///
/// # Errors
/// [`Unverified::Vmpl`].
pub fn vmpl(report: &Report) -> Result<(), Unverified> {
    match report.vmpl() {
        0..=3 => Ok(()),
        found => Err(Unverified::Vmpl { found }),
    }
}

/// The guest cannot be debugged nor migrated by an agent, and its policy is one.
///
/// # Errors
/// [`Unverified::Debug`], [`Unverified::MigrationAgent`], [`Unverified::GuestPolicy`].
pub fn guest_policy(report: &Report) -> Result<(), Unverified> {
    let policy = report.policy();
    if policy.debug() {
        return Err(Unverified::Debug);
    }
    if policy.migration_agent() {
        return Err(Unverified::MigrationAgent);
    }
    if !policy.reserved_one() || policy.unknown_bits() != 0 {
        return Err(Unverified::GuestPolicy { found: policy.0 });
    }
    Ok(())
}
