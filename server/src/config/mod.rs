//! The server's configuration: TOML text, read as a whole, so that every problem is reported at once with its key.
//!
//! Decides nothing later: what a value can mean is settled here, and the program holds only what was checked.

mod duration;
mod events;
mod federation;
mod keys;
mod oidc;
mod operators;
mod reader;
mod revocation;
#[cfg(test)]
mod tests;
mod tokens;
mod upstream;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_identity::TrustDomain;

use crate::admin::Roles;
use crate::authority::{TokenSettings, UpstreamSettings};
use crate::budget::Rate;
use crate::endorse::{EndorseSettings, UpdateChannel};
use crate::exchange::ExchangeSettings;
use crate::federation::{BundleEndpointSettings, FederationSettings};
use crate::listen::ListenLimits;
use crate::oidc::OidcSettings;
use crate::outbox::SinkSettings;
use crate::record::Pace;
use crate::revocation::ListSettings;
use crate::rollout::RolloutSettings;
use crate::store::Retention;

pub(crate) use duration::seconds;
pub use keys::{KEYS, Key, SINK_KEYS};
use reader::Reader;

/// Where the file is looked for when none is named.
pub const DEFAULT_FILE: &str = "/etc/holdfast/server.toml";
/// Bytes of the largest configuration file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Seconds of a day.
const DAY: i64 = 86_400;

/// Everything the server runs on, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The one trust domain that this server speaks for.
    pub trust_domain: TrustDomain,
    /// State: the intermediate, the challenge key, the database.
    pub data_dir: PathBuf,
    /// The agent port.
    pub listen: SocketAddr,
    /// The operator's Unix socket, 0660.
    pub admin_socket: PathBuf,
    /// The group that may use the operator's socket, where the system has it.
    pub admin_group: String,
    /// Where Prometheus reads metrics over plain HTTP; `None` for nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether roots of class `simulated` may be imported and believed.
    pub simulated: Simulated,
    /// The SQLite database.
    pub database: PathBuf,
    /// The key that seals challenges: 32 bytes, made if it is not there; all servers of a trust domain share it.
    pub challenge_key: PathBuf,
    /// How the record is signed and shown.
    pub record: RecordSettings,
    /// Where vendors' endorsements come from.
    pub endorse: EndorseSettings,
    /// Where events go.
    pub sinks: Vec<SinkSettings>,
    /// The key that signs attestation results; made if it is not there.
    pub ear_key: PathBuf,
    /// How revocation lists are made and shown.
    pub lists: ListSettings,
    /// Who signs this server's intermediates; `None`: an operator, with `init` and the root key.
    pub upstream: Option<UpstreamSettings>,
    /// How long things live where no policy or entry says otherwise.
    pub lifetimes: Lifetimes,
    /// How JWT-SVIDs are signed.
    pub tokens: TokenSettings,
    /// Where they are explained to programs that know no SPIFFE.
    pub oidc: Option<OidcSettings>,
    /// Whose tokens are exchanged for them.
    pub exchange: Option<ExchangeSettings>,
    /// How much strangers and friends get.
    pub limits: Limits,
    /// How long the record keeps what attempts were judged by, and how much room it needs.
    pub keeping: Keeping,
    /// Which operators may do what.
    pub roles: Roles,
    /// What a change of policy needs.
    pub rollout: RolloutSettings,
    /// How foreign bundles are fetched.
    pub federation: FederationSettings,
    /// How our own bundle is shown; `None` for not at all.
    pub bundle_endpoint: Option<BundleEndpointSettings>,
    /// What is logged, and how.
    pub log: Log,
}

/// Whether simulators are part of this trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simulated {
    /// Roots of class `simulated` are refused, at import and at start.
    Refused,
    /// They are believed, and every fact below them says so.
    Allowed,
}

/// How the record is signed and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSettings {
    /// The key that signs checkpoints, made if it is not there; the last checkpoint is kept beside it.
    pub key: PathBuf,
    /// The log's name, where it is not left to chance.
    pub origin: Option<String>,
    /// When checkpoints are signed.
    pub pace: Pace,
    /// Where tiles are served over plain HTTP; `None` for nowhere.
    pub listen: Option<SocketAddr>,
}

/// Lifetimes in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of a challenge, from drawing to its answer.
    pub challenge: i64,
    /// Of a node SVID; never longer than the evidence is fresh.
    pub node_svid: i64,
    /// Of a workload X.509-SVID whose entry names none.
    pub x509_svid: i64,
    /// Of an intermediate that the upstream authority is asked for.
    pub intermediate: i64,
}

