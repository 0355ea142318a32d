//! The checks on a quote and on a certification, one function each, in the order in which they are made. `verify`
//! composes them for the service; `holdfast-policy inspect` calls them one by one on raw files.
//!
//! | # | check | here |
//! | --- | --- | --- |
//! | 1 | structures parse exactly | [`Attest::parse`], [`Signature::parse`](super::Signature::parse) |
//! | 2 | magic | [`magic`] |
//! | 3 | type | [`kind`] |
//! | 4 | scheme, signature over the raw bytes | [`scheme`], [`signature`] |
//! | 5 | extraData | [`nonce`] |
//! | 6 | qualifiedSigner | [`signer`] |
//! | 7 | selection is the one asked | [`selection`] |
//! | 8 | pcrDigest | [`pcr_values`] |
//! | 9 | every needed PCR; no unlisted one | [`required`], [`pcr_values`] |
//! | 10 | clock and counters | [`clock::compare`](super::clock::compare), in the recording transaction |
//! | 11 | safe = 0 tolerated | nothing refuses it |
//! | 12 | firmware version | [`firmware_version`] |

use std::ops::RangeInclusive;

use super::ak::{AkParent, AttestationKey};
use super::attest::{Attest, Body, CertifyInfo, QuoteInfo, TPM_GENERATED, TPM_ST_ATTEST_CERTIFY, TPM_ST_ATTEST_QUOTE};
use super::error::{Divergence, Statement, Unverified};
use super::event_log::Replay;
use super::name::{Hierarchy, Name};
use super::pcr::{PcrIndex, PcrSelection, PcrSet, PcrValues};
use super::signature::Signature;
use crate::crypto::{self, Digest, HashAlg, Hasher};

/// The magic says that a TPM made these bytes.
///
/// # Errors
/// [`Unverified::Magic`].
pub const fn magic(statement: Statement, attest: &Attest<'_>) -> Result<(), Unverified> {
    if attest.magic == TPM_GENERATED { Ok(()) } else { Err(Unverified::Magic { statement, found: attest.magic }) }
}

/// The type is the statement's.
///
/// # Errors
/// [`Unverified::Type`].
pub const fn kind(statement: Statement, attest: &Attest<'_>) -> Result<(), Unverified> {
    let expected = match statement {
        Statement::Quote => TPM_ST_ATTEST_QUOTE,
        Statement::Certify | Statement::Residency => TPM_ST_ATTEST_CERTIFY,
    };
    if attest.kind == expected { Ok(()) } else { Err(Unverified::Type { statement, expected, found: attest.kind }) }
}

/// The quote's own part.
///
/// # Errors
/// [`Unverified::Type`] if it is no quote.
pub const fn quote_info<'a, 'b>(attest: &'b Attest<'a>) -> Result<&'b QuoteInfo<'a>, Unverified> {
    match &attest.body {
        Body::Quote(info) => Ok(info),
        Body::Certify(_) | Body::Other => {
            Err(Unverified::Type { statement: Statement::Quote, expected: TPM_ST_ATTEST_QUOTE, found: attest.kind })
        }
    }
}

/// The certification's own part.
///
/// # Errors
/// [`Unverified::Type`] if it is no certification.
pub const fn certify_info<'a, 'b>(attest: &'b Attest<'a>) -> Result<&'b CertifyInfo<'a>, Unverified> {
    match &attest.body {
        Body::Certify(info) => Ok(info),
        Body::Quote(_) | Body::Other => {
            let (statement, expected) = (Statement::Certify, TPM_ST_ATTEST_CERTIFY);
            Err(Unverified::Type { statement, expected, found: attest.kind })
        }
    }
}

/// The signature is by the algorithm and hash that the attestation key is bound to.
///
/// # Errors
/// [`Unverified::Scheme`].
pub fn scheme(statement: Statement, ak: &AttestationKey<'_>, signature: &Signature<'_>) -> Result<(), Unverified> {
    if signature.algorithm() == ak.algorithm() && signature.hash_id() == ak.hash().id() {
        Ok(())
    } else {
        Err(Unverified::Scheme { statement })
    }
}

