//! Where an inspection puts what it found: the report for whoever asked, and the facts for the commands that go on from
//! evidence (`test`, `learn`). Verifies nothing.

use std::io::Write;

use holdfast_appraisal::Facts;
use holdfast_evidence::tpm::PcrSelection;

use super::report::{Refusal, Report, Verdict};
use crate::output::Format;

/// One inspection's outlet.
pub(crate) struct Told<'w> {
    format: Format,
    out: &'w mut dyn Write,
    examined: Option<Examined>,
}

/// What an inspection found, for programs of this house.
#[derive(Clone, Debug)]
pub(crate) struct Examined {
    pub(crate) verdict: Verdict,
    /// Why the evidence is refused.
    pub(crate) refusal: Option<Refusal>,
    /// What was not asked.
    pub(crate) missing: Option<String>,
    /// There only where no check failed.
    pub(crate) facts: Option<Facts>,
    /// Bank and PCRs of the quote, where there is one.
    pub(crate) quoted: Option<PcrSelection>,
}

impl<'w> Told<'w> {
    pub(super) fn new(format: Format, out: &'w mut dyn Write) -> Self {
        Self { format, out, examined: None }
    }

    /// Writes the report, and keeps what it stands on.
    ///
    /// # Errors
    /// The writer's own.
    pub(super) fn tell(
        &mut self,
        report: &Report,
        facts: Option<&Facts>,
        quoted: Option<&PcrSelection>,
    ) -> std::io::Result<()> {
        let refusal = report.code.map(|code| Refusal { code, detail: report.detail.clone().unwrap_or_default() });
        self.examined = Some(Examined {
            verdict: report.verdict,
            missing: report.detail.clone().filter(|_| refusal.is_none()),
            refusal,
            facts: facts.cloned(),
            quoted: quoted.copied(),
        });
        report.write(self.format, self.out)
    }

    pub(super) fn examined(self) -> Option<Examined> {
        self.examined
    }
}
