//! Verifies the evidence of an attempt again: from the manifest and its bodies alone, at the moment of then.

use std::error::Error;
use std::sync::Arc;

use holdfast_appraisal::decision::ReplayedItem;
use holdfast_evidence::azure::{AzureClaims, AzureEndorsements, AzureEvidence, ClaimedHardware};
use holdfast_evidence::gcp::{GcpClaims, GcpEndorsements, GcpEvidence};
use holdfast_evidence::nitro::{NitroClaims, NitroEndorsements, NitroEvidence};
use holdfast_evidence::nitrotpm::{NitroTpmClaims, NitroTpmEvidence};
use holdfast_evidence::snp::{SnpClaims, SnpEndorsements, SnpEvidence};
use holdfast_evidence::tdx::{CollateralParts, KnownCollateral, PlatformKind, TdxClaims, TdxEndorsements, TdxEvidence};
use holdfast_evidence::tpm::{KnownLog, TpmClaims, TpmEndorsements, TpmEvidence, TpmExpectation};
use holdfast_evidence::x509::Roots;
use holdfast_evidence::{
    AnsweringKey, ClaimedKey, Commitment, Evidence, EvidenceKind, Malformed, ProvenKey, RecordedBinding,
    RecordedChallenge, Replayed,
};
use holdfast_identity::UnixTime;

use crate::body::{Bodies, BodyMissing};
use crate::bytes::Digest;
use crate::manifest::{ItemRecord, Manifest, NodeKey, VerifiedWith};
use crate::pieces::{Unjoined, WHOLE_BYTES_MAX, join};
use crate::trust::{TrustDocument, TrustUnread};

/// One item, verified again.
#[derive(Clone, Debug)]
pub enum ReplayedEvidence {
    /// Of a TPM.
    Tpm(Box<Replayed<TpmClaims>>),
    /// Of an SEV-SNP guest.
    Snp(Box<Replayed<SnpClaims>>),
    /// Of a TDX guest.
    Tdx(Box<Replayed<TdxClaims>>),
    /// Of a Nitro Enclave.
    Nitro(Box<Replayed<NitroClaims>>),
    /// Of an instance with a NitroTPM.
    NitroTpm(Box<Replayed<NitroTpmClaims>>),
    /// Of a Google Cloud instance.
    Gcp(Box<Replayed<GcpClaims>>),
    /// Of an Azure machine.
    Azure(Box<Replayed<AzureClaims>>),
}

/// Why evidence was refused, then as now: the code, and the chain of errors as the decision has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedEvidence {
    /// Stable code.
    pub code: &'static str,
    /// The chain of what is wrong.
    pub errors: Vec<String>,
}

/// What came of verifying again.
#[derive(Debug)]
pub struct Replay {
    /// The challenge.
    pub challenge: RecordedFacts,
    /// The items, or why they are refused.
    pub items: Result<Vec<ReplayedEvidence>, RefusedEvidence>,
}

/// What the challenge says of itself.
#[derive(Clone, Debug)]
pub struct RecordedFacts {
    /// The trust domain.
    pub trust_domain: holdfast_identity::TrustDomain,
    /// `enrol`, `return` or `renew`.
    pub way: &'static str,
    /// The kinds that were asked, in order.
    pub kinds: Vec<EvidenceKind>,
    /// What was expected of the TPM: its keys, and whose it is; `None` without a TPM.
    pub tpm: Option<TpmExpectation>,
    /// When it became void.
    pub expires_at: UnixTime,
}

