//! `holdfast-agent detect`: what this machine could attest with, and why not with the rest. Talks to no server.

use serde::Serialize;

use super::{Configuration, Outcome, Output};
use crate::collect::CollectFault;
use crate::collect::detect::{Detection, Finding, State, detect};
use crate::collect::sources::Wanted;
use crate::config::Machine;

const EXAMPLES: &str = "\
Examples:
  holdfast-agent detect
  holdfast-agent detect --output json | jq '.evidence'
  holdfast-agent detect --evidence snp,tpm     # exit code 0 only if both are there

Exit code: 0 the agent would attest with what is listed as evidence, 1 the machine has nothing to attest with,
2 the configuration is wrong, 3 something is there or wanted that cannot be used.";

/// How to show it.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    configuration: Configuration,
}

/// The document of `--output json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    kinds: &'a [Finding],
    /// What the agent would attest with; empty where it would not.
    evidence: Vec<&'static str>,
    /// Where its key would be.
    node_key: Option<&'static str>,
    /// Why it would not attest.
    problem: Option<String>,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    let Configuration { config, overrides } = &arguments.configuration;
    let machine = Machine::load(config.as_deref(), overrides)?;
    let detection = detect(&machine.sources, &machine.tpm);
    let (document, outcome) = judge(&detection, &machine.sources.wanted);
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&document)?),
        Output::Text => print!("{}", text(&document)),
    }
    Ok(outcome)
}

fn judge<'a>(detection: &'a Detection, wanted: &Wanted) -> (Document<'a>, Outcome) {
    let missing = |kind| detection.0.iter().any(|finding| finding.kind == kind && !finding.state.is_available());
    let (evidence, problem, outcome) = match detection.chosen(wanted) {
        Ok(kinds) => match kinds.iter().find(|kind| missing(**kind)) {
            Some(kind) => (kinds.clone(), Some(format!("{kind} is wanted and not available")), Outcome::Incomplete),
            None => (kinds, None, Outcome::Yes),
        },
        Err(CollectFault::Nothing) => {
            (Vec::new(), Some("this machine has nothing to attest with".to_owned()), Outcome::Refused)
        }
        Err(fault) => (Vec::new(), Some(fault.to_string()), Outcome::Incomplete),
    };
    let evidence: Vec<_> = evidence.iter().map(|kind| kind.as_str()).collect();
    let node_key = match (evidence.contains(&"tpm"), evidence.is_empty()) {
        (_, true) => None,
        (true, false) => Some("tpm"),
        (false, false) => Some("memory"),
    };
    (Document { kinds: &detection.0, evidence, node_key, problem }, outcome)
}

fn text(document: &Document<'_>) -> String {
    let mut text = String::new();
    for finding in document.kinds {
        let (word, reason, hint) = match &finding.state {
            State::Available { by } => ("available", by, None),
            State::Absent { reason, hint } => ("absent", reason, *hint),
            State::Broken { reason, hint } => ("broken", reason, *hint),
        };
        text.push_str(&format!("{:<9} {word:<10} {reason}\n", finding.kind.as_str()));
        if let Some(hint) = hint {
            text.push_str(&format!("{:<20} {hint}\n", ""));
        }
    }
    let evidence = if document.evidence.is_empty() { "none".to_owned() } else { document.evidence.join(", ") };
    text.push_str(&format!("\nevidence  {evidence}\n"));
    if let Some(node_key) = document.node_key {
        text.push_str(&format!("node key  in {}\n", if node_key == "tpm" { "the TPM" } else { "memory" }));
    }
    if let Some(problem) = &document.problem {
        text.push_str(&format!("problem   {problem}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use holdfast_evidence::EvidenceKind;

    use super::*;

    fn found(states: &[(EvidenceKind, State)]) -> Detection {
        let absent = || State::Absent { reason: "not there".to_owned(), hint: Some("look elsewhere") };
        let state =
            |kind| states.iter().find(|(found, _)| *found == kind).map_or_else(absent, |(_, state)| state.clone());
        Detection(EvidenceKind::ALL.into_iter().map(|kind| Finding { kind, state: state(kind) }).collect())
    }

    fn available() -> State {
        State::Available { by: "a device".to_owned() }
    }

    #[test]
    fn what_is_there_is_listed_in_the_order_of_a_composite() {
        let detection = found(&[(EvidenceKind::Tpm, available()), (EvidenceKind::Snp, available())]);
        let (document, outcome) = judge(&detection, &Wanted::Auto);
        assert_eq!(
            (document.evidence.as_slice(), document.node_key, outcome),
            (&["snp", "tpm"][..], Some("tpm"), Outcome::Yes)
        );
        let json = serde_json::to_value(&document).unwrap();
        assert_eq!(json["kinds"][0], serde_json::json!({"kind": "snp", "state": "available", "by": "a device"}));
        assert_eq!(
            json["kinds"][1],
            serde_json::json!({"kind": "tdx", "state": "absent", "reason": "not there", "hint": "look elsewhere"})
        );
        let text = text(&document);
        assert!(text.starts_with("snp       available  a device\ntdx       absent     not there\n"), "{text}");
        assert!(text.ends_with("evidence  snp, tpm\nnode key  in the TPM\n"), "{text}");
    }

    #[test]
    fn a_providers_key_speaks_for_its_tpm() {
        let detection = found(&[(EvidenceKind::Tpm, available()), (EvidenceKind::Gcp, available())]);
        let (document, _) = judge(&detection, &Wanted::Auto);
        assert_eq!((document.evidence.as_slice(), document.node_key), (&["gcp"][..], Some("memory")));
        let (document, outcome) = judge(&detection, &"tpm".parse().unwrap());
        assert_eq!((document.evidence.as_slice(), outcome), (&["tpm"][..], Outcome::Yes));
    }

    #[test]
    fn nothing_something_broken_and_something_missing_have_codes_of_their_own() {
        let broken = State::Broken { reason: "silent".to_owned(), hint: None };
        let broken = found(&[(EvidenceKind::Snp, available()), (EvidenceKind::Tpm, broken)]);
        for (detection, wanted, outcome) in [
            (&found(&[]), "auto", Outcome::Refused),
            (&broken, "auto", Outcome::Incomplete),
            (&broken, "snp", Outcome::Yes),
            (&broken, "snp,tpm", Outcome::Incomplete),
        ] {
            let (document, found) = judge(detection, &wanted.parse().unwrap());
            assert_eq!((found, document.problem.is_some()), (outcome, outcome != Outcome::Yes), "{wanted}");
        }
    }
}