/// Limits beyond those of single messages, which are in the protocol.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Of the agent port.
    pub listen: ListenLimits,
    /// `begin` for one source: an IPv4 address or an IPv6 /64.
    pub begin_per_source: Rate,
    /// Verifications at one time.
    pub verifications_max: u32,
    /// Entries in all.
    pub entries_max: u64,
}

/// What the record keeps beside its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keeping {
    /// How long.
    pub retention: Retention,
    /// Percent of the disk that must be free for new machines to be taken in; 0 to watch nothing.
    pub free_percent_min: u64,
    /// Bytes laid by for the record; 0 for none.
    pub reserve: u64,
}

/// What is logged to standard error, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A `tracing` filter, such as `info` or `info,holdfast_server::desk=debug`.
    pub level: String,
    /// JSON lines in place of text.
    pub json: bool,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct Problem {
    /// The key with its table, such as `limits.connections`.
    pub key: String,
    /// What was expected, and what was found.
    pub problem: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFault {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not TOML: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, by line and column, and why.
        reason: String,
    },
    /// Everything that is wrong with it.
    #[error("configuration has {} problem(s):{}", .0.len(), listed(.0))]
    Problems(Vec<Problem>),
}

impl ConfigFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "server.config.unreadable",
            Self::Syntax { .. } => "server.config.syntax",
            Self::Problems(_) => "server.config.problems",
        }
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`ConfigFault`], with every problem of the file at once.
    pub fn load(path: &Path) -> Result<Self, ConfigFault> {
        let unreadable = |source| ConfigFault::Unreadable { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > FILE_BYTES_MAX {
            return Err(unreadable(std::io::Error::other(format!("{length} bytes, limit {FILE_BYTES_MAX}"))));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let table = text.parse::<toml::Table>().map_err(|source| ConfigFault::Syntax {
            path: path.to_owned(),
            reason: source.to_string().trim_end().to_owned(),
        })?;
        Self::read(table).map_err(ConfigFault::Problems)
    }

    /// Takes the values out of `table`.
    fn read(table: toml::Table) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(table);
        let trust_domain = reader.parsed("trust_domain", |text| text.parse::<TrustDomain>());
        let data_dir = reader.path("data_dir");
        let listen = reader.parsed("listen", str::parse::<SocketAddr>);
        let admin_socket = reader.path("admin_socket");
        let admin_group = reader.text("admin_group");
        let metrics_listen = reader.optional("metrics_listen", str::parse::<SocketAddr>);
        let simulated = reader.flag("allow_simulated");
        let database = reader.optional("database", str::parse::<PathBuf>);
        let challenge_key = reader.optional("challenge_key", str::parse::<PathBuf>);
        let record = record(&mut reader);
        let endorse = endorse(&mut reader);
        let sinks = events::sinks(&mut reader);
        let ear_key = reader.optional("ear.key_file", str::parse::<PathBuf>);
        let lists = revocation::lists(&mut reader);
        let lifetimes = upstream::lifetimes(&mut reader);
        let upstream = upstream::upstream(&mut reader);
        let jwt_svid = reader.seconds("lifetimes.jwt_svid", 30..=86_400);
        let tokens = tokens::tokens(&mut reader, jwt_svid);
        let oidc = oidc::oidc(&mut reader, tokens.as_ref().and_then(|tokens| tokens.issuer.as_deref()));
        let own = oidc.as_ref().map(|site| site.issuer.as_str());
        let exchange = oidc::exchange(&mut reader, trust_domain.as_ref(), (oidc.is_some(), own));
        let connections = reader.number("limits.connections", 1..=1_000_000);
        let anonymous = reader.number("limits.anonymous_connections", 1..=1_000_000);
        let handshakes = reader.number("limits.handshakes", 1..=100_000);
        let begin_rate = reader.number("limits.begin_per_second", 1..=1_000_000);
        let begin_burst = reader.number("limits.begin_burst", 1..=1_000_000);
        let verifications = reader.number("limits.verifications", 1..=10_000);
        let entries = reader.number("limits.entries", 1..=100_000_000);
        let evidence = reader.seconds("record.keep_evidence", DAY..=3650 * DAY);
        let renewals = reader.seconds("record.keep_renewals", 0..=3650 * DAY);
        let free_percent = reader.number("record.free_percent", 0..=50);
        let reserve_mib = reader.number("record.reserve_mib", 0..=65_536);
        let roles = operators::roles(&mut reader);
        let rollout = operators::rollout(&mut reader);
        let federation = federation::client(&mut reader);
        let bundle_endpoint = federation::endpoint(&mut reader);
        let level = reader.text("log.level");
        let format = reader.one_of("log.format", &["text", "json"]);
        let problems = reader.finish();
        if !problems.is_empty() {
            return Err(problems);
        }
        let config = || {
            let data_dir = data_dir?;
            let defaults = ListenLimits::default();
            Some(Self {
                trust_domain: trust_domain?,
                listen: listen?,
                admin_socket: admin_socket?,
                admin_group: admin_group?,
                metrics_listen,
                simulated: if simulated? { Simulated::Allowed } else { Simulated::Refused },
                database: database.unwrap_or_else(|| data_dir.join("holdfast.sqlite")),
                challenge_key: challenge_key.unwrap_or_else(|| data_dir.join("challenge.key")),
                record: record(&data_dir)?,
                ear_key: ear_key.unwrap_or_else(|| data_dir.join("ear.key")),
                data_dir,
                endorse: endorse?,
                sinks,
                lists: lists?,
                upstream,
                lifetimes: lifetimes?,
                tokens: tokens?,
                oidc,
                exchange,
                limits: Limits {
                    listen: ListenLimits {
                        connections_max: usize::try_from(connections?).ok()?,
                        anonymous_connections_max: usize::try_from(anonymous?).ok()?,
                        handshakes_max: usize::try_from(handshakes?).ok()?,
                        ..defaults
                    },
                    begin_per_source: Rate {
                        per_second: f64::from(u32::try_from(begin_rate?).ok()?),
                        burst: f64::from(u32::try_from(begin_burst?).ok()?),
                    },
                    verifications_max: u32::try_from(verifications?).ok()?,
                    entries_max: entries?,
                },
                keeping: Keeping {
                    retention: Retention { evidence: evidence?, renewals: renewals? },
                    free_percent_min: free_percent?,
                    reserve: reserve_mib? << 20,
                },
                roles,
                rollout: rollout?,
                federation: federation?,
                bundle_endpoint,
                log: Log { level: level?, json: format? == "json" },
            })
        };
        config().ok_or_else(|| vec![Problem { key: String::new(), problem: "has a value that does not fit".into() }])
    }
}