/// Why nothing can be verified again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreplayable {
    /// A body is missing.
    #[error(transparent)]
    Missing(#[from] BodyMissing),
    /// What was kept does not read as what it was kept as.
    #[error("{what} does not read: {reason}")]
    Malformed {
        /// What.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl From<Unjoined> for Unreplayable {
    fn from(unjoined: Unjoined) -> Self {
        match unjoined {
            Unjoined::Missing(missing) => Self::Missing(missing),
            Unjoined::TooLong => Self::Malformed { what: "what was cut", reason: unjoined.to_string() },
        }
    }
}

impl From<TrustUnread> for Unreplayable {
    fn from(unread: TrustUnread) -> Self {
        match unread {
            TrustUnread::Missing(missing) => Self::Missing(missing),
            TrustUnread::Malformed { reason } => Self::Malformed { what: "the trust document", reason },
        }
    }
}

impl ReplayedEvidence {
    /// As the appraiser takes it.
    #[must_use]
    pub fn item(&self) -> ReplayedItem<'_> {
        match self {
            Self::Tpm(item) => ReplayedItem::Tpm(item),
            Self::Snp(item) => ReplayedItem::Snp(item),
            Self::Tdx(item) => ReplayedItem::Tdx(item),
            Self::Nitro(item) => ReplayedItem::Nitro(item),
            Self::NitroTpm(item) => ReplayedItem::NitroTpm(item),
            Self::Gcp(item) => ReplayedItem::Gcp(item),
            Self::Azure(item) => ReplayedItem::Azure(item),
        }
    }

    /// The firmware log that it was verified with.
    pub(crate) fn log(&self) -> Option<Digest> {
        match self {
            Self::Tpm(item) => item.claims().log.as_ref().map(|log| Digest(*log.digest())),
            Self::Snp(_) | Self::Tdx(_) | Self::Nitro(_) | Self::NitroTpm(_) | Self::Gcp(_) | Self::Azure(_) => None,
        }
    }

    /// What cannot be shown again and rests on the server's word.
    #[must_use]
    pub fn vouched(&self) -> Vec<&'static str> {
        match self {
            Self::Tpm(item) => {
                let claims = item.claims();
                let key = if claims.certified_now {
                    None
                } else {
                    Some("that the TPM had certified the node key at an earlier attestation")
                };
                let activated = if claims.activated_now {
                    "that the TPM activated the credentials that were made for its endorsement keys"
                } else {
                    "that the attestation key was activated, and its endorsement keys certified, when the TPM enrolled"
                };
                [activated].into_iter().chain(key).collect()
            }
            Self::Snp(_) | Self::Tdx(_) | Self::Nitro(_) | Self::NitroTpm(_) | Self::Gcp(_) | Self::Azure(_) => {
                Vec::new()
            }
        }
    }
}

/// Verifies again.
///
/// # Errors
/// [`Unreplayable`] if a body is missing or does not read. That the evidence is refused is no error.
pub fn replay(manifest: &Manifest, bodies: &Bodies) -> Result<Replay, Unreplayable> {
    let malformed = |what, reason: String| Unreplayable::Malformed { what, reason };
    let challenge = RecordedChallenge::parse(&join(&manifest.challenge, bodies)?)
        .map_err(|error| malformed("the challenge", error.to_string()))?;
    let facts = facts_of(&challenge);
    let key = node_key(&manifest.node_key, bodies)?;
    let mut items = Vec::with_capacity(manifest.items.len());
    let mut whole = 0_usize;
    for record in &manifest.items {
        let kind: EvidenceKind =
            record.kind.parse().map_err(|_| malformed("an item's kind", format!("{:?}", record.kind)))?;
        let bytes = join(&record.pieces, bodies)?;
        // All are held at once, and may name one body between them.
        whole = whole.saturating_add(bytes.len());
        if whole > WHOLE_BYTES_MAX {
            return Err(Unjoined::TooLong.into());
        }
        items.push((kind, bytes, record));
    }
    let done = |items| Replay { challenge: facts.clone(), items };
    let mut commitments = Vec::with_capacity(items.len());
    for (kind, bytes, _) in &items {
        match commitment(*kind, bytes) {
            Ok(commitment) => commitments.push(commitment),
            Err(error) => return Ok(done(Err(RefusedEvidence::of(error.code(), &error)))),
        }
    }
    let binding = challenge.answer(key, &commitments).map_err(|error| malformed("the answer", error.to_string()))?;
    let mut verified = Vec::with_capacity(items.len());
    for (kind, bytes, record) in &items {
        match item(*kind, bytes, record, &binding, bodies)? {
            Ok(evidence) => verified.push(evidence),
            Err(refused) => return Ok(done(Err(refused))),
        }
    }
    Ok(done(Ok(verified)))
}

