//! `entry import`: registration entries of SPIRE become entries here. Nothing is written until all of it could be.

use std::path::PathBuf;

use clap::Args;
use holdfast_protocol::admin;
use serde::Serialize;
use tonic::Status;
use tonic::transport::Channel;

use super::client::refused;
use super::entry_apply::{Plan, client, patiently};
use super::spire_mapping::{Fate, ParentPair, Parents, Remark, map, read_pair};
use super::{Context, Outcome, entry_file, show, spire_entries};
use crate::admin_clients::entries_client::EntriesClient;

/// Bytes of the output of `spire-server entry show`: a hundred thousand entries have less.
const FILE_BYTES_MAX: u64 = 128 << 20;
/// Entries in one transaction.
const AT_ONCE: usize = 1000;

const EXAMPLES: &str = "\
Examples:
  spire-server entry show -output json > spire.json
  holdfast-server entry import spire.json --dry-run \\
      --parent-map spiffe://example.org/spire/agent/x509pop/1a2b=spiffe://example.org/holdfast/node/tpm/9f86d0…
  holdfast-server entry import spire.json --skip-unsupported \\
      --parent-map 'spiffe://example.org/spire/agent/k8s_psat/shop/*=gcp:project_id:shop-prod'

Entries keep their IDs; a second import changes what changed. What does not carry over: docs/from-spire.md";

/// Create the entries that `spire-server entry show -output json` prints
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Import {
    /// The output of `spire-server entry show -output json`; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Which nodes are in place of a parent of SPIRE's: a SPIFFE ID, or a selector; repeat for more selectors or parents
    #[arg(long = "parent-map", value_name = "FROM=TO", value_parser = read_pair)]
    parents: Vec<ParentPair>,
    /// Leave out what does not carry over, and import the rest
    #[arg(long)]
    skip_unsupported: bool,
    /// Whose entries these are from now on
    #[arg(long, default_value = "spire", value_name = "NAME")]
    owner: String,
    /// Take over entries of the same IDs that were made by hand or by another owner
    #[arg(long)]
    adopt: bool,
    /// Say what would be done, and do nothing; exit code 1 if anything would, or does not carry over
    #[arg(long)]
    dry_run: bool,
}

/// What became of the file.
#[derive(Debug, Default, Serialize)]
struct Report {
    #[serde(flatten)]
    plan: Plan,
    /// What the import does without: something else says it.
    covered: Vec<Remark>,
    /// What does not carry over.
    left: Vec<Remark>,
}

/// Runs the command.
pub(super) async fn run(import: Import, context: &Context) -> anyhow::Result<Outcome> {
    let text = entry_file::read_text(&import.file, FILE_BYTES_MAX)?;
    let shown = spire_entries::parse(&text).map_err(|error| {
        anyhow::anyhow!("{} is not what `spire-server entry show -output json` prints: {error}", import.file.display())
    })?;
    let parents = Parents::new(import.parents.clone()).map_err(anyhow::Error::msg)?;
    let mut report = Report::default();
    report.plan.dry_run = true;
    let mut entries = Vec::new();
    for fate in map(shown.entries, &parents) {
        match fate {
            Fate::Carried(entry) => entries.push(*entry),
            Fate::Covered(remark) => report.covered.push(remark),
            Fate::Left(remark) => report.left.push(remark),
        }
    }
    let mut asking = Asking { client: client(context).await?, import: &import };
    let mut portions: Vec<Vec<admin::Entry>> = entries.chunks(AT_ONCE).map(<[admin::Entry]>::to_vec).collect();
    let (mut looked_at, all) = (0, entries.len());
    for portion in &mut portions {
        looked_at += portion.len();
        let what = format!("{looked_at} of {all} entries are looked at");
        match patiently(&what, asking.plan(portion, &mut report)).await {
            Ok(plan) => report.add(plan),
            Err(status) => return refused(&status),
        }
    }
    let whole = report.left.is_empty() || import.skip_unsupported;
    if whole && !import.dry_run {
        report.plan = Plan::default();
        let (mut written, all) = (0, portions.iter().map(Vec::len).sum::<usize>());
        for portion in portions {
            written += portion.len();
            let what = format!("{written} of {all} entries are written");
            match patiently(&what, asking.apply(portion, false)).await {
                Ok(plan) => report.add(plan),
                Err(status) => return incomplete(&status, &report),
            }
            if !report.plan.problems.is_empty() {
                break;
            }
        }
    }
    context.format.print(&report, Report::text)?;
    Ok(report.outcome(whole))
}

/// Some portions were written, and one was not.
fn incomplete(status: &Status, report: &Report) -> anyhow::Result<Outcome> {
    let outcome = refused(status);
    match report.plan.steps.is_empty() {
        true => outcome,
        false => {
            eprintln!(
                "holdfast-server: {} changes were made before; import again for the rest",
                report.plan.steps.len()
            );
            outcome.map(|_| Outcome::Incomplete)
        }
    }
}

struct Asking<'a> {
    client: EntriesClient<Channel>,
    import: &'a Import,
}

impl Asking<'_> {
    async fn apply(&mut self, entries: Vec<admin::Entry>, dry_run: bool) -> Result<Plan, Status> {
        let (owner, adopt) = (self.import.owner.clone(), self.import.adopt);
        let request = admin::ApplyEntriesRequest { entries, owner, prune: false, adopt, dry_run };
        Ok(Plan::new(self.client.apply(request).await?.into_inner(), dry_run))
    }

    /// What the server would do about a portion. Entries that it will not have leave the portion for the report.
    async fn plan(&mut self, portion: &mut Vec<admin::Entry>, report: &mut Report) -> Result<Plan, Status> {
        loop {
            let mut plan = self.apply(portion.clone(), true).await?;
            let before = portion.len();
            for problem in std::mem::take(&mut plan.problems) {
                let Some(at) = portion.iter().position(|entry| entry.id == problem.id) else {
                    plan.problems.push(problem);
                    continue;
                };
                let reasons = vec![format!("{} ({})", problem.message, problem.code)];
                let entry = portion.swap_remove(at);
                report.left.push(Remark { id: entry.id, spiffe_id: entry.spiffe_id, reasons });
            }
            if portion.len() == before {
                return Ok(plan);
            }
        }
    }
}

impl Report {
    fn add(&mut self, plan: Plan) {
        self.plan.steps.extend(plan.steps);
        self.plan.problems.extend(plan.problems);
        self.plan.unchanged += plan.unchanged;
    }

    fn outcome(&self, whole: bool) -> Outcome {
        if whole { self.plan.outcome() } else { Outcome::Refused }
    }

    fn text(&self) -> String {
        let lines = |remarks: &[Remark]| {
            remarks
                .iter()
                .map(|remark| {
                    let reasons: Vec<String> = remark.reasons.iter().map(|reason| show::text(reason)).collect();
                    format!(
                        "  {}  {}\n    {}\n",
                        show::text(&remark.id),
                        show::text(&remark.spiffe_id),
                        reasons.join("\n    ")
                    )
                })
                .collect::<String>()
        };
        let mut text = String::new();
        if !self.covered.is_empty() {
            text.push_str(&format!("need not be entries here:\n{}", lines(&self.covered)));
        }
        if !self.left.is_empty() {
            text.push_str(&format!("do not carry over:\n{}", lines(&self.left)));
        }
        text.push_str(&self.plan.text());
        if self.plan.dry_run {
            text.push_str("; nothing is done");
        }
        if !self.left.is_empty() {
            text.push_str(&format!("; {} do not carry over", self.left.len()));
        }
        text
    }
}
