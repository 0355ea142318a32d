//! Verifies evidence of a TPM against a binding. Pure: what it needs beside the evidence is in its arguments.

use std::sync::Arc;

use holdfast_identity::UnixTime;

use super::ak::{AkParent, AttestationKey, check_node_key};
use super::attest::Attest;
use super::checks::{self, DeniedFirmware, ProvenPcrs};
use super::claims::TpmClaims;
use super::error::{Statement, Unverified};
use super::event_log::{EventLog, Replay};
use super::expectation::{NodeKeyProof, TpmExpectation};
use super::item::{CertifiedKey, FirmwareLog, Signed, TpmItem};
use super::ownership::check_residency;
use super::pcr::Bank;
use super::public::Public;
use super::replayed::{KnownLog, ReplayedLog};
use super::signature::Signature;
use crate::binding::Binding;
use crate::challenge::{Commitment, ItemState};
use crate::crypto;
use crate::error::Malformed;
use crate::evidence::{Evidence, Verified};
use crate::key::ProvenKey;
use crate::{ClaimedKey, EvidenceKind};

/// An evidence item of kind `tpm` with the digest of its firmware log, computed once from the very bytes.
#[derive(Clone, Debug)]
pub struct TpmEvidence<'a> {
    item: TpmItem<'a>,
    /// What it was read from; empty if it was built in process.
    bytes: &'a [u8],
    log_digest: Option<[u8; 32]>,
}

/// What must be at hand before a TPM's evidence can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TpmWants {
    /// The log with this SHA-256, because the agent sent its digest only.
    pub firmware_log: Option<[u8; 32]>,
}

/// What the verifier brings.
#[derive(Clone, Debug, Default)]
pub struct TpmEndorsements {
    /// The log that was wanted.
    pub known_log: KnownLog,
    /// Firmware versions that are refused.
    pub denied_firmware: Vec<DeniedFirmware>,
}

impl<'a> TpmEvidence<'a> {
    /// Wraps an item that was parsed, or built in process.
    #[must_use]
    pub fn new(item: TpmItem<'a>) -> Self {
        let log_digest = match item.firmware_log {
            FirmwareLog::Bytes(log) => Some(crypto::sha256(&[log])),
            FirmwareLog::Known(digest) => Some(digest),
            FirmwareLog::Absent => None,
        };
        Self { item, bytes: &[], log_digest }
    }

    /// The item.
    #[must_use]
    pub const fn item(&self) -> &TpmItem<'a> {
        &self.item
    }
}

impl crate::evidence::sealed::Sealed for TpmEvidence<'_> {}

impl<'a> Evidence<'a> for TpmEvidence<'a> {
    const KIND: EvidenceKind = EvidenceKind::Tpm;
    type Wants = TpmWants;
    type Endorsements = TpmEndorsements;
    type Claims = TpmClaims;
    type Unverified = Unverified;

    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        TpmItem::parse(bytes).map(|item| Self { bytes, ..Self::new(item) })
    }

    fn commitment(&self) -> Commitment<'a> {
        Commitment { kind: Self::KIND, item: self.bytes, firmware_log: self.log_digest, ak_spki_sha256: None }
    }

    fn wants(&self) -> TpmWants {
        TpmWants {
            firmware_log: match self.item.firmware_log {
                FirmwareLog::Known(digest) => Some(digest),
                FirmwareLog::Bytes(_) | FirmwareLog::Absent => None,
            },
        }
    }

    fn verify(
        &self,
        endorsements: &TpmEndorsements,
        binding: &Binding,
        now: UnixTime,
    ) -> Result<Verified<TpmClaims>, Unverified> {
        if now >= binding.expires_at() {
            return Err(Unverified::Expired { seconds: now.since(binding.expires_at()) });
        }
        let expected = binding.item(Self::KIND).and_then(ItemState::tpm).ok_or(Unverified::OtherBinding)?;
        if binding.firmware_log_of(Self::KIND) != Some(self.log_digest) {
            return Err(Unverified::OtherBinding);
        }
        let ak = AttestationKey::check(&expected.ak)?;
        expected.check_secrets(&self.item.secrets)?;

        let attest = check_statement(Statement::Quote, &self.item.quote, &ak, binding)?;
        let quote = checks::quote_info(&attest)?;
        checks::selection(quote, &expected.selection)?;
        let manufacturers = expected.eks.iter().map(|ek| ek.manufacturer.as_str());
        checks::firmware_version(&attest, &endorsements.denied_firmware, manufacturers)?;

        let log = self.open_log(expected, &endorsements.known_log)?;
        let replay = log.as_ref().map(OpenedLog::replay);
        let pcrs = checks::pcr_values(quote, &expected.selection, ak.hash(), replay, &self.item.pcr_claims)?;
        let log = log.map(|log| log.conclude(&pcrs)).transpose()?;
        let (node_key, certified_now) = self.prove_node_key(expected, &ak, binding)?;

        check_residency(&expected.residency, &self.item.residency, &ak, binding)?;
        let ProvenPcrs { values, replayed, untouched } = pcrs;
        let claims = TpmClaims {
            eks: expected.eks.clone(),
            ak: expected.ak.clone(),
            ak_name: *ak.name(),
            clock: attest.clock,
            firmware_version: attest.firmware_version,
            selection: expected.selection,
            pcrs: values,
            replayed,
            untouched,
            log,
            node_key,
            certified_now,
            activated_now: !expected.secrets.is_empty(),
            ownership: expected.ownership.clone(),
        };
        Ok(Verified::new(binding, claims))
    }
}

