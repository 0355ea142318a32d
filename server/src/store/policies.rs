//! Policy versions: every text that was ever applied, and which one decides.

use super::ledger::Actor;
use super::{Held, Sha256};
use holdfast_identity::UnixTime;

/// Bytes of one policy version with all its documents: a million digests of files take 66 MB.
pub const POLICY_BYTES_MAX: usize = 100 << 20;

/// Verbs about policies. The caller has parsed the text: here it is only kept.
pub trait Policies: Send + Sync {
    /// Makes a version and puts it in force in its mode for every node, replacing the one before, without asking whom it
    /// refuses: [`super::Rollouts::roll_out`] is the operator's way. The same content again is the same version.
    fn apply_policy(&self, draft: PolicyDraft, by: Actor, at: UnixTime) -> Held<'_, PolicyVersion>;
    /// The version in force in `mode`, for whoever no scope names.
    fn policy_in(&self, mode: Mode) -> Held<'_, Option<PolicyVersion>>;
    /// One version by digest.
    fn policy(&self, digest: PolicyDigest) -> Held<'_, Option<PolicyVersion>>;
    /// All versions, newest first, without their texts.
    fn policies(&self) -> Held<'_, Vec<PolicyVersion>>;
}

/// SHA-256 over a version's name and documents: the version's name in decisions.
pub type PolicyDigest = Sha256;

/// What a version does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// It decides.
    Enforce,
    /// Its verdict is recorded beside the enforced one's.
    Observe,
    /// It was replaced.
    Retired,
}

impl Mode {
    /// As commands print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
            Self::Retired => "retired",
        }
    }
}

/// One file of a policy: the policy itself, or a reference-value set that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// File name as the policy refers to it.
    pub name: String,
    /// TOML.
    pub text: String,
}

/// What an operator applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyDraft {
    /// The policy's own name.
    pub name: String,
    /// The policy first, then what it refers to.
    pub documents: Vec<Document>,
    /// `Enforce` or `Observe`.
    pub mode: Mode,
    /// Why.
    pub message: String,
}

impl PolicyDraft {
    /// The digest that names this content.
    #[must_use]
    pub fn digest(&self) -> PolicyDigest {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let mut field = |text: &str| {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        };
        field("holdfast/policy/1");
        field(&self.name);
        for document in &self.documents {
            field(&document.name);
            field(&document.text);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Sha256(digest)
    }
}

/// A version that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// Counts versions from 1.
    pub number: u64,
    /// Its name in decisions.
    pub digest: PolicyDigest,
    /// The policy's own name.
    pub name: String,
    /// The policy first, then what it refers to; empty in lists.
    pub documents: Vec<Document>,
    /// What it does now.
    pub mode: Mode,
    /// Why it was applied.
    pub message: String,
    /// By whom.
    pub author: String,
    /// When it was last applied.
    pub applied_at: UnixTime,
    /// The key that signed it; empty if none did.
    pub signing_key: String,
    /// Its signature as it came; empty in lists, and if there is none.
    pub signature: Vec<u8>,
}
