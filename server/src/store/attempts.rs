//! Attestation attempts: taking a challenge, comparing the clock and recording the verdict, all in one transaction.

use super::bodies::Evidence;
use super::issuances::{Issuance, Recorded};
use super::nodes::{Marks, Node, NodeNumber};
use super::policies::PolicyDigest;
use super::rollouts::KeptFacts;
use super::{Held, Sha256};
use holdfast_identity::{Selector, SpiffeId, UnixTime};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Verbs about attempts.
pub trait Attempts: Send + Sync {
    /// Takes the challenge, looks at the node as it is at this moment, writes the verdict into the record, and lets it
    /// take effect; all of it or nothing. The verdict asked for may come out harsher (see [`Outcome`]), never milder.
    fn record_attempt(&self, attempt: Attempt) -> Held<'_, Outcome>;
    /// One attempt with everything the operator may know about it; `None` too once its time is over: see
    /// [`super::Bodies::retention`].
    fn attempt(&self, id: AttemptId) -> Held<'_, Option<AttemptRecord>>;
    /// Attempts, newest first.
    fn attempts(&self, filter: AttemptFilter) -> Held<'_, Vec<AttemptRecord>>;
    /// A firmware log that some recorded attempt brought, by its SHA-256.
    fn firmware_log(&self, digest: Sha256) -> Held<'_, Option<Vec<u8>>>;
    /// How far a node's list of measured files was judged at its last admission.
    fn measured_files(&self, node: NodeNumber) -> Held<'_, Option<String>>;
    /// The manifests that name the parts of its list, from the first entry on; none where a part is not known.
    fn list_parts(&self, node: NodeNumber) -> Held<'_, Vec<Sha256>>;
}

/// The name of one attempt: 48 bits of milliseconds, then 80 random bits. 32 hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub [u8; 16]);

impl AttemptId {
    /// A new name; `random` fills what the time does not.
    #[must_use]
    pub fn new(milliseconds: u64, random: [u8; 10]) -> Self {
        let mut id = [0; 16];
        for (to, from) in id.iter_mut().zip(milliseconds.to_be_bytes().into_iter().skip(2).chain(random)) {
            *to = from;
        }
        Self(id)
    }
}

impl AttemptId {
    /// When it began, as its name says.
    #[must_use]
    pub fn began(&self) -> UnixTime {
        let milliseconds = self.0.iter().take(6).fold(0_i64, |sum, byte| (sum << 8) | i64::from(*byte));
        UnixTime(milliseconds / 1000)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttemptId({self})")
    }
}

impl FromStr for AttemptId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id)?;
        Ok(Self(id))
    }
}

/// By which of the three ways the node came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Unknown attestation key: activation, certify, quote.
    Enrol,
    /// Known attestation key on a new connection: quote, and certify where the node key is new.
    Return,
    /// On the node's own open connection: quote.
    Renew,
}

impl Way {
    /// As it stands in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enrol => "enrol",
            Self::Return => "return",
            Self::Renew => "renew",
        }
    }
}

/// The TPM's clock as one quote stated it. TPM 2.0 Library Part 2, TPMS_CLOCK_INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// Milliseconds of power-on time since the last clear.
    pub clock: u64,
    /// TPM resets since the last clear.
    pub reset_count: u32,
    /// TPM restarts and resumes since the last reset.
    pub restart_count: u32,
    /// Whether `clock` is certain not to have been stated before.
    pub safe: bool,
}

/// How a clock reading stands to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There was none before.
    First,
    /// Same boot, clock equal or later.
    Same,
    /// The TPM was reset or restarted in between.
    Rebooted,
    /// resetCount fell: the TPM was cleared, or this is a rolled-back copy.
    Fell,
    /// Same counters, but an earlier clock: not the same TPM state going on.
    WentBack,
}

impl ClockReading {
    /// How this reading stands to `previous`.
    #[must_use]
    pub const fn after(&self, previous: Option<&Self>) -> Progress {
        let Some(previous) = previous else { return Progress::First };
        if self.reset_count < previous.reset_count {
            Progress::Fell
        } else if self.reset_count > previous.reset_count {
            Progress::Rebooted
        } else if self.restart_count < previous.restart_count {
            Progress::WentBack
        } else if self.clock < previous.clock {
            // A restart may lose up to one non-volatile update period of the clock, and then says that it is not safe.
            if self.restart_count > previous.restart_count && !self.safe {
                Progress::Rebooted
            } else {
                Progress::WentBack
            }
        } else if self.restart_count > previous.restart_count {
            Progress::Rebooted
        } else {
            Progress::Same
        }
    }
}

