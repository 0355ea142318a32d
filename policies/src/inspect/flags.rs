//! Flags that the inspections of all kinds beside `tpm` share, and the end that they share: policy, verdict, report.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use holdfast_appraisal::Facts;
use holdfast_evidence::TrustClass;
use holdfast_evidence::crypto::equal;
use holdfast_evidence::tpm::PcrSelection;
use holdfast_identity::UnixTime;

use super::facts;
use super::forms::{self, Nonce};
use super::report::{Checks, Refusal, Report, Verdict};
use super::told::Told;
use crate::exit::Exit;
use crate::moment::{self, Moment};

/// Bytes of a nonce or binding that a report must repeat: fewer can be met by chance, or by a report of another asker.
const CALLER_DATA_BYTES_MIN: usize = 16;

/// What every inspection may be told.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// What the verifier asked for, as the evidence must repeat it.
    #[arg(long, value_name = "HEX", value_parser = forms::nonce)]
    pub(super) nonce: Option<Nonce>,
    /// What the evidence must have signed along: Holdfast's binding, or another tool's caller data.
    #[arg(long, value_name = "HEX", value_parser = forms::nonce)]
    pub(super) binding: Option<Nonce>,
    /// Trusted certificates: a PEM or DER file, or a folder of them, intermediates included. Unstated, the vendor's
    /// root must come along, and is known by its fingerprint; AMD's are at hand.
    #[arg(long, value_name = "PATH")]
    pub(super) roots: Option<PathBuf>,
    /// What stands behind roots that no fingerprint of ours names. Unstated, they count as the least trusted.
    #[arg(long, value_name = "CLASS", default_value = "simulated")]
    pub(super) root_class: TrustClass,
    /// The moment of the verification; now, if not given.
    #[arg(long, value_name = "RFC3339", value_parser = moment::parse)]
    pub(super) at: Option<Moment>,
    /// A policy to judge the facts by. Whose machine it is no file can say: that is taken as given.
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// Exit with 0 where nothing failed and not everything was asked.
    #[arg(long)]
    pub(super) allow_incomplete: bool,
}

impl Flags {
    /// The moment of the verification.
    pub(super) fn now(&self) -> UnixTime {
        self.at.unwrap_or_else(moment::now).0
    }

    /// For reports, whose caller data is padded with zeros to `field_bytes`: a short expectation leaves most of it to
    /// the padding, and one of zeros alone is met by a report that answers nobody, unless somebody wrote out all of them.
    ///
    /// # Errors
    /// Usage: the expectation says too little.
    pub(super) fn require_caller_data(&self, field_bytes: usize) -> anyhow::Result<()> {
        for (name, wanted) in [("--nonce", &self.nonce), ("--binding", &self.binding)] {
            let Some(Nonce(wanted)) = wanted else { continue };
            if wanted.len() < CALLER_DATA_BYTES_MIN {
                bail!(
                    "{name} has {} bytes, expected at least {CALLER_DATA_BYTES_MIN}: if so few were signed, write the zeros \
                     behind them too",
                    wanted.len()
                );
            }
            if wanted.len() < field_bytes && wanted.iter().all(|byte| *byte == 0) {
                bail!(
                    "{name} is zeros alone, as a report is that answers nobody: write all {field_bytes} if that is meant"
                );
            }
        }
        Ok(())
    }

    /// For evidence with one field of caller data: whatever of `--nonce` and `--binding` was given must be what the
    /// field begins with, zeros behind. Names the check without which the evidence answers nobody knows whom.
    pub(super) fn note_caller_data(&self, checks: &mut Checks, field: &[u8], refusal: &Refusal) -> &'static str {
        for (name, wanted) in [("nonce", &self.nonce), ("binding", &self.binding)] {
            let Some(Nonce(wanted)) = wanted else { continue };
            let signed = field
                .split_at_checked(wanted.len())
                .is_some_and(|(head, tail)| equal(head, wanted) && tail.iter().all(|byte| *byte == 0));
            checks.note(name, if signed { Ok(()) } else { Err(refusal.clone()) });
        }
        if self.binding.is_some() { "binding" } else { "nonce" }
    }

    /// Judges by the policy, if one was named, and writes the report. `needed` are the checks without which nothing is
    /// verified; `facts` are shown and judged only if no check failed.
    ///
    /// # Errors
    /// A policy that does not parse, or output that cannot be written.
    pub(super) fn conclude(
        &self,
        checks: Checks,
        needed: &[&str],
        facts: Option<&Facts>,
        told: &mut Told<'_>,
    ) -> anyhow::Result<Exit> {
        self.conclude_quote(checks, needed, facts, None, told)
    }

    /// The same for evidence with a quote: the policy is judged by the PCRs that it asks for, all of which must be
    /// `quoted`.
    ///
    /// # Errors
    /// As [`conclude`](Self::conclude).
    pub(super) fn conclude_quote(
        &self,
        mut checks: Checks,
        needed: &[&str],
        facts: Option<&Facts>,
        quoted: Option<&PcrSelection>,
        told: &mut Told<'_>,
    ) -> anyhow::Result<Exit> {
        let policy = self.policy.as_deref().map(facts::policy).transpose()?;
        let facts = facts.filter(|_| checks.refusal().is_none());
        let mut decision = None;
        if let (Some(policy), Some(facts)) = (&policy, facts) {
            let (shown, result) = facts::judge(policy, facts, quoted, self.now());
            checks.note("policy", result);
            decision = Some(shown);
        }
        let is_complete = checks.all_passed(needed) && (policy.is_none() || checks.all_passed(&["policy"]));
        let verdict = match checks.refusal() {
            Some(_) => Verdict::Refused,
            None if is_complete => Verdict::Verified,
            None => Verdict::Incomplete,
        };
        let mut report = Report::new(verdict, checks, needed);
        report.decision = decision;
        if let Some(facts) = facts {
            report.facts = facts::shown(facts);
        }
        told.tell(&report, facts, quoted)?;
        let tolerated = verdict == Verdict::Incomplete && self.allow_incomplete;
        Ok(if tolerated { Exit::Yes } else { verdict.exit() })
    }
}
