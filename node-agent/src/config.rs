//! The agent's configuration: a TOML file, over it environment variables, over them flags; read as a whole, so that
//! every problem is reported at once with its key.

mod attestors;
mod keys;
mod ownership;
mod reader;
mod secrets;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use holdfast_identity::TrustDomain;
use zeroize::Zeroizing;

use crate::attest::AttestorSettings;
use crate::collect::sources::Sources;
use crate::svids::KeyType;
use crate::tpm::{Access, Interface};

pub use crate::connection::ServerAddress;
pub use keys::{KEYS, Key, Overrides};
use reader::Reader;

/// Where the file is looked for when none is named; it may be absent.
pub const DEFAULT_FILE: &str = "/etc/holdfast/agent.toml";
/// Bytes of the largest configuration or authorisation file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Everything the agent runs on, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server.
    pub server: ServerAddress,
    /// The trust domain that the server must speak for.
    pub trust_domain: TrustDomain,
    /// How the server is known before the first connection.
    pub bootstrap: Bootstrap,
    /// The state directory.
    pub data_dir: PathBuf,
    /// The TPM.
    pub tpm: Access,
    /// The firmware's event log; a file that is not there means that the machine has none.
    pub firmware_log: PathBuf,
    /// The kernel's list of measured files; a machine without one offers none.
    pub measured_files: PathBuf,
    /// Which kinds of evidence there are, and where.
    pub sources: Sources,
    /// How workloads reach the agent.
    pub workload_api: WorkloadApi,
    /// What kind of keys workloads get.
    pub workload_key_type: KeyType,
    /// How workloads are told apart.
    pub attestors: AttestorSettings,
    /// Where Prometheus reads metrics over plain HTTP; `None` for nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// What is logged, and how.
    pub log: Log,
}

/// What is needed to gather evidence without a server.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The state directory.
    pub data_dir: PathBuf,
    /// The TPM.
    pub tpm: Access,
    /// The firmware's event log.
    pub firmware_log: PathBuf,
    /// Which kinds of evidence there are, and where.
    pub sources: Sources,
}

/// How the server is known before the first connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// By a PEM file of the trust domain's authorities.
    Bundle(PathBuf),
    /// Not at all: what the first connection shows is believed and pinned in the state directory.
    Insecure,
}

/// How workloads reach the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadApi {
    /// The Unix socket of the Workload API; its directory is made if it is not there.
    pub socket: PathBuf,
    /// What Envoy calls its secrets.
    pub secrets: crate::workload_api::Names,
}

/// What is logged to standard error, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A `tracing` filter, such as `info` or `info,holdfast_agent::sync=debug`.
    pub level: String,
    /// JSON lines in place of text.
    pub json: bool,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct Problem {
    /// The key with its table, such as `tpm.device`.
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
    #[error("{} is not TOML", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, by line and column.
        source: Box<toml::de::Error>,
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
            Self::Unreadable { .. } => "agent.config.unreadable",
            Self::Syntax { .. } => "agent.config.syntax",
            Self::Problems(_) => "agent.config.problems",
        }
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

impl Config {
    /// Reads `file` (or the default one, if it is there), lays `overrides` over it, and checks the whole.
    ///
    /// # Errors
    /// [`ConfigFault`], with every problem at once.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigFault> {
        let (text, path) = text(file)?;
        Self::parse(&text, path, overrides)
    }

    /// As [`Self::load`], from text.
    ///
    /// # Errors
    /// [`ConfigFault`], with every problem at once.
    pub fn parse(text: &str, path: &Path, overrides: &Overrides) -> Result<Self, ConfigFault> {
        let mut reader = Reader::new(table(text, path)?, overrides);
        let config = build(&mut reader);
        match (config, reader.finish()) {
            (Some(config), problems) if problems.is_empty() => Ok(config),
            (_, problems) => Err(ConfigFault::Problems(problems)),
        }
    }
}

