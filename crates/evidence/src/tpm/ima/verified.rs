//! Whether one of the keys signed what was measured, and what that may cost: a stranger's list can name a key for each of
//! its entries, so that what fails is counted, and what held once is not computed again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::attribute::Attribute;
use super::keys::ImaKeys;
use super::measured::{DigestOf, FileDigest};
use crate::crypto::sha256;

/// Most signatures of one list that may fail before no other is computed. One that fails refuses its list, so that nothing
/// is lost but the reason of those behind it.
pub const FAILURES_MAX: u32 = 32;
/// Most signatures that are known to hold, 32 bytes each; then they are forgotten and computed again. A distribution has
/// some 100,000 signed files, and all machines the same.
const VERIFIED_MAX: usize = 200_000;

/// Why a file's signature proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureRefused {
    /// There is none.
    #[error("not signed")]
    Absent,
    /// It is none that we read: another type or version, or not of its length.
    #[error("not a signature of version 2 or 3")]
    Form,
    /// It is over a digest of another algorithm or kind than was measured.
    #[error("over another hash than was measured")]
    Hash,
    /// None of the keys made it.
    #[error("made by none of the keys")]
    Key,
    /// Too many before it were made by none of the keys.
    #[error("not looked at: {FAILURES_MAX} signatures before it were false")]
    TooMany,
}

/// How many signatures of one list may still fail.
#[derive(Debug)]
pub struct SignatureBudget {
    failures_left: u32,
}

impl Default for SignatureBudget {
    fn default() -> Self {
        Self { failures_left: FAILURES_MAX }
    }
}

/// Signatures that held: the hash over algorithm, key, what was signed and the signature. What failed is not here, so that
/// nobody fills it with what he makes up.
#[derive(Debug, Default)]
pub(super) struct Verified(Mutex<BTreeSet<[u8; 32]>>);

impl Verified {
    fn holds(&self, name: &[u8; 32]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    fn keep(&self, name: [u8; 32]) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= VERIFIED_MAX {
            held.clear();
        }
        held.insert(name);
    }
}

impl ImaKeys {
    /// Checks that a key of the name that the signature gives made it over this digest. The name is four bytes that
    /// anybody may write; it chooses the key, and proves nothing.
    ///
    /// # Errors
    /// [`SignatureRefused`].
    pub fn check(
        &self,
        digest: &FileDigest<'_>,
        of: DigestOf,
        attribute: &[u8],
        budget: &mut SignatureBudget,
    ) -> Result<(), SignatureRefused> {
        if attribute.is_empty() {
            return Err(SignatureRefused::Absent);
        }
        let attribute = Attribute::read(attribute).map_err(|_| SignatureRefused::Form)?;
        let (hash, signed) = attribute.signed(digest, of)?;
        for key in self.named(attribute.key_id) {
            let algorithm = hash.id().to_be_bytes();
            // All before the signature have a length that the algorithm says.
            let name = sha256(&[&algorithm, &key.spki_sha256, signed.as_bytes(), attribute.signature]);
            if self.verified.holds(&name) {
                return Ok(());
            }
            if budget.failures_left == 0 {
                return Err(SignatureRefused::TooMany);
            }
            if key.key.verify(hash, signed.as_bytes(), attribute.signature).is_ok() {
                self.verified.keep(name);
                return Ok(());
            }
            budget.failures_left -= 1;
        }
        Err(SignatureRefused::Key)
    }
}
