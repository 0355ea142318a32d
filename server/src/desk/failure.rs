//! Everything that can end an attempt without admission, and what the peer learns of it.

use std::time::Duration;

use holdfast_evidence::{ChallengeRefused, Unproven};

use crate::api::Word;
use crate::authority::AuthorityFault;
use crate::budget::OverBudget;
use crate::endorse::EndorseFault;
use crate::store::{AWAITS_APPROVAL, StoreFault};

use super::evidence::EvidenceRefused;

/// When a machine that finds no room is to come back: an operator has to do something first.
const STORAGE_RETRY_AFTER: Duration = Duration::from_secs(120);

/// Why an attempt ended without admission.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The message is not what the protocol says.
    #[error(transparent)]
    Message(#[from] MessageRefused),
    /// The caller may not ask this here.
    #[error(transparent)]
    Caller(#[from] CallerRefused),
    /// The challenge does not open, is void, or was not answered.
    #[error(transparent)]
    Challenge(#[from] ChallengeRefused),
    /// The CSR does not prove its key.
    #[error(transparent)]
    Key(#[from] Unproven),
    /// The evidence does not parse or does not verify.
    #[error(transparent)]
    Evidence(#[from] EvidenceRefused),
    /// The challenge was answered before.
    #[error("challenge was answered before")]
    ChallengeTaken,
    /// Policy or record said no; it stands in the record.
    #[error("refused: {code}")]
    Decided {
        /// Stable code, `policy.…` or `node.…`.
        code: String,
    },
    /// Decided like the one above or below; but it changes nothing, and the machine's attempts, or those of all that nobody
    /// listed, are over the bound of the day: counted, and not in the record.
    #[error(
        "refused: {code}; not written: too many such attempts today of this machine, or of those that nobody listed"
    )]
    Unwritten {
        /// Stable code of what was decided.
        code: String,
    },
    /// An operator must approve the machine.
    #[error("machine awaits an operator's approval")]
    AwaitsApproval,
    /// Two machines speak as this node.
    #[error("two live connections quoted as this node: it is frozen")]
    TwoAlive,
    /// A newer connection has taken over while this quote was under way.
    #[error("a newer connection of this node has taken over")]
    Superseded,
    /// The policy moved again and again while this attempt was judged.
    #[error("policy moved while the attempt was judged")]
    PolicyMoving,
    /// Too much at once.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The disk is nearly full: the machine is not known yet, and comes back.
    #[error("storage is low: no new machine is taken in")]
    StorageLow,
    /// A fault of the store.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// What a vendor says about the hardware cannot be had now.
    #[error(transparent)]
    Endorsement(#[from] EndorseFault),
    /// A fault of the authority.
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
    /// A fault of the cryptographic library.
    #[error("the cryptographic library failed to {action}")]
    Crypto {
        /// What was tried, as a verb.
        action: &'static str,
    },
}

/// How a message is not what the protocol says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageRefused {
    /// More identity materials than one request may have.
    #[error("request has too many identity materials")]
    Materials,
    /// It does not decode, or is too large.
    #[error("message does not decode, or is too large")]
    Undecodable,
    /// The first message of an answer is not a header, or the header is not within its limits.
    #[error("answer does not begin with a header within its limits")]
    Header,
    /// An item of no bytes, or of too many.
    #[error("evidence item is empty or too large")]
    ItemLength,
    /// Something else than a chunk, an empty or too large one, or the end, where evidence is due.
    #[error("evidence is not chunked as announced")]
    Chunk,
    /// Something follows the last announced byte.
    #[error("something follows the evidence")]
    Trailing,
    /// The CSR is for another key than the one claimed.
    #[error("certificate request is for another key than the one claimed")]
    NodeKey,
}

impl MessageRefused {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Materials => "message.materials",
            Self::Undecodable => "message.undecodable",
            Self::Header => "message.header",
            Self::ItemLength => "message.item_length",
            Self::Chunk => "message.chunk",
            Self::Trailing => "message.trailing",
            Self::NodeKey => "message.node_key",
        }
    }
}

/// Why a caller may not ask this here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallerRefused {
    /// No identity material, and no certificate of a node.
    #[error("no identity material, and no node's certificate on the connection")]
    Nobody,
    /// The connection's certificate names no node, or carries another key than the one on record.
    #[error("connection's certificate is not that of a node on record")]
    NotANode,
    /// The attestation key is unknown, and no endorsement key came with it.
    #[error("attestation key is unknown and no endorsement key came with it")]
    UnknownKey,
    /// A kind of evidence, or a composite, that this server does not take.
    #[error("kind of evidence is not taken here")]
    Kind,
    /// The challenge was drawn for another connection's node.
    #[error("challenge was drawn for another node than the one on this connection")]
    OtherConnection,
    /// No policy is in force: nobody is admitted.
    #[error("no policy is in force")]
    NoPolicy,
}