impl Machine {
    /// As [`Config::load`], but what does not concern the machine may be missing or wrong.
    ///
    /// # Errors
    /// [`ConfigFault`], with every problem of the keys that are needed.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, ConfigFault> {
        let (text, at) = text(file)?;
        let mut reader = Reader::new(table(&text, at)?, overrides);
        let (data_dir, firmware_log) = (reader.required("data_dir", path), reader.required("firmware_log", path));
        let (tpm, sources) = (access(&mut reader), sources(&mut reader));
        let mut problems = reader.finish();
        let concerns = |key: &str| {
            let table = key.split_once('.').map(|(table, _)| table);
            ["data_dir", "firmware_log", "evidence"].contains(&key)
                || table
                    .is_some_and(|table| ["tpm", "tsm", "snp", "tdx", "nitro", "nitrotpm", "azure"].contains(&table))
        };
        problems.retain(|problem| concerns(&problem.key));
        match (data_dir, tpm, firmware_log, sources) {
            (Some(data_dir), Some(tpm), Some(firmware_log), Some(sources)) if problems.is_empty() => {
                Ok(Self { data_dir, tpm, firmware_log, sources })
            }
            _ => Err(ConfigFault::Problems(problems)),
        }
    }
}

/// The file's text as a table; an empty one where the default file is not there.
fn text(file: Option<&Path>) -> Result<(String, &Path), ConfigFault> {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    match read(path) {
        Ok(text) => Ok((text, path)),
        Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok((String::new(), path)),
        Err(source) => Err(ConfigFault::Unreadable { path: path.to_owned(), source }),
    }
}

fn table(text: &str, path: &Path) -> Result<toml::Table, ConfigFault> {
    toml::from_str(text).map_err(|source| ConfigFault::Syntax { path: path.to_owned(), source: Box::new(source) })
}

/// Every key is read before the first `?`, so that one problem does not hide another.
fn build(reader: &mut Reader) -> Option<Config> {
    let server = reader.required("server", |text| text.parse());
    let trust_domain = reader.required("trust_domain", |text| text.parse().map_err(|error| format!("{error}")));
    let bundle = reader.optional("trust_bundle", path);
    let insecure = reader.optional("insecure_bootstrap", flag);
    let bootstrap = match (bundle, insecure.unwrap_or(false)) {
        (Some(_), true) => reader.problem("insecure_bootstrap", "must not be set beside trust_bundle"),
        (Some(file), false) => Some(Bootstrap::Bundle(file)),
        (None, true) => Some(Bootstrap::Insecure),
        (None, false) => reader.problem("trust_bundle", "is required (or insecure_bootstrap = true)"),
    };
    let data_dir = reader.required("data_dir", path);
    let firmware_log = reader.required("firmware_log", path);
    let measured_files = reader.required("measured_files", path);
    let socket = reader.required("workload_api.socket", path);
    let secrets = secrets::read(reader);
    let workload_key_type = reader.required("workload_x509_svid_key_type", |text| text.parse());
    let metrics_listen =
        reader.optional("metrics_listen", |text| text.parse().map_err(|_| format!("{text:?} is no address and port")));
    let level = reader.required("log.level", log_level);
    let json = reader.required("log.format", |text| match text {
        "text" => Ok(false),
        "json" => Ok(true),
        other => Err(format!("expected \"text\" or \"json\", found {other:?}")),
    });
    let (tpm, sources, attestors) = (access(reader), sources(reader), attestors::read(reader));
    Some(Config {
        server: server?,
        trust_domain: trust_domain?,
        bootstrap: bootstrap?,
        data_dir: data_dir?,
        tpm: tpm?,
        firmware_log: firmware_log?,
        measured_files: measured_files?,
        sources: sources?,
        workload_api: WorkloadApi { socket: socket?, secrets: secrets? },
        workload_key_type: workload_key_type?,
        attestors: attestors?,
        metrics_listen,
        log: Log { level: level?, json: json? },
    })
}

/// As [`build`]: every key before the first `?`.
fn sources(reader: &mut Reader) -> Option<Sources> {
    let wanted = reader.required("evidence", |text| text.parse());
    let tsm = reader.required("tsm.path", |text| text.parse());
    let sev_guest = reader.required("snp.device", path);
    let tdx_event_log = reader.required("tdx.event_log", path);
    let nsm = reader.required("nitro.device", |text| text.parse());
    let nitrotpm_program = reader.optional("nitrotpm.program", path);
    let azure_imds = reader.required("azure.imds", plain_http);
    Some(Sources {
        wanted: wanted?,
        tsm: tsm?,
        sev_guest: sev_guest?,
        tdx_event_log: tdx_event_log?,
        nsm: nsm?,
        nitrotpm_program,
        azure_imds: azure_imds?,
    })
}

