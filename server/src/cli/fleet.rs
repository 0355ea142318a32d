//! `fleet`: the machines seen together.

use std::collections::BTreeMap;

use clap::Subcommand;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::endorsement_list::span;
use super::{Context, Outcome, report, show};
use crate::admin_clients::fleets_client::FleetsClient;
use crate::clock;

const EXAMPLES: &str = "\
Examples:
  holdfast-server fleet tcb
  holdfast-server fleet tcb --floor snp.tcb.reported.snp=24 --floor snp.tcb.reported.microcode=219
  holdfast-server fleet tcb --floor tdx.tcb.status=UpToDate,SWHardeningNeeded --output json

A floor is compared as a policy would: numbers are least values, versions least in each component, bits all set; of words
one must be met. Machines whose evidence is of another kind are not concerned. Exit codes with floors: 0 all meet them,
1 some do not, 3 of some it is not known.";

/// The machines seen together
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Which machines rest on which TCB, what expires when, and what a floor would refuse
    #[command(after_help = EXAMPLES)]
    Tcb {
        /// fact=value that a policy might demand; repeat for each
        #[arg(long, value_name = "FACT=VALUE")]
        floor: Vec<String>,
    },
    /// The state of the fleet and its history for a period: md, json, csv, or a page that reads well on paper
    Report(report::Asked),
}

#[derive(Serialize)]
struct FleetTcb {
    nodes: Vec<Node>,
    /// How many machines have the same.
    tcbs: Vec<Tcb>,
    #[serde(skip_serializing_if = "Option::is_none")]
    floors: Option<Floors>,
}

#[derive(Serialize)]
struct Floors {
    met: u64,
    not_met: u64,
    unknown: u64,
}

#[derive(Serialize)]
struct Tcb {
    tcb: String,
    nodes: u64,
}

#[derive(Serialize)]
struct Node {
    number: u64,
    spiffe_id: String,
    state: String,
    kinds: Vec<String>,
    tcb: String,
    facts: BTreeMap<String, String>,
    attested_at: i64,
    evidence_expires_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    endorsements_end_at: Option<i64>,
    endorsement: String,
    below: Vec<String>,
    #[serde(skip)]
    unknown: bool,
    attempt: String,
}

impl From<admin::NodeTcb> for Node {
    fn from(node: admin::NodeTcb) -> Self {
        let facts: BTreeMap<String, String> = node.facts.into_iter().collect();
        Self {
            number: node.node,
            spiffe_id: node.spiffe_id,
            state: node.state,
            kinds: node.kinds,
            tcb: summary(&facts),
            facts,
            attested_at: node.attested_at,
            evidence_expires_at: node.evidence_expires_at,
            endorsements_end_at: (node.endorsements_end_at != 0).then_some(node.endorsements_end_at),
            endorsement: node.endorsement,
            below: node.below,
            unknown: node.unknown,
            attempt: node.attempt,
        }
    }
}

/// What a machine rests on, in a few words.
fn summary(facts: &BTreeMap<String, String>) -> String {
    let mut parts = Vec::new();
    if let Some(product) = facts.get("snp.product") {
        let levels = [("fmc", "fmc"), ("bl", "bootloader"), ("tee", "tee"), ("snp", "snp"), ("ucode", "microcode")];
        let levels = levels.iter().filter_map(|(short, name)| {
            facts.get(&format!("snp.tcb.reported.{name}")).map(|level| format!(" {short}={level}"))
        });
        parts.push(format!("{product}{}", levels.collect::<String>()));
    }
    if let Some(fmspc) = facts.get("tdx.fmspc") {
        let of = |name: &str| facts.get(name).map(String::as_str).unwrap_or("?");
        parts.push(format!("TDX {fmspc} {} evaluation {}", of("tdx.tcb.status"), of("tdx.tcb.evaluation_number")));
    }
    parts.join(", ")
}

/// Runs `fleet`.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    let floor = match command {
        Command::Tcb { floor } => floor,
        Command::Report(asked) => return report::run(asked, context).await,
    };
    let with_floors = !floor.is_empty();
    let mut client = FleetsClient::new(connect(context).await?);
    let mut answers = answered!(client.tcb(admin::FleetTcbRequest { floors: floor }));
    let mut nodes = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(node)) => nodes.push(Node::from(node)),
            Ok(None) => break,
            Err(status) => return super::client::refused(&status),
        }
    }
    let mut tcbs: BTreeMap<String, u64> = BTreeMap::new();
    for node in nodes.iter().filter(|node| !node.tcb.is_empty()) {
        *tcbs.entry(node.tcb.clone()).or_default() += 1;
    }
    let count = |is_it: fn(&&Node) -> bool| nodes.iter().filter(is_it).count() as u64;
    let floors = Floors {
        met: count(|node| !node.unknown && node.below.is_empty()),
        not_met: count(|node| !node.below.is_empty()),
        unknown: count(|node| node.unknown),
    };
    let outcome = match (&floors, with_floors) {
        (_, false) => Outcome::Yes,
        (Floors { not_met: 1.., .. }, true) => Outcome::Refused,
        (Floors { unknown: 1.., .. }, true) => Outcome::Incomplete,
        (_, true) => Outcome::Yes,
    };
    let fleet = FleetTcb {
        nodes,
        tcbs: tcbs.into_iter().map(|(tcb, nodes)| Tcb { tcb, nodes }).collect(),
        floors: with_floors.then_some(floors),
    };
    context.format.print(&fleet, text)?;
    Ok(outcome)
}

fn text(fleet: &FleetTcb) -> String {
    let now = clock::now().seconds();
    let mut table = show::table(&["node", "state", "tcb", "evidence ends", "endorsements end", "below the floors"]);
    for node in &fleet.nodes {
        let name = if node.spiffe_id.is_empty() { node.number.to_string() } else { node.spiffe_id.clone() };
        let tcb = if node.unknown { "not known" } else { &node.tcb };
        let end = node.endorsements_end_at.map(|end| format!("{} ({})", show::moment(end), span(end - now)));
        table.add_row([
            &name,
            &node.state,
            &show::text(tcb),
            &show::moment(node.evidence_expires_at),
            &end.unwrap_or_default(),
            &show::text(&node.below.join("; ")),
        ]);
    }
    let mut text = show::rows(&table, "no nodes");
    for Tcb { tcb, nodes } in &fleet.tcbs {
        text.push_str(&format!("\n{nodes} on {}", show::text(tcb)));
    }
    if let Some(Floors { met, not_met, unknown }) = &fleet.floors {
        text.push_str(&format!(
            "\n{met} meet the floors or are not concerned, {not_met} would be refused, of {unknown} it is not known"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_rests_on_fits_on_a_line() {
        let facts = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let snp = facts(&[
            ("snp.product", "Milan"),
            ("snp.tcb.reported.bootloader", "4"),
            ("snp.tcb.reported.tee", "0"),
            ("snp.tcb.reported.snp", "24"),
            ("snp.tcb.reported.microcode", "219"),
        ]);
        assert_eq!(summary(&snp), "Milan bl=4 tee=0 snp=24 ucode=219");
        assert_eq!(summary(&facts(&[])), "");
    }
}
