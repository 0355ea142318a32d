//! The files that learning leaves: the policy, and its reference values in files of their own. Text alone: writes no file,
//! and decides nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use holdfast_appraisal::facts::Shape;
use holdfast_appraisal::{FactId, Value};
use holdfast_evidence::tpm::Bank;
use holdfast_evidence::{EvidenceKind, TrustClass};

use super::generalise::{Condition, Expected, Learned, State};
use super::sample::Sample;
use crate::toml_text::{comment, literal, noted, policy_literal, quoted};

/// What whoever learns decides beside the samples.
pub(super) struct Frame<'a> {
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) ownership: &'a [&'static str],
    pub(super) classes: &'a [TrustClass],
    pub(super) kind: EvidenceKind,
    pub(super) bank: Bank,
    /// RFC 3339.
    pub(super) created: &'a str,
    pub(super) samples: &'a [Sample],
}

impl Frame<'_> {
    /// A note on a value, from any sample.
    fn note(&self, id: FactId, value: &Value) -> Option<&str> {
        self.samples.iter().find_map(|sample| sample.notes.get(&(id, value.clone()))).map(String::as_str)
    }

    fn sources(&self) -> String {
        self.samples.iter().map(|sample| format!("{}: {}", sample.name, sample.source)).collect::<Vec<_>>().join("; ")
    }

    /// The node ID of this kind of machine, and selectors.
    const fn identity(&self) -> (&'static str, &'static [&'static str]) {
        match self.kind {
            EvidenceKind::Tpm => ("tpm/{tpm.machine}", &["tpm.class", "tpm.secure_boot.enabled"]),
            EvidenceKind::Snp => ("snp/{snp.report_id}", &["snp.class", "snp.product", "snp.measurement"]),
            EvidenceKind::Tdx => ("tdx/{tdx.instance}", &["tdx.class", "tdx.mrtd", "tdx.tcb.status"]),
            EvidenceKind::Nitro => ("nitro/{nitro.module_id}", &["nitro.class", "nitro.image"]),
            EvidenceKind::NitroTpm => ("nitrotpm/{nitrotpm.instance_id}", &["nitrotpm.class", "nitrotpm.region"]),
            EvidenceKind::Azure => ("azure/{azure.instance}", &["azure.class", "azure.hardware"]),
            EvidenceKind::Gcp => ("gcp/{gcp.instance_id}", &["gcp.class", "gcp.project_id"]),
        }
    }
}

/// One file of reference values: what policies call it, and its conditions.
pub(super) struct Values<'l> {
    pub(super) name: String,
    conditions: Vec<&'l Condition>,
    samples: BTreeSet<&'l str>,
}

/// The files of reference values: one for what is common, and one for each state where there are several.
pub(super) fn values<'l>(frame: &Frame<'_>, learned: &'l Learned) -> Vec<Values<'l>> {
    let mut common: Vec<&Condition> = learned.common.iter().collect();
    let mut files = Vec::new();
    let all: BTreeSet<&str> =
        learned.states.iter().flat_map(|state| state.samples.iter().map(String::as_str)).collect();
    match learned.states.as_slice() {
        [one] => common.extend(&one.conditions),
        many => {
            for state in many {
                files.push(Values {
                    name: state_values(frame, state),
                    conditions: state.conditions.iter().collect(),
                    samples: state.samples.iter().map(String::as_str).collect(),
                });
            }
        }
    }
    files.insert(0, Values { name: format!("{}-values", frame.name), conditions: common, samples: all });
    files.retain(|file| file.conditions.iter().any(|condition| in_a_file(condition)));
    files
}

fn state_values(frame: &Frame<'_>, state: &State) -> String {
    let name: String = format!("{}-{}", frame.name, state.name).chars().take(64).collect();
    name.trim_end_matches(['-', '.', '_']).to_owned()
}

/// Single values and bounds stand in the policy itself; lists stand in a file.
fn in_a_file(condition: &Condition) -> bool {
    matches!(&condition.expected, Expected::Values(..)) && condition.fact.definition().shape != Shape::One
}

/// The text of a file of reference values.
pub(super) fn reference(frame: &Frame<'_>, values: &Values<'_>) -> String {
    let mut text = String::new();
    let _ =
        writeln!(text, "api_version = \"holdfast/1\"\nkind = \"reference-values\"\nname = {}", quoted(&values.name));
    let _ = writeln!(text, "source = {}\ncreated = {}\n\n[values]", quoted(&frame.sources()), frame.created);
    for condition in values.conditions.iter().filter(|condition| in_a_file(condition)) {
        let Expected::Values(_, list) = &condition.expected else { continue };
        list_of(&mut text, frame, condition.fact, list);
    }
    let named = |sample: &&Sample| values.samples.contains(sample.name.as_str());
    for sample in frame.samples.iter().filter(named) {
        for (fact, value, when) in &sample.predicted {
            let line = format!("{}, {when}: {fact} = {}", sample.name, literal(value));
            text.push_str(&comment(&line));
        }
    }
    text
}

