//! `learn`: writes a policy, its reference values and its cases from samples: evidence of golden machines, or image files.
//! Decides nothing for its reader: the result is a proposal that explains itself, and that admits its own samples.

mod cases;
mod document;
mod folder;
mod generalise;
mod image;
mod notes;
mod recipe;
mod sample;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use holdfast_appraisal::case::{Case, Evidence};
use holdfast_appraisal::policy::{Bundle, BundleFile};
use holdfast_appraisal::{Document, FactId, Policy, Severity, Value};
use holdfast_evidence::TrustClass;
use holdfast_evidence::tpm::Bank;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::exit::Exit;
use crate::files;
use crate::moment::{self, Moment};
use crate::output::{Format, json, printable};
use document::Frame;
use generalise::{Learned, generalise};
pub(crate) use image::{Images, Switch};
pub(crate) use sample::{EVIDENCE_KIND, Sample, named};

const EXAMPLES: &str = "\
Examples:
  holdfast-policy learn --name rack golden/machine-1 golden/machine-2 --out policies
  holdfast-policy learn --name web --uki linux.efi --secure-boot off --out policies
  holdfast-policy learn --name guests guest.toml --ownership launch --out policies

A sample is a folder (ak.pub, quote.msg, quote.sig, binary_bios_measurements, ek.der, ek.pub, roots.pem, nonce.hex, cmdline,
pcrs.txt; or evidence.toml), a file with kind = \"evidence\", \"facts\" or \"case\", or a firmware log. Evidence is verified as
`inspect` does; of a log alone everything is taken as true, and the policy says so.

Exit codes: 0 written, 2 usage, I/O, or evidence that is refused.";

/// What makes a machine ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Factor {
    Inventory,
    Launch,
    Approval,
}

/// Flags of `learn`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Learn {
    /// Evidence of golden machines.
    #[arg(value_name = "SAMPLE")]
    samples: Vec<PathBuf>,
    #[command(flatten)]
    images: Images,
    /// The policy's name.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What the policy says of itself.
    #[arg(long, value_name = "TEXT", default_value = "machines that booted as the samples did")]
    description: String,
    /// The folder that policy, reference values and cases are written to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Replace files that exist.
    #[arg(long)]
    force: bool,
    /// What makes a machine ours; several mean all of them.
    #[arg(long, value_name = "FACTOR", value_enum, default_values = ["inventory"])]
    ownership: Vec<Factor>,
    /// Classes of roots that are admitted; those of the samples, if not given, else discrete and firmware.
    #[arg(long, value_name = "CLASS")]
    trust_class: Vec<TrustClass>,
    /// The bank of the PCRs.
    #[arg(long, value_name = "BANK", default_value = "sha256")]
    bank: Bank,
    /// The moment of the verification, and the date of what is written; now, if not given.
    #[arg(long, value_name = "RFC3339", value_parser = moment::parse)]
    at: Option<Moment>,
}

#[derive(Serialize)]
struct Report {
    policy: String,
    samples: Vec<String>,
    alternatives: Vec<String>,
    written: Vec<String>,
    left_out: Vec<LeftOut>,
}

#[derive(Serialize)]
struct LeftOut {
    fact: String,
    reason: String,
}

impl Learn {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let created = created(self.at)?;
        let samples = samples(&self.samples, &self.images, self.bank, &created)?;
        let kinds: BTreeSet<&str> = samples.iter().map(|sample| sample.kind().as_str()).collect();
        let Some(kind) = samples.first().map(Sample::kind).filter(|_| kinds.len() == 1) else {
            bail!(
                "samples of several kinds of evidence ({}): learn a policy for each",
                Vec::from_iter(kinds).join(", ")
            );
        };
        let classes = self.classes(&samples);
        let ownership: Vec<&'static str> = self.ownership.iter().map(|factor| factor.as_str()).collect();
        let frame = Frame {
            name: &named(&self.name),
            description: &self.description,
            ownership: &ownership,
            classes: &classes,
            kind,
            bank: self.bank,
            created: &created,
            samples: &samples,
        };
        let learned = generalise(&samples);
        let files = self.documents(&frame, &learned)?;
        files::create_all(&files, self.force)?;
        let report = Report {
            policy: frame.name.to_owned(),
            samples: samples.iter().map(|sample| sample.name.clone()).collect(),
            alternatives: learned.states.iter().filter(|_| learned.states.len() > 1).map(|s| s.name.clone()).collect(),
            written: files.iter().map(|(path, _)| path.display().to_string()).collect(),
            left_out: learned.left_out.into_iter().map(|(fact, reason)| LeftOut { fact, reason }).collect(),
        };
        match format {
            Format::Json => json(out, &report)?,
            Format::Text => report.write_text(out)?,
        }
        Ok(Exit::Yes)
    }

    fn classes(&self, samples: &[Sample]) -> Vec<TrustClass> {
        if !self.trust_class.is_empty() {
            return self.trust_class.clone();
        }
        let class = samples.first().map(|sample| FactId::class_of(sample.kind()));
        let values = samples.iter().filter_map(|sample| sample.values(class?)).flatten();
        let found: Vec<TrustClass> = values.filter_map(|value| value.to_string().parse().ok()).collect();
        let known = TrustClass::ALL.into_iter().filter(|class| found.contains(class)).collect::<Vec<_>>();
        if known.is_empty() { vec![TrustClass::Discrete, TrustClass::Firmware] } else { known }
    }

    /// Every file, after they were read back, linted, and tried on the samples.
    fn documents(&self, frame: &Frame<'_>, learned: &Learned) -> anyhow::Result<Vec<(PathBuf, String)>> {
        let values = document::values(frame, learned);
        let policy = document::policy(frame, learned, &values);
        let references = values
            .iter()
            .map(|file| BundleFile { name: format!("{}.toml", file.name), text: document::reference(frame, file) });
        let bundle = Bundle {
            policy: BundleFile { name: format!("{}.toml", frame.name), text: policy },
            references: references.collect(),
        };
        let parsed = bundle.parse().map_err(|findings| {
            let errors: Vec<_> = findings.into_iter().filter(|finding| finding.severity == Severity::Error).collect();
            files::words(&errors).context("no policy can be made of these samples")
        })?;
        let mut files: Vec<(PathBuf, String)> = std::iter::once(&bundle.policy)
            .chain(&bundle.references)
            .map(|file| (self.out.join(&file.name), file.text.clone()))
            .collect();
        let folder = self.out.join(format!("cases-{}", frame.name));
        for (at, sample) in frame.samples.iter().enumerate() {
            let facts = cases::facts(frame, learned, sample);
            let admitting = cases::admitting(frame, sample);
            holds(&parsed, &facts, &admitting)
                .with_context(|| format!("the learned policy would not admit its own sample {}", sample.name))?;
            if let Some(refusing) = cases::refusing(frame, learned, sample).filter(|_| at == 0) {
                holds(&parsed, &facts, &refusing).context("the learned policy would admit a changed sample")?;
                files.push((folder.join(format!("{}-changed-is-refused.toml", sample.name)), refusing));
            }
            files.push((folder.join(format!("machines/{}.toml", sample.name)), facts));
            files.push((folder.join(format!("{}-is-admitted.toml", sample.name)), admitting));
        }
        Ok(files)
    }
}

