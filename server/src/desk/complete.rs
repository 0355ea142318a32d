//! The second round trip: opens the challenge, takes the evidence in, verifies it, and hands on what was verified.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use holdfast_evidence::tpm::TpmItem;
use holdfast_evidence::{
    AnsweringKey, Binding, Challenge, ClaimedKey, EvidenceKind, ItemState, Malformed, ProvenKey, Purpose,
};
use holdfast_identity::{SpiffeId, UnixTime};

use super::evidence::{Asking, EvidenceRefused, Machine, look_at};
use super::keeping::{Gathered, KeyAsClaimed, With};
use super::{CallerRefused, Desk, Failure, MessageRefused};
use crate::authority::{Bundle, IssuedSvid};
use crate::budget::{Place, Source};
use crate::clock;
use crate::listen::Connection;
use crate::store::{AttemptId, Sha256, Way};

/// Evidence above this is verified on a thread of its own, so that no connection waits behind a large log.
const INLINE_BYTES_MAX: usize = 96 << 10;
/// Bytes that one unit of the memory gate stands for.
const MEMORY_UNIT_BYTES: usize = 64 << 10;

/// The header of an answer, within its limits.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The sealed challenge.
    pub seal: Vec<u8>,
    /// DER SubjectPublicKeyInfo of the node key.
    pub node_key_spki: Vec<u8>,
    /// PKCS#10, or empty.
    pub csr: Vec<u8>,
    /// Kind and length of each item.
    pub items: Vec<(String, usize)>,
    /// Offset and length of the list of measured files, which follows the items.
    pub measured_files: Option<(u64, usize)>,
}

/// An answer whose challenge is ours and fresh; its evidence is still on the way.
#[derive(Debug)]
pub struct Opened {
    pub(super) attempt: AttemptId,
    pub(super) challenge: Challenge,
    pub(super) key: AnsweringKey,
    /// The certificate request, or empty.
    csr: Vec<u8>,
    pub(super) started: bool,
    pub(super) began: Instant,
    /// Bytes of each item, in order.
    lengths: Vec<usize>,
    measured_files: Option<(u64, usize)>,
    memory: Option<Place>,
}

/// What came of an answer.
#[derive(Debug)]
pub enum Completed {
    /// The node is admitted.
    Admitted(Box<Admitted>),
    /// Nothing was decided: begin again, and bring this.
    NeedMore {
        /// All PCR values of the asked bank.
        all_pcr_values: bool,
        /// The firmware log itself.
        firmware_log: bool,
        /// The list of measured files from its first byte.
        measured_files: bool,
    },
}

/// An admitted node, recorded and signed for.
#[derive(Debug)]
pub struct Admitted {
    /// Its name.
    pub spiffe_id: SpiffeId,
    /// Its SVID; `None` where the one it has still serves.
    pub svid: Option<IssuedSvid>,
    /// End of the SVID that it has now.
    pub svid_not_after: UnixTime,
    /// No SVID under it outlives this moment.
    pub evidence_expires: UnixTime,
    /// The trust bundle.
    pub bundle: Arc<Bundle>,
}

/// Evidence after verification, whatever came of it, with what the record needs.
#[derive(Debug)]
pub(super) struct Examined {
    pub(super) attempt: AttemptId,
    pub(super) began: Instant,
    pub(super) way: Way,
    pub(super) challenge_id: [u8; 16],
    pub(super) challenge_expires: UnixTime,
    /// The node that renews.
    pub(super) renewing: Option<SpiffeId>,
    /// What the challenge asked for, one an item: a TPM's endorsement keys as verified at `begin`, or as on record.
    pub(super) expected: Vec<ItemState>,
    pub(super) result: Result<Machine, EvidenceRefused>,
    /// What the record keeps of it.
    pub(super) gathered: Gathered,
    /// The log, where it came as bytes.
    pub(super) log_bytes: Option<Bytes>,
    /// Whether the values of all PCRs came along.
    pub(super) all_values: bool,
    /// The list of measured files from that offset, where it came.
    pub(super) measured_files: Option<(u64, Bytes)>,
}

impl Opened {
    /// With so many bytes of the first item the secrets are in.
    pub const START_BYTES: usize = TpmItem::START_BYTES;