/// One attempt that may stand in the record: past credential activation, with a hardware signature up to a trusted
/// root, or from a known node on its own connection. All others are strangers: see [`super::Ledger::keep_strangers`].
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its name.
    pub id: AttemptId,
    /// When the verdict was reached.
    pub at: UnixTime,
    /// By which way.
    pub way: Way,
    /// Kinds of evidence, such as `tpm`.
    pub kinds: BTreeSet<String>,
    /// Where it came from, as the listener saw it; bounded by the caller.
    pub source: String,
    /// The challenge's own name: taken once and for all by this verb.
    pub challenge_id: [u8; 16],
    /// When that challenge is void anyway, so that its name may be forgotten.
    pub challenge_expires: UnixTime,
    /// Whose attempt it is.
    pub subject: Subject,
    /// The reading of this quote, where it was proven.
    pub clock: Option<ClockReading>,
    /// The version that was appraised under; `None` only where the verdict was reached before any policy was asked.
    /// If another version is in force by now, nothing is recorded: [`Outcome::PolicyMoved`].
    pub policy: Option<PolicyDigest>,
    /// The verdict.
    pub verdict: Verdict,
    /// What becomes of it if it changes nothing.
    pub when_barred: WhenBarred,
    /// The whole decision as JSON, for the operator: rule, alternatives, events that differ, chain of errors.
    pub decision: String,
    /// What it was judged by; `None` where the server has nothing to keep.
    pub evidence: Option<Evidence>,
    /// What the evidence says, if it was appraised: kept for the node in place of what it said before.
    pub facts: Option<KeptFacts>,
    /// What came of the machine's list of measured files, kept for the next attempt if this one is admitted.
    pub measured_files: Option<JudgedFiles>,
}

/// What came of a list of measured files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedFiles {
    /// How far it is judged, one state a policy; opaque here.
    pub states: String,
    /// The byte of the whole list that the part which came along begins at.
    pub offset: u64,
    /// Bytes of that part; the attempt's manifest names them.
    pub length: u64,
}

/// Whose attempt it is.
#[derive(Clone, Debug)]
pub enum Subject {
    /// The machine that proved these keys its own (every EK activated).
    Proven(Marks),
    /// A node of ours, by its attestation key on record or on its own connection.
    Known(NodeNumber),
}

/// What becomes of an attempt that changes nothing: refused by the policy, or by a ban, a freeze, another's name or key, or of
/// a machine that waits already. It could come again without end, so of each machine so many are written in a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBarred {
    /// It is written like any other.
    Written,
    /// It is answered all the same, and not written: [`Outcome::Unwritten`]. What ends a node's standing, or is an alarm, always is.
    Unwritten,
}

/// The code of [`Outcome::Unwritten`] of a machine that waits for an operator.
pub const AWAITS_APPROVAL: &str = "attempt.awaits_approval";

/// What the desk found.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Admit the node.
    Admit(Box<Admission>),
    /// The policy wants an operator's approval first.
    AwaitApproval(Box<Candidate>),
    /// Refuse.
    Refuse {
        /// Stable code, such as `policy.no_rule_matched`.
        code: String,
        /// Whether the hardware itself vouched for what was refused (the quote verified), so that the node's standing
        /// ends with it. False where the attempt could have been made by anybody who knows public keys.
        genuine: bool,
    },
}

/// What is known of a machine that proved itself, whether or not it is let in.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Trust class of the root, in lower case.
    pub trust_class: String,
    /// Whether the class can be copied (vtpm, cloud, simulated): then a fallen resetCount waits for approval.
    pub copyable: bool,
    /// Name of the attestation key (TPM: nameAlg and digest); empty where the kind has none.
    pub ak_name: Vec<u8>,
    /// What the evidence folder needs to meet this node again, in its own encoding; opaque here, at most 64 KiB.
    pub known: Vec<u8>,
    /// Manufacturer, model and the like, for the operator's eyes; attacker-written.
    pub description: String,
}

/// An appraised node and what is to be issued to it.
#[derive(Clone, Debug)]
pub struct Admission {
    /// What is known of the machine.
    pub candidate: Candidate,
    /// Its name by the policy's template.
    pub spiffe_id: SpiffeId,
    /// DER SubjectPublicKeyInfo of the proven node key.
    pub node_key_spki: Vec<u8>,
    /// Selectors that the policy gives it.
    pub selectors: BTreeSet<Selector>,
    /// What its evidence says that it cannot choose, whatever the policy issues: see [`super::Node::fixed`].
    pub fixed: BTreeSet<Selector>,
    /// The rule that admitted it.
    pub rule: String,
    /// Names of the waivers and change windows without which it would not have been.
    pub waivers: Vec<String>,
    /// No SVID under this node outlives this moment.
    pub evidence_expires: UnixTime,
    /// SHA-256 of the firmware log that was appraised.
    pub firmware_log: Option<Sha256>,
    /// The node SVID to be signed; `None` where the one it has still serves.
    pub issuance: Option<Issuance>,
}