fn access(reader: &mut Reader) -> Option<Access> {
    let device = reader.optional("tpm.device", path);
    let swtpm = reader.optional("tpm.swtpm", swtpm);
    let interface = match (device, swtpm) {
        (Some(_), Some(_)) => reader.problem("tpm.swtpm", "must not be set beside tpm.device"),
        (_, Some(swtpm)) => Some(swtpm),
        (device, None) => Some(Interface::Device(device.unwrap_or_else(|| PathBuf::from("/dev/tpmrm0")))),
    };
    let ak_handle = reader.required("tpm.ak_handle", persistent_handle);
    let node_key_handle = reader.required("tpm.node_key_handle", persistent_handle);
    if ak_handle.is_some() && ak_handle == node_key_handle {
        return reader.problem("tpm.node_key_handle", "must not be the same as tpm.ak_handle");
    }
    let owner_auth = reader.optional("tpm.owner_auth_file", authorisation);
    let endorsement_auth = reader.optional("tpm.endorsement_auth_file", authorisation);
    let ownership = ownership::read(reader);
    Some(Access {
        interface: interface?,
        ak_handle: ak_handle?,
        node_key_handle: node_key_handle?,
        owner_auth,
        endorsement_auth,
        ownership: ownership?,
    })
}

fn read(path: &Path) -> std::io::Result<String> {
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "file is larger than 1 MiB"));
    }
    std::fs::read_to_string(path)
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("expected true or false, found {text:?}"))
}

/// A base address: the metadata service speaks nothing else than HTTP without TLS.
fn plain_http(text: &str) -> Result<hyper::Uri, String> {
    let form = || format!("expected http://HOST[:PORT], found {text:?}");
    let uri: hyper::Uri = text.parse().map_err(|_| form())?;
    let is_base = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
    if uri.scheme_str() == Some("http") && uri.host().is_some() && is_base { Ok(uri) } else { Err(form()) }
}

fn swtpm(text: &str) -> Result<Interface, String> {
    let form = || format!("expected host=HOST,port=PORT, found {text:?}");
    let (mut host, mut port) = (None, None);
    for part in text.split(',') {
        match part.split_once('=').ok_or_else(form)? {
            ("host", value) if !value.is_empty() => host = Some(value.to_owned()),
            ("port", value) => port = Some(value.parse().map_err(|_| form())?),
            _ => return Err(form()),
        }
    }
    Ok(Interface::Swtpm { host: host.unwrap_or_else(|| "127.0.0.1".to_owned()), port: port.ok_or_else(form)? })
}

fn persistent_handle(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let radix = if digits.len() == text.len() { 10 } else { 16 };
    u32::from_str_radix(digits, radix)
        .ok()
        .filter(|handle| (0x8100_0000..=0x817f_ffff).contains(handle))
        .ok_or_else(|| format!("expected an owner's persistent handle, 0x81000000 to 0x817fffff, found {text:?}"))
}

/// The file's bytes without a final newline; after `hex:` they are hexadecimal, as in tpm2-tools.
fn authorisation(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = path(text)?;
    let bytes = read(&file).map(Zeroizing::new).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let value = bytes.strip_suffix('\n').unwrap_or(&bytes);
    let value = match value.strip_prefix("hex:") {
        Some(digits) => Zeroizing::new(
            hex::decode(digits).map_err(|_| format!("{} has \"hex:\" but no hexadecimal digits", file.display()))?,
        ),
        None => Zeroizing::new(value.as_bytes().to_vec()),
    };
    if value.len() > 64 { Err(format!("{} holds more than 64 bytes", file.display())) } else { Ok(value) }
}

fn log_level(text: &str) -> Result<String, String> {
    text.parse::<tracing_subscriber::EnvFilter>()
        .map(|_| text.to_owned())
        .map_err(|error| format!("{text:?} is no log filter: {error}"))
}

#[cfg(test)]
mod tests;
