//! `policy`: versions of the measurement policy.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use holdfast_appraisal::policy::{SIGNATURE_SUFFIX, referenced_files};
use holdfast_appraisal::{Document, Policy, finding::Finding};
use holdfast_evidence::tpm::ima::pem_of_der;
use holdfast_protocol::admin;
use serde::Serialize;

use super::client::{self, answered};
use super::{Context, Format, Outcome, policy_examples as examples, rollout, show, what_if};
use crate::rollout::signed_message;
use crate::store::{Document as Kept, Mode, PolicyDraft};

const EXAMPLES: &str = "\
Examples:
  Look before, observe, look again, then let it decide: about some machines, then about all.
    holdfast-policy lint rack.toml && holdfast-server policy what-if rack.toml
    holdfast-server policy apply rack.toml --mode observe --message 'kernel 6.1.0-41'
    holdfast-server policy what-if observe
    holdfast-server policy promote observe --selector tpm:manufacturer:id:49465800
    holdfast-server policy promote observe
  Back to what was enforced before, at once:
    holdfast-server policy rollback --message 'rack 7 does not boot it'
  Where two persons are demanded, another operator:
    holdfast-server policy proposals && holdfast-server policy approve 3

Files of reference values, digests and keys that the policy names are read beside it and become part of the version.";

/// Bytes of one policy or reference-value file.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a signature; of P-256 in DER they are 72.
const SIGNATURE_BYTES_MAX: usize = 4096;
/// Bytes of one file of digests that a policy names.
const DIGESTS_BYTES_MAX: u64 = holdfast_appraisal::ima::DIGESTS_BYTES_MAX as u64;

/// Measurement policies: what a machine must prove
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(super) enum Command {
    /// Make a version of a policy file, to decide or to be observed
    #[command(after_help = examples::APPLY)]
    Apply(Apply),
    /// List versions, newest first
    #[command(after_help = examples::LIST)]
    List,
    /// Show a version's files
    #[command(after_help = examples::SHOW)]
    Show {
        /// A digest or its first digits, a number, or `enforce` or `observe`
        #[arg(default_value = "enforce")]
        #[arg(id = "policy-version", value_name = "VERSION")]
        version: String,
    },
    /// What a policy, a version or a floor would decide about the latest evidence of every node
    WhatIf(what_if::WhatIf),
    /// Print the bytes that a signature of this policy file is over; asks no server
    #[command(after_help = examples::DIGEST)]
    Digest {
        /// The policy
        file: PathBuf,
    },
    /// Have a version decide about every node, or about those with selectors
    #[command(after_help = examples::PROMOTE)]
    Promote(rollout::Promote),
    /// Bring back what was enforced before: what was just before at once, anything else as any other change
    #[command(after_help = examples::ROLLBACK)]
    Rollback(rollout::Rollback),
    /// Which version decides about whom, now and before
    #[command(after_help = examples::HISTORY)]
    History {
        /// States, newest first
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// What waits for another operator, and what became of the rest
    #[command(after_help = examples::PROPOSALS)]
    Proposals,
    /// Do what another operator proposed
    #[command(after_help = examples::APPROVE)]
    Approve {
        /// Its number
        number: u64,
    },
    /// Close a proposal without doing it
    #[command(after_help = examples::WITHDRAW)]
    Withdraw {
        /// Its number
        number: u64,
    },
}

/// What a signature is over.
#[derive(Serialize)]
struct Digested {
    name: String,
    /// The version's digest, as decisions name it.
    digest: String,
    /// The bytes that are signed: two lines of text.
    signed: String,
}

/// What is applied, and how.
#[derive(Debug, Args)]
pub(super) struct Apply {
    /// The policy
    file: PathBuf,
    /// enforce: it decides. observe: its verdict stands beside the enforced one's, and refuses nobody
    #[arg(long, default_value = "enforce", value_parser = ["enforce", "observe"])]
    mode: String,
    /// Why; stands in the record
    #[arg(long, short, default_value = "", hide_default_value = true)]
    message: String,
    /// Signature over what `policy digest` prints, raw as openssl makes it
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Enforce it although so many admitted nodes are refused, wait, or are unknown by it
    #[arg(long, value_name = "N")]
    accept_refusals: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Version {
    number: u64,
    name: String,
    digest: String,
    mode: String,
    message: String,
    author: String,
    applied_at: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    signing_key: String,
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
            signing_key: policy.signing_key,
            documents: policy.documents.into_iter().map(|d| File { name: d.name, text: d.text }).collect(),
        }
    }
}

#[derive(Serialize)]
struct Applied {
    policy: Option<Version>,
    findings: Vec<Found>,
    #[serde(flatten)]
    outcome: Option<rollout::Done>,
}

