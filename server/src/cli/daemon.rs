//! The commands of the daemon itself: `init`, `run`, `check-config`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use super::{Context, Outcome};
use crate::authority::{self, InitOptions, UpstreamInit, UpstreamSettings};
use crate::config::{Config, ConfigFault, Problem};
use crate::record::{check_key, open_key};
use crate::{clock, logging, program};

const INIT_EXAMPLES: &str = "\
Examples:
  holdfast-server init --root-key /media/safe/root.key
      Makes a root (key and certificate in that one file), this server's intermediate, the bundle that agents need, and
      the key that signs the record.
  holdfast-server init --root-key /media/safe/root.key
      Again, with the same file: renews the intermediate. A running server takes it up within a minute.
  holdfast-server init --config second.toml --root-key /media/safe/root.key
      Joins a second server to the same trust domain.
  holdfast-server init --root-key /media/safe/root.key --revoke-intermediate 4f3a…
      Makes a new intermediate, and revokes the one whose key was lost.
  holdfast-server init
      With an [upstream_authority] in the configuration: asks it for this server's intermediate.";

/// Found a trust domain, join this server to one, or renew its intermediate
#[derive(Debug, Args)]
#[command(after_help = INIT_EXAMPLES)]
pub(super) struct Init {
    /// File of the root key and certificate: read if it is there, made if not. The running server never opens it. Not
    /// where an [upstream_authority] is configured
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
    /// Days that a new root lives
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    root_days: u32,
    /// Days that the intermediate lives, cut to the root's end
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    intermediate_days: u32,
    /// Serial number of an intermediate that is not to be believed any more, in hex; it stands on the root's revocation
    /// list from then on, which is remembered beside the root key
    #[arg(long = "revoke-intermediate", value_name = "SERIAL", value_parser = serial)]
    revoke_intermediates: Vec<Serial>,
}

/// A serial number, as many bytes as there are.
#[derive(Debug, Clone)]
struct Serial(Vec<u8>);

fn serial(text: &str) -> Result<Serial, String> {
    let digits = text.replace(':', "");
    let bytes = hex::decode(&digits).ok().filter(|bytes| (1..=20).contains(&bytes.len()));
    bytes.map(Serial).ok_or_else(|| format!("expected 1 to 20 bytes in hex, found {text:?}"))
}

#[derive(Serialize)]
struct Initialised {
    trust_domain: String,
    root_created: bool,
    root_sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_key: Option<PathBuf>,
    bundle: PathBuf,
    intermediate_renewed: bool,
    intermediate_not_after: i64,
    record_vkey: String,
}

impl Init {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        let config = Config::load(&context.config)?;
        let root_key = match (self.root_key, &config.upstream) {
            (Some(_), Some(_)) => {
                bail!("an upstream authority is configured and signs: --root-key has no place beside it")
            }
            (None, None) => bail!("--root-key FILE is needed, or an [upstream_authority] in the configuration"),
            (None, Some(_)) if !self.revoke_intermediates.is_empty() => {
                bail!("the root's revocation list is the upstream authority's: have it revoke the intermediate")
            }
            (None, Some(upstream)) => return from_upstream(&config, upstream, context),
            (Some(root_key), None) => root_key,
        };
        let options = InitOptions {
            root_days: self.root_days,
            intermediate_days: self.intermediate_days,
            revoke_intermediates: self.revoke_intermediates.into_iter().map(|serial| serial.0).collect(),
            ..InitOptions::new(config.trust_domain.clone(), config.data_dir, root_key, clock::now())
        };
        let report = authority::init(&options)?;
        let log = open_key(&config.record.key, config.record.origin.as_deref(), &config.trust_domain)?;
        let done = Initialised {
            trust_domain: config.trust_domain.to_string(),
            root_created: report.root_created,
            root_sha256: report.root_sha256,
            root_key: Some(report.root_key),
            bundle: report.bundle_pem,
            intermediate_renewed: report.intermediate_renewed,
            intermediate_not_after: report.intermediate_not_after.seconds(),
            record_vkey: log.verifier().to_string(),
        };
        said(&done, context)
    }
}

