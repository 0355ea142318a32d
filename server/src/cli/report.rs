//! `fleet report`: the state of the fleet and its history for a period, for people who must show it to others. Asks the
//! server once; what is told in which order is in `sections`, what each medium looks like in `report_text` and
//! `report_html`.

mod meaning;
mod sections;

use clap::Args;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::rollout::{Proposal, Rollout};
use super::{Context, Format, Outcome, report_html, report_text, show};
use crate::admin_clients::fleets_client::FleetsClient;
use crate::clock;

pub(super) use meaning::of_code as meaning_of;
pub(super) use sections::{Cell, Column, Section};

/// Seconds of the period where none is given: 30 days.
const PERIOD: i64 = 30 * 86_400;

const EXAMPLES: &str = "\
Examples:
  holdfast-server fleet report                                       the last 30 days, as Markdown
  holdfast-server fleet report --from 2026-10-01 --to 2026-12-31 --output html > q4.html
  holdfast-server fleet report --output csv > fleet.csv
  holdfast-server fleet report --output json | jq .refusals

A MOMENT is a date such as 2026-10-01, in UTC; or RFC 3339 with a time, or seconds since the epoch. A date after --to
belongs to the period as a whole. The report says the first second and the end of its period.

Exit codes: 0 written, 1 refused, 2 usage or I/O.";

/// Of which period.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Asked {
    /// Beginning of the period; of a date its first second. 30 days before its end if absent
    #[arg(long, value_parser = show::read_moment, value_name = "MOMENT")]
    from: Option<i64>,
    /// Its end, not included; of a date the end of that day. Now if absent
    #[arg(long, value_parser = show::read_end, value_name = "MOMENT")]
    to: Option<i64>,
}

/// The report.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) trust_domain: String,
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) made_at: i64,
    pub(super) made_by: String,
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
    kind: String,
    name: String,
    policies: Vec<String>,
    facts: Vec<String>,
    owner: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_from: Option<i64>,
    valid_until: i64,
    /// Whom it names; nobody where conditions choose.
    names: Vec<String>,
    /// How many are admitted by it now.
    nodes: u64,
    sample: String,
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

/// Text of unknown origin for a reader's eye: Latin letters and ordinary punctuation as they are, all else as `\u{…}`, the
/// bar too, which would end a cell of Markdown. What it escapes cannot be written by anybody: a backslash is doubled.
pub(super) fn shown(untrusted: &str) -> String {
    let mut text = String::with_capacity(untrusted.len());
    for c in untrusted.chars() {
        match c {
            '|' => text.push_str("\\u{7c}"),
            'À'..='ɏ' | 'Ḁ'..='ỿ' | '–' | '—' | '‘' | '’' | '“' | '”' | '„' | '…' | '§' | '°' | '€' => {
                text.push(c)
            }
            c => text.push_str(&show::text(c.encode_utf8(&mut [0; 4]))),
        }
    }
    text
}

/// A moment for a reader.
pub(super) fn when(seconds: i64) -> String {
    show::moment(seconds).replace('T', " ").replace('Z', " UTC")
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
            let admin::ReportWaiver { kind, name, policies, facts, owner, reason, valid_until, names, nodes, .. } = one;
            let valid_from = (one.valid_from != 0).then_some(one.valid_from);
            let sample = one.sample;
            Waiver { kind, name, policies, facts, owner, reason, valid_from, valid_until, names, nodes, sample }
        };
        Self {
            trust_domain: report.trust_domain,
            from: report.from,
            to: report.to,
            made_at: report.made_at,
            made_by: report.made_by,
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
