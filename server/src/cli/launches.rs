//! `launch`: confidential guests that an operator announces before they start. A launch is an entry of the inventory under
//! the digest of what the guest will then say of itself; here is only how operators write and read it.

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use holdfast_evidence::{SnpLaunch, TdxLaunch};
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome, show};
use crate::admin_clients::nodes_client::NodesClient;

const EXAMPLES: &str = "\
Examples:
  holdfast-server launch register --kind snp --measurement 32ac9d7a17d2… --host-data 5f0c1b… --label web-1
  holdfast-server launch register --kind tdx --mrtd 4c7206f0f483… --mrconfigid 9b1d… --label web-2
  holdfast-server launch list
  holdfast-server launch remove 7d1a54127b222502…

The measurement is computed by `holdfast-policy measure`. HOST_DATA and MRCONFIGID are drawn at random for each guest:
with them the launch is one guest, without them it would be everybody who starts the same image.";

/// In front of the label of a launch, so that the inventory shows what it is.
const PREFIX: &str = "launch ";

/// Confidential guests, announced before they start
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Announce a guest: its evidence will be known as ours
    Register(Box<Register>),
    /// List announced guests
    List,
    /// Take announcements back; the guests are refused at their next attestation
    Remove {
        /// Digest of the launch, as `register` and `list` print it; repeat for each
        #[arg(required = true, value_name = "SHA256", value_parser = read_digest)]
        launch: Vec<Digest>,
    },
}

/// A SHA-256. (A newtype: clap takes a bare `Vec` for several values.)
#[derive(Debug, Clone)]
pub(super) struct Digest(Vec<u8>);

fn read_digest(text: &str) -> Result<Digest, String> {
    show::digest(text).map(Digest)
}

/// Whose fields say which guest it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// AMD SEV-SNP
    Snp,
    /// Intel TDX
    Tdx,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Snp => "snp",
            Self::Tdx => "tdx",
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Register {
    /// The hardware
    #[arg(long, value_enum)]
    kind: Kind,
    /// The launch digest of the guest
    #[arg(long, value_name = "HEX", required_if_eq("kind", "snp"))]
    measurement: Option<Hex<48>>,
    /// What the host gives this guest alone
    #[arg(long, value_name = "HEX", required_if_eq("kind", "snp"))]
    host_data: Option<Hex<32>>,
    /// The key that signed its ID block; zero without one
    #[arg(long, value_name = "HEX")]
    id_key_digest: Option<Hex<48>>,
    /// The measurement of the initial memory
    #[arg(long, value_name = "HEX", required_if_eq("kind", "tdx"))]
    mrtd: Option<Hex<48>>,
    /// What the host gives this guest alone
    #[arg(long, value_name = "HEX", required_if_eq("kind", "tdx"))]
    mrconfigid: Option<Hex<48>>,
    /// Zero, if not given
    #[arg(long, value_name = "HEX")]
    mrowner: Option<Hex<48>>,
    /// Zero, if not given
    #[arg(long, value_name = "HEX")]
    mrownerconfig: Option<Hex<48>>,
    /// What you call the guest
    #[arg(long, value_name = "TEXT")]
    label: String,
}

/// Bytes of a fixed width.
#[derive(Debug, Clone, Copy)]
struct Hex<const N: usize>([u8; N]);

impl<const N: usize> std::str::FromStr for Hex<N> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| format!("expected {} hexadecimal digits", 2 * N))
    }
}

impl Register {
    /// The digest under which the launch is listed.
    ///
    /// # Errors
    /// Fields of the other kind are given, or the field that makes the launch one guest is zero.
    fn digest(&self) -> anyhow::Result<[u8; 32]> {
        let has_snp = self.measurement.is_some() || self.host_data.is_some() || self.id_key_digest.is_some();
        let has_tdx =
            self.mrtd.is_some() || self.mrconfigid.is_some() || self.mrowner.is_some() || self.mrownerconfig.is_some();
        let wide = |value: Option<Hex<48>>| value.map_or([0; 48], |value| value.0);
        match (self.kind, self.measurement, self.host_data, self.mrtd, self.mrconfigid) {
            (Kind::Snp, Some(measurement), Some(host_data), ..) if !has_tdx => {
                if host_data.0 == [0; 32] {
                    bail!("HOST_DATA is zero: everybody who starts this image would be this guest");
                }
                let (measurement, host_data) = (measurement.0, host_data.0);
                Ok(SnpLaunch { measurement, host_data, id_key_digest: wide(self.id_key_digest) }.digest())
            }
            (Kind::Tdx, _, _, Some(mrtd), Some(mrconfigid)) if !has_snp => {
                if mrconfigid.0 == [0; 48] {
                    bail!("MRCONFIGID is zero: everybody who starts this firmware would be this guest");
                }
                let (mrowner, mrownerconfig) = (wide(self.mrowner), wide(self.mrownerconfig));
                Ok(TdxLaunch { mrtd: mrtd.0, mrconfigid: mrconfigid.0, mrowner, mrownerconfig }.digest())
            }
            _ => bail!("a launch of kind {} has other fields: see --help", self.kind.as_str()),
        }
    }
}

#[derive(Serialize)]
struct Registered {
    launch: String,
    kind: &'static str,
    label: String,
}

#[derive(Serialize)]
struct Launches {
    launches: Vec<Launch>,
}