impl TpmEvidence<'_> {
    fn open_log<'l>(
        &'l self,
        expected: &TpmExpectation,
        known: &'l KnownLog,
    ) -> Result<Option<OpenedLog<'l>>, Unverified> {
        let bank = expected.selection.bank;
        let digest = self.log_digest.unwrap_or_default();
        match (self.item.firmware_log, known) {
            (FirmwareLog::Absent, _) => Ok(None),
            (FirmwareLog::Bytes(bytes), _) => OpenedLog::read(digest, bytes, bank).map(Some),
            (FirmwareLog::Known(named), _) if expected.known_firmware_log != Some(named) => {
                Err(Unverified::LogNotOffered)
            }
            (FirmwareLog::Known(named), KnownLog::Bytes(bytes)) if crypto::sha256(&[bytes]) == named => {
                OpenedLog::read(digest, bytes, bank).map(Some)
            }
            (FirmwareLog::Known(named), KnownLog::Replayed(log))
                if *log.digest() == named && log.replay().bank() == bank =>
            {
                Ok(Some(OpenedLog::Kept(log)))
            }
            (FirmwareLog::Known(_), KnownLog::None | KnownLog::Bytes(_) | KnownLog::Replayed(_)) => {
                Err(Unverified::LogUnknown)
            }
        }
    }

    fn prove_node_key(
        &self,
        expected: &TpmExpectation,
        ak: &AttestationKey<'_>,
        binding: &Binding,
    ) -> Result<(ProvenKey, bool), Unverified> {
        let claimed = binding.claimed_key();
        match (expected.node_key, &self.item.certify) {
            (_, Some(certified)) => Ok((check_certified(certified, ak, binding, claimed)?, true)),
            (NodeKeyProof::Certify, None) => Err(Unverified::CertifyMissing),
            (NodeKeyProof::OnRecord { spki_sha256 }, None) if claimed.spki_sha256() == spki_sha256 => {
                Ok((claimed.proven(), false))
            }
            (NodeKeyProof::OnRecord { .. }, None) => Err(Unverified::NodeKeyNotOnRecord),
        }
    }
}

/// The node key's public area is resident, is what the attestation key certified over this binding, and is the key
/// that is claimed.
fn check_certified(
    certified: &CertifiedKey<'_>,
    ak: &AttestationKey<'_>,
    binding: &Binding,
    claimed: &ClaimedKey,
) -> Result<ProvenKey, Unverified> {
    let public = Public::parse_sized(certified.public)?;
    check_node_key(&public)?;
    let attest = check_statement(Statement::Certify, &certified.certify, ak, binding)?;
    checks::certified(checks::certify_info(&attest)?, &public.name())?;
    if public.key() != claimed.key() {
        return Err(Unverified::NodeKeyMismatch);
    }
    Ok(claimed.proven())
}

/// The checks that a quote and a certification have in common: 1 to 6.
fn check_statement<'a>(
    statement: Statement,
    signed: &Signed<'a>,
    ak: &AttestationKey<'_>,
    binding: &Binding,
) -> Result<Attest<'a>, Unverified> {
    let attest = Attest::parse(signed.attest)?;
    let signature = Signature::parse(signed.signature)?;
    checks::magic(statement, &attest)?;
    checks::kind(statement, &attest)?;
    checks::scheme(statement, ak, &signature)?;
    let digest = binding.digest_of(EvidenceKind::Tpm).ok_or(Unverified::OtherBinding)?;
    checks::nonce(statement, &attest, digest)?;
    checks::signer(statement, &attest, ak, AkParent::Endorsement)?;
    checks::signature(statement, ak, &attest, &signature)?;
    Ok(attest)
}

/// A log between its replay and the facts that the quote lets it prove.
enum OpenedLog<'a> {
    Read { digest: [u8; 32], log: EventLog<'a>, replay: Box<Replay> },
    Kept(&'a Arc<ReplayedLog>),
}

impl<'a> OpenedLog<'a> {
    fn read(digest: [u8; 32], bytes: &'a [u8], bank: Bank) -> Result<Self, Unverified> {
        let log = EventLog::parse(bytes)?;
        let replay = Box::new(log.replay(bank)?);
        Ok(Self::Read { digest, log, replay })
    }

    fn replay(&self) -> &Replay {
        match self {
            Self::Read { replay, .. } => replay,
            Self::Kept(log) => log.replay(),
        }
    }

    /// The facts of exactly those PCRs that the quote proved.
    fn conclude(self, pcrs: &ProvenPcrs) -> Result<Arc<ReplayedLog>, Unverified> {
        match self {
            Self::Read { digest, log, replay } => {
                ReplayedLog::derive(digest, &log, *replay, pcrs.replayed).map(Arc::new)
            }
            Self::Kept(log) if log.facts().proven == pcrs.replayed => Ok(Arc::clone(log)),
            Self::Kept(_) => Err(Unverified::LogUnknown),
        }
    }
}
