//! `entry match`: what a workload gets, and what it lacks of the entries that come near.

use clap::Args;
use holdfast_protocol::admin;
use serde::Serialize;
use tonic::transport::Channel;

use super::client::answered;
use super::entries::Entry;
use super::{Context, Outcome, show};
use crate::admin_clients::entries_client::EntriesClient;

/// What a workload with these selectors would get, and what it just misses
#[derive(Debug, Args)]
pub(super) struct Match {
    /// A selector of the workload, type:value; repeat for each
    #[arg(long = "selector", required = true, value_name = "TYPE:VALUE")]
    selectors: Vec<String>,
    /// Only entries whose parent this node is
    #[arg(long, value_name = "SPIFFE-ID")]
    node: Option<String>,
}

#[derive(Serialize)]
struct Matched {
    /// The selectors that were asked about.
    seen: Vec<String>,
    entries: Vec<Entry>,
    near: Vec<Near>,
}

#[derive(Serialize)]
struct Near {
    entry: Entry,
    missing: Vec<String>,
    lacking: Vec<Lacking>,
    other_node: bool,
}

#[derive(Serialize)]
struct Lacking {
    selector: String,
    /// What the workload has of that kind.
    instead: Vec<String>,
}

/// Runs the command.
pub(super) async fn run(
    asked: Match,
    mut client: EntriesClient<Channel>,
    context: &Context,
) -> anyhow::Result<Outcome> {
    let request = admin::MatchEntriesRequest {
        selectors: asked.selectors.clone(),
        node_spiffe_id: asked.node.unwrap_or_default(),
    };
    let answer = answered!(client.r#match(request));
    let matched = Matched {
        seen: asked.selectors,
        entries: answer.entries.into_iter().map(Entry::from).collect(),
        near: answer.near.into_iter().filter_map(near).collect(),
    };
    let outcome = if matched.entries.is_empty() { Outcome::Refused } else { Outcome::Yes };
    context.format.print(&matched, Matched::text)?;
    Ok(outcome)
}

fn near(miss: admin::NearMiss) -> Option<Near> {
    let lacking = |lacking: admin::MissingSelector| Lacking { selector: lacking.selector, instead: lacking.instead };
    Some(Near {
        entry: miss.entry?.into(),
        missing: miss.missing,
        lacking: miss.lacking.into_iter().map(lacking).collect(),
        other_node: miss.other_node,
    })
}

impl Matched {
    fn text(&self) -> String {
        let mut text = format!("selectors seen: {}\n", show::text(&self.seen.join(", ")));
        for entry in &self.entries {
            text.push_str(&format!("would get {} (entry {})\n", entry.spiffe_id, entry.id));
        }
        for near in &self.near {
            text.push_str(&format!("misses {} (entry {}):\n", near.entry.spiffe_id, near.entry.id));
            for lacking in &near.lacking {
                let instead = match lacking.instead.is_empty() {
                    true => String::new(),
                    false => format!(", has {} instead", lacking.instead.join(", ")),
                };
                text.push_str(&format!("  lacks {}{}\n", show::text(&lacking.selector), show::text(&instead)));
            }
            if near.other_node {
                text.push_str("  another node is its parent\n");
            }
        }
        if self.entries.is_empty() && self.near.is_empty() {
            text.push_str("no entry comes near");
        }
        text
    }
}
