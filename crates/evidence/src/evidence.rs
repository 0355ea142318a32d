//! What every kind of evidence is, and the value that says it has been verified.

use holdfast_identity::UnixTime;

use crate::EvidenceKind;
use crate::binding::Binding;
use crate::challenge::Commitment;
use crate::error::Malformed;

/// Keeps kinds of evidence to this crate: a stranger's kind could carry the binding of a replay out of it.
pub(crate) mod sealed {
    /// One of ours.
    pub trait Sealed {}
}

/// One piece of hardware evidence, borrowed from the bytes it was read from.
pub trait Evidence<'a>: Sized + sealed::Sealed {
    /// Its kind.
    const KIND: EvidenceKind;
    /// What must be fetched before it can be verified.
    type Wants;
    /// What was fetched.
    type Endorsements;
    /// What is known once it is verified.
    type Claims;
    /// Why it does not verify.
    type Unverified: std::error::Error;

    /// Reads an item, exactly.
    ///
    /// # Errors
    /// [`Malformed`] at the field that does not parse.
    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed>;

    /// What this item contributes to the binding.
    fn commitment(&self) -> Commitment<'a>;

    /// What must be fetched before this can be verified.
    fn wants(&self) -> Self::Wants;

    /// Verifies everything that can be said without policy.
    ///
    /// # Errors
    /// The first check that fails.
    fn verify(
        &self,
        endorsements: &Self::Endorsements,
        binding: &Binding,
        now: UnixTime,
    ) -> Result<Verified<Self::Claims>, Self::Unverified>;
}

/// Claims that were verified against one binding. Made inside this crate only, so that whoever holds one knows that
/// every check was made.
#[derive(Clone, Debug)]
pub struct Verified<C> {
    challenge_id: [u8; 16],
    claims: C,
}

impl<C> Verified<C> {
    pub(crate) const fn new(binding: &Binding, claims: C) -> Self {
        Self { challenge_id: binding.challenge_id(), claims }
    }

    /// Id of the challenge whose answer was verified. Only claims with equal ids belong together.
    #[must_use]
    pub const fn challenge_id(&self) -> [u8; 16] {
        self.challenge_id
    }

    /// What was verified.
    #[must_use]
    pub const fn claims(&self) -> &C {
        &self.claims
    }
}