#[derive(Serialize)]
struct Launch {
    launch: String,
    kind: String,
    label: String,
    added_at: i64,
    added_by: String,
    node: u64,
}

/// Rows asked for at once.
const PAGE: u32 = 1000;

/// Runs the command.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    let mut client = NodesClient::new(connect(context).await?);
    match command {
        Command::Register(register) => {
            let digest = register.digest()?;
            let kind = register.kind.as_str();
            let key =
                admin::AllowedKey { digest: digest.to_vec(), label: format!("{PREFIX}{kind}: {}", register.label) };
            let new = answered!(client.allow(admin::AllowRequest { keys: vec![key] })).new;
            let done = Registered { launch: hex::encode(digest), kind, label: register.label };
            context.format.print(&done, |done| done.launch.clone())?;
            if new == 0 {
                eprintln!("holdfast-server: this launch is announced already: draw a value that no other guest has");
                return Ok(Outcome::Refused);
            }
            Ok(Outcome::Yes)
        }
        Command::List => {
            let mut launches = Vec::new();
            let mut after = Vec::new();
            loop {
                let request = admin::ListInventoryRequest { after: after.clone(), limit: PAGE };
                let page = answered!(client.list_inventory(request)).entries;
                after = page.last().map(|entry| entry.digest.clone()).unwrap_or_default();
                let full = page.len() == PAGE as usize;
                launches.extend(page.into_iter().filter_map(launch));
                if !full {
                    break;
                }
            }
            context.format.print(&Launches { launches }, list_text)?;
            Ok(Outcome::Yes)
        }
        Command::Remove { launch } => {
            let digests = launch.into_iter().map(|digest| digest.0).collect();
            let removed = answered!(client.disallow(admin::DisallowRequest { digests })).removed;
            let done = serde_json::json!({ "removed": removed });
            context.format.print(&done, |_| format!("{removed} launches removed"))?;
            Ok(if removed == 0 { Outcome::Refused } else { Outcome::Yes })
        }
    }
}

/// The entry, if its label says that it is a launch.
fn launch(entry: admin::InventoryEntry) -> Option<Launch> {
    let admin::InventoryEntry { digest, label, added_at, added_by, node } = entry;
    let (kind, label) = label.strip_prefix(PREFIX)?.split_once(": ")?;
    let kind = [Kind::Snp, Kind::Tdx].into_iter().find(|known| known.as_str() == kind)?.as_str();
    let (kind, label) = (kind.to_owned(), label.to_owned());
    Some(Launch { launch: hex::encode(digest), kind, label, added_at, added_by, node })
}

fn list_text(launches: &Launches) -> String {
    let mut table = show::table(&["launch", "kind", "label", "node", "added", "by"]);
    for Launch { launch, kind, label, added_at, added_by, node } in &launches.launches {
        let node = if *node == 0 { "-".to_owned() } else { node.to_string() };
        table.add_row([launch, kind, &show::text(label), &node, &show::moment(*added_at), added_by]);
    }
    show::rows(&table, "no launch is announced")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn digest(flags: &[&str]) -> Result<String, String> {
        let line = [&["x", "register", "--label", "l"], flags].concat();
        let line = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        let Command::Register(register) = line.command else { panic!("no registration") };
        register.digest().map(hex::encode).map_err(|error| error.to_string())
    }

    #[test]
    fn a_launch_is_listed_under_the_digest_that_its_evidence_has() {
        let (wide, narrow) = ("01".repeat(48), "02".repeat(32));
        let snp = SnpLaunch { measurement: [1; 48], host_data: [2; 32], id_key_digest: [0; 48] };
        let flags = ["--kind", "snp", "--measurement", &wide, "--host-data", &narrow];
        assert_eq!(digest(&flags), Ok(hex::encode(snp.digest())));
        let tdx = TdxLaunch { mrtd: [1; 48], mrconfigid: [1; 48], mrowner: [0; 48], mrownerconfig: [1; 48] };
        let flags = ["--kind", "tdx", "--mrtd", &wide, "--mrconfigid", &wide, "--mrownerconfig", &wide];
        assert_eq!(digest(&flags), Ok(hex::encode(tdx.digest())));
    }

    #[test]
    fn a_launch_that_would_be_more_than_one_guest_is_refused() {
        let (wide, zero) = ("01".repeat(48), "00".repeat(48));
        let refused = |flags: &[&str]| digest(flags).unwrap_err();
        let flags = ["--kind", "snp", "--measurement", &wide, "--host-data", &zero[..64]];
        assert!(refused(&flags).contains("HOST_DATA is zero"));
        let flags = ["--kind", "tdx", "--mrtd", &wide, "--mrconfigid", &zero];
        assert!(refused(&flags).contains("MRCONFIGID is zero"));
    }

    #[test]
    fn fields_that_are_missing_too_short_or_of_the_other_kind_are_refused() {
        let (wide, narrow) = ("01".repeat(48), "02".repeat(32));
        for flags in [
            &["--kind", "snp", "--measurement", &wide][..],
            &["--kind", "tdx", "--mrtd", &wide],
            &["--kind", "snp", "--measurement", &narrow, "--host-data", &narrow],
            &["--kind", "snp", "--measurement", &wide, "--host-data", &narrow, "--mrtd", &wide],
            &["--kind", "tdx", "--mrtd", &wide, "--mrconfigid", &wide, "--host-data", &narrow],
        ] {
            assert!(digest(flags).is_err(), "{flags:?}");
        }
    }
}