#[derive(Serialize)]
pub(super) struct Found {
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
        Command::Apply(apply) => {
            let Apply { file, mode, message, signature, accept_refusals } = apply;
            let documents = documents(&file)?;
            let signature = signature.map(|file| read_signature(&file)).transpose()?.unwrap_or_default();
            let mut client = client::policies(context).await?;
            let request = admin::ApplyPolicyRequest { documents, mode, message, signature, accept_refusals };
            let answer = answered!(client.apply(request));
            let applied = Applied {
                policy: answer.policy.map(Version::from),
                findings: answer.findings.into_iter().map(Found::from).collect(),
                outcome: answer.outcome.map(rollout::Done::from),
            };
            let outcome = if applied.outcome.is_some() { Outcome::Yes } else { Outcome::Refused };
            context.format.print(&applied, applied_text)?;
            Ok(outcome)
        }
        Command::Digest { file } => digest(&file, context),
        Command::WhatIf(asked) => what_if::run(asked, context).await,
        Command::Promote(promote) => rollout::promote(promote, context).await,
        Command::Rollback(rollback) => rollout::rollback(rollback, context).await,
        Command::History { limit } => rollout::history(limit, context).await,
        Command::Proposals => rollout::proposals(context).await,
        Command::Approve { number } => rollout::approve(number, context).await,
        Command::Withdraw { number } => rollout::withdraw(number, context).await,
        Command::List => {
            let mut client = client::policies(context).await?;
            let policies = answered!(client.list(admin::ListPoliciesRequest {})).policies;
            let listed = Listed { policies: policies.into_iter().map(Version::from).collect() };
            context.format.print(&listed, list_text)?;
            Ok(Outcome::Yes)
        }
        Command::Show { version } => {
            let mut client = client::policies(context).await?;
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
pub(super) fn documents(path: &Path) -> anyhow::Result<Vec<admin::PolicyDocument>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = read(path)?;
    let named = referenced_files(Document { name: &name, text: &text }).map_err(|findings| listed(&findings))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut documents = vec![admin::PolicyDocument { name, text }];
    for name in named {
        let path = folder.join(&name);
        // The reader of the policy says what is not signed, and where the policy names it.
        if name.ends_with(SIGNATURE_SUFFIX) && !path.exists() {
            continue;
        }
        let text = read(&path)?;
        documents.push(admin::PolicyDocument { name, text });
    }
    Ok(documents)
}

pub(super) fn read(path: &Path) -> anyhow::Result<String> {
    let length = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
    let is_toml = path.extension().is_some_and(|extension| extension == "toml");
    let limit = if is_toml { FILE_BYTES_MAX } else { DIGESTS_BYTES_MAX };
    if length > limit {
        bail!("{}: {length} bytes, limit {limit}", path.display());
    }
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    // A key in DER becomes PEM: a policy with its files is text.
    if let Some(key) = pem_of_der(&bytes) {
        return Ok(key);
    }
    String::from_utf8(bytes).with_context(|| format!("{}: neither UTF-8 nor a key in DER", path.display()))
}

/// Prints what is signed of a policy, exactly: a signing tool reads it.
fn digest(file: &Path, context: &Context) -> anyhow::Result<Outcome> {
    let documents = documents(file)?;
    let texts: Vec<_> = documents.iter().map(|one| Document { name: &one.name, text: &one.text }).collect();
    let policy = match texts.split_first() {
        Some((first, references)) => Policy::parse(*first, references).map_err(|findings| listed(&findings))?,
        None => bail!("{}: no policy", file.display()),
    };
    let draft = PolicyDraft {
        name: policy.version().name.clone(),
        documents: documents.into_iter().map(|one| Kept { name: one.name, text: one.text }).collect(),
        mode: Mode::Observe,
        message: String::new(),
    };
    let signed = signed_message(&draft.digest());
    match context.format {
        Format::Json => {
            let digest = draft.digest().to_string();
            let (name, signed) = (draft.name, String::from_utf8(signed)?);
            context.format.print(&Digested { name, digest, signed }, |_| String::new())?;
        }
        // To the byte: a signature is over exactly this.
        Format::Text | Format::Csv | Format::Md | Format::Html => {
            std::io::Write::write_all(&mut std::io::stdout(), &signed)?;
        }
    }
    Ok(Outcome::Yes)
}

/// A detached signature of a few dozen bytes, raw.
fn read_signature(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    if bytes.len() > SIGNATURE_BYTES_MAX {
        bail!("{}: {} bytes, no signature", path.display(), bytes.len());
    }
    Ok(bytes)
}

fn listed(findings: &[Finding]) -> anyhow::Error {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    anyhow::anyhow!("{}", lines.join("\n"))
}

impl Version {
    /// Name and number, as other tables show it.
    pub(super) fn short(&self) -> String {
        let digest = self.digest.get(..12).unwrap_or_default();
        if self.name.is_empty() { digest.to_owned() } else { format!("{} v{} ({digest})", self.name, self.number) }
    }
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
    let mut text = findings_text(&applied.findings);
    if let Some(version) = &applied.policy {
        text.push_str(&line(version));
        text.push('\n');
    }
    match &applied.outcome {
        Some(done) => text + &rollout::done_text(done),
        None => text + "not applied",
    }
}

pub(super) fn findings_text(findings: &[Found]) -> String {
    let mut text = String::new();
    for found in findings {
        let Found { file, line, column, severity, code, message, suggestion } = found;
        text.push_str(&format!("{file}:{line}:{column}: {severity}: {message} ({code})\n"));
        if !suggestion.is_empty() {
            text.push_str(&format!("    {suggestion}\n"));
        }
    }
    text
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
