//! `node`: machines, and the inventory of endorsement keys that are ours.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::listed_fact::{self, ListedFact};
use super::{Context, Outcome, show};
use crate::admin_clients::nodes_client::NodesClient;

const EXAMPLES: &str = "\
Examples:
  holdfast-server node allow --ek-sha256 9f86d081884c7d65… --label 'rack 7, slot 3'
  holdfast-server node allow --csv inventory.csv          columns: ek_sha256,label
  holdfast-server node allow --fact 'tpm.platform.id=Maker Inc./SN1234' --label 'rack 8'      needs the maker's root
  holdfast-server node allow --fact gcp.project_number=123456789012 --label staging
  holdfast-server node allow --fact snp.chip_id=59790fb1c39f35c1… --label 'host 12'
  holdfast-server node list --state pending
  holdfast-server node approve spiffe://example.org/holdfast/node/tpm/9f86d0…
  holdfast-server node ban 17 --reason 'stolen'

Platform certificates, IAKs and IDevIDs are listed with --fact, such as tpm.iak.spki_sha256=DIGEST.
The digest of an endorsement key (EK) is the SHA-256 of its certificate's DER, or of its SubjectPublicKeyInfo:
  openssl x509 -inform der -in ek.der -pubkey -noout | openssl pkey -pubin -outform der | sha256sum
A NODE is its SPIFFE ID, its number, the digest of one of its EKs, or a fact that no other node shares:
  holdfast-server node ban 'tpm.platform.id=Maker Inc./SN1234'     a ban bars every machine that has it, seen or not";

/// Machines, and which of them are ours
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Put endorsement keys, chips, instances or projects on the inventory
    Allow(Allow),
    /// Take them off the inventory
    Disallow(Disallow),
    /// List the inventory
    Inventory,
    /// List machines
    List {
        /// pending, admitted, expired, refused, denied, evicted, frozen or banned
        #[arg(long, default_value = "", hide_default_value = true)]
        state: String,
    },
    /// Show one machine
    Show(Target),
    /// Let a machine in whose policy wants an operator's approval
    Approve(Target),
    /// Do not let it in
    Deny(Reasoned),
    /// Forget what it holds: it must attest anew
    Evict(Target),
    /// Refuse this machine under each of its keys until it is unbanned; its SVIDs end within a second
    Ban(Reasoned),
    /// Lift a ban
    Unban(Target),
    /// Forget what kinds of evidence it has proven, its counters and keys; it enrols as new
    Reset(Target),
}

/// A SHA-256.
#[derive(Debug, Clone)]
pub(super) struct Digest(Vec<u8>);