/// What was recorded.
#[derive(Debug)]
pub enum Outcome {
    /// Admitted; the token signs the node SVID.
    Admitted {
        /// The node as it stands now.
        node: Box<Node>,
        /// Redeemable once for the SVID that was drafted.
        recorded: Option<Recorded>,
        /// How the clock stood to the last reading. `Fell` deserves an alarm.
        progress: Progress,
    },
    /// Waits for an operator.
    AwaitsApproval {
        /// Its number, for `node approve`.
        node: NodeNumber,
    },
    /// Refused, by the verdict or by what the store knows.
    Refused {
        /// The verdict's code, or one of `node.banned`, `node.frozen`, `node.denied`, `node.evicted`,
        /// `node.clock.fell`, `node.clock.went_back`, `node.id_owned`, `node.key_owned`, `node.kinds_shrank`,
        /// `node.unknown`.
        code: String,
    },
    /// Refused, or waiting still, and not recorded: see [`WhenBarred::Unwritten`].
    Unwritten {
        /// As of [`Self::Refused`], or [`AWAITS_APPROVAL`].
        code: String,
    },
    /// The challenge was answered before. Nothing was recorded.
    ChallengeTaken,
    /// Another policy version is in force by now. Nothing was recorded, the challenge is still good: appraise again.
    PolicyMoved,
}

/// An attempt as it stands in the record.
#[derive(Clone, Debug)]
pub struct AttemptRecord {
    /// Its name.
    pub id: AttemptId,
    /// When.
    pub at: UnixTime,
    /// `enrol`, `return` or `renew`.
    pub way: String,
    /// Kinds of evidence.
    pub kinds: Vec<String>,
    /// Where it came from.
    pub source: String,
    /// The node, if it is one of ours.
    pub node: Option<NodeNumber>,
    /// Its name at that time.
    pub spiffe_id: Option<SpiffeId>,
    /// `admitted`, `awaits_approval` or `refused`.
    pub verdict: String,
    /// Stable code of a refusal; empty otherwise.
    pub code: String,
    /// Policy version.
    pub policy: Option<PolicyDigest>,
    /// The decision's text as it is kept and hashed: JSON; empty in lists, and once its retention has passed. Equal decisions
    /// share one, so what differs from attempt to attempt is not in it: see [`Self::decision_in_full`].
    pub decision: String,
    /// Until when the evidence of an admission counts; `None` where the decision's own text says it, as all did once.
    pub evidence_expires: Option<UnixTime>,
    /// SHA-256 of its manifest; `None` for attempts of before manifests were kept.
    pub manifest: Option<Sha256>,
    /// Index of its entry in the record.
    pub index: u64,
}

impl AttemptRecord {
    /// The decision with what its text leaves to the attempt: its moment, and the end of the evidence.
    #[must_use]
    pub fn decision_in_full(&self) -> String {
        let Ok(serde_json::Value::Object(mut decision)) = serde_json::from_str(&self.decision) else {
            return self.decision.clone();
        };
        if let Some(ends) = self.evidence_expires {
            decision.entry("evidence_expires").or_insert_with(|| ends.seconds().into());
        }
        let dated = |explained: &mut serde_json::Map<String, serde_json::Value>| {
            let explanation = explained.get_mut("explanation").and_then(serde_json::Value::as_object_mut);
            if let Some(explanation) = explanation {
                explanation.entry("at").or_insert_with(|| self.at.seconds().into());
            }
        };
        dated(&mut decision);
        if let Some(observed) = decision.get_mut("observed").and_then(serde_json::Value::as_object_mut) {
            dated(observed);
        }
        serde_json::Value::Object(decision).to_string()
    }
}

/// Which attempts.
#[derive(Clone, Debug, Default)]
pub struct AttemptFilter {
    /// Of one node.
    pub node: Option<NodeNumber>,
    /// With this verdict.
    pub verdict: Option<String>,
    /// Older than this attempt: for paging.
    pub before: Option<AttemptId>,
    /// At most this many; 0 means 100, limit 1000.
    pub limit: u32,
}