/// Has the upstream authority sign this server's intermediate.
fn from_upstream(config: &Config, upstream: &UpstreamSettings, context: &Context) -> anyhow::Result<Outcome> {
    let init = UpstreamInit {
        trust_domain: config.trust_domain.clone(),
        data_dir: config.data_dir.clone(),
        upstream: upstream.authority(),
        ttl: config.lifetimes.intermediate,
        now: clock::now(),
    };
    let report = super::asked(async { Ok(authority::init_upstream(&init).await?) })?;
    let log = open_key(&config.record.key, config.record.origin.as_deref(), &config.trust_domain)?;
    let done = Initialised {
        trust_domain: config.trust_domain.to_string(),
        root_created: false,
        root_sha256: report.root_sha256,
        root_key: None,
        bundle: report.bundle_pem,
        intermediate_renewed: report.intermediate_renewed,
        intermediate_not_after: report.intermediate_not_after.seconds(),
        record_vkey: log.verifier().to_string(),
    };
    said(&done, context)
}

fn said(done: &Initialised, context: &Context) -> anyhow::Result<Outcome> {
    context.format.print(done, |done| {
        let root = if done.root_created { "new root" } else { "root" };
        let intermediate = if done.intermediate_renewed { "renewed intermediate" } else { "new intermediate" };
        let key = match &done.root_key {
            Some(path) => format!("root key: {} (keep it off this machine)", path.display()),
            None => "signed by the upstream authority".to_owned(),
        };
        format!(
            "trust domain {}: {root} {}, {intermediate}\n{key}\nbundle for agents: {}\n\
                 key of the record, for auditors: {}",
            done.trust_domain,
            done.root_sha256,
            done.bundle.display(),
            done.record_vkey
        )
    })?;
    Ok(Outcome::Yes)
}

/// Runs the server until SIGINT or SIGTERM.
pub(super) fn run(context: &Context) -> anyhow::Result<Outcome> {
    let config = Config::load(&context.config)?;
    logging::start(&config.log).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(program::run(config))?;
    Ok(Outcome::Yes)
}

#[derive(Serialize)]
struct Checked {
    problems: Vec<Finding>,
    /// What may be meant so, and needs something more to be whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    key: String,
    problem: String,
}

/// Reads the configuration and reports every problem; exit code 1 if there is one.
pub(super) fn check_config(context: &Context) -> anyhow::Result<Outcome> {
    let mut notes = Vec::new();
    let problems = match Config::load(&context.config) {
        Ok(config) => {
            notes.extend(no_list_above(&config));
            let checked = check_key(&config.record.key, config.record.origin.as_deref());
            let problem =
                checked.err().map(|fault| Problem { key: "record.key".to_owned(), problem: fault.to_string() });
            problem.into_iter().collect()
        }
        Err(ConfigFault::Problems(problems)) => problems,
        Err(fault) => return Err(fault.into()),
    };
    let outcome = if problems.is_empty() { Outcome::Yes } else { Outcome::Refused };
    let problems = problems.into_iter().map(|p| Finding { key: p.key, problem: p.problem }).collect();
    context.format.print(&Checked { problems, notes }, |checked| {
        let notes: String =
            checked.notes.iter().map(|note| format!("note: {}: {}\n", note.key, note.problem)).collect();
        if checked.problems.is_empty() {
            return format!("{notes}{}: no problem", context.config.display());
        }
        let problems = checked.problems.iter().map(|p| format!("{}: {}\n", p.key, p.problem));
        problems.chain([notes]).collect()
    })?;
    Ok(outcome)
}

/// Nobody on this machine can sign the list of whoever signs its intermediates.
fn no_list_above(config: &Config) -> Option<Finding> {
    let is_program = matches!(config.upstream, Some(UpstreamSettings::Command { .. }));
    (is_program && config.lists.files.is_empty()).then(|| Finding {
        key: "crl.files".to_owned(),
        problem:
            "is empty: name the revocation lists of the authorities above this server, which the upstream command \
                  cannot sign; without them agents pass no lists on, and relying parties cannot check SVIDs by lists"
                .to_owned(),
    })
}
