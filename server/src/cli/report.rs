//! `fleet report`: the state of the fleet and its history for a period, for people who must show it to others. Asks the
//! server once; what each medium looks like is in `report_text` and `report_html`.

use clap::Args;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::report_text::{change_row, count_rows};
use super::rollout::{Proposal, Rollout, enforced};
use super::{Context, Format, Outcome, report_html, report_text, show};
use crate::admin_clients::fleets_client::FleetsClient;
use crate::clock;

/// Seconds of the period where none is given: 30 days.
const PERIOD: i64 = 30 * 86_400;

const EXAMPLES: &str = "\
Examples:
  holdfast-server fleet report                                       the last 30 days, as Markdown
  holdfast-server fleet report --from 2026-10-01T00:00:00Z --to 2027-01-01T00:00:00Z --output html > q4.html
  holdfast-server fleet report --output csv > fleet.csv
  holdfast-server fleet report --output json | jq .refusals

Exit codes: 0 written, 1 refused, 2 usage or I/O.";

/// Of which period.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Asked {
    /// Beginning of the period; 30 days before its end if absent
    #[arg(long, value_parser = show::read_moment, value_name = "MOMENT")]
    from: Option<i64>,
    /// Its end; now if absent
    #[arg(long, value_parser = show::read_moment, value_name = "MOMENT")]
    to: Option<i64>,
}

/// The report.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) trust_domain: String,
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) made_at: i64,
    states: Vec<Count>,
    kinds: Vec<Count>,
    classes: Vec<Count>,
    policies: Vec<Count>,
    outcomes: Vec<Count>,
    refusals: Vec<Count>,
    observed_refusals: Vec<Count>,
    rules: Vec<Count>,
    not_admitted: Vec<Node>,
    stale: Vec<Node>,
    waivers: Vec<Waiver>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollout: Option<Rollout>,
    changes: Vec<Rollout>,
    proposals: Vec<Proposal>,
    pub(super) record_size: u64,
    pub(super) record_hash: String,
    pub(super) left_out: Vec<String>,
}

/// So many of something.
#[derive(Serialize)]
pub(super) struct Count {
    pub(super) what: String,
    pub(super) count: u64,
}

#[derive(Serialize)]
struct Node {
    node: u64,
    spiffe_id: String,
    description: String,
    state: String,
    code: String,
    at: i64,
    kinds: String,
    attempt: String,
    rule: String,
}

#[derive(Serialize)]
struct Waiver {
    name: String,
    owner: String,
    reason: String,
    valid_until: i64,
    nodes: u64,
    sample: String,
}

/// One table of the report, the same in each medium.
pub(super) struct Section {
    pub(super) title: &'static str,
    /// What it says, in a sentence.
    pub(super) about: &'static str,
    pub(super) headings: &'static [&'static str],
    pub(super) rows: Vec<Vec<String>>,
    /// Whether the last column counts shares of a whole.
    pub(super) is_counts: bool,
}

impl Report {
    /// The tables, in order.
    pub(super) fn sections(&self) -> Vec<Section> {
        let counts = |title, about, heading: &'static [&'static str], counts: &[Count]| Section {
            title,
            about,
            headings: heading,
            rows: count_rows(counts),
            is_counts: true,
        };
        let list = |title, about, headings, rows| Section { title, about, headings, rows, is_counts: false };
        let nodes = |nodes: &[Node]| nodes.iter().map(Node::row).collect::<Vec<_>>();
        let node_columns = &["node", "state", "code of its last attempt", "at", "evidence", "says of itself"];
        let change_columns = &["at", "what", "enforced", "observed", "by", "message"];
        let policy_now = self.rollout.iter().map(|now| {
            let observed = now.observed.as_ref().map(super::policies::Version::short).unwrap_or_default();
            vec![enforced(now), observed, show::moment(now.at)]
        });
        let proposals = self.proposals.iter().map(|one| {
            let closed = one.closed_at.map(show::moment).unwrap_or_default();
            let (number, state) = (one.number.to_string(), one.state.clone());
            vec![number, one.what.clone(), one.author.clone(), state, one.closed_by.clone(), closed]
        });
        let waivers = self.waivers.iter().map(|waiver| {
            let ends = show::moment(waiver.valid_until);
            let Waiver { name, owner, reason, nodes, sample, .. } = waiver;
            vec![name.clone(), owner.clone(), reason.clone(), ends, nodes.to_string(), sample.clone()]
        });
        vec![
            counts("Nodes by state", "Every machine on record, as it is now.", &["state", "nodes"], &self.states),
            list(
                "Policy in force",
                "Which version decides about whom now.",
                &["enforced", "observed", "since"],
                policy_now.collect(),
            ),
            counts(
                "Nodes by policy version",
                "Which version admitted the admitted nodes.",
                &["version", "nodes"],
                &self.policies,
            ),
            list(
                "Changes of policy",
                "What was rolled out in the period, by whom, and who approved it.",
                change_columns,
                self.changes.iter().map(change_row).collect(),
            ),
            list(
                "Proposals",
                "What waits for another operator, or did in the period.",
                &["number", "what", "by", "state", "closed by", "closed at"],
                proposals.collect(),
            ),
            counts("Attempts", "What attestations of the period came to.", &["verdict", "attempts"], &self.outcomes),
            counts(
                "Refusals by reason",
                "Codes of the period's refusals; docs/reference/error-codes.md explains each.",
                &["code", "attempts"],
                &self.refusals,
            ),
            counts(
                "Admissions by rule",
                "By which rule of which policy nodes were admitted in the period.",
                &["policy: rule", "attempts"],
                &self.rules,
            ),
            counts(
                "Observed refusals",
                "Admissions of the period that the observed policy would not have given.",
                &["policy: code", "attempts"],
                &self.observed_refusals,
            ),
            list(
                "Waivers in force",
                "Exceptions without which nodes would not be admitted now.",
                &["waiver", "owner", "reason", "ends", "nodes", "such as"],
                waivers.collect(),
            ),
            list(
                "Not admitted",
                "Nodes that hold no identity now, with the reason of their last attempt.",
                node_columns,
                nodes(&self.not_admitted),
            ),
            list(
                "Stale evidence",
                "Admitted nodes whose evidence has expired: their identities have ended.",
                node_columns,
                nodes(&self.stale),
            ),
            counts(
                "Nodes by evidence",
                "What the admitted nodes proved themselves with.",
                &["evidence", "nodes"],
                &self.kinds,
            ),
            counts(
                "Nodes by trust class",
                "The weakest root above each admitted node.",
                &["class", "nodes"],
                &self.classes,
            ),
        ]
    }

    /// What is looked at first: a class for its colour, a count, and words.
    pub(super) fn headline(&self) -> [(&'static str, u64, &'static str); 5] {
        let of = |counts: &[Count], what: &str| counts.iter().find(|one| one.what == what).map_or(0, |one| one.count);
        let out = ["refused", "denied", "banned", "frozen"].map(|state| of(&self.states, state)).iter().sum();
        let waivers = self.waivers.len() as u64;
        [
            ("good", of(&self.states, "admitted"), "nodes admitted"),
            ("bad", out, "refused, denied, banned or frozen"),
            ("wait", of(&self.states, "pending"), "wait for an operator"),
            ("old", of(&self.states, "expired"), "with stale evidence"),
            ("wait", waivers, "waivers in force"),
        ]
    }
}