fn facts_of(challenge: &RecordedChallenge) -> RecordedFacts {
    let tpm = challenge.items().iter().find_map(|state| state.tpm());
    RecordedFacts {
        trust_domain: challenge.trust_domain().clone(),
        way: challenge.purpose().as_str(),
        kinds: challenge.items().iter().map(|state| state.kind()).collect(),
        tpm: tpm.cloned(),
        expires_at: challenge.expires_at(),
    }
}

fn node_key(recorded: &NodeKey, bodies: &Bodies) -> Result<AnsweringKey, Unreplayable> {
    match recorded {
        NodeKey::Request(pieces) => ProvenKey::from_csr(&join(pieces, bodies)?)
            .map(AnsweringKey::from)
            .map_err(|error| Unreplayable::Malformed { what: "the certificate request", reason: error.to_string() }),
        NodeKey::PublicKey(pieces) => ClaimedKey::from_spki(&join(pieces, bodies)?)
            .map(AnsweringKey::from)
            .map_err(|error| Unreplayable::Malformed { what: "the node key", reason: error.to_string() }),
    }
}

fn commitment(kind: EvidenceKind, bytes: &[u8]) -> Result<Commitment<'_>, Malformed> {
    Ok(match kind {
        EvidenceKind::Tpm => TpmEvidence::parse(bytes)?.commitment(),
        EvidenceKind::Snp => SnpEvidence::parse(bytes)?.commitment(),
        EvidenceKind::Tdx => TdxEvidence::parse(bytes)?.commitment(),
        EvidenceKind::Nitro => NitroEvidence::parse(bytes)?.commitment(),
        EvidenceKind::NitroTpm => NitroTpmEvidence::parse(bytes)?.commitment(),
        EvidenceKind::Gcp => GcpEvidence::parse(bytes)?.commitment(),
        EvidenceKind::Azure => AzureEvidence::parse(bytes)?.commitment(),
    })
}

type Outcome = Result<Result<ReplayedEvidence, RefusedEvidence>, Unreplayable>;

fn item(kind: EvidenceKind, bytes: &[u8], record: &ItemRecord, binding: &RecordedBinding, bodies: &Bodies) -> Outcome {
    let missing = || Unreplayable::Malformed { what: "the manifest", reason: format!("{kind} was never verified") };
    let with = record.verified.as_ref().ok_or_else(missing)?;
    let then = UnixTime(with.at);
    let roots = match &with.trust {
        Some(trust) => Arc::new(TrustDocument::read(trust, bodies)?.roots(bodies)?),
        None => Arc::default(),
    };
    match kind {
        EvidenceKind::Tpm => {
            let known_log = match &with.known_log {
                Some(log) => KnownLog::Bytes(bodies.need(log)?.to_vec()),
                None => KnownLog::None,
            };
            let endorsements = TpmEndorsements { known_log, ..TpmEndorsements::default() };
            let verified = verified::<TpmEvidence<'_>>(bytes, &endorsements, binding, then, tpm_code);
            Ok(verified.map(|verified| ReplayedEvidence::Tpm(Box::new(verified))))
        }
        EvidenceKind::Snp => {
            let endorsements = snp(with, roots, bodies)?;
            let verified = verified::<SnpEvidence<'_>>(bytes, &endorsements, binding, then, |e| e.code());
            Ok(verified.map(|verified| ReplayedEvidence::Snp(Box::new(verified))))
        }
        EvidenceKind::Tdx => {
            let platform = TdxEvidence::parse(bytes).ok().and_then(|evidence| evidence.wants().collateral);
            let endorsements = tdx(with, roots, platform, bodies)?;
            let verified = verified::<TdxEvidence<'_>>(bytes, &endorsements, binding, then, |e| e.code());
            Ok(verified.map(|verified| ReplayedEvidence::Tdx(Box::new(verified))))
        }
        EvidenceKind::Nitro => {
            let endorsements = NitroEndorsements { roots, verified: Vec::new() };
            let verified = verified::<NitroEvidence<'_>>(bytes, &endorsements, binding, then, |e| e.code());
            Ok(verified.map(|verified| ReplayedEvidence::Nitro(Box::new(verified))))
        }
        EvidenceKind::NitroTpm => {
            let endorsements = NitroEndorsements { roots, verified: Vec::new() };
            let verified = verified::<NitroTpmEvidence<'_>>(bytes, &endorsements, binding, then, |e| e.code());
            Ok(verified.map(|verified| ReplayedEvidence::NitroTpm(Box::new(verified))))
        }
        EvidenceKind::Gcp => {
            let endorsements = GcpEndorsements { roots, verified: Vec::new() };
            let verified = verified::<GcpEvidence<'_>>(bytes, &endorsements, binding, then, |e| e.code());
            Ok(verified.map(|verified| ReplayedEvidence::Gcp(Box::new(verified))))
        }
        EvidenceKind::Azure => {
            let platform = AzureEvidence::parse(bytes).ok().and_then(|evidence| match evidence.hardware() {
                Some(ClaimedHardware::Tdx { .. }) => match evidence.wants() {
                    holdfast_evidence::azure::AzureWants::Tdx(wants) => wants.collateral,
                    _ => None,
                },
                Some(ClaimedHardware::Snp { .. }) | None => None,
            });
            let endorsements = AzureEndorsements {
                snp: snp(with, Arc::clone(&roots), bodies)?,
                tdx: tdx(with, Arc::clone(&roots), platform, bodies)?,
                roots,
                verified: Vec::new(),
            };
            let verified = verified::<AzureEvidence<'_>>(bytes, &endorsements, binding, then, |e| e.code());
            Ok(verified.map(|verified| ReplayedEvidence::Azure(Box::new(verified))))
        }
    }
}

