//! `inspect tpm --ima-log`: the kernel's list of measured files, replayed to the PCR 10 that the quote proves.

use holdfast_appraisal::ima::{ImaSeen, judge};
use holdfast_appraisal::{Facts, Policy};
use holdfast_evidence::tpm::ima::{AggregateOf, BOOT_AGGREGATE, Hashing, Measured, Quoted, replay};
use serde::Serialize;

use super::report::{Checks, Refusal};
use super::tpm::Findings;

/// What the proven entries say.
#[derive(Clone, Debug, Serialize)]
pub(super) struct MeasuredFiles {
    /// Proven entries.
    entries: u64,
    /// Bytes behind the last of them: measured after the quote, or made up.
    not_attested_bytes: usize,
    /// By what the kernel extends the bank: `bank`, or `sha1` and zeros.
    template_hash: &'static str,
    /// Files that changed while they were measured.
    violations: u64,
    /// Whether each `boot_aggregate` is that of the quoted PCRs, and why not.
    boot_aggregates: Vec<String>,
    /// Entries of templates that we do not know, or in another form than theirs.
    unreadable: u64,
}

/// The check `ima`, and what came of it.
pub(super) fn check(log: &[u8], findings: &Findings, checks: &mut Checks) -> Option<MeasuredFiles> {
    let quoted = quoted(findings)?;
    let replayed = checks.note("ima", quoted.and_then(|quoted| replay(log, None, &quoted).map_err(Refusal::from)))?;
    let pcrs = &findings.pcrs.as_ref()?.values;
    let mut found = MeasuredFiles {
        entries: replayed.count(),
        not_attested_bytes: replayed.not_attested(),
        template_hash: match replayed.resume().hashing {
            Hashing::OfBank => "bank",
            Hashing::Sha1Padded => "sha1",
        },
        violations: 0,
        boot_aggregates: Vec::new(),
        unreadable: 0,
    };
    for entry in replayed.entries().flatten() {
        let measured = Measured::of(&entry);
        found.violations += u64::from(entry.is_violation());
        found.unreadable += u64::from(measured == Measured::Nothing);
        if measured.name() == BOOT_AGGREGATE && found.boot_aggregates.len() < 16 {
            found.boot_aggregates.push(match AggregateOf::check(&entry, pcrs) {
                Ok(AggregateOf::FirstTen) => "of the quoted PCRs 0 to 9".to_owned(),
                Ok(AggregateOf::FirstEight) => "of the quoted PCRs 0 to 7".to_owned(),
                Err(refused) => refused.to_string(),
            });
        }
    }
    Some(found)
}

/// What the policy's rules make of the list, for the decision on the facts.
pub(super) fn attach(log: &[u8], findings: &Findings, policy: &Policy, facts: &mut Facts) {
    let (Some(Ok(quoted)), Some(pcrs)) = (quoted(findings), &findings.pcrs) else { return };
    let seen = judge(policy, log, None, &quoted, &pcrs.values).map_or_else(ImaSeen::Unusable, ImaSeen::Judged);
    holdfast_appraisal::ima::attach(facts, policy, Some(&seen));
}

/// PCR 10 and the counters, once the quote's registers are proven.
fn quoted(findings: &Findings) -> Option<Result<Quoted, Refusal>> {
    let (pcrs, selection, clock) = (findings.pcrs.as_ref()?, findings.signed?, findings.clock?);
    Some(Quoted::of(&selection, &pcrs.values, &clock).map_err(Refusal::from))
}