impl Digest {
    fn read(text: &str) -> Result<Self, String> {
        show::digest(text).map(Self)
    }
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Allow {
    /// Digest of a key; repeat for each
    #[arg(long, value_name = "SHA256", value_parser = Digest::read)]
    ek_sha256: Vec<Digest>,
    /// Something else that is ours, as evidence says it (tpm.platform.id, tpm.iak.spki_sha256, snp.chip_id, gcp.project_number, nitro.instance_id, …); repeat
    /// for each
    #[arg(long, value_name = "NAME=VALUE", value_parser = listed_fact::read)]
    fact: Vec<ListedFact>,
    /// File with the columns ek_sha256 (a digest, or NAME=VALUE of a fact) and, if you like, label
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ek_sha256", "fact"])]
    csv: Option<PathBuf>,
    /// What you call the machine
    #[arg(long, default_value = "", hide_default_value = true)]
    label: String,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Disallow {
    /// Digest as the inventory shows it; repeat for each
    #[arg(long, value_name = "SHA256", value_parser = Digest::read)]
    ek_sha256: Vec<Digest>,
    /// A fact that was allowed; repeat for each
    #[arg(long, value_name = "NAME=VALUE", value_parser = listed_fact::read)]
    fact: Vec<ListedFact>,
}

#[derive(Debug, Args)]
pub(super) struct Target {
    /// SPIFFE ID, number, digest of an endorsement key, or NAME=VALUE of a fact
    #[arg(value_name = "NODE", value_parser = read_target)]
    node: admin::node_target::Target,
}

#[derive(Debug, Args)]
pub(super) struct Reasoned {
    #[command(flatten)]
    target: Target,
    /// Why; stands in the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// Reads a node as operators name it.
pub(super) fn read_target(text: &str) -> Result<admin::node_target::Target, String> {
    use admin::node_target::Target;
    if text.starts_with("spiffe://") {
        return Ok(Target::SpiffeId(text.to_owned()));
    }
    if let Ok(digest) = show::digest(text) {
        return Ok(Target::EkSha256(digest));
    }
    if text.contains('=') {
        return listed_fact::read(text).map(|fact| Target::EkSha256(fact.digest));
    }
    let expected = "expected a SPIFFE ID, a number, 64 hexadecimal digits, or NAME=VALUE of a fact";
    text.parse().map(Target::Number).map_err(|_| expected.to_owned())
}

#[derive(Serialize)]
struct Node {
    number: u64,
    spiffe_id: String,
    state: String,
    trust_class: String,
    kinds: Vec<String>,
    keys: Vec<Mark>,
    labels: Vec<String>,
    description: String,
    selectors: Vec<String>,
    fixed: Vec<String>,
    policy: String,
    rule: String,
    first_seen: i64,
    attested_at: i64,
    evidence_expires_at: i64,
    svid_serial: String,
    svid_not_after: i64,
    last_attempt: String,
    reset_count: u32,
    firmware_log: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ban: Option<Remark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    freeze: Option<Remark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<Remark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<Remark>,
}

#[derive(Serialize)]
struct Mark {
    kind: String,
    sha256: String,
}
#[derive(Serialize)]
struct Remark {
    at: i64,
    by: String,
    reason: String,
}

impl From<admin::Remark> for Remark {
    fn from(remark: admin::Remark) -> Self {
        Self { at: remark.at, by: remark.by, reason: remark.reason }
    }
}

impl From<admin::Node> for Node {
    fn from(node: admin::Node) -> Self {
        let mark = |mark: admin::Mark| Mark { kind: mark.kind, sha256: hex::encode(mark.digest) };
        Self {
            number: node.number,
            spiffe_id: node.spiffe_id,
            state: node.state,
            trust_class: node.trust_class,
            kinds: node.kinds,
            keys: node.marks.into_iter().map(mark).collect(),
            labels: node.labels,
            description: node.description,
            selectors: node.selectors,
            fixed: node.fixed,
            policy: hex::encode(node.policy),
            rule: node.rule,
            first_seen: node.first_seen,
            attested_at: node.attested_at,
            evidence_expires_at: node.evidence_expires_at,
            svid_serial: hex::encode(node.svid_serial),
            svid_not_after: node.svid_not_after,
            last_attempt: node.last_attempt,
            reset_count: node.reset_count,
            firmware_log: hex::encode(node.firmware_log),
            ban: node.ban.map(Remark::from),
            freeze: node.freeze.map(Remark::from),
            hold: node.hold.map(Remark::from),
            approval: node.approval.map(Remark::from),
        }
    }
}

impl Node {
    fn text(&self) -> String {
        let remark = |remark: &Option<Remark>| {
            let said = remark.as_ref().map(|r| format!("{} by {} {}", show::moment(r.at), r.by, show::text(&r.reason)));
            said.unwrap_or_default()
        };
        let keys: Vec<String> = self.keys.iter().map(|mark| format!("{} {}", mark.kind, mark.sha256)).collect();
        show::fields(&[
            ("SPIFFE ID", self.spiffe_id.clone()),
            ("Number", self.number.to_string()),
            ("State", self.state.clone()),
            ("Banned", remark(&self.ban)),
            ("Frozen", remark(&self.freeze)),
            ("Held", remark(&self.hold)),
            ("Approved", remark(&self.approval)),
            ("Trust class", self.trust_class.clone()),
            ("Keys", keys.join("\n")),
            ("Labels", self.labels.iter().map(|label| show::text(label)).collect::<Vec<_>>().join(", ")),
            ("Description", show::text(&self.description)),
            ("Selectors", self.selectors.iter().map(|s| show::text(s)).collect::<Vec<_>>().join(", ")),
            ("Fixed", self.fixed.iter().map(|s| show::text(s)).collect::<Vec<_>>().join(", ")),
            ("Rule", format!("{} of policy {}", self.rule, self.policy.get(..12).unwrap_or("-"))),
            ("Attested", show::moment(self.attested_at)),
            ("Evidence ends", show::moment(self.evidence_expires_at)),
            ("Last attempt", self.last_attempt.clone()),
        ])
    }
}

#[derive(Serialize)]
struct Listed {
    nodes: Vec<Node>,
}

#[derive(Serialize)]
struct Inventory {
    inventory: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    ek_sha256: String,
    label: String,
    added_at: i64,
    added_by: String,
    node: u64,
}

/// Rows asked for at once.
const PAGE: u32 = 1000;
/// Keys sent at once.
const KEYS_AT_ONCE: usize = 10_000;

/// Runs the command.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    use admin::NodeAction as Action;
    let mut client = NodesClient::new(connect(context).await?);
    let (target, action, reason) = match command {
        Command::Allow(allow) => {
            let (mut new, mut all) = (0, 0);
            for keys in keys(allow)?.chunks(KEYS_AT_ONCE) {
                new += answered!(client.allow(admin::AllowRequest { keys: keys.to_vec() })).new;
                all += keys.len();
            }
            let done = serde_json::json!({ "keys": all, "new": new });
            context.format.print(&done, |_| format!("{all} keys allowed, {new} of them new"))?;
            return Ok(Outcome::Yes);
        }
        Command::Disallow(Disallow { ek_sha256, fact }) => {
            let keys = ek_sha256.into_iter().map(|digest| digest.0);
            let digests = keys.chain(fact.into_iter().map(|fact| fact.digest)).collect();
            let removed = answered!(client.disallow(admin::DisallowRequest { digests })).removed;
            context.format.print(&serde_json::json!({ "removed": removed }), |_| format!("{removed} keys removed"))?;
            return Ok(if removed == 0 { Outcome::Refused } else { Outcome::Yes });
        }
        Command::Inventory => {
            let mut inventory: Vec<Key> = Vec::new();
            let mut after = Vec::new();
            loop {
                let request = admin::ListInventoryRequest { after: after.clone(), limit: PAGE };
                let page = answered!(client.list_inventory(request)).entries;
                after = page.last().map(|entry| entry.digest.clone()).unwrap_or_default();
                let full = page.len() == PAGE as usize;
                inventory.extend(page.into_iter().map(key));
                if !full {
                    break;
                }
            }
            context.format.print(&Inventory { inventory }, inventory_text)?;
            return Ok(Outcome::Yes);
        }
        Command::List { state } => {
            let mut nodes: Vec<Node> = Vec::new();
            loop {
                let after = nodes.last().map_or(0, |node| node.number);
                let request = admin::ListNodesRequest { state: state.clone(), after, limit: PAGE };
                let page = answered!(client.list(request)).nodes;
                let full = page.len() == PAGE as usize;
                nodes.extend(page.into_iter().map(Node::from));
                if !full {
                    break;
                }
            }
            context.format.print(&Listed { nodes }, list_text)?;
            return Ok(Outcome::Yes);
        }
        Command::Show(Target { node }) => {
            let node = answered!(client.get(admin::NodeTarget { target: Some(node) }));
            context.format.print(&Node::from(node), Node::text)?;
            return Ok(Outcome::Yes);
        }
        Command::Approve(target) => (target, Action::Approve, String::new()),
        Command::Deny(Reasoned { target, reason }) => (target, Action::Deny, reason),
        Command::Evict(target) => (target, Action::Evict, String::new()),
        Command::Ban(Reasoned { target, reason }) => (target, Action::Ban, reason),
        Command::Unban(target) => (target, Action::Unban, String::new()),
        Command::Reset(target) => (target, Action::Reset, String::new()),
    };
    let target = Some(admin::NodeTarget { target: Some(target.node) });
    let node = answered!(client.act(admin::ActOnNodeRequest { target, action: action.into(), reason }));
    context.format.print(&Node::from(node), Node::text)?;
    Ok(Outcome::Yes)
}

fn keys(allow: Allow) -> anyhow::Result<Vec<admin::AllowedKey>> {
    let Some(path) = allow.csv else {
        let keys = allow.ek_sha256.into_iter().map(|digest| (digest.0, allow.label.clone()));
        let facts = allow.fact.into_iter().map(|fact| (fact.digest.clone(), fact.labelled(&allow.label)));
        return Ok(keys.chain(facts).map(|(digest, label)| admin::AllowedKey { digest, label }).collect());
    };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(csv::Trim::All)
        .from_path(&path)
        .with_context(|| path.display().to_string())?;
    let mut keys = Vec::new();
    for (index, row) in reader.records().enumerate() {
        let row = row?;
        let line = row.position().map_or(0, csv::Position::line);
        let first = row.get(0).unwrap_or_default();
        match show::digest(first) {
            Ok(digest) => keys.push(admin::AllowedKey { digest, label: row.get(1).unwrap_or(&allow.label).to_owned() }),
            Err(_) if index == 0 && first.eq_ignore_ascii_case("ek_sha256") => {}
            Err(_) if first.contains('=') => match listed_fact::read(first) {
                Ok(fact) => {
                    let label = fact.labelled(row.get(1).unwrap_or(&allow.label));
                    keys.push(admin::AllowedKey { digest: fact.digest, label });
                }
                Err(problem) => bail!("{}:{line}: {problem}", path.display()),
            },
            Err(problem) => bail!("{}:{line}: ek_sha256: {problem}", path.display()),
        }
    }
    if keys.is_empty() {
        bail!("{}: no keys", path.display());
    }
    Ok(keys)
}

fn key(entry: admin::InventoryEntry) -> Key {
    let admin::InventoryEntry { digest, label, added_at, added_by, node } = entry;
    Key { ek_sha256: hex::encode(digest), label, added_at, added_by, node }
}

fn inventory_text(inventory: &Inventory) -> String {
    let mut table = show::table(&["ek sha256", "label", "node", "added", "by"]);
    for key in &inventory.inventory {
        let node = if key.node == 0 { "-".to_owned() } else { key.node.to_string() };
        let row = [&key.ek_sha256, &show::text(&key.label), &node, &show::moment(key.added_at), &key.added_by];
        table.add_row(row);
    }
    show::rows(&table, "the inventory is empty")
}

fn list_text(listed: &Listed) -> String {
    let mut table = show::table(&["number", "state", "class", "spiffe id", "evidence ends"]);
    for node in &listed.nodes {
        let (number, ends) = (node.number.to_string(), show::moment(node.evidence_expires_at));
        table.add_row([&number, &node.state, &node.trust_class, &node.spiffe_id, &ends]);
    }
    show::rows(&table, "no machine has come yet")
}