fn tpm_code(error: &holdfast_evidence::tpm::Unverified) -> &'static str {
    error.code()
}

fn verified<'a, E: Evidence<'a>>(
    bytes: &'a [u8],
    endorsements: &E::Endorsements,
    binding: &RecordedBinding,
    then: UnixTime,
    code: impl FnOnce(&E::Unverified) -> &'static str,
) -> Result<Replayed<E::Claims>, RefusedEvidence>
where
    E::Unverified: 'static,
{
    let evidence = E::parse(bytes).map_err(|error| RefusedEvidence::of(error.code(), &error))?;
    binding.replay(&evidence, endorsements, then).map_err(|error| RefusedEvidence::of(code(&error), &error))
}

fn snp(with: &VerifiedWith, roots: Arc<Roots>, bodies: &Bodies) -> Result<SnpEndorsements, Unreplayable> {
    let certificates =
        with.certificates.iter().map(|digest| bodies.need(digest).map(<[u8]>::to_vec)).collect::<Result<_, _>>()?;
    Ok(SnpEndorsements { roots, certificates, verified: Vec::new() })
}

fn tdx(
    with: &VerifiedWith,
    roots: Arc<Roots>,
    platform: Option<PlatformKind>,
    bodies: &Bodies,
) -> Result<TdxEndorsements, Unreplayable> {
    let malformed = |reason: String| Unreplayable::Malformed { what: "the collateral", reason };
    let collateral = match (&with.collateral, platform) {
        (Some(digest), Some(platform)) => {
            let mut parts = CollateralParts::new();
            parts.add(bodies.need(digest)?).map_err(|error| malformed(error.to_string()))?;
            let collateral = parts.collateral(platform).map_err(|error| malformed(error.to_string()))?;
            KnownCollateral::Fetched(Arc::new(collateral))
        }
        (Some(_), None) | (None, _) => KnownCollateral::None,
    };
    Ok(TdxEndorsements { roots, collateral, ..TdxEndorsements::default() })
}

impl RefusedEvidence {
    fn of(code: &'static str, error: &(dyn Error + 'static)) -> Self {
        let mut errors = vec![error.to_string()];
        let mut next = error.source();
        while let Some(error) = next {
            errors.push(error.to_string());
            next = error.source();
        }
        errors.dedup();
        Self { code, errors }
    }
}
