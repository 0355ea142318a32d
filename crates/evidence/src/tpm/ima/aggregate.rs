//! `boot_aggregate`: the first entry, which ties the list to the PCRs that firmware and loader left behind. Computed from
//! the quoted PCRs, never from a log.

use super::entry::Entry;
use super::measured::{FileDigest, Measured};
use crate::crypto::{Digest, Hasher};
use crate::tpm::pcr::{PcrIndex, PcrValues};

/// The name of such an entry. After a kexec the list goes on, with another entry of this name.
pub const BOOT_AGGREGATE: &[u8] = b"boot_aggregate";

/// Over which PCRs an aggregate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateOf {
    /// 0 to 7: kernels before 5.8.
    FirstEight,
    /// 0 to 9.
    FirstTen,
}

/// Why an aggregate ties nothing to the quoted PCRs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AggregateRefused {
    /// The entry is a violation, or of a form that says nothing.
    #[error("the entry says nothing")]
    Nothing,
    /// Its digest is of another algorithm than the bank that was quoted: of SHA-1, or of a bank that the kernel
    /// preferred.
    #[error("its digest is not of the quoted bank {bank}")]
    OtherBank {
        /// The bank that was quoted.
        bank: crate::tpm::Bank,
    },
    /// PCRs that it goes over were not quoted.
    #[error("the quote does not cover PCRs 0 to 9")]
    NotQuoted,
    /// It is another machine's, or another boot's.
    #[error("it is {found}, the quoted PCRs give {expected}")]
    Differs {
        /// What the quoted PCRs 0 to 9 give.
        expected: Box<Digest>,
        /// What the list says.
        found: Digest,
    },
}

impl AggregateOf {
    const ALL: [(Self, u32); 2] = [(Self::FirstTen, 10), (Self::FirstEight, 8)];

    /// Checks an entry of that name against the quoted PCRs.
    ///
    /// # Errors
    /// [`AggregateRefused`].
    pub fn check(entry: &Entry<'_>, pcrs: &PcrValues) -> Result<Self, AggregateRefused> {
        let bank = pcrs.bank();
        let measured = Measured::of(entry);
        if entry.is_violation() || !measured.is_boot_aggregate() {
            return Err(AggregateRefused::Nothing);
        }
        let Measured::File { digest, .. } = measured else { return Err(AggregateRefused::Nothing) };
        let found = match digest {
            FileDigest::Strong(hash, bytes) if hash == bank => Digest::new(bank, bytes),
            FileDigest::Strong(..) | FileDigest::Weak(_) => None,
        };
        let found = found.ok_or(AggregateRefused::OtherBank { bank })?;
        let mut first = None;
        for (of, count) in Self::ALL {
            let expected = aggregate(pcrs, count).ok_or(AggregateRefused::NotQuoted)?;
            if expected == found {
                return Ok(of);
            }
            first = first.or(Some(expected));
        }
        Err(AggregateRefused::Differs { expected: Box::new(first.unwrap_or(Digest::zero(bank))), found })
    }
}

/// The hash over the first PCRs; `None` if one was not quoted.
fn aggregate(pcrs: &PcrValues, count: u32) -> Option<Digest> {
    let mut hasher = Hasher::new(pcrs.bank());
    for index in 0..count {
        hasher.update(pcrs.get(PcrIndex::new(index)?)?.as_bytes());
    }
    Some(hasher.finish())
}
