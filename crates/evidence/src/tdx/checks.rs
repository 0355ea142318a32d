//! The single checks of a quote, in the order in which [`verify_quote`](super::verify_quote) makes them, for `verify`
//! and for whoever shows them one by one. Each says one thing; none rests on another that has not been made.

use holdfast_identity::UnixTime;

use super::attributes::TdAttributes;
use super::collateral::CheckedCollateral;
use super::dcap;
use super::error::Unverified;
use super::pck::VerifiedPck;
use super::pki;
use super::quote::Quote;
use super::report::Measurement;
use super::tcb::Tcb;
use crate::crypto::{self, Curve, PublicKey};

/// The PCK signed the quoting enclave's report.
///
/// # Errors
/// [`Unverified::QeSignature`].
pub fn qe_report(quote: &Quote<'_>, pck: &VerifiedPck) -> Result<(), Unverified> {
    pki::verify_raw(&pck.key, quote.qe_report.bytes, &quote.qe_report.signature).map_err(|_| Unverified::QeSignature)
}

/// The quoting enclave vouches for the attestation key: SHA-256 over key and authentication data, then zeros.
///
/// # Errors
/// [`Unverified::AttestationKey`].
pub fn attestation_key(quote: &Quote<'_>) -> Result<(), Unverified> {
    let digest = crypto::sha256(&[&quote.attestation_key, quote.qe_report.authentication_data]);
    let report_data = quote.qe_report.report_data();
    let (head, tail) = report_data.split_at(32);
    let vouched = crypto::equal(&digest, head) && tail.iter().all(|byte| *byte == 0);
    if vouched { Ok(()) } else { Err(Unverified::AttestationKey) }
}

/// The attestation key signed header and body.
///
/// # Errors
/// [`Unverified::QuoteSignature`].
pub fn quote_signature(quote: &Quote<'_>) -> Result<(), Unverified> {
    let (x, y) = quote.attestation_key.split_at(32);
    let key = PublicKey::ec(Curve::P256, x, y).ok_or(Unverified::QuoteSignature)?;
    pki::verify_raw(&key, quote.signed, &quote.signature).map_err(|_| Unverified::QuoteSignature)
}

/// The TD signed `wanted`, with zeros behind it.
///
/// # Errors
/// [`Unverified::ReportData`], also for an empty `wanted`, and for one that does not fit.
pub fn report_data(quote: &Quote<'_>, wanted: &[u8]) -> Result<(), Unverified> {
    let signed = &quote.report.report_data;
    let (head, tail) = signed.split_at_checked(wanted.len()).ok_or(Unverified::ReportData)?;
    let same = crypto::equal(head, wanted) && tail.iter().all(|byte| *byte == 0);
    if same { Ok(()) } else { Err(Unverified::ReportData) }
}

/// The host cannot look into the TD: no bit of TUD (DEBUG and its kin) is set. No policy can wave this through.
///
/// # Errors
/// [`Unverified::Debug`].
pub const fn debug(quote: &Quote<'_>) -> Result<(), Unverified> {
    let found = quote.report.td_attributes;
    if found.has(TdAttributes::UNDER_DEBUG) { Err(Unverified::Debug { found }) } else { Ok(()) }
}

/// The other attributes: no reserved bit; not migratable; no exceptions at the host's will.
///
/// # Errors
/// [`Unverified::Reserved`], [`Unverified::Migratable`], [`Unverified::SeptVe`].
pub const fn attributes(quote: &Quote<'_>) -> Result<(), Unverified> {
    let found = quote.report.td_attributes;
    if found.has(TdAttributes::RESERVED) {
        Err(Unverified::Reserved { found })
    } else if found.has(TdAttributes::MIGRATABLE) {
        Err(Unverified::Migratable)
    } else if !found.has(TdAttributes::SEPT_VE_DISABLE) {
        Err(Unverified::SeptVe)
    } else {
        Ok(())
    }
}

/// The TDX module is Intel's, and in production.
///
/// # Errors
/// [`Unverified::SeamSigner`], [`Unverified::SeamAttributes`].
pub fn seam(quote: &Quote<'_>) -> Result<(), Unverified> {
    let report = &quote.report;
    if report.mr_signer_seam != [0; 48] {
        return Err(Unverified::SeamSigner);
    }
    match report.seam_attributes {
        0 => Ok(()),
        found => Err(Unverified::SeamAttributes { found }),
    }
}

/// No service TD is bound but those in `listed`, and the report is for the whole TD.
///
/// # Errors
/// [`Unverified::ServiceTd`], [`Unverified::Partition`].
pub fn service_td(quote: &Quote<'_>, listed: &[Measurement]) -> Result<(), Unverified> {
    let none = |measurement: &Measurement| *measurement == [0; 48];
    let extended = quote.report.td_attributes.has(TdAttributes::SERVTD_EXT);
    let Some(later) = &quote.report.later else {
        return if extended { Err(Unverified::ServiceTd) } else { Ok(()) };
    };
    let now = later.extended.as_ref().map(|extended| &extended.current_service_td);
    let known = |measurement: &Measurement| none(measurement) || listed.contains(measurement);
    // SERVTD_EXT without a measurement of what is bound would be a service TD that nobody can name.
    let unnamed = extended && none(&later.mr_service_td) && now.is_none_or(none);
    if unnamed || !known(&later.mr_service_td) || !now.is_none_or(known) {
        return Err(Unverified::ServiceTd);
    }
    match later.extended.as_ref().map(|extended| extended.vm_id) {
        None | Some(0) => Ok(()),
        Some(found) => Err(Unverified::Partition { found }),
    }
}

/// What Intel says about the platform's versions, by `dcap-qvl`, which makes all of the checks above once more.
///
/// # Errors
/// [`Unverified::TcbRevoked`], [`Unverified::TcbNoLevel`], [`Unverified::TdxModule`]; [`Unverified::Dcap`] for
/// whatever it refuses and our own checks did not.
pub fn tcb(
    quote: &Quote<'_>,
    pck: &VerifiedPck,
    collateral: &CheckedCollateral,
    now: UnixTime,
) -> Result<Tcb, Unverified> {
    dcap::judge(quote, pck, collateral, now)
}

/// The quoting enclave is the one that Intel's identity document describes. Its SVN is a matter of levels.
///
/// # Errors
/// [`Unverified::QeIdentity`].
pub fn qe_identity(quote: &Quote<'_>, collateral: &CheckedCollateral) -> Result<(), Unverified> {
    let wanted = &collateral.collateral.qe_head;
    let report = quote.qe_report.bytes;
    let masked = |at: usize, wanted: &[u8], mask: &[u8]| {
        let found = report.get(at..at + wanted.len()).unwrap_or_default();
        found.len() == wanted.len()
            && found.iter().zip(wanted).zip(mask).all(|((found, wanted), mask)| found & mask == wanted & mask)
    };
    let all = [0xff; 32];
    let debug = report.get(48).is_none_or(|flags| flags & 2 != 0);
    let fields = [
        ("MRSIGNER", masked(128, &wanted.mr_signer, &all)),
        ("ISVPRODID", masked(256, &wanted.isv_prod_id.to_le_bytes(), &all)),
        ("MISCSELECT", masked(16, &wanted.misc_select, &wanted.misc_select_mask)),
        ("ATTRIBUTES", masked(48, &wanted.attributes, &wanted.attributes_mask) && !debug),
    ];
    match fields.into_iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(Unverified::QeIdentity { field }),
        None => Ok(()),
    }
}
