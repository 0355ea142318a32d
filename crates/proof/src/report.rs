//! What checking a proof found: step by step, and in sum.

use serde::Serialize;

use crate::trust::TrustedRoot;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was looked at.
    pub what: &'static str,
    /// What came of it.
    pub state: State,
    /// Stable code, where it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// In words.
    pub detail: String,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It was computed again, and holds.
    Holds,
    /// It does not hold: the proof proves nothing.
    Fails,
    /// What it takes is not in the proof any more.
    Gone,
    /// Nobody can compute it again: the server's signature alone vouches for it.
    Vouched,
    /// Something before it failed, so that it says nothing, whatever was found.
    Unverified,
}

/// What a step fails by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Entry,
    Inclusion,
    ManifestDigest,
    Manifest,
    DecisionDigest,
    Body,
    BodyUnnamed,
    Policy,
    EndorsementKeys,
    Maker,
    Evidence,
    Decision,
    Verdict,
    Root,
}

impl Flaw {
    /// Stable code for operators and programs.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Entry => "proof.entry",
            Self::Inclusion => "proof.inclusion",
            Self::ManifestDigest => "proof.manifest_digest",
            Self::Manifest => "proof.manifest",
            Self::DecisionDigest => "proof.decision_digest",
            Self::Body => "proof.body",
            Self::BodyUnnamed => "proof.body_unnamed",
            Self::Policy => "proof.policy",
            Self::EndorsementKeys => "proof.endorsement_keys",
            Self::Maker => "proof.maker",
            Self::Evidence => "proof.evidence",
            Self::Decision => "proof.decision_differs",
            Self::Verdict => "proof.verdict_differs",
            Self::Root => "proof.root_unknown",
        }
    }
}

/// In sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// Everything that can be computed again holds.
    Proven,
    /// Something does not hold.
    Refuted,
    /// What is there holds, and something is gone.
    Incomplete,
}

/// What says that a root is one that the evidence rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RootGround {
    /// Certificates in the proof, which led to it again.
    Certificates,
    /// The server alone: what led to it is in another proof, or did not verify.
    Server,
}

/// A root that something in the proof rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RootSeen {
    /// The root as the server believed it.
    #[serde(flatten)]
    pub root: TrustedRoot,
    /// What says so.
    pub ground: RootGround,
    /// Whether it is among those that the reader trusts; absent where none were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_by_reader: Option<bool>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In sum.
    pub conclusion: Conclusion,
    /// The attempt's name; empty if the entry does not say.
    pub attempt: String,
    /// When it was judged, seconds since 1970.
    pub at: i64,
    /// By which way the machine came.
    pub way: String,
    /// The node's name, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// The verdict as recorded.
    pub verdict: String,
    /// Why it was refused, or nothing.
    pub code: String,
    /// The policy that decided, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The log, and how many entries it had.
    pub log: String,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// The roots that the evidence rests on.
    pub roots: Vec<RootSeen>,
    /// The decision in words.
    pub explanation: String,
}

impl Report {
    /// The codes of what fails.
    #[must_use]
    pub fn failures(&self) -> Vec<&'static str> {
        self.steps.iter().filter(|step| step.state == State::Fails).filter_map(|step| step.code).collect()
    }
}

/// Steps under way.
#[derive(Debug, Default)]
pub(crate) struct Steps(pub(crate) Vec<Step>);

impl Steps {
    /// It holds, unless something before it failed: then it is not to be read as verified.
    pub(crate) fn holds(&mut self, what: &'static str, detail: impl Into<String>) {
        let state = if self.failed() { State::Unverified } else { State::Holds };
        self.0.push(Step { what, state, code: None, detail: detail.into() });
    }

    /// It was not looked at, as what it would rest on failed.
    pub(crate) fn unverified(&mut self, what: &'static str) {
        let detail = "not looked at: what it rests on does not hold".to_owned();
        self.0.push(Step { what, state: State::Unverified, code: None, detail });
    }

    pub(crate) fn failed(&self) -> bool {
        self.0.iter().any(|step| step.state == State::Fails)
    }

    pub(crate) fn fails(&mut self, what: &'static str, flaw: Flaw, detail: impl Into<String>) {
        self.fails_by(what, flaw.code(), detail);
    }

    pub(crate) fn fails_by(&mut self, what: &'static str, code: &'static str, detail: impl Into<String>) {
        self.0.push(Step { what, state: State::Fails, code: Some(code), detail: detail.into() });
    }

    pub(crate) fn gone(&mut self, what: &'static str, detail: impl Into<String>) {
        self.0.push(Step { what, state: State::Gone, code: None, detail: detail.into() });
    }

    /// The server's word. Of a proof that fails not even that was shown to be the server's.
    pub(crate) fn vouched(&mut self, what: &'static str, detail: impl Into<String>) {
        let state = if self.failed() { State::Unverified } else { State::Vouched };
        self.0.push(Step { what, state, code: None, detail: detail.into() });
    }

    pub(crate) fn conclusion(&self) -> Conclusion {
        let any = |state| self.0.iter().any(|step| step.state == state);
        if any(State::Fails) || any(State::Unverified) {
            Conclusion::Refuted
        } else if any(State::Gone) {
            Conclusion::Incomplete
        } else {
            Conclusion::Proven
        }
    }
}
