//! The checks on what stands around a quote of Azure's virtual TPM, one function each, in the order in which they are
//! made. Those of the quote are `tpm::checks`, those of the hardware report `snp` and `tdx`.
//!
//! | # | check | here |
//! | --- | --- | --- |
//! | 1 | the HCL report, byte for byte | [`HclReport::parse`](super::HclReport::parse) |
//! | 2 | the runtime data | [`RuntimeData::parse`](super::RuntimeData::parse) |
//! | 3 | the key of the public area is the one that the runtime data names | [`key`] |
//! | 4 | the quote, its signature and its extraData | [`SignedQuote::verify`](crate::tpm::SignedQuote::verify) |
//! | 5 | the hardware report carries the digest of the runtime data | [`runtime_data`] |
//! | 6 | a TDREPORT says what its quote says | [`td_report`] |
//! | 7 | the hardware report itself | [`snp::verify_report`](crate::snp::verify_report), [`tdx::verify_quote`](crate::tdx::verify_quote) |
//! | 8 | the paravisor asked for it | [`paravisor`] |
//! | 9 | the key's certificate | [`verify_ak_certificate`](super::verify_ak_certificate) |
//! | 10 | what the quote covers | [`SignedQuote::prove`](crate::tpm::SignedQuote::prove) |

use super::error::Unverified;
pub use super::td_report::td_report;
use crate::crypto::{self, PublicKey};
use crate::error::Malformed;
use crate::snp::Report;
use crate::tpm::{Attributes, Public, Scheme};

/// The public area is that of the key that the paravisor names.
///
/// # Errors
/// [`Unverified::KeyMismatch`].
pub fn key(named: &PublicKey, area: &Public) -> Result<(), Unverified> {
    if area.key() == named { Ok(()) } else { Err(Unverified::KeyMismatch) }
}

/// The public area that the paravisor makes its attestation keys with: RSASSA with SHA-256, attributes 00050472, no
/// policy. That it is so a quote says by its `qualifiedSigner`, into which every byte of it goes.
///
/// # Errors
/// [`Malformed`] for a key that is none for a TPM.
pub fn area(named: &PublicKey) -> Result<Public, Malformed> {
    let scheme = Scheme::Signing { algorithm: crypto::SignatureAlg::Rsassa, hash: crypto::HashAlg::Sha256.id() };
    Public::parse(&Public::encode(named, crypto::HashAlg::Sha256, Attributes::AK_TEMPLATE, &[], None, scheme))
}

/// The report data of the hardware report is SHA-256 of exactly these bytes, and zeros behind it.
///
/// # Errors
/// [`Unverified::RuntimeData`].
pub fn runtime_data(report_data: &[u8; 64], runtime_data: &[u8]) -> Result<(), Unverified> {
    let (digest, rest) = report_data.split_at(32);
    let is_it = crypto::equal(digest, &crypto::sha256(&[runtime_data])) && rest.iter().all(|byte| *byte == 0);
    if is_it { Ok(()) } else { Err(Unverified::RuntimeData) }
}

/// The paravisor asked for the SNP report: it alone has VMPL 0. A report that the guest asked for says what the guest
/// likes of itself.
///
/// # Errors
/// [`Unverified::Vmpl`].
pub fn paravisor(report: &Report) -> Result<(), Unverified> {
    match report.vmpl() {
        0 => Ok(()),
        found => Err(Unverified::Vmpl { found }),
    }
}
