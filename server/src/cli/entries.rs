//! `entry`: registration entries, in SPIRE's words.

use clap::{Args, Subcommand};
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome, entry_apply, entry_file, entry_import, entry_match, show};
use crate::admin_clients::entries_client::EntriesClient;

const EXAMPLES: &str = "\
Examples:
  holdfast-server entry create --spiffe-id spiffe://example.org/web \\
      --parent-id spiffe://example.org/holdfast/node/tpm/9f86d0… --selector unix:uid:1000
  holdfast-server entry create --spiffe-id spiffe://example.org/db --node-selector tpm:secure_boot:true \\
      --selector unix:user:postgres --dns db.internal --x509-svid-ttl 30m
  holdfast-server entry list --selector unix:uid:1000
  holdfast-server entry apply -f entries.toml --prune --dry-run
  holdfast-server entry match --selector unix:uid:1000 --selector unix:path:/usr/bin/web";

/// Registration entries: which workload gets which SPIFFE ID
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Create an entry; open Workload API streams get it at once
    Create {
        /// Its ID, where it is not to be drawn
        #[arg(long, default_value = "", hide_default_value = true, value_name = "ENTRY-ID")]
        entry_id: String,
        #[command(flatten)]
        content: Content,
    },
    /// Show one entry
    Show(Id),
    /// List entries
    List(Filter),
    /// Replace an entry's whole content
    Update {
        #[command(flatten)]
        id: Id,
        #[command(flatten)]
        content: Content,
    },
    /// Delete an entry; its SVIDs are withdrawn from open streams
    Delete(Id),
    /// Count entries
    Count(Filter),
    Match(entry_match::Match),
    Apply(entry_apply::Apply),
    Import(entry_import::Import),
}

/// Which entry.
#[derive(Debug, Args)]
pub(super) struct Id {
    /// The entry's ID
    #[arg(value_name = "ENTRY-ID")]
    id: Option<String>,
    /// The same as a flag, as SPIRE has it
    #[arg(long = "entry-id", value_name = "ENTRY-ID", conflicts_with = "id", required_unless_present = "id")]
    entry_id: Option<String>,
}

impl Id {
    fn get(self) -> String {
        self.id.or(self.entry_id).unwrap_or_default()
    }
}

/// What an entry says.
#[derive(Debug, Args)]
pub(super) struct Content {
    /// The workload's SPIFFE ID
    #[arg(long, value_name = "SPIFFE-ID")]
    spiffe_id: String,
    /// The node that it runs on
    #[arg(
        long,
        value_name = "SPIFFE-ID",
        required_unless_present = "node_selectors",
        conflicts_with = "node_selectors"
    )]
    parent_id: Option<String>,
    /// Any node with all these selectors, type:value
    #[arg(long = "node-selector", value_name = "TYPE:VALUE")]
    node_selectors: Vec<String>,
    /// A selector that the workload must have, type:value; repeat for each
    #[arg(long = "selector", required = true, value_name = "TYPE:VALUE")]
    selectors: Vec<String>,
    /// Lifetime of its X.509-SVIDs, such as 30m; the server's default if absent
    #[arg(long, default_value = "0", value_name = "DURATION", value_parser = show::read_seconds)]
    x509_svid_ttl: i64,
    /// Lifetime of its JWT-SVIDs, such as 2m; the server's default if absent
    #[arg(long, default_value = "0", value_name = "DURATION", value_parser = show::read_seconds)]
    jwt_svid_ttl: i64,
    /// A DNS name for its certificates; the first one stands in the CN
    #[arg(long = "dns", value_name = "NAME")]
    dns: Vec<String>,
    /// Tells several SVIDs of one workload apart
    #[arg(long, default_value = "", hide_default_value = true)]
    hint: String,
    /// When the entry ends, RFC 3339 or seconds since the epoch
    #[arg(long, alias = "entry-expiry", default_value = "0", hide_default_value = true, value_name = "MOMENT",
          value_parser = show::read_moment)]
    expires_at: i64,
    /// A foreign trust domain whose bundle its workloads get; repeat for each
    #[arg(long = "federates-with", alias = "federatesWith", value_name = "TRUST-DOMAIN")]
    federates_with: Vec<String>,
    /// SPIRE's; refused with the reason
    #[arg(long, hide = true)]
    admin: bool,
    /// SPIRE's; refused with the reason
    #[arg(long, hide = true)]
    downstream: bool,
    /// SPIRE's; refused with the reason
    #[arg(long, hide = true, alias = "storeSVID")]
    store_svid: bool,
}

impl Content {
    fn entry(self, id: String) -> anyhow::Result<admin::Entry> {
        if let Some((field, reason)) = entry_file::not_here(self.admin, self.downstream, self.store_svid).first() {
            anyhow::bail!("{field}: {reason}");
        }
        Ok(admin::Entry {
            id,
            spiffe_id: self.spiffe_id,
            parent_id: self.parent_id.unwrap_or_default(),
            node_selectors: self.node_selectors,
            selectors: self.selectors,
            x509_svid_ttl: self.x509_svid_ttl,
            jwt_svid_ttl: self.jwt_svid_ttl,
            dns_names: self.dns,
            hint: self.hint,
            expires_at: self.expires_at,
            federates_with: self.federates_with,
            ..admin::Entry::default()
        })
    }
}

