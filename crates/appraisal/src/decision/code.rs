//! The stable codes of decisions.

use super::engine::Holds;

/// Why something is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    NoRuleMatched,
    Denied,
    DenyUndecided,
    ApprovalDenied,
    ApprovalAwaited,
    NotInInventory,
    NotALaunch,
    EvidenceMissing,
    TrustClass,
    NotYetValid,
    NotValidAnyMore,
    FactNotProven,
    FactDiffers,
    FactNotAllowed,
    FactLacks,
    FactDenied,
    FactBelowMinimum,
    FactAboveMaximum,
    PcrUnexplained,
    SiteDiffers,
    SiteNotProven,
    NodeId,
    NoEvidence,
    EvidenceOfTwoBindings,
    EvidenceTwice,
    EvidenceNotAsked,
}

impl Reason {
    /// Stable code for operators and programs.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::NoRuleMatched => "policy.no_rule_matched",
            Self::Denied => "policy.denied",
            Self::DenyUndecided => "policy.deny_undecided",
            Self::ApprovalDenied => "policy.ownership.approval_denied",
            Self::ApprovalAwaited => "policy.ownership.approval_awaited",
            Self::NotInInventory => "policy.ownership.not_in_inventory",
            Self::NotALaunch => "policy.ownership.not_a_registered_launch",
            Self::EvidenceMissing => "policy.evidence.missing",
            Self::TrustClass => "policy.trust_class",
            Self::NotYetValid => "policy.alternative.not_yet_valid",
            Self::NotValidAnyMore => "policy.alternative.not_valid_any_more",
            Self::FactNotProven => "policy.fact.not_proven",
            Self::FactDiffers => "policy.fact.differs",
            Self::FactNotAllowed => "policy.fact.not_allowed",
            Self::FactLacks => "policy.fact.lacks",
            Self::FactDenied => "policy.fact.denied",
            Self::FactBelowMinimum => "policy.fact.below_minimum",
            Self::FactAboveMaximum => "policy.fact.above_maximum",
            Self::SiteDiffers => "policy.site.differs",
            Self::SiteNotProven => "policy.site.not_proven",
            Self::PcrUnexplained => "policy.pcr.unexplained",
            Self::NodeId => "policy.node_id",
            Self::NoEvidence => "policy.evidence.none",
            Self::EvidenceOfTwoBindings => "policy.evidence.two_bindings",
            Self::EvidenceTwice => "policy.evidence.kind_twice",
            Self::EvidenceNotAsked => "policy.evidence.not_quoted",
        }
    }

    /// The reason for which a deny list's entry refuses.
    pub(super) const fn of_denial(holds: Holds) -> Self {
        match holds {
            Holds::Yes | Holds::No => Self::Denied,
            Holds::Unknown => Self::DenyUndecided,
        }
    }
}
