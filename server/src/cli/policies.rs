//! `policy`: versions of the measurement policy.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use holdfast_appraisal::policy::referenced_files;
use holdfast_appraisal::{Document, finding::Finding};
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{answered, connect};
use super::{Context, Outcome, show};
use crate::admin_clients::policies_client::PoliciesClient;

const EXAMPLES: &str = "\
Examples:
  holdfast-policy lint rack.toml && holdfast-server policy apply rack.toml --message 'kernel 6.1.0-41'
  holdfast-server policy apply next.toml --mode observe
  holdfast-server policy show enforce

Reference-value files that the policy names are read beside it and become part of the version.";

/// Bytes of one policy or reference-value file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Measurement policies: what a machine must prove
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Make a version of a policy file and put it in force
    Apply {
        /// The policy
        file: PathBuf,
        /// enforce: it decides. observe: its verdict stands beside the enforced one's
        #[arg(long, default_value = "enforce", value_parser = ["enforce", "observe"])]
        mode: String,
        /// Why; stands in the record
        #[arg(long, short, default_value = "", hide_default_value = true)]
        message: String,
    },
    /// List versions, newest first
    List,
    /// Show a version's files
    Show {
        /// A digest or its first digits, a number, or `enforce` or `observe`
        #[arg(default_value = "enforce")]
        #[arg(id = "policy-version", value_name = "VERSION")]
        version: String,
    },
}

#[derive(Serialize)]
struct Version {
    number: u64,
    name: String,
    digest: String,
    mode: String,
    message: String,
    author: String,
    applied_at: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    documents: Vec<File>,
}

#[derive(Serialize)]
struct File {
    name: String,
    text: String,
}

impl From<admin::Policy> for Version {
    fn from(policy: admin::Policy) -> Self {
        Self {
            number: policy.number,
            name: policy.name,
            digest: hex::encode(policy.digest),
            mode: policy.mode,
            message: policy.message,
            author: policy.author,
            applied_at: policy.applied_at,
            documents: policy.documents.into_iter().map(|d| File { name: d.name, text: d.text }).collect(),
        }
    }
}

#[derive(Serialize)]
struct Applied {
    policy: Option<Version>,
    findings: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    file: String,
    line: u32,
    column: u32,
    severity: String,
    code: String,
    message: String,
    suggestion: String,
}

impl From<admin::PolicyFinding> for Found {
    fn from(found: admin::PolicyFinding) -> Self {
        let admin::PolicyFinding { file, line, column, severity, code, message, suggestion } = found;
        Self { file, line, column, severity, code, message, suggestion }
    }
}

#[derive(Serialize)]
struct Listed {
    policies: Vec<Version>,
}

/// Runs the command.
pub(super) async fn run(command: Command, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        Command::Apply { file, mode, message } => {
            let documents = documents(&file)?;
            let mut client = PoliciesClient::new(connect(context).await?);
            let answer = answered!(client.apply(admin::ApplyPolicyRequest {
                documents,
                mode,
                message,
                signature: Vec::new(),
                accept_refusals: None
            }));
            let applied = Applied {
                policy: answer.policy.map(Version::from),
                findings: answer.findings.into_iter().map(Found::from).collect(),
            };
            let outcome = if applied.policy.is_some() { Outcome::Yes } else { Outcome::Refused };
            context.format.print(&applied, applied_text)?;
            Ok(outcome)
        }
        Command::List => {
            let mut client = PoliciesClient::new(connect(context).await?);
            let policies = answered!(client.list(admin::ListPoliciesRequest {})).policies;
            let listed = Listed { policies: policies.into_iter().map(Version::from).collect() };
            context.format.print(&listed, list_text)?;
            Ok(Outcome::Yes)
        }
        Command::Show { version } => {
            let mut client = PoliciesClient::new(connect(context).await?);
            let policy = Version::from(answered!(client.get(admin::GetPolicyRequest { name: version })));
            context.format.print(&policy, |policy| {
                let head = line(policy);
                let files = policy.documents.iter().map(|file| format!("\n# --- {}\n{}", file.name, file.text));
                format!("# {head}\n{}", files.collect::<String>())
            })?;
            Ok(Outcome::Yes)
        }
    }
}

/// The policy and the reference-value files that it names, which stand beside it.
fn documents(path: &Path) -> anyhow::Result<Vec<admin::PolicyDocument>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = read(path)?;
    let named = referenced_files(Document { name: &name, text: &text }).map_err(|findings| listed(&findings))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut documents = vec![admin::PolicyDocument { name, text }];
    for name in named {
        let text = read(&folder.join(&name))?;
        documents.push(admin::PolicyDocument { name, text });
    }
    Ok(documents)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let length = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
    if length > FILE_BYTES_MAX {
        bail!("{}: {length} bytes, limit {FILE_BYTES_MAX}", path.display());
    }
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn listed(findings: &[Finding]) -> anyhow::Error {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    anyhow::anyhow!("{}", lines.join("\n"))
}

fn line(version: &Version) -> String {
    let digest = version.digest.get(..12).unwrap_or_default();
    format!(
        "policy {} version {} ({digest}), {}, applied {} by {}",
        version.name,
        version.number,
        version.mode,
        show::moment(version.applied_at),
        version.author
    )
}

fn applied_text(applied: &Applied) -> String {
    let mut text = String::new();
    for found in &applied.findings {
        let Found { file, line, column, severity, code, message, suggestion } = found;
        text.push_str(&format!("{file}:{line}:{column}: {severity}: {message} ({code})\n"));
        if !suggestion.is_empty() {
            text.push_str(&format!("    {suggestion}\n"));
        }
    }
    match &applied.policy {
        Some(version) => text + &line(version),
        None => text + "not applied",
    }
}

fn list_text(listed: &Listed) -> String {
    let mut table = show::table(&["number", "mode", "name", "digest", "applied", "by", "message"]);
    for version in &listed.policies {
        let digest = version.digest.get(..12).unwrap_or_default().to_owned();
        let (number, applied) = (version.number.to_string(), show::moment(version.applied_at));
        let message = show::text(&version.message);
        table.add_row([&number, &version.mode, &version.name, &digest, &applied, &version.author, &message]);
    }
    show::rows(&table, "no policy: nobody is admitted")
}
