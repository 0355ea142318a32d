//! What came of the evidence that a case names. Verifies nothing: whoever reads the files does, by `holdfast-evidence`.

use holdfast_evidence::tpm::PcrSelection;

use crate::facts::Facts;

/// What came of the files that a case names under `[evidence]`.
#[derive(Clone, Debug, Default)]
pub enum Evidence<'a> {
    /// It names none.
    #[default]
    None,
    /// A firmware log, whose facts are taken as proven.
    Log(&'a [u8]),
    /// Evidence that was verified.
    Verified {
        /// What it proves.
        facts: Facts,
        /// Bank and PCRs of its quote, where it has one: the policy must ask for no others.
        quoted: Option<PcrSelection>,
    },
    /// Evidence that was refused: so is the machine, under that code.
    Refused {
        /// The verifier's code.
        code: &'static str,
        /// Its words.
        detail: String,
    },
}