impl CallerRefused {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Nobody => "caller.nobody",
            Self::NotANode => "caller.not_a_node",
            Self::UnknownKey => "caller.unknown_key",
            Self::Kind => "caller.kind",
            Self::OtherConnection => "caller.other_connection",
            Self::NoPolicy => "caller.no_policy",
        }
    }
}

/// What the peer learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// One word.
    Word(Word),
    /// When to come back.
    OverBudget(OverBudget),
    /// That it is not the peer's fault.
    Unavailable,
}

impl Failure {
    /// Stable code for operators and programs. What was decided keeps its own code in the record.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Message(refused) => refused.code(),
            Self::Caller(refused) => refused.code(),
            Self::Challenge(refused) => refused.code(),
            Self::Key(unproven) => unproven.code(),
            Self::Evidence(refused) => refused.code(),
            Self::ChallengeTaken => "challenge.taken",
            Self::Decided { .. } => "attempt.refused",
            Self::Unwritten { .. } => "attempt.unwritten",
            Self::AwaitsApproval => "attempt.awaits_approval",
            Self::TwoAlive => "node.two_alive",
            Self::Superseded => "attempt.superseded",
            Self::PolicyMoving => "attempt.policy_moving",
            Self::OverBudget(_) => "attempt.over_budget",
            Self::StorageLow => "attempt.storage_low",
            Self::Store(fault) => fault.code(),
            Self::Endorsement(fault) => fault.code(),
            Self::Authority(fault) => fault.code(),
            Self::Crypto { .. } => "attempt.crypto",
        }
    }

    /// What a stranger may learn of it: the one place where this is decided, for every failure there is.
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self {
            Self::Message(_) => Reply::Word(Word::Malformed),
            Self::Caller(refused) => match refused {
                CallerRefused::Nobody | CallerRefused::NotANode | CallerRefused::UnknownKey => Reply::Word(Word::Enrol),
                CallerRefused::Kind => Reply::Word(Word::Malformed),
                CallerRefused::OtherConnection => Reply::Word(Word::Refused),
                // Nobody is admitted; but nobody loses his identity because our policy is missing or unreadable.
                CallerRefused::NoPolicy => Reply::Unavailable,
            },
            Self::Challenge(refused) => Reply::Word(match refused {
                // A seal that does not open is another server's, or its key was exchanged: no verdict on the machine.
                ChallengeRefused::Expired { .. } | ChallengeRefused::Seal => Word::Again,
                ChallengeRefused::TooLarge { .. }
                | ChallengeRefused::TrustDomain { .. }
                | ChallengeRefused::Items { .. }
                | ChallengeRefused::NodeKey => Word::Refused,
            }),
            Self::Key(_) | Self::Evidence(_) | Self::TwoAlive => Reply::Word(Word::Refused),
            Self::ChallengeTaken => Reply::Word(Word::Again),
            Self::Decided { code } => Reply::Word(of_decision(code)),
            Self::Unwritten { code } if code == AWAITS_APPROVAL => Reply::Word(Word::Approval),
            Self::Unwritten { code } => Reply::Word(of_decision(code)),
            Self::AwaitsApproval => Reply::Word(Word::Approval),
            Self::Superseded => Reply::Word(Word::Attest),
            Self::OverBudget(over) => Reply::OverBudget(*over),
            Self::StorageLow => Reply::OverBudget(OverBudget::after(STORAGE_RETRY_AFTER)),
            // No verdict on the machine: it comes back when the vendor, or our turn with it, may have.
            Self::Endorsement(fault) => Reply::OverBudget(OverBudget::after(fault.retry_after())),
            Self::PolicyMoving | Self::Store(_) | Self::Authority(_) | Self::Crypto { .. } => Reply::Unavailable,
        }
    }
}

/// A machine that was forgotten, or whose TPM was cleared, must know that it has to come with all its keys; everything
/// else is a plain no.
fn of_decision(code: &str) -> Word {
    match code {
        "node.evicted" | "node.unknown" | "node.clock.fell" => Word::Enrol,
        _ => Word::Refused,
    }
}
