//! `inspect event-log`: a log without a quote. It proves nothing yet; it shows what it would prove.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use holdfast_appraisal::Facts;
use holdfast_evidence::Provenance;
use holdfast_evidence::tpm::event_log::{BootFacts, EventLog, UnprovenBoot};
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrValues};

use super::report::{Checks, Report, Verdict, shown_events, shown_pcrs};
use super::told::Told;
use super::{facts, forms};
use crate::exit::Exit;

/// Flags of `inspect event-log`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    holdfast-policy inspect event-log /sys/kernel/security/tpm0/binary_bios_measurements\n  \
    holdfast-policy inspect event-log --bank sha384 --output json binary_bios_measurements\n\n\
    Registers are replayed from the log alone: compare them with a quote by `inspect tpm`.")]
pub(super) struct InspectEventLog {
    /// The log, as the kernel's binary_bios_measurements.
    #[arg(value_name = "FILE")]
    log: PathBuf,
    /// The bank to replay: sha256, sha384 or sha512.
    #[arg(long, default_value = "sha256")]
    bank: Bank,
}

impl InspectEventLog {
    pub(super) fn run(&self, told: &mut Told<'_>) -> anyhow::Result<Exit> {
        let bytes = forms::read(&self.log)?;
        let mut checks = Checks::new(&["parse", "replay", "boot"]);
        let log = checks.note("parse", EventLog::parse(&bytes));
        let replay = log.as_ref().and_then(|log| checks.note("replay", log.replay(self.bank)));
        let mut values = PcrValues::new(self.bank);
        if let Some(replay) = &replay {
            for pcr in replay.extended().iter() {
                values.set(pcr, replay.value(pcr));
            }
        }
        let mut is_fragment = false;
        let mut boot = None;
        if let (Some(log), Some(_)) = (&log, &replay) {
            let derived = BootFacts::derive(log, self.bank, PcrIndex::all().collect());
            is_fragment = matches!(derived, Err(UnprovenBoot::SeparatorMissing { .. }));
            boot = checks.note("boot", derived);
        }
        // a piece of a log lacks separators, and is shown all the same; a log that contradicts itself is refused
        let refused = checks.refusal().is_some() && !is_fragment;
        let verdict = if refused { Verdict::Refused } else { Verdict::Replayed };
        let mut report = Report::new(verdict, checks, &[]);
        report.bank = Some(self.bank.as_str());
        report.pcrs = shown_pcrs(&values);
        if let Some(log) = &log {
            report.events = shown_events(log, self.bank);
        }
        if let Some(boot) = &boot {
            // nobody signed this: the facts are what a quote would prove
            let facts = holdfast_appraisal::facts::boot(boot, boot.proven, Provenance::Unauthenticated);
            report.facts = facts::shown(&Facts::with_log(Arc::new(facts)));
        }
        told.tell(&report, None, None)?;
        Ok(verdict.exit())
    }
}
