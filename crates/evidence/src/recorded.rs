//! The same checks a second time, from what a record kept: a challenge that was answered long ago, and evidence that was
//! verified against it. What comes of it can be looked at and appraised again; nothing that may be issued for comes of it.
//!
//! A kept challenge is no secret any more and its seal is gone, so anybody can write one. That is why it makes no
//! [`Binding`]: a [`Verified`] stands for an answer to a challenge that we drew, and a [`Replayed`] for the arithmetic
//! alone.

use holdfast_identity::{TrustDomain, UnixTime};

use crate::binding::Binding;
use crate::challenge::{AnsweringKey, Challenge, ChallengeRefused, Commitment, ItemState, Purpose};
use crate::error::Malformed;
use crate::evidence::{Evidence, Verified};

/// A challenge as a record kept it. Nobody vouches here for who drew it.
#[derive(Debug)]
pub struct RecordedChallenge(Challenge);

/// What the hardware must have signed by a recorded challenge. Gives out no [`Binding`].
#[derive(Debug)]
pub struct RecordedBinding(Binding);

/// Claims that hold by the inputs that a record kept. Made by [`RecordedBinding::replay`] alone; no identity comes of it.
#[derive(Clone, Debug)]
pub struct Replayed<C>(Verified<C>);

impl RecordedChallenge {
    /// Reads what [`Challenge::to_record`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] at the field that does not parse.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        Challenge::decode(bytes).map(Self)
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> [u8; 16] {
        self.0.id()
    }

    /// The trust domain that it was drawn for.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        self.0.trust_domain()
    }

    /// When it became void.
    #[must_use]
    pub const fn expires_at(&self) -> UnixTime {
        self.0.expires_at()
    }

    /// What it was drawn for.
    #[must_use]
    pub const fn purpose(&self) -> &Purpose {
        self.0.purpose()
    }

    /// What each item had to show, in order.
    #[must_use]
    pub fn items(&self) -> &[ItemState] {
        self.0.items()
    }

    /// Answers it as it was answered then.
    ///
    /// # Errors
    /// As [`Challenge::answer`].
    pub fn answer(
        self,
        key: impl Into<AnsweringKey>,
        commitments: &[Commitment<'_>],
    ) -> Result<RecordedBinding, ChallengeRefused> {
        self.0.answer(key, commitments).map(RecordedBinding)
    }
}

impl RecordedBinding {
    /// Makes every check of [`Evidence::verify`] again, at the moment at which it was made.
    ///
    /// # Errors
    /// The first check that fails.
    pub fn replay<'a, E: Evidence<'a>>(
        &self,
        evidence: &E,
        endorsements: &E::Endorsements,
        then: UnixTime,
    ) -> Result<Replayed<E::Claims>, E::Unverified> {
        evidence.verify(endorsements, &self.0, then).map(Replayed)
    }
}

impl<C> Replayed<C> {
    /// Id of the challenge whose answer was verified again.
    #[must_use]
    pub const fn challenge_id(&self) -> [u8; 16] {
        self.0.challenge_id()
    }

    /// What holds.
    #[must_use]
    pub const fn claims(&self) -> &C {
        self.0.claims()
    }
}
