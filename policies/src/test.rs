//! `test`: runs the cases of a folder against the policies that they name.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use holdfast_appraisal::case;
use holdfast_appraisal::decision::{Explanation, Verdict};
use holdfast_appraisal::finding::escaped;
use holdfast_appraisal::{Document, Finding, Policy};
use serde::Serialize;

use crate::exit::Exit;
use crate::files;
use crate::junit;
use crate::output::{Format, json};

/// Flags of `test`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  holdfast-policy test policies/shipped\n  holdfast-policy test --output json .\n  \
                        holdfast-policy test --junit report.xml --filter kernel policies"
)]
pub struct Test {
    /// Folder whose cases run, with all folders below it.
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// Explain each decision, not only those that differ.
    #[arg(long)]
    explain: bool,
    /// Run only cases whose path or description contains this text; may be given several times.
    #[arg(long, value_name = "TEXT")]
    filter: Vec<String>,
    /// Write the report as JUnit XML to this file too; one that exists is replaced.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// How one case went.
#[derive(Debug, Serialize)]
pub struct CaseReport {
    /// Path of the case.
    pub case: String,
    /// Path of the policy that it tests; empty where the case cannot be read.
    pub policy: String,
    /// What the case says of itself.
    pub description: String,
    /// Whether everything was as expected.
    pub result: CaseResult,
    /// What was not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
    /// What keeps the case or its policy from being read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// The decision, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Verdict>,
    /// Why it was decided so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// Whether a case held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseResult {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed,
    /// It, or its policy, cannot be read.
    Unreadable,
}

#[derive(Serialize)]
struct Report<'r> {
    passed: usize,
    failed: usize,
    cases: &'r [CaseReport],
}

impl Test {
    fn wants(&self, case: &CaseReport) -> bool {
        let wanted = |text: &String| case.case.contains(text) || case.description.contains(text);
        self.filter.is_empty() || self.filter.iter().any(wanted)
    }

    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let mut cases = run_folder(&self.folder)?;
        cases.retain(|case| self.wants(case));
        if cases.is_empty() {
            bail!("no case matches --filter");
        }
        if let Some(path) = &self.junit {
            let cannot = || format!("cannot write {}", path.display());
            let mut file = std::io::BufWriter::new(std::fs::File::create(path).with_context(cannot)?);
            junit::write(&mut file, &cases).and_then(|()| file.flush()).with_context(cannot)?;
        }
        let passed = cases.iter().filter(|report| report.result == CaseResult::Passed).count();
        let failed = cases.len() - passed;
        match format {
            Format::Json => json(out, &Report { passed, failed, cases: &cases })?,
            Format::Text => {
                for report in &cases {
                    self.print(report, out)?;
                }
                writeln!(out, "{passed} passed, {failed} failed")?;
            }
        }
        Ok(if failed == 0 { Exit::Yes } else { Exit::Refused })
    }

    fn print(&self, report: &CaseReport, out: &mut dyn Write) -> std::io::Result<()> {
        let CaseReport { case, description, result, differences, findings, decision, explanation, policy: _ } = report;
        let word = match result {
            CaseResult::Passed => "ok",
            CaseResult::Failed => "FAILED",
            CaseResult::Unreadable => "UNREADABLE",
        };
        writeln!(out, "{word:10} {}: {}", escaped(case), escaped(description))?;
        for difference in differences {
            writeln!(out, "  {}", escaped(difference))?;
        }
        for finding in findings {
            writeln!(out, "  {finding}")?;
        }
        if self.explain || *result == CaseResult::Failed {
            if let Some(Verdict::Admit(grant)) = decision {
                writeln!(out, "  admitted as {} by rule {}", grant.spiffe_id, grant.rule)?;
            }
            let text = explanation.as_ref().map(ToString::to_string).unwrap_or_default();
            for line in text.lines() {
                writeln!(out, "  {line}")?;
            }
        }
        Ok(())
    }
}

/// Runs every case below `folder`.
///
/// # Errors
/// A file cannot be read, or there is no case at all: a folder without cases proves nothing.
pub fn run_folder(folder: &Path) -> anyhow::Result<Vec<CaseReport>> {
    let mut policies = BTreeMap::new();
    let mut reports = Vec::new();
    for path in files::toml_files(folder)? {
        let text = files::text(&path)?;
        if files::kind(&text).as_deref() == Some(case::KIND) {
            reports.push(run_case(&path, &text, &mut policies)?);
        }
    }
    if reports.is_empty() {
        bail!("no file below {} says kind = {:?}", folder.display(), case::KIND);
    }
    Ok(reports)
}

type Policies = BTreeMap<PathBuf, Result<Policy, Vec<Finding>>>;

fn run_case(path: &Path, text: &str, policies: &mut Policies) -> anyhow::Result<CaseReport> {
    let name = files::file_name(path);
    let document = Document { name: &name, text };
    let unreadable = |findings: Vec<Finding>, of: &Path| CaseReport {
        case: path.display().to_string(),
        policy: String::new(),
        description: String::new(),
        result: CaseResult::Unreadable,
        differences: Vec::new(),
        findings: files::with_paths(findings, of),
        decision: None,
        explanation: None,
    };
    let (case, policy_path) = match files::case(path, document)? {
        Ok(read) => read,
        Err(findings) => return Ok(unreadable(findings, path)),
    };
    if !policies.contains_key(&policy_path) {
        policies.insert(policy_path.clone(), files::bundle(&policy_path)?.parse());
    }
    let policy = match policies.get(&policy_path) {
        Some(Ok(policy)) => policy,
        Some(Err(findings)) => return Ok(unreadable(findings.clone(), &policy_path)),
        None => return Ok(unreadable(Vec::new(), &policy_path)),
    };
    let verdict = case.judge(policy);
    let differences = case.differences(&verdict);
    let explanation = case.explain(policy, &verdict);
    Ok(CaseReport {
        case: path.display().to_string(),
        policy: policy_path.display().to_string(),
        description: case.description().to_owned(),
        result: if differences.is_empty() { CaseResult::Passed } else { CaseResult::Failed },
        differences,
        findings: Vec::new(),
        decision: Some(verdict),
        explanation: Some(explanation),
    })
}
