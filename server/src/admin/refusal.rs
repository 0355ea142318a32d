//! What an operator is told: gRPC statuses with a stable code in the metadata. Operators are told everything.

use std::sync::Arc;

use holdfast_identity::{InvalidId, InvalidSelector};
use holdfast_svid::bundle::BadBundle as BadForeignBundle;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::authority::life::LifeRefusal;
use crate::authority::{ActFault, RotationFault};
use crate::ear::EarRefused;
use crate::endorse::EndorseFault;
use crate::endorse::bundle::BadBundle;
use crate::endorse::reading::NotImported;
use crate::federation::{FetchFault, NotRefreshed};
use crate::fleet::NotFixed;
use crate::outbox::OrderRefused;
use crate::record::RecordFault;
use crate::rollout::NotSigned;
use crate::store::{EntryRefusal, FederationRefusal, NodeRefusal, RolloutRefusal, StoreFault};

/// Metadata key of the stable code.
pub(crate) const CODE_METADATA: &str = "holdfast-code";

/// Why an operator's request was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Store(#[from] StoreFault),
    #[error(transparent)]
    Entry(#[from] EntryRefusal),
    #[error(transparent)]
    Node(#[from] NodeRefusal),
    #[error(transparent)]
    Record(#[from] RecordFault),
    #[error(transparent)]
    Unsigned(Arc<RecordFault>),
    #[error("{field}: {source}")]
    Id { field: &'static str, source: InvalidId },
    #[error("{field}: {source}")]
    Selector { field: &'static str, source: InvalidSelector },
    #[error(transparent)]
    Endorsement(#[from] NotImported),
    #[error(transparent)]
    Bundle(#[from] BadBundle),
    #[error(transparent)]
    ForeignBundle(#[from] BadForeignBundle),
    #[error(transparent)]
    Federation(#[from] FederationRefusal),
    #[error(transparent)]
    Fetch(#[from] FetchFault),
    #[error(transparent)]
    Endorse(#[from] EndorseFault),
    #[error(transparent)]
    Sink(#[from] OrderRefused),
    #[error(transparent)]
    Ear(#[from] EarRefused),
    #[error(transparent)]
    Authority(#[from] ActFault),
    #[error("{field}: {reason}")]
    Argument { field: &'static str, reason: String },
    #[error("no such {what}")]
    NotFound { what: &'static str },
    #[error(
        "the store has no such attempt any more, if it ever had: its time is over (record.keep_evidence {evidence_days} \
         days, of renewals {renewals_days}); its entry stays in the record, and proves that it was decided, not why"
    )]
    AttemptGone { evidence_days: i64, renewals_days: i64 },
    #[error("this needs the role {needed}, which the operator's groups do not give")]
    Role { needed: String },
    #[error(transparent)]
    Rollout(#[from] RolloutRefusal),
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    #[error(transparent)]
    X509(#[from] RotationFault),
    #[error(transparent)]
    Scope(#[from] NotFixed),
    #[error(
        "{lost} of {admitted} admitted nodes would be refused, wait, or be unknown: {}, limit {}; \
         `policy what-if` says which, --accept-refusals {lost} does it all the same", percent(*lost, *admitted),
        per_mille(*limit)
    )]
    TooMany { lost: u64, admitted: u64, limit: u64 },
    #[error("{lost} of {admitted} admitted nodes would be refused, wait, or be unknown, {accepted} were accepted")]
    MoreThanAccepted { lost: u64, admitted: u64, accepted: u64 },
    #[error("the policy is of bank {found}, that of all other nodes of {expected}: one quote is of one bank")]
    Bank { found: String, expected: String },
    #[error("no policy is enforced for the others: promote one without selectors first")]
    NoDefault,
    #[error("{limit} questions are being asked of the fleet: ask again when one of them is answered")]
    Busy { limit: usize },
    #[error("version {version} cannot be read by this server")]
    Unreadable { version: String },
    #[error("roots of class simulated need allow_simulated = true in the server's configuration")]
    Simulated,
}

impl Refusal {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Store(fault) => fault.code(),
            Self::Entry(refusal) => refusal.code(),
            Self::Node(refusal) => refusal.code(),
            Self::Record(fault) => fault.code(),
            Self::Unsigned(fault) => fault.code(),
            Self::Id { source, .. } => source.code(),
            Self::Selector { source, .. } => source.code(),
            Self::Endorsement(refused) => refused.code(),
            Self::Bundle(bad) => bad.code(),
            Self::ForeignBundle(bad) => bad.code(),
            Self::Federation(refusal) => refusal.code(),
            Self::Fetch(fault) => fault.code(),
            Self::Endorse(fault) => fault.code(),
            Self::Sink(refused) => refused.code(),
            Self::Ear(refused) => refused.code(),
            Self::Authority(fault) => fault.code(),
            Self::Argument { .. } => "admin.argument",
            Self::NotFound { .. } => "admin.not_found",
            Self::AttemptGone { .. } => "attempt.gone",
            Self::Role { .. } => "admin.role",
            Self::Rollout(refusal) => refusal.code(),
            Self::NotSigned(refusal) => refusal.code(),
            Self::X509(fault) => fault.code(),
            Self::Scope(_) => "rollout.selector",
            Self::TooMany { .. } => "rollout.too_many_refused",
            Self::MoreThanAccepted { .. } => "rollout.more_than_accepted",
            Self::Bank { .. } => "rollout.bank",
            Self::NoDefault => "rollout.no_default",
            Self::Busy { .. } => "rollout.what_if_busy",
            Self::Unreadable { .. } => "rollout.unreadable_version",
            Self::Simulated => "endorsements.simulated_not_allowed",
        }
    }

    fn status(&self) -> Code {
        match self {
            Self::Store(_)
            | Self::Endorse(_)
            | Self::Record(RecordFault::Store(_))
            | Self::Sink(OrderRefused::Ended | OrderRefused::Store(_)) => Code::Unavailable,
            Self::X509(fault) => match fault {
                RotationFault::Store(_) | RotationFault::Upstream(_) | RotationFault::Authority(_) => Code::Unavailable,
                RotationFault::UnknownRoot { .. } | RotationFault::Life(LifeRefusal::Unknown { .. }) => Code::NotFound,
                RotationFault::Moved => Code::Aborted,
                RotationFault::NoUpstream
                | RotationFault::Life(_)
                | RotationFault::TooEarly { .. }
                | RotationFault::MarkedRoot { .. }
                | RotationFault::RootInUse { .. }
                | RotationFault::RootStage { .. } => Code::FailedPrecondition,
            },
            Self::Record(RecordFault::NoEntry { .. }) => Code::NotFound,
            Self::Record(_) | Self::Unsigned(_) => Code::FailedPrecondition,
            Self::Ear(EarRefused::Store(_)) | Self::Authority(ActFault::Store(_)) => Code::Unavailable,
            Self::Authority(ActFault::Authority(_)) => Code::Internal,
            Self::Authority(ActFault::Refused(LifeRefusal::Unknown { .. })) => Code::NotFound,
            Self::Authority(ActFault::Refused(_)) => Code::FailedPrecondition,
            Self::Ear(EarRefused::Signing) => Code::Internal,
            Self::Ear(EarRefused::Nonce { .. }) => Code::InvalidArgument,
            Self::Ear(EarRefused::NothingToTell | EarRefused::Ended { .. } | EarRefused::NoAttempt) => {
                Code::FailedPrecondition
            }
            Self::Sink(
                OrderRefused::BeyondHead { .. }
                | OrderRefused::Configured
                | OrderRefused::NothingToSkip
                | OrderRefused::Test(_),
            ) => Code::FailedPrecondition,
            Self::Fetch(_) => Code::FailedPrecondition,
            Self::Federation(FederationRefusal::Exists(_)) => Code::AlreadyExists,
            Self::Federation(FederationRefusal::Full) => Code::ResourceExhausted,
            Self::Federation(
                FederationRefusal::NoEndpoint(_) | FederationRefusal::HasEndpoint(_) | FederationRefusal::Named { .. },
            ) => Code::FailedPrecondition,
            Self::Federation(FederationRefusal::Own(_)) | Self::ForeignBundle(_) => Code::InvalidArgument,
            Self::Federation(FederationRefusal::Unknown(_))
            | Self::Entry(EntryRefusal::Unknown)
            | Self::Node(NodeRefusal::Unknown)
            | Self::Sink(OrderRefused::Unknown)
            | Self::NotFound { .. }
            | Self::AttemptGone { .. } => Code::NotFound,
            Self::Entry(EntryRefusal::IdTaken | EntryRefusal::Similar { .. }) => Code::AlreadyExists,
            Self::Entry(EntryRefusal::Changed { .. }) => Code::Aborted,
            Self::Entry(EntryRefusal::NotOwned { .. }) => Code::FailedPrecondition,
            Self::Entry(EntryRefusal::Full { .. }) | Self::Busy { .. } => Code::ResourceExhausted,
            Self::Role { .. } => Code::PermissionDenied,
            Self::Rollout(RolloutRefusal::UnknownProposal | RolloutRefusal::UnknownState { .. }) => Code::NotFound,
            Self::Rollout(RolloutRefusal::Moved) => Code::Aborted,
            Self::Node(NodeRefusal::Banned | NodeRefusal::NotBanned | NodeRefusal::Ambiguous)
            | Self::Rollout(_)
            | Self::NotSigned(_)
            | Self::TooMany { .. }
            | Self::MoreThanAccepted { .. }
            | Self::Bank { .. }
            | Self::NoDefault
            | Self::Unreadable { .. }
            | Self::Simulated => Code::FailedPrecondition,
            Self::Entry(EntryRefusal::Invalid { .. })
            | Self::Id { .. }
            | Self::Selector { .. }
            | Self::Endorsement(_)
            | Self::Bundle(_)
            | Self::Scope(_)
            | Self::Argument { .. } => Code::InvalidArgument,
        }
    }
}

impl From<NotRefreshed> for Refusal {
    fn from(not: NotRefreshed) -> Self {
        match not {
            NotRefreshed::Refused(refusal) => Self::Federation(refusal),
            NotRefreshed::Fetch(fault) => Self::Fetch(fault),
            NotRefreshed::Store(fault) => Self::Store(fault),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let mut status = Self::new(refusal.status(), refusal.to_string());
        status.metadata_mut().insert(CODE_METADATA, MetadataValue::from_static(refusal.code()));
        status
    }
}

/// A share of all, to one decimal, rounded up.
fn percent(part: u64, all: u64) -> String {
    per_mille((part * 1000).div_ceil(all.max(1)))
}

fn per_mille(share: u64) -> String {
    format!("{}.{} %", share / 10, share % 10)
}

/// An argument that cannot be.
pub(super) fn argument(field: &'static str, reason: impl Into<String>) -> Refusal {
    Refusal::Argument { field, reason: reason.into() }
}