/// How the record is signed and shown, once it is known where this server's state is.
fn record(reader: &mut Reader) -> impl FnOnce(&Path) -> Option<RecordSettings> + use<> {
    let key = reader.optional("record.key", str::parse::<PathBuf>);
    let origin = reader.optional("record.origin", |text| match holdfast_record::note::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected a name without spaces and '+', of 1 to 255 bytes, found {text:?}")),
    });
    let interval = reader.seconds("record.checkpoint_interval", 1..=86_400);
    let entries = reader.number("record.checkpoint_entries", 1..=1_000_000_000);
    let listen = reader.optional("record.listen", str::parse::<SocketAddr>);
    move |data_dir| {
        Some(RecordSettings {
            key: key.unwrap_or_else(|| data_dir.join("record.key")),
            origin,
            pace: Pace { interval: Duration::from_secs(u64::try_from(interval?).ok()?), entries: entries? },
            listen,
        })
    }
}

/// Where endorsements come from.
fn endorse(reader: &mut Reader) -> Option<EndorseSettings> {
    let directory = reader.optional("endorsements.directory", str::parse::<PathBuf>);
    let amd_url = reader.parsed("endorsements.amd_url", service);
    let amd_interval = reader.seconds("endorsements.amd_interval", 1..=3600);
    let intel_url = reader.parsed("endorsements.intel_url", service);
    let intel_root_crl_url = reader.optional("endorsements.intel_root_crl_url", service);
    let update = reader.one_of("endorsements.tdx_update", &["standard", "early"]);
    let ca_file = reader.path("endorsements.ca_file");
    let timeout = reader.seconds("endorsements.timeout", 1..=120);
    let seconds = |seconds: i64| u64::try_from(seconds).map(Duration::from_secs).ok();
    Some(EndorseSettings {
        directory,
        amd_url: amd_url?,
        amd_interval: seconds(amd_interval?)?,
        intel_url: intel_url?,
        intel_root_crl_url: intel_root_crl_url.flatten(),
        update: if update? == "early" { UpdateChannel::Early } else { UpdateChannel::Standard },
        ca_file: ca_file?,
        timeout: seconds(timeout?)?,
        ..EndorseSettings::default()
    })
}

/// The URL of a service, or `none`.
fn service(text: &str) -> Result<Option<String>, String> {
    if text == "none" {
        return Ok(None);
    }
    let url = text.parse::<hyper::Uri>().ok();
    let fits = |url: &hyper::Uri| matches!(url.scheme_str(), Some("https" | "http")) && url.query().is_none();
    match url.filter(fits) {
        Some(_) => Ok(Some(text.to_owned())),
        None => Err(format!("expected \"none\", or a URL that begins with https:// or http://, found {text:?}")),
    }
}