/// Which entries.
#[derive(Debug, Args)]
pub(super) struct Filter {
    /// With this SPIFFE ID
    #[arg(long, default_value = "", hide_default_value = true, value_name = "SPIFFE-ID")]
    spiffe_id: String,
    /// With this parent
    #[arg(long, default_value = "", hide_default_value = true, value_name = "SPIFFE-ID")]
    parent_id: String,
    /// With these selectors
    #[arg(long = "selector", value_name = "TYPE:VALUE")]
    selectors: Vec<String>,
    /// How an entry's selectors stand to these
    #[arg(long = "match-selectors-on", default_value = "superset", value_parser = ["superset", "subset", "exact", "any"])]
    match_on: String,
    /// With this hint
    #[arg(long, default_value = "", hide_default_value = true)]
    hint: String,
}

impl From<Filter> for admin::EntryFilter {
    fn from(filter: Filter) -> Self {
        let Filter { spiffe_id, parent_id, selectors, match_on, hint } = filter;
        Self { spiffe_id, parent_id, selectors, r#match: match_on, hint }
    }
}

/// An entry as it is printed.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) spiffe_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    parent_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    node_selectors: Vec<String>,
    selectors: Vec<String>,
    x509_svid_ttl: i64,
    jwt_svid_ttl: i64,
    dns_names: Vec<String>,
    hint: String,
    expires_at: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    federates_with: Vec<String>,
    revision_number: u64,
    created_at: i64,
    pub(super) owner: String,
}

impl From<admin::Entry> for Entry {
    fn from(entry: admin::Entry) -> Self {
        Self {
            id: entry.id,
            spiffe_id: entry.spiffe_id,
            parent_id: entry.parent_id,
            node_selectors: entry.node_selectors,
            selectors: entry.selectors,
            x509_svid_ttl: entry.x509_svid_ttl,
            jwt_svid_ttl: entry.jwt_svid_ttl,
            dns_names: entry.dns_names,
            hint: entry.hint,
            expires_at: entry.expires_at,
            federates_with: entry.federates_with,
            revision_number: entry.revision_number,
            created_at: entry.created_at,
            owner: entry.owner,
        }
    }
}

impl Entry {
    fn text(&self) -> String {
        let ttl = |seconds: i64| if seconds == 0 { "default".to_owned() } else { format!("{seconds} s") };
        let expires = if self.expires_at == 0 { String::new() } else { show::moment(self.expires_at) };
        show::fields(&[
            ("Entry ID", self.id.clone()),
            ("SPIFFE ID", self.spiffe_id.clone()),
            ("Parent ID", self.parent_id.clone()),
            ("Node selectors", show::text(&self.node_selectors.join(", "))),
            ("Revision", self.revision_number.to_string()),
            ("X509-SVID TTL", ttl(self.x509_svid_ttl)),
            ("JWT-SVID TTL", ttl(self.jwt_svid_ttl)),
            ("Expires", expires),
            ("Selectors", show::text(&self.selectors.join(", "))),
            ("DNS names", self.dns_names.join(", ")),
            ("Hint", show::text(&self.hint)),
            ("Federates with", self.federates_with.join(", ")),
            ("Owner", self.owner.clone()),
        ])
    }
}

#[derive(Serialize)]
struct Listed {
    entries: Vec<Entry>,
}

/// Entries asked for at once.
const PAGE: u32 = 1000;

/// Runs the command.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    // A page has a thousand entries, each of which may have 30 kB of texts.
    let mut client = EntriesClient::new(connect(context).await?).max_decoding_message_size(usize::MAX);
    let one = |entry: admin::Entry| context.format.print(&Entry::from(entry), Entry::text);
    match command {
        Command::Create { entry_id, content } => {
            let entry = Some(content.entry(entry_id)?);
            one(answered!(client.create(admin::CreateEntryRequest { entry })))?;
        }
        Command::Show(id) => one(answered!(client.get(admin::GetEntryRequest { id: id.get() })))?,
        Command::Update { id, content } => {
            let entry = Some(content.entry(id.get())?);
            one(answered!(client.update(admin::UpdateEntryRequest { entry, only_if_unchanged: false })))?;
        }
        Command::Delete(id) => one(answered!(client.delete(admin::DeleteEntryRequest { id: id.get() })))?,
        Command::Count(filter) => {
            let answer = answered!(client.count(admin::CountEntriesRequest { filter: Some(filter.into()) }));
            context.format.print(&serde_json::json!({ "count": answer.count }), |_| answer.count.to_string())?;
        }
        Command::List(filter) => {
            let filter = Some(admin::EntryFilter::from(filter));
            let mut entries: Vec<admin::Entry> = Vec::new();
            loop {
                let after = entries.last().map_or(0, |entry| entry.number);
                let request = admin::ListEntriesRequest { filter: filter.clone(), after, limit: PAGE };
                let page = answered!(client.list(request)).entries;
                let full = page.len() == PAGE as usize;
                entries.extend(page);
                if !full {
                    break;
                }
            }
            let listed = Listed { entries: entries.into_iter().map(Entry::from).collect() };
            context.format.print(&listed, |listed| {
                let blocks: Vec<String> = listed.entries.iter().map(Entry::text).collect();
                format!("{}\n{} entries", blocks.join("\n"), listed.entries.len())
            })?;
        }
        Command::Match(asked) => return entry_match::run(asked, client, context).await,
        Command::Apply(apply) => return entry_apply::run(apply, context).await,
        Command::Import(import) => return entry_import::run(import, context).await,
    }
    Ok(Outcome::Yes)
}
