//! `explain`: why a policy decides as it does about a case, about a machine whose facts stand in a file, or about evidence.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Args, ValueEnum};
use holdfast_appraisal::case::{Case, Evidence};
use holdfast_appraisal::decision::{Approval, Explanation, InventoryAnswer, Listing, MachineRecord, Verdict};
use holdfast_appraisal::facts::{Ownable, owner_marks};
use holdfast_appraisal::{Appraiser, Document, Facts, Finding, Ownership, Policy};
use holdfast_evidence::tpm::PcrSelection;
use holdfast_identity::{TrustDomain, UnixTime};
use holdfast_proof::{PROOF_BYTES_MAX, ProofBundle};

use crate::exit::Exit;
use crate::files;
use crate::moment;
use crate::output::{Format, json};

/// Flags of `explain`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("machine").required(true))]
#[command(after_help = "Examples:
  holdfast-policy explain rack.toml --case cases/a-replaced-kernel-is-refused.toml
  holdfast-policy explain rack.toml --facts machine.toml --ownership listed --at 2026-06-01T00:00:00Z
  holdfast-policy explain --output json rack.toml --facts machine.toml
  holdfast-policy explain rack.toml --evidence golden/evidence.toml --ownership listed
  holdfast-policy explain rack.toml --evidence attempt.proof

Exit code 0 if the machine is admitted, 1 if it is refused or awaits an approval.")]
pub struct Explain {
    /// The policy.
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    /// A case (kind = "case"): its facts, records and moment. Its own policy is not asked.
    #[arg(long, value_name = "FILE", group = "machine")]
    case: Option<PathBuf>,
    /// A file of facts (kind = "facts").
    #[arg(long, value_name = "FILE", group = "machine")]
    facts: Option<PathBuf>,
    /// Evidence, verified by the server's code: a file with [evidence] as in cases, or a proof (`holdfast-server audit prove`),
    /// which says records and moment itself. That a proof is the log's is for `proof verify`.
    #[arg(long, value_name = "FILE", group = "machine")]
    evidence: Option<PathBuf>,
    /// What the operator's records say about the machine; may be given several times.
    #[arg(long, value_name = "RECORD", conflicts_with = "case", value_delimiter = ',')]
    ownership: Vec<Record>,
    /// The moment of the decision; now, if not given.
    #[arg(long, value_name = "RFC3339", conflicts_with = "case", value_parser = moment::parse)]
    at: Option<moment::Moment>,
    /// The trust domain that names the node; example.org, if not given.
    #[arg(long, value_name = "DOMAIN", conflicts_with = "case")]
    trust_domain: Option<TrustDomain>,
}

/// What an operator's records may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Record {
    /// Its key, chip, account or instance is in the inventory.
    Listed,
    /// Its launch was registered beforehand.
    Registered,
    /// An operator approved it.
    Approved,
    /// An operator turned it down.
    TurnedDown,
}

impl Explain {
    pub(crate) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let policy = match files::bundle(&self.policy)?.parse() {
            Ok(policy) => policy,
            Err(findings) => bail!("policy does not parse\n{}", listed(files::with_paths(findings, &self.policy))),
        };
        let explanation = match (&self.case, &self.facts, &self.evidence) {
            (Some(case), ..) => of_case(&policy, case)?,
            (None, Some(facts), _) => self.of_facts(&policy, facts)?,
            (None, None, Some(evidence)) => self.of_evidence(&policy, evidence)?,
            (None, None, None) => bail!("none of --case, --facts and --evidence"),
        };
        match format {
            Format::Json => json(out, &explanation)?,
            Format::Text => writeln!(out, "{explanation}")?,
        }
        Ok(if explanation.decision == "admitted" { Exit::Yes } else { Exit::Refused })
    }

    fn of_facts(&self, policy: &Policy, path: &Path) -> anyhow::Result<Explanation> {
        let text = files::text(path)?;
        let name = files::file_name(path);
        let facts = match Case::parse_facts(Document { name: &name, text: &text }) {
            Ok(facts) => facts,
            Err(findings) => bail!("facts do not parse\n{}", listed(files::with_paths(findings, path))),
        };
        let now = self.at.unwrap_or_else(moment::now).0;
        self.of_machine(policy, &facts, None, now)
    }

    fn of_machine(
        &self,
        policy: &Policy,
        facts: &Facts,
        quoted: Option<&PcrSelection>,
        now: UnixTime,
    ) -> anyhow::Result<Explanation> {
        let ownership = self.records(facts);
        let trust_domain = self.trust_domain.clone().map_or_else(|| "example.org".parse(), Ok)?;
        let appraiser = Appraiser::new(trust_domain);
        let Some(quoted) = quoted else {
            let verdict = appraiser.judge(policy, facts, &ownership, now);
            return Ok(Appraiser::explain(policy, facts, &ownership, now, &verdict));
        };
        let verdict = appraiser.judge_quote(policy, facts, quoted, &ownership, now);
        // What the policy does not ask for was not judged, and is not told.
        Ok(Appraiser::explain(policy, &facts.asked(policy.required_pcrs()), &ownership, now, &verdict))
    }

    fn of_evidence(&self, policy: &Policy, path: &Path) -> anyhow::Result<Explanation> {
        let bytes = files::limited(path, PROOF_BYTES_MAX as u64)?;
        if bytes.first() == Some(&b'{') {
            if self.at.is_some() || self.trust_domain.is_some() || !self.ownership.is_empty() {
                bail!("a proof says itself when the machine was judged, by which records, and in which trust domain");
            }
            let bundle = ProofBundle::parse(&bytes).with_context(|| path.display().to_string())?;
            return holdfast_proof::retell(&bundle, policy).with_context(|| path.display().to_string());
        }
        let now = self.at.unwrap_or_else(moment::now).0;
        match files::evidence(path, &files::text(path)?, now)? {
            Evidence::Refused { code, detail } => {
                Ok(Explanation::of_unverified(&files::kind_of_evidence(path)?, code, &[detail], now))
            }
            Evidence::Verified { facts, quoted } => self.of_machine(policy, &facts, quoted.as_ref(), now),
            Evidence::None | Evidence::Log(_) => bail!("{} names no evidence", path.display()),
        }
    }

    fn records(&self, facts: &Facts) -> Ownership {
        let says = |record| self.ownership.contains(&record);
        let counts = |ownable: Ownable| match ownable {
            Ownable::No => false,
            Ownable::Inventory => says(Record::Listed),
            Ownable::Launch => says(Record::Registered),
        };
        let marks = owner_marks(facts).filter(|mark| counts(mark.ownable));
        let inventory = marks.map(|mark| InventoryAnswer { digest: mark.digest, listing: Listing::Listed });
        let approval = match (says(Record::Approved), says(Record::TurnedDown)) {
            (_, true) => Approval::Denied,
            (true, false) => Approval::Given,
            (false, false) => Approval::NotGiven,
        };
        Ownership { inventory: inventory.collect(), approval, machine: MachineRecord::New }
    }
}

fn of_case(policy: &Policy, path: &Path) -> anyhow::Result<Explanation> {
    let text = files::text(path)?;
    let name = files::file_name(path);
    match files::case(path, Document { name: &name, text: &text })? {
        Ok((case, _)) => {
            let verdict: Verdict = case.judge(policy);
            Ok(case.explain(policy, &verdict))
        }
        Err(findings) => bail!("case does not parse\n{}", listed(files::with_paths(findings, path))),
    }
}

fn listed(findings: Vec<Finding>) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
