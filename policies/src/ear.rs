//! `ear show`: what an attestation result says, and whether a key signed it. Knows no server and no clock but the one that
//! is given.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use holdfast_appraisal::ear::{BadToken, Tier, Token};
use holdfast_evidence::crypto::PublicKey;
use serde::Serialize;
use serde_json::Value;

use crate::exit::Exit;
use crate::files;
use crate::moment;
use crate::output::{Format, ascii, json};

const EXAMPLES: &str = "\
Examples:
  holdfast-policy ear show result.cwt --key ear.pem
  holdfast-policy ear show result.jwt --key ear.pem --nonce 00112233aabbccdd --output json

Exit codes: 0 signed by the key, in force, and affirming; 1 not; 2 usage or I/O; 3 no key was given, nothing is verified.";

/// Attestation results (EAR): read and verify them.
#[derive(Debug, Subcommand)]
pub enum Ear {
    /// Show what a token says, and verify it.
    Show(Show),
}

/// Flags of `ear show`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Show {
    /// The token, CWT or JWT.
    file: PathBuf,
    /// The public key of the server that is believed, PEM, as `holdfast-server ear key` prints it.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The nonce that the token must have, in hexadecimal.
    #[arg(long, value_name = "HEX")]
    nonce: Option<String>,
    /// The moment at which it must be in force; now, if not given.
    #[arg(long, value_name = "RFC3339", value_parser = moment::parse)]
    at: Option<moment::Moment>,
}

#[derive(Serialize)]
struct Report {
    format: &'static str,
    key_id: String,
    signature: &'static str,
    in_force: bool,
    nonce: &'static str,
    claims: Value,
}

impl Ear {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let Self::Show(show) = self;
        show.run(format, out)
    }
}

impl Show {
    fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let bytes = files::bytes(&self.file)?;
        let token = match Token::read(&bytes) {
            Ok(token) => token,
            Err(bad) => return refused(format, out, bad),
        };
        let signature = match &self.key {
            None => "not verified",
            Some(path) => match token.verify(&public_key(path)?) {
                Ok(()) => "verified",
                Err(bad) => return refused(format, out, bad),
            },
        };
        let now = self.at.unwrap_or_else(moment::now).0;
        let result = &token.result;
        let in_force = result.expires.is_none_or(|end| now < end) && result.issued_at.seconds() <= now.seconds() + SKEW;
        let nonce = match &self.nonce {
            None => "not asked",
            Some(text) => {
                let wanted = hex::decode(text).map_err(|_| anyhow!("--nonce: expected hexadecimal digits"))?;
                if result.nonce.as_deref() == Some(wanted.as_slice()) { "matches" } else { "differs" }
            }
        };
        let report = Report {
            format: token.format.as_str(),
            key_id: hex::encode(&token.key_id),
            signature,
            in_force,
            nonce,
            claims: result.to_json(),
        };
        match format {
            Format::Json => writeln!(out, "{}", ascii(&serde_json::to_string_pretty(&report)?))?,
            Format::Text => text(&report, &token, out)?,
        }
        let good = in_force && nonce != "differs" && result.status() == Tier::Affirming;
        Ok(match (self.key.is_some(), good) {
            (_, false) => Exit::Refused,
            (false, true) => Exit::Incomplete,
            (true, true) => Exit::Yes,
        })
    }
}

/// Seconds that the clocks of issuer and reader may differ.
const SKEW: i64 = 60;

fn refused(format: Format, out: &mut dyn Write, bad: BadToken) -> anyhow::Result<Exit> {
    match format {
        Format::Json => json(out, &serde_json::json!({ "code": bad.code(), "detail": bad.to_string() }))?,
        Format::Text => writeln!(out, "refused: {bad} ({})", bad.code())?,
    }
    Ok(Exit::Refused)
}

fn public_key(path: &Path) -> anyhow::Result<PublicKey> {
    let text = files::bytes(path)?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&text).with_context(|| format!("{} is not PEM", path.display()))?;
    if pem.label != "PUBLIC KEY" {
        return Err(anyhow!("{} holds a {}, expected a PUBLIC KEY", path.display(), pem.label));
    }
    PublicKey::from_spki(&pem.contents).map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn text(report: &Report, token: &Token, out: &mut dyn Write) -> anyhow::Result<()> {
    let result = &token.result;
    let shown = |text: &str| ascii(text).replace('\n', "\\n");
    writeln!(out, "{} of {}, signature {}", report.format, shown(&result.issuer), report.signature)?;
    if let Some(subject) = &result.subject {
        writeln!(out, "subject   {}", shown(subject))?;
    }
    writeln!(out, "verifier  {}, {}", shown(&result.verifier.developer), shown(&result.verifier.build))?;
    let ends = result.expires.map(moment::format).unwrap_or_else(|| "never".to_owned());
    let force = if report.in_force { "in force" } else { "NOT in force" };
    writeln!(out, "issued    {}, ends {ends}: {force}", moment::format(result.issued_at))?;
    writeln!(out, "nonce     {}", report.nonce)?;
    for id in &result.policy_ids {
        writeln!(out, "policy    {}", shown(id))?;
    }
    writeln!(out, "status    {}", result.status().as_str())?;
    for item in &result.items {
        writeln!(out, "\n{}: {}", shown(&item.label), item.status.as_str())?;
        for (claim, value) in item.vector.iter() {
            writeln!(out, "  {:<18} {value:>4}  {}", claim.as_str(), Tier::of(value).as_str())?;
        }
    }
    Ok(())
}