/// The attestation key signed exactly these bytes.
///
/// # Errors
/// [`Unverified::Signature`].
pub fn signature(
    statement: Statement,
    ak: &AttestationKey<'_>,
    attest: &Attest<'_>,
    signature: &Signature<'_>,
) -> Result<(), Unverified> {
    crypto::verify(ak.public().key(), ak.algorithm(), ak.hash(), attest.bytes, signature.value())
        .map_err(|_| Unverified::Signature { statement })
}

/// extraData is `expected`, compared in constant time; an empty one never is.
///
/// # Errors
/// [`Unverified::Nonce`].
pub fn nonce(statement: Statement, attest: &Attest<'_>, expected: &[u8]) -> Result<(), Unverified> {
    if crypto::equal(expected, attest.extra_data) {
        Ok(())
    } else {
        Err(Unverified::Nonce { statement, found: attest.extra_data.len() })
    }
}

/// The signer is the attestation key, in its place under `parent`.
///
/// # Errors
/// [`Unverified::Signer`].
pub fn signer(
    statement: Statement,
    attest: &Attest<'_>,
    ak: &AttestationKey<'_>,
    parent: AkParent<'_>,
) -> Result<(), Unverified> {
    if ak.qualified_name(parent).matches(attest.qualified_signer) {
        Ok(())
    } else {
        Err(Unverified::Signer { statement })
    }
}

/// The signed selection names one bank of ours and at least one PCR. Indices are only ever taken from here.
///
/// # Errors
/// [`Unverified::Selection`].
pub fn signed_selection(info: &QuoteInfo<'_>) -> Result<PcrSelection, Unverified> {
    info.selection().map_err(|malformed| Unverified::Selection {
        expected: "one bank of SHA-256 or better and at least one PCR".to_owned(),
        found: malformed.to_string(),
    })
}

/// The signed selection is exactly the one asked.
///
/// # Errors
/// [`Unverified::Selection`].
pub fn selection(info: &QuoteInfo<'_>, asked: &PcrSelection) -> Result<(), Unverified> {
    let found = signed_selection(info)?;
    if found == *asked {
        Ok(())
    } else {
        Err(Unverified::Selection { expected: asked.to_string(), found: found.to_string() })
    }
}

/// Every PCR that is needed is in the signed selection.
///
/// # Errors
/// [`Unverified::MissingPcr`]; [`Unverified::Selection`] if they are needed in another bank.
pub fn required(signed: &PcrSelection, needed: &PcrSelection) -> Result<(), Unverified> {
    if signed.bank != needed.bank {
        return Err(Unverified::Selection { expected: needed.to_string(), found: signed.to_string() });
    }
    let missing = needed.pcrs.without(signed.pcrs);
    if missing.is_empty() { Ok(()) } else { Err(Unverified::MissingPcr { missing }) }
}

/// The values behind a signed pcrDigest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenPcrs {
    /// Value of every quoted PCR.
    pub values: PcrValues,
    /// Those whose value the firmware log leads to: their events happened, and no others.
    pub replayed: PcrSet,
    /// Those that no event of the log touches and that still hold their value of start-up.
    pub untouched: PcrSet,
}

