//! Which machines two policies decide differently: stored cases and evidence, judged by both.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use holdfast_appraisal::case::{self, Case, FACTS_KIND};
use holdfast_appraisal::{Document, Fact, FactId, Facts, Policy, Value, Verdict, digest_of};
use holdfast_evidence::tpm::Bank;
use holdfast_evidence::{EvidenceKind, Provenance};
use holdfast_identity::UnixTime;
use serde::Serialize;

use crate::files;
use crate::inspect;
use crate::learn::Sample;

/// Identity of a machine of which nothing says who it is.
const ASSUMED: [u8; 32] = [0xe1; 32];

/// One machine, by both policies.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Flip {
    /// Path of the case or sample.
    pub(super) of: String,
    pub(super) description: String,
    pub(super) old: Decided,
    pub(super) new: Decided,
}

/// What one policy makes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Decided {
    pub(super) decision: &'static str,
    /// Rule and alternative, of the nearest where it is refused.
    pub(super) by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'static str>,
    /// Codes and facts of the differences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) because: Vec<String>,
}

/// All that flip, and how many there were.
#[derive(Default)]
pub(super) struct Flips {
    pub(super) judged: usize,
    pub(super) flips: Vec<Flip>,
}

impl Flips {
    /// Judges every case below `folder`, whatever policy it names; a file of facts is a machine too, which is taken as ours.
    pub(super) fn cases(&mut self, folder: &Path, old: &Policy, new: &Policy, now: UnixTime) -> anyhow::Result<()> {
        for path in files::toml_files(folder)? {
            let text = files::text(&path)?;
            let name = files::file_name(&path);
            let document = Document { name: &name, text: &text };
            match files::kind(&text).as_deref() {
                Some(case::KIND) => {
                    let (case, _) = files::case(&path, document)?.map_err(|findings| files::words(&findings))?;
                    self.judged(&path, case.description(), case.judge(old), case.judge(new));
                }
                Some(FACTS_KIND) => {
                    let facts = Case::parse_facts(document).map_err(|findings| files::words(&findings))?;
                    self.facts(&path, facts, old, new, now);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Judges a sample's evidence, which is taken as that of a machine of ours.
    pub(super) fn evidence(
        &mut self,
        path: &Path,
        old: &Policy,
        new: &Policy,
        now: UnixTime,
        at: &str,
    ) -> anyhow::Result<()> {
        let sample = Sample::read(path, Bank::Sha256, at).with_context(|| path.display().to_string())?;
        self.facts(path, assumed(sample), old, new, now);
        Ok(())
    }

    fn facts(&mut self, path: &Path, facts: Facts, old: &Policy, new: &Policy, now: UnixTime) {
        let judge = |policy: &Policy| inspect::verdict(policy, &facts.asked(policy.required_pcrs()), now);
        if let (Some(old), Some(new)) = (judge(old), judge(new)) {
            self.judged(path, "", old, new);
        }
    }

    fn judged(&mut self, path: &Path, description: &str, old: Verdict, new: Verdict) {
        self.judged += 1;
        let (old, new) = (decided(&old), decided(&new));
        if old.decision != new.decision {
            let of = PathBuf::from(path).display().to_string();
            self.flips.push(Flip { of, description: description.to_owned(), old, new });
        }
    }
}

fn decided(verdict: &Verdict) -> Decided {
    let by = |rule: Option<&str>, alternative: Option<&str>| match (rule, alternative) {
        (Some(rule), Some(alternative)) => format!("rule {rule}, alternative {alternative}"),
        (Some(rule), None) => format!("rule {rule}"),
        (None, _) => "no rule".to_owned(),
    };
    match verdict {
        Verdict::Admit(grant) => Decided {
            decision: "admitted",
            by: by(Some(&grant.rule), grant.alternative.as_deref()),
            code: None,
            because: Vec::new(),
        },
        Verdict::AwaitsApproval(rejection) | Verdict::Refuse(rejection) => {
            let because = rejection.differences.iter().map(|difference| match &difference.fact {
                Some(fact) => format!("{} {fact}", difference.code),
                None => difference.code.to_owned(),
            });
            let decision = if matches!(verdict, Verdict::Refuse(_)) { "refused" } else { "awaits-approval" };
            Decided {
                decision,
                by: by(rejection.rule.as_deref(), rejection.alternative.as_deref()),
                code: Some(rejection.code),
                because: because.collect(),
            }
        }
    }
}

/// A log alone says not whose machine it is: one of ours, with a discrete TPM.
fn assumed(sample: Sample) -> Facts {
    let mut facts = sample.facts;
    if facts.get(FactId::Class).is_none() && facts.kinds().all(|kind| kind == EvidenceKind::Tpm) {
        let mut add = |id, value| facts.insert(id, Fact::of(Provenance::Unauthenticated, vec![value]));
        add(FactId::Class, Value::text("discrete"));
        for id in [FactId::Machine, FactId::EkSpki] {
            if let Some(digest) = digest_of(&ASSUMED) {
                add(id, Value::Digest(digest));
            }
        }
    }
    facts
}
