//! `svid`: X.509-SVIDs that live, and withdrawing them by hand.

use clap::{Args, Subcommand, ValueEnum};
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::nodes::read_target;
use super::{Context, Outcome, show};
use crate::admin_clients::svids_client::SvidsClient;

/// SVIDs that are asked for at a time: the server gives no more.
const PAGE: u32 = 1_000;

const EXAMPLES: &str = "\
Examples:
  holdfast-server svid list --spiffe-id spiffe://example.org/web
  holdfast-server svid list --node 17 --output json
  holdfast-server svid revoke --serial 4F3A… --reason keyCompromise
  holdfast-server svid revoke --spiffe-id spiffe://example.org/web --reason keyCompromise

What is revoked stands on its issuer's list within a second. Agents drop it, and workloads that still match get another,
with another key: to stop them, delete the entry or ban the node.";

/// X.509-SVIDs that have not ended and were not withdrawn
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// List them: of nodes and of workloads
    List {
        #[command(flatten)]
        which: Which,
        /// How many at most; 0 for all
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        limit: usize,
    },
    /// Show one
    Show {
        /// Its serial number, in hexadecimal
        #[arg(value_name = "SERIAL", value_parser = read_serial)]
        serial: Serial,
    },
    /// Withdraw all that these options name
    #[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["serial", "spiffe_id", "entry_id", "node"]))]
    Revoke {
        #[command(flatten)]
        which: Which,
        /// Why; stands on the list and in the record
        #[arg(long, value_enum)]
        reason: Reason,
    },
}

/// Which SVIDs.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Serial number in hexadecimal, as `openssl x509 -serial` prints it
    #[arg(long, value_name = "SERIAL", value_parser = read_serial)]
    serial: Option<Serial>,
    /// The name in it: a workload's, or a node's own
    #[arg(long, value_name = "SPIFFE-ID")]
    spiffe_id: Option<String>,
    /// The entry that it was issued by
    #[arg(long, value_name = "ENTRY-ID")]
    entry_id: Option<String>,
    /// The node that asked for it: SPIFFE ID, number, digest of an endorsement key, or NAME=VALUE of a fact
    #[arg(long, value_name = "NODE", value_parser = read_target)]
    node: Option<admin::node_target::Target>,
}

/// Why an operator withdraws an SVID, in the words of RFC 5280.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Reason {
    /// Not said
    #[value(name = "unspecified")]
    Unspecified,
    /// Somebody else has its key
    #[value(name = "keyCompromise")]
    KeyCompromise,
    /// There is another in its place
    #[value(name = "superseded")]
    Superseded,
    /// It is needed no more
    #[value(name = "cessationOfOperation")]
    CessationOfOperation,
    /// Whoever holds it may do no more what it is for
    #[value(name = "privilegeWithdrawn")]
    PrivilegeWithdrawn,
}