pub(super) fn list_of(text: &mut String, frame: &Frame<'_>, fact: FactId, list: &[Value]) {
    let _ = writeln!(text, "{fact} = [");
    for value in list {
        let _ = writeln!(text, "  {},", noted(&literal(value), frame.note(fact, value)));
    }
    text.push_str("]\n");
}

/// The text of the policy.
pub(super) fn policy(frame: &Frame<'_>, learned: &Learned, files: &[Values<'_>]) -> String {
    let mut text = head(frame);
    let named: Vec<String> = files.iter().map(|file| quoted(&format!("{}.toml", file.name))).collect();
    let (node_id, selectors) = frame.identity();
    let selectors: Vec<String> = selectors.iter().map(|selector| quoted(selector)).collect();
    let _ = writeln!(
        text,
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = {}\ndescription = {}",
        quoted(frame.name),
        quoted(frame.description)
    );
    if frame.bank != Bank::Sha256 {
        let _ = writeln!(text, "pcr_bank = {}", quoted(frame.bank.as_str()));
    }
    if !named.is_empty() {
        let _ = writeln!(text, "reference_values = [{}]", named.join(", "));
    }
    let _ = writeln!(text, "\n[issue]\nnode_id = \"/holdfast/node/{node_id}\"\nselectors = [{}]", selectors.join(", "));
    let ownership: Vec<String> = frame.ownership.iter().map(|factor| quoted(factor)).collect();
    let ownership = if let [one] = ownership.as_slice() { one.clone() } else { format!("[{}]", ownership.join(", ")) };
    let classes: Vec<String> = frame.classes.iter().map(|class| quoted(class.as_str())).collect();
    let _ = writeln!(text, "\n[[rule]]\nname = \"learned\"\nevidence = [{}]", quoted(frame.kind.as_str()));
    text.push_str("# What makes such a machine ours: a genuine one is anybody's.\n");
    let _ = writeln!(text, "ownership = {ownership}\ntrust_classes = [{}]", classes.join(", "));
    let common = format!("{}-values", frame.name);
    let single = if let [one] = learned.states.as_slice() { one.conditions.as_slice() } else { &[] };
    if !learned.common.is_empty() || !single.is_empty() {
        text.push_str("\n[rule.require]\n");
        for condition in learned.common.iter().chain(single) {
            write_condition(&mut text, frame, condition, &common);
        }
    }
    if learned.states.len() > 1 {
        for state in &learned.states {
            let _ = writeln!(text, "\n[[rule.alternative]]\nname = {}", quoted(&state.name));
            text.push_str(&comment(&format!("as booted by {}", state.samples.join(", "))));
            text.push_str("[rule.alternative.require]\n");
            let file = state_values(frame, state);
            for condition in &state.conditions {
                write_condition(&mut text, frame, condition, &file);
            }
        }
    }
    if !learned.left_out.is_empty() {
        text.push_str("\n# Left out, and why:\n");
        for (fact, reason) in &learned.left_out {
            text.push_str(&comment(&format!("  {fact}: {reason}")));
        }
    }
    text
}

fn head(frame: &Frame<'_>) -> String {
    let samples = frame.samples.len();
    let mut text = comment(&format!(
        "Learned by holdfast-policy from {samples} sample{}. Read it as a proposal: each condition below is one that every \
         sample satisfies, and the comments say what varies.",
        if samples == 1 { "" } else { "s" }
    ));
    for sample in frame.samples {
        text.push_str(&comment(&format!("  {}: {}", sample.name, sample.source)));
    }
    if samples == 1 {
        text.push_str(&comment(
            "One sample shows no variation: learn from a second machine before you enforce this on more.",
        ));
    }
    text
}

fn write_condition(text: &mut String, frame: &Frame<'_>, condition: &Condition, file: &str) {
    if !condition.why.is_empty() {
        text.push_str(&comment(&condition.why));
    }
    let fact = condition.fact;
    let inline = |value: &Value| noted(&policy_literal(value), frame.note(fact, value));
    match &condition.expected {
        Expected::Equals(value) => {
            let _ = writeln!(text, "{fact} = {}", inline(value));
        }
        Expected::Values(operator, _) if in_a_file(condition) => {
            let _ = writeln!(text, "{fact} = {{ {operator} = \"@{file}\" }}");
        }
        Expected::Values("one_of", values) => {
            let listed: Vec<String> = values.iter().map(inline).collect();
            let _ = writeln!(text, "{fact} = {{ one_of = [{}] }}", listed.join(", "));
        }
        Expected::Values(operator, values) => {
            let value = values.first().map(policy_literal).unwrap_or_default();
            let _ = writeln!(text, "{fact} = {{ {operator} = {value} }}");
        }
    }
}
