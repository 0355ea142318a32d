//! `proof show`: what a proof holds, in words, without checking it.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use holdfast_appraisal::finding::escaped;
use holdfast_proof::{AttemptEntry, Manifest, ProofBundle};
use serde_json::json as object;

use crate::exit::Exit;
use crate::output::{Format, json};

/// Flags of `proof show`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  holdfast-policy proof show attempt.proof")]
pub struct Show {
    /// The proof.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Show {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let bundle = ProofBundle::parse(&super::proof(&self.file)?)?;
        let entry = AttemptEntry::parse(&bundle.entry.0).map_err(anyhow::Error::msg)?;
        let manifest = bundle.manifest.as_ref().and_then(|bytes| Manifest::parse(&bytes.0).ok());
        let decision = bundle.decision.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let decision: serde_json::Value = decision.unwrap_or_default();
        let bytes: usize = bundle.bodies.iter().map(|body| body.content.0.len()).sum();
        let claimed = bundle.checkpoint.claimed();
        if format == Format::Json {
            json(
                out,
                &object!({
                    "attempt": entry.attempt, "at": entry.at, "way": entry.way, "kinds": entry.kinds,
                    "spiffe_id": entry.spiffe_id, "verdict": entry.verdict, "code": entry.code,
                    "evidence_expires": entry.evidence_expires,
                    "index": bundle.inclusion.index, "log": claimed.origin, "size": claimed.size,
                    "policies": bundle.policies.iter().map(|one| &one.policy.name).collect::<Vec<_>>(),
                    "bodies": bundle.bodies.len(), "bytes": bytes, "manifest": manifest, "decision": decision,
                }),
            )?;
            return Ok(Exit::Yes);
        }
        writeln!(out, "attempt  {}", escaped(&entry.attempt))?;
        writeln!(out, "when     {}", super::moment(entry.at))?;
        writeln!(out, "way      {}, evidence {}", escaped(&entry.way), escaped(&entry.kinds))?;
        writeln!(out, "node     {}", escaped(entry.spiffe_id.as_deref().unwrap_or("none")))?;
        writeln!(out, "verdict  {} {}", escaped(&entry.verdict), escaped(&entry.code))?;
        if let Some(ends) = entry.evidence_expires {
            writeln!(out, "counts   until {}", super::moment(ends))?;
        }
        writeln!(
            out,
            "entry    {} of log {}, {} entries",
            bundle.inclusion.index,
            escaped(&claimed.origin),
            claimed.size
        )?;
        for policy in &bundle.policies {
            writeln!(out, "policy   {}", escaped(&policy.policy.name))?;
        }
        writeln!(out, "holds    {} bodies, {bytes} bytes", bundle.bodies.len())?;
        match &manifest {
            None => writeln!(out, "manifest gone, or none was kept")?,
            Some(manifest) => {
                for item in &manifest.items {
                    let at = item.verified.as_ref().map_or_else(|| "never".to_owned(), |with| super::moment(with.at));
                    writeln!(out, "item     {}, verified {at}", escaped(&item.kind))?;
                }
                let ownership = &manifest.ownership;
                writeln!(
                    out,
                    "ours     {} listed, approval {:?}",
                    ownership.listed.len() + ownership.listed_as_such.len(),
                    ownership.approval
                )?;
            }
        }
        writeln!(out, "decision {}", escaped(&decision.to_string()))?;
        writeln!(out, "\nNothing of this was checked: holdfast-policy proof verify")?;
        Ok(Exit::Yes)
    }
}