impl Reason {
    fn word(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

/// A serial number.
#[derive(Debug, Clone)]
pub(super) struct Serial(Vec<u8>);

/// Reads a serial number: hexadecimal digits of either case, colons allowed.
fn read_serial(text: &str) -> Result<Serial, String> {
    let digits: String = text.trim_start_matches("0x").chars().filter(|c| *c != ':').collect();
    let bytes = hex::decode(digits).ok().filter(|bytes| bytes.len() == 16);
    bytes.map(Serial).ok_or_else(|| "expected the 32 hexadecimal digits of a serial number".to_owned())
}

impl From<Which> for admin::SvidFilter {
    fn from(which: Which) -> Self {
        Self {
            spiffe_id: which.spiffe_id.unwrap_or_default(),
            entry_id: which.entry_id.unwrap_or_default(),
            node: which.node.map(|target| admin::NodeTarget { target: Some(target) }),
            serial: which.serial.map(|serial| serial.0).unwrap_or_default(),
        }
    }
}

#[derive(Serialize)]
struct Svid {
    serial: String,
    spiffe_id: String,
    node_id: String,
    node_number: u64,
    entry_id: String,
    issuer: String,
    expires_at: i64,
    record_index: u64,
}

impl From<admin::Svid> for Svid {
    fn from(svid: admin::Svid) -> Self {
        let place = svid.place.unwrap_or_default();
        Self {
            serial: hex::encode(svid.serial),
            spiffe_id: svid.spiffe_id,
            node_id: svid.node_id,
            node_number: place.node,
            entry_id: svid.entry_id,
            issuer: svid.issuer,
            expires_at: svid.expires_at,
            record_index: place.index,
        }
    }
}

#[derive(Serialize)]
struct Svids {
    svids: Vec<Svid>,
}

#[derive(Serialize)]
struct Revoked {
    revoked: u64,
    /// Entries on nodes whose JWT-SVIDs went with them.
    grants: u64,
}

impl Revoked {
    fn text(&self) -> String {
        let Self { revoked, grants } = self;
        match grants {
            0 => format!("{revoked} SVIDs revoked"),
            _ => format!("{revoked} SVIDs revoked, and the JWT-SVIDs of {grants} entries on nodes"),
        }
    }
}

/// Runs `svid`.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = SvidsClient::new(connect(context).await?).max_decoding_message_size(8 << 20);
    match command {
        Command::List { which, limit } => {
            let filter = admin::SvidFilter::from(which);
            let limit = if limit == 0 { usize::MAX } else { limit };
            let (mut svids, mut after) = (Vec::new(), None);
            while svids.len() < limit {
                let wanted = u32::try_from(limit - svids.len()).unwrap_or(PAGE).min(PAGE);
                let asked = admin::ListSvidsRequest { filter: Some(filter.clone()), after, limit: wanted };
                let page = answered!(client.list(asked)).svids;
                after = page.last().and_then(|last| last.place);
                let is_last = page.len() < wanted as usize;
                svids.extend(page.into_iter().map(Svid::from));
                if is_last {
                    break;
                }
            }
            context.format.print(&Svids { svids }, Svids::text)?;
        }
        Command::Show { serial } => {
            let filter = admin::SvidFilter { serial: serial.0, ..admin::SvidFilter::default() };
            let asked = admin::ListSvidsRequest { filter: Some(filter), after: None, limit: 1 };
            let found = answered!(client.list(asked)).svids.into_iter().next();
            let Some(svid) = found else {
                eprintln!(
                    "holdfast-server: no SVID with this serial number lives: it has ended, was withdrawn, or is none of ours"
                );
                return Ok(Outcome::Refused);
            };
            context.format.print(&Svid::from(svid), Svid::text)?;
        }
        Command::Revoke { which, reason } => {
            let asked = admin::RevokeSvidsRequest { filter: Some(which.into()), reason: reason.word() };
            let admin::RevokeSvidsResponse { count: revoked, grants } = answered!(client.revoke(asked));
            context.format.print(&Revoked { revoked, grants }, Revoked::text)?;
        }
    }
    Ok(Outcome::Yes)
}

impl Svid {
    fn text(&self) -> String {
        show::fields(&[
            ("Serial", self.serial.clone()),
            ("SPIFFE ID", self.spiffe_id.clone()),
            ("Node", self.node_name()),
            ("Entry", show::text(&self.entry_id)),
            ("Issuer", self.issuer.clone()),
            ("Expires at", show::moment(self.expires_at)),
            ("In the record at", self.record_index.to_string()),
        ])
    }

    fn node_name(&self) -> String {
        if self.node_id.is_empty() { self.node_number.to_string() } else { self.node_id.clone() }
    }
}

impl Svids {
    fn text(&self) -> String {
        let mut table = show::table(&["serial", "SPIFFE ID", "node", "entry", "expires at"]);
        for one in &self.svids {
            let expires = show::moment(one.expires_at);
            table.add_row([&one.serial, &one.spiffe_id, &one.node_name(), &show::text(&one.entry_id), &expires]);
        }
        show::rows(&table, "no SVID lives that these options name")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_read_as_openssl_prints_them() {
        let bytes: Vec<u8> = (0x40..0x50).collect();
        let plain = hex::encode(&bytes);
        let colons: Vec<_> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        for text in [plain.clone(), plain.to_uppercase(), colons.join(":"), format!("0x{plain}")] {
            assert_eq!(read_serial(&text).unwrap().0, bytes, "{text}");
        }
        for text in ["", "40", &plain[1..], "zz", &format!("{plain}00")] {
            assert!(read_serial(text).is_err(), "{text}");
        }
    }
}
