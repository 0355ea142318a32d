//! `explain`: why a policy decides as it does about a case, or about a machine whose facts stand in a file.

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::{ArgGroup, Args, ValueEnum};
use holdfast_appraisal::case::Case;
use holdfast_appraisal::decision::{Approval, Explanation, InventoryAnswer, Listing, MachineRecord, Verdict};
use holdfast_appraisal::facts::{Ownable, owner_marks};
use holdfast_appraisal::{Appraiser, Document, Facts, Finding, Ownership, Policy};
use holdfast_identity::TrustDomain;

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
    /// With --facts: what the operator's records say about the machine; may be given several times.
    #[arg(long, value_name = "RECORD", requires = "facts", value_delimiter = ',')]
    ownership: Vec<Record>,
    /// With --facts: the moment of the decision; now, if not given.
    #[arg(long, value_name = "RFC3339", requires = "facts", value_parser = moment::parse)]
    at: Option<moment::Moment>,
    /// With --facts: the trust domain that names the node.
    #[arg(long, value_name = "DOMAIN", requires = "facts", default_value = "example.org")]
    trust_domain: TrustDomain,
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
        let explanation = match (&self.case, &self.facts) {
            (Some(case), _) => of_case(&policy, case)?,
            (None, Some(facts)) => self.of_facts(&policy, facts)?,
            (None, None) => bail!("neither --case nor --facts"),
        };
        match format {
            Format::Json => json(out, &explanation)?,
            Format::Text => writeln!(out, "{explanation}")?,
        }
        Ok(if explanation.decision == "admitted" { Exit::Yes } else { Exit::Refused })
    }

    fn of_facts(&self, policy: &Policy, path: &std::path::Path) -> anyhow::Result<Explanation> {
        let text = files::text(path)?;
        let name = files::file_name(path);
        let facts = match Case::parse_facts(Document { name: &name, text: &text }) {
            Ok(facts) => facts,
            Err(findings) => bail!("facts do not parse\n{}", listed(files::with_paths(findings, path))),
        };
        let ownership = self.records(&facts);
        let now = self.at.unwrap_or_else(moment::now).0;
        let verdict = Appraiser::new(self.trust_domain.clone()).judge(policy, &facts, &ownership, now);
        Ok(Appraiser::explain(policy, &facts, &ownership, now, &verdict))
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

fn of_case(policy: &Policy, path: &std::path::Path) -> anyhow::Result<Explanation> {
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