    /// Whether the secrets were compared.
    #[must_use]
    pub const fn is_started(&self) -> bool {
        self.started
    }
}

impl Desk {
    /// Opens an answer: the seal is ours, the challenge fresh and drawn for this connection, the items those asked.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open(
        &self,
        connection: &Arc<Connection>,
        attempt: AttemptId,
        answer: Answer,
    ) -> Result<Opened, Failure> {
        if connection.peer().is_none() {
            self.answers.take(Source::of(connection.remote().ip()), Instant::now())?;
        }
        let challenge = Challenge::open(&answer.seal, &self.seals, &self.trust_domain, clock::now())?;
        if let Purpose::Renew { node, spki_sha256 } = challenge.purpose() {
            let same =
                |peer: &crate::listen::PeerSvid| peer.spiffe_id == *node && Sha256::of(&peer.spki).0 == *spki_sha256;
            if !connection.peer().is_some_and(same) || !connection.has_drawn(&challenge.id()) {
                return Err(CallerRefused::OtherConnection.into());
            }
        }
        let asked = challenge.items().iter().map(|state| state.kind().as_str());
        if !asked.eq(answer.items.iter().map(|(kind, _)| kind.as_str())) {
            return Err(CallerRefused::Kind.into());
        }
        let key = read_key(&answer)?;
        let lengths = answer.items.iter().map(|(_, length)| *length).collect();
        let (began, csr, measured_files) = (Instant::now(), answer.csr, answer.measured_files);
        Ok(Opened { attempt, challenge, key, csr, started: false, began, lengths, measured_files, memory: None })
    }

    /// Compares the secrets at the start of the first item with those that were sent, and only then sets memory aside
    /// for the rest: whoever merely announces evidence keeps nobody waiting.
    ///
    /// # Errors
    /// [`Failure::Evidence`] if they differ: nothing more is taken in. [`Failure::OverBudget`] without memory.
    pub async fn start(&self, connection: &Connection, opened: &mut Opened, start: &[u8]) -> Result<(), Failure> {
        if let Some(expected) = opened.challenge.items().first().and_then(ItemState::tpm) {
            let secrets = TpmItem::secrets_at_start(start).map_err(EvidenceRefused::from)?;
            expected.check_secrets(&secrets).map_err(EvidenceRefused::from)?;
        }
        let list = opened.measured_files.map_or(0, |(_, length)| length);
        let wanted = opened.lengths.iter().sum::<usize>() + list;
        let units = u32::try_from(wanted / MEMORY_UNIT_BYTES + 1).unwrap_or(u32::MAX);
        let memory = if connection.peer().is_some() { &self.memory } else { &self.memory_of_strangers };
        opened.memory = Some(memory.enter(units).await?);
        opened.started = true;
        Ok(())
    }

    /// Verifies, appraises, records, signs.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn complete(
        &self,
        connection: &Arc<Connection>,
        mut opened: Opened,
        received: Vec<u8>,
    ) -> Result<Completed, Failure> {
        if !opened.started {
            self.start(connection, &mut opened, &received).await?;
        }
        let drawn_at = opened.challenge.expires_at().plus(-self.settings.challenge_lifetime);
        // Until all is verified: whoever waits for a vendor's service still holds what it sent.
        let _memory = opened.memory.take();
        let examined = self.examine(connection, opened, received.into()).await?;
        if let Err(EvidenceRefused::Tpm(unverified)) = &examined.result {
            let all_pcr_values = unverified.wants_pcr_values() && !examined.all_values;
            let firmware_log = unverified.wants_firmware_log() && examined.log_bytes.is_none();
            if all_pcr_values || firmware_log {
                self.undecided(connection, &examined);
                return Ok(Completed::NeedMore { all_pcr_values, firmware_log, measured_files: false });
            }
        }
        self.decide(connection, examined, drawn_at).await
    }

    /// Parses every item, binds them, fetches what their verification needs, and verifies them in order.
    async fn examine(&self, connection: &Connection, opened: Opened, received: Bytes) -> Result<Examined, Failure> {
        let large = received.len() > INLINE_BYTES_MAX;
        let looked = self.compute(large, move || first_look(opened, received)).await?;
        let Looked { mut examined, binding, items } = looked;
        examined.gathered.offer = self.offers.take(&examined.challenge_id);
        let Some(binding) = binding else { return Ok(examined) };
        let asking =
            Asking { source: Source::of(connection.remote().ip()), is_node: connection.peer().is_some(), large };
        let binding = Arc::new(binding);
        let mut verified = Vec::with_capacity(items.len());
        for (kind, item) in items {
            let mut with = With::default();
            let outcome = self.verify(kind, item, &binding, &asking, &mut with).await?;
            examined.gathered.note(kind, with);
            match outcome {
                Ok(evidence) => verified.push(evidence),
                Err(refused) => {
                    examined.result = Err(refused);
                    return Ok(examined);
                }
            }
        }
        examined.result = Ok(Machine::new(verified));
        Ok(examined)
    }

    /// Runs `work` behind the gate of verifications: here, or where it blocks nobody. The gate is entered for each step
    /// anew, so that no place is held by somebody who waits for a vendor's service.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        large: bool,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let _place = self.cpu.enter(1).await?;
        if !large {
            return work();
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Crypto { action: "verify: its thread ended" }),
        }
    }
}

