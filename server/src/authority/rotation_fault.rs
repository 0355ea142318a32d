//! Why an intermediate is not replaced, tainted or revoked.

use super::life::LifeRefusal;
use super::{AuthorityFault, KeyId, UpstreamFault};
use crate::store::StoreFault;

/// What stops a step in the lives of authorities.
#[derive(Debug, thiserror::Error)]
pub enum RotationFault {
    /// There is nobody to ask.
    #[error(
        "no [upstream_authority] is configured: renew the intermediate with \"holdfast-server init --root-key FILE\""
    )]
    NoUpstream,
    /// It is at another point of its life.
    #[error(transparent)]
    Life(#[from] LifeRefusal),
    /// Agents that are away could not verify this server.
    #[error(
        "root {root} is not published long enough: in {seconds} s every agent that has an SVID knows it; --early does it all the same"
    )]
    TooEarly {
        /// The root's name.
        root: KeyId,
        /// What is left to wait.
        seconds: i64,
    },
    /// The upstream authority signs under a root that is no more believed.
    #[error("the upstream authority names root {root}, which is {stage}: give it another")]
    MarkedRoot {
        /// The root's name.
        root: KeyId,
        /// What was done to it.
        stage: &'static str,
    },
    /// No such root.
    #[error("no root with subject key ID {id} in the bundle: `authority x509 show` lists them")]
    UnknownRoot {
        /// As it was asked for.
        id: String,
    },
    /// The root is needed.
    #[error(
        "root {root} is in use: intermediate {below} is {stage} below it; prepare and activate one under another root first"
    )]
    RootInUse {
        /// The root's name.
        root: KeyId,
        /// The intermediate's name.
        below: String,
        /// Where that is in its life.
        stage: &'static str,
    },
    /// A root must be tainted before it is revoked.
    #[error("root {root} is {found}, expected {expected}")]
    RootStage {
        /// The root's name.
        root: KeyId,
        /// What it is.
        found: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// Somebody else did something in between.
    #[error("authorities were changed in between: look again")]
    Moved,
    /// The upstream authority.
    #[error(transparent)]
    Upstream(#[from] UpstreamFault),
    /// Our own keys and files.
    #[error(transparent)]
    Authority(#[from] AuthorityFault),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl RotationFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoUpstream => "authority.upstream.absent",
            Self::Life(refusal) => refusal.code(),
            Self::TooEarly { .. } => "authority.life.too_early",
            Self::MarkedRoot { .. } => "authority.upstream.marked_root",
            Self::UnknownRoot { .. } => "authority.root.unknown",
            Self::RootInUse { .. } => "authority.root.in_use",
            Self::RootStage { .. } => "authority.root.stage",
            Self::Moved => "authority.life.moved",
            Self::Upstream(fault) => fault.code(),
            Self::Authority(fault) => fault.code(),
            Self::Store(fault) => fault.code(),
        }
    }
}