impl Factor {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Inventory => "inventory",
            Self::Launch => "launch",
            Self::Approval => "approval",
        }
    }
}

impl Report {
    fn write_text(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for path in &self.written {
            writeln!(out, "wrote {}", printable(path))?;
        }
        writeln!(out, "\nlearned {} from {}", self.policy, self.samples.join(", "))?;
        if !self.alternatives.is_empty() {
            writeln!(out, "alternatives: {}", self.alternatives.join(", "))?;
        }
        for LeftOut { fact, reason } in &self.left_out {
            writeln!(out, "left out {}: {}", printable(fact), printable(reason))?;
        }
        writeln!(out, "\nnext: read the policy, then holdfast-policy lint and holdfast-policy test its folder")
    }
}

/// Runs a case over its facts.
fn holds(policy: &Policy, facts: &str, case: &str) -> anyhow::Result<()> {
    let (base, case) = (Document { name: "machine", text: facts }, Document { name: "case", text: case });
    let case = Case::parse(case, Some(base), Evidence::None).map_err(|findings| files::words(&findings))?;
    let verdict = case.judge(policy);
    match case.differences(&verdict).as_slice() {
        [] => Ok(()),
        differences => {
            use holdfast_appraisal::Verdict;
            let why = match verdict {
                Verdict::Refuse(rejection) | Verdict::AwaitsApproval(rejection) => rejection.to_string(),
                Verdict::Admit(_) => String::new(),
            };
            bail!("{}\n{why}", differences.join("; "))
        }
    }
}

/// All samples, each under a name of its own.
///
/// # Errors
/// There is none, or one cannot be read or is refused.
pub(crate) fn samples(paths: &[PathBuf], images: &Images, bank: Bank, at: &str) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for path in paths {
        samples.push(Sample::read(Path::new(path), bank, at)?);
    }
    samples.extend(images.samples(bank)?);
    if samples.is_empty() {
        bail!("nothing to learn from: give samples, --uki or --kernel");
    }
    let mut names = BTreeSet::new();
    for sample in &mut samples {
        let base = sample.name.clone();
        let mut number = 2;
        while !names.insert(sample.name.clone()) {
            sample.name = format!("{base}-{number}");
            number += 1;
        }
    }
    Ok(samples)
}

/// The flags of `inspect` for a folder that holds a quote or `evidence.toml`, as `[evidence]` has them.
///
/// # Errors
/// It holds neither, or a file cannot be read.
pub(crate) fn evidence_in(folder: &Path) -> anyhow::Result<toml::Table> {
    let place = || folder.display().to_string();
    let evidence = folder::recognise(folder).with_context(place)?.evidence;
    evidence.with_context(|| format!("{}: a firmware log alone is no evidence: there is no quote beside it", place()))
}

/// The moment as documents write it.
///
/// # Errors
/// The moment is beyond year 9999.
pub(crate) fn created(at: Option<Moment>) -> anyhow::Result<String> {
    let seconds = at.unwrap_or_else(moment::now).0.0;
    Ok(OffsetDateTime::from_unix_timestamp(seconds)?.format(&Rfc3339)?)
}

/// A fact with its values, each with what is noted of it.
pub(crate) type NotedFact = (FactId, Vec<NotedValue>);
/// A value, and what is noted of it.
pub(crate) type NotedValue = (Value, Option<String>);

/// The values of every fact that a recipe knows, for a file of reference values.
pub(crate) fn known_facts(samples: &[Sample]) -> Vec<NotedFact> {
    let mut found = Vec::new();
    for (name, _) in recipe::RECIPE {
        let Some(id) = FactId::parse(name) else { continue };
        let mut values: Vec<NotedValue> = Vec::new();
        for sample in samples {
            let spelt = sample.values(id).filter(|values| sample::is_spelt(id, values)).unwrap_or_default();
            for value in spelt {
                values.push((value.clone(), sample.notes.get(&(id, value.clone())).cloned()));
            }
        }
        if !values.is_empty() {
            found.push((id, values));
        }
    }
    found
}