/// pcrDigest is the digest, by the signing hash, of the values in ascending order: of what the log leads to, and of
/// what was claimed for PCRs that no log covers. A PCR without event or claim is taken to hold its start-up value.
///
/// Where that does not give the digest, claims are tried in place of the log: if they do, they are the truth, and a
/// PCR up to 7 that differs is refused by name; for a later one (the operating system extends some after hand-over)
/// the claim stands and the log's events there prove nothing.
///
/// # Errors
/// [`Unverified::UnlistedPcr`], [`Unverified::PcrDigest`], [`Unverified::Replay`], [`Unverified::BankUnextended`].
pub fn pcr_values(
    info: &QuoteInfo<'_>,
    signed: &PcrSelection,
    hash: HashAlg,
    log: Option<&Replay>,
    claims: &[(PcrIndex, &[u8])],
) -> Result<ProvenPcrs, Unverified> {
    let bank = signed.bank;
    let log = log.filter(|log| log.bank() == bank);
    let covered = log.map(Replay::extended).unwrap_or_default();
    let mut claimed = PcrValues::new(bank);
    for (pcr, value) in claims {
        let value = Digest::new(bank, value).filter(|_| signed.pcrs.contains(*pcr));
        claimed.set(*pcr, value.ok_or(Unverified::UnlistedPcr { pcr: *pcr })?);
    }
    let start = |pcr| Replay::start_value(bank, pcr);
    let mut values = PcrValues::new(bank);
    for pcr in signed.pcrs.iter() {
        let replayed = log.filter(|_| covered.contains(pcr)).map(|log| log.value(pcr));
        let claim = claimed.get(pcr).copied();
        values.set(pcr, replayed.or(claim).unwrap_or_else(|| start(pcr)));
    }
    let mut differing = PcrSet::EMPTY;
    if !is_digest_of(info.pcr_digest, hash, &values) {
        for (pcr, claim) in claimed.iter() {
            if values.get(pcr) != Some(claim) {
                differing = differing.with(pcr);
                values.set(pcr, *claim);
            }
        }
        if differing.is_empty() || !is_digest_of(info.pcr_digest, hash, &values) {
            return Err(Unverified::PcrDigest);
        }
        if let (Some(pcr), Some(log)) = (differing.intersection(PcrSet::FIRMWARE).iter().next(), log) {
            let quoted = values.get(pcr).copied().unwrap_or_else(|| start(pcr));
            let values = Box::new(Divergence { replayed: log.value(pcr), quoted });
            return Err(Unverified::Replay { pcr, values });
        }
    }
    let firmware = signed.pcrs.intersection(PcrSet::FIRMWARE);
    let is_zero = |pcr| values.get(pcr).is_none_or(Digest::is_zero);
    if !firmware.is_empty() && firmware.iter().all(is_zero) {
        return Err(Unverified::BankUnextended);
    }
    let replayed = signed.pcrs.intersection(covered).without(differing);
    let untouched = signed.pcrs.without(covered).iter().filter(|pcr| values.get(*pcr) == Some(&start(*pcr))).collect();
    Ok(ProvenPcrs { values, replayed, untouched })
}

/// Firmware versions that are refused, of every TPM or of one manufacturer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeniedFirmware {
    /// `tcg-at-tpmManufacturer`, such as `id:53544D20`; `None` for any.
    pub manufacturer: Option<String>,
    /// The `firmwareVersion`s.
    pub versions: RangeInclusive<u64>,
}

/// The firmware version is on no deny list that applies to one of these manufacturers.
///
/// # Errors
/// [`Unverified::FirmwareVersion`].
pub fn firmware_version<'m>(
    attest: &Attest<'_>,
    denied: &[DeniedFirmware],
    manufacturers: impl Iterator<Item = &'m str> + Clone,
) -> Result<(), Unverified> {
    let found = attest.firmware_version;
    let applies = |entry: &DeniedFirmware| {
        let is_theirs = |denied: &String| manufacturers.clone().any(|theirs| theirs == denied);
        entry.versions.contains(&found) && entry.manufacturer.as_ref().is_none_or(is_theirs)
    };
    if denied.iter().any(applies) { Err(Unverified::FirmwareVersion { found }) } else { Ok(()) }
}

/// The certified object is the one called `name`, a primary of the owner or endorsement hierarchy.
///
/// # Errors
/// [`Unverified::CertifyName`], [`Unverified::CertifyQualifiedName`].
pub fn certified(info: &CertifyInfo<'_>, name: &Name) -> Result<(), Unverified> {
    if !name.matches(info.name) {
        return Err(Unverified::CertifyName);
    }
    let primary = [Hierarchy::Owner, Hierarchy::Endorsement]
        .into_iter()
        .any(|hierarchy| name.qualified_in(hierarchy).matches(info.qualified_name));
    if primary { Ok(()) } else { Err(Unverified::CertifyQualifiedName) }
}

fn is_digest_of(pcr_digest: &[u8], hash: HashAlg, values: &PcrValues) -> bool {
    let mut hasher = Hasher::new(hash);
    for (_, value) in values.iter() {
        hasher.update(value.as_bytes());
    }
    crypto::equal(hasher.finish().as_bytes(), pcr_digest)
}