impl Node {
    fn row(&self) -> Vec<String> {
        let name = if self.spiffe_id.is_empty() { format!("number {}", self.node) } else { self.spiffe_id.clone() };
        let (state, code, kinds) = (self.state.clone(), self.code.clone(), self.kinds.clone());
        vec![name, state, code, show::moment(self.at), kinds, self.description.clone()]
    }
}

/// Runs `fleet report`.
pub(super) async fn run(asked: Asked, context: &Context) -> anyhow::Result<Outcome> {
    let end = asked.to.unwrap_or_else(|| clock::now().seconds());
    let from = asked.from.unwrap_or(end - PERIOD);
    let mut client = FleetsClient::new(connect(context).await?);
    let request = admin::FleetReportRequest { from, to: asked.to.unwrap_or_default() };
    let report = Report::from(answered!(client.report(request)));
    print(&report, context.format)?;
    Ok(Outcome::Yes)
}

fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Text | Format::Md => print!("{}", report_text::markdown(report)),
        Format::Csv => print!("{}", report_text::csv(report)?),
        Format::Html => print!("{}", report_html::page(report)),
        Format::Json => format.print(report, |_| String::new())?,
    }
    Ok(())
}

impl From<admin::FleetReport> for Report {
    fn from(report: admin::FleetReport) -> Self {
        let counts = |counts: Vec<admin::ReportCount>| {
            counts.into_iter().map(|one| Count { what: one.what, count: one.count }).collect::<Vec<_>>()
        };
        let nodes = |nodes: Vec<admin::ReportNode>| nodes.into_iter().map(Node::from).collect::<Vec<_>>();
        let waiver = |one: admin::ReportWaiver| {
            let admin::ReportWaiver { name, owner, reason, valid_until, nodes, sample } = one;
            Waiver { name, owner, reason, valid_until, nodes, sample }
        };
        Self {
            trust_domain: report.trust_domain,
            from: report.from,
            to: report.to,
            made_at: report.made_at,
            states: counts(report.states),
            kinds: counts(report.kinds),
            classes: counts(report.classes),
            policies: counts(report.policies),
            outcomes: counts(report.outcomes),
            refusals: counts(report.refusals),
            observed_refusals: counts(report.observed_refusals),
            rules: counts(report.rules),
            not_admitted: nodes(report.not_admitted),
            stale: nodes(report.stale),
            waivers: report.waivers.into_iter().map(waiver).collect(),
            rollout: report.rollout.filter(|now| now.number != 0).map(Rollout::from),
            changes: report.changes.into_iter().map(Rollout::from).collect(),
            proposals: report.proposals.into_iter().map(Proposal::from).collect(),
            record_size: report.record_size,
            record_hash: hex::encode(report.record_hash),
            left_out: report.left_out,
        }
    }
}

impl From<admin::ReportNode> for Node {
    fn from(node: admin::ReportNode) -> Self {
        let admin::ReportNode { node, spiffe_id, description, state, code, at, kinds, attempt, rule } = node;
        Self { node, spiffe_id, description, state, code, at, kinds, attempt, rule }
    }
}

#[cfg(test)]
mod tests;