/// An answer whose items were parsed and bound, or that is refused already.
struct Looked {
    examined: Examined,
    /// `None` if the evidence is refused.
    binding: Option<Binding>,
    items: Vec<(EvidenceKind, Bytes)>,
}

fn first_look(opened: Opened, received: Bytes) -> Result<Looked, Failure> {
    let Opened { attempt, challenge, key, csr, began, lengths, measured_files, .. } = opened;
    let way = match challenge.purpose() {
        Purpose::Enrol => Way::Enrol,
        Purpose::Return => Way::Return,
        Purpose::Renew { .. } => Way::Renew,
    };
    let renewing = match challenge.purpose() {
        Purpose::Renew { node, .. } => Some(node.clone()),
        Purpose::Enrol | Purpose::Return => None,
    };
    let mut rest = received;
    let kinds = challenge.items().iter().map(ItemState::kind);
    let items: Vec<(EvidenceKind, Bytes)> =
        kinds.zip(lengths).map(|(kind, length)| (kind, rest.split_to(length.min(rest.len())))).collect();
    let claimed = if csr.is_empty() {
        KeyAsClaimed::PublicKey(key.claimed().spki().to_vec())
    } else {
        KeyAsClaimed::Request(csr)
    };
    let mut examined = Examined {
        gathered: Gathered::new(&challenge, claimed, &items),
        attempt,
        began,
        way,
        challenge_id: challenge.id(),
        challenge_expires: challenge.expires_at(),
        renewing,
        expected: challenge.items().to_vec(),
        result: Ok(Machine::new(Vec::new())),
        log_bytes: None,
        all_values: false,
        measured_files: measured_files.map(|(offset, _)| (offset, rest)),
    };
    let mut commitments = Vec::with_capacity(items.len());
    for ((kind, bytes), expected) in items.iter().zip(&examined.expected) {
        match look_at(*kind, bytes) {
            Ok(seen) => {
                examined.log_bytes = seen.log.map(|log| bytes.slice_ref(log)).or(examined.log_bytes);
                let asked = expected.selection().map_or(0, |selection| selection.pcrs.iter().count());
                examined.all_values |= asked > 0 && seen.claimed_values >= asked;
                commitments.push(seen.commitment);
            }
            Err(refused) => {
                examined.result = Err(refused);
                return Ok(Looked { examined, binding: None, items: Vec::new() });
            }
        }
    }
    let binding = challenge.answer(key, &commitments)?;
    Ok(Looked { examined, binding: Some(binding), items })
}

/// The node key as claimed: by a CSR that proves it, or by its bare public key, which the evidence must certify.
fn read_key(answer: &Answer) -> Result<AnsweringKey, Failure> {
    if answer.csr.is_empty() {
        return Ok(ClaimedKey::from_spki(&answer.node_key_spki)
            .map_err(|malformed: Malformed| EvidenceRefused::from(malformed))?
            .into());
    }
    let proven = ProvenKey::from_csr(&answer.csr)?;
    if proven.spki() != answer.node_key_spki {
        return Err(Failure::Message(MessageRefused::NodeKey));
    }
    Ok(proven.into())
}
