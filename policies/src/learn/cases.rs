//! The cases that come with a learned policy: each sample is admitted, and a sample in which one thing was changed is
//! refused. Text alone; whoever writes the files runs them first.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use holdfast_appraisal::facts::{Ownable, Subject};
use holdfast_appraisal::{FactId, Value, ValueType};
use holdfast_evidence::EvidenceKind;

use super::document::Frame;
use super::generalise::{Expected, Learned};
use super::sample::{Sample, is_spelt};
use crate::toml_text::{comment, literal, quoted};

/// Stands for the identity of a machine of which only a log or files are known.
const ASSUMED: &str = "e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1";
/// Stands for an image that nobody knows.
const STRANGE: &str =
    "666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666666";

/// The facts of a sample as a file.
pub(super) fn facts(frame: &Frame<'_>, learned: &Learned, sample: &Sample) -> String {
    let used = used(learned);
    let mut text = comment(&sample.source);
    let _ = writeln!(text, "api_version = \"holdfast/1\"\nkind = \"facts\"");
    let _ = writeln!(text, "description = {}\n\n[facts]", quoted(&format!("sample {}", sample.name)));
    for (id, fact) in sample.facts.iter() {
        let is_bulk = matches!(id, FactId::Events(_) | FactId::Pcr(_) | FactId::LoaderTexts);
        if (is_bulk && !used.contains(&id)) || !is_spelt(id, &fact.values) {
            continue;
        }
        let values: Vec<String> = fact.values.iter().map(literal).collect();
        match values.as_slice() {
            [one] => {
                let _ = writeln!(text, "{id} = {one}");
            }
            [] => {
                let _ = writeln!(text, "{id} = []");
            }
            many => {
                let _ = writeln!(text, "{id} = [\n  {},\n]", many.join(",\n  "));
            }
        }
    }
    let class = frame.classes.first().map_or("discrete", |class| class.as_str());
    let class_fact = FactId::class_of(frame.kind);
    if sample.values(class_fact).is_none() {
        text.push_str("# nothing in the sample says this: assumed\n");
        let _ = writeln!(text, "{class_fact} = {}", quoted(class));
        if frame.kind == EvidenceKind::Tpm {
            let _ = writeln!(text, "tpm.machine = \"{ASSUMED}\"\ntpm.ek.spki_sha256 = \"{ASSUMED}\"");
        }
    }
    text
}

/// A case in which the sample is admitted.
pub(super) fn admitting(frame: &Frame<'_>, sample: &Sample) -> String {
    let mut text = head(frame, sample, &format!("sample {} is admitted", sample.name));
    text.push_str("\n[expect]\ndecision = \"admitted\"\nrule = \"learned\"\n");
    text
}

/// A case in which one thing of the sample was changed; `None` where nothing that was learned could be.
pub(super) fn refusing(frame: &Frame<'_>, learned: &Learned, sample: &Sample) -> Option<String> {
    let (fact, values, what) = changed(learned, sample)?;
    let mut text = head(frame, sample, &format!("sample {} with {what} is refused", sample.name));
    let values: Vec<String> = values.iter().map(literal).collect();
    let values = match (values.as_slice(), fact.definition().shape) {
        ([one], holdfast_appraisal::facts::Shape::One) => one.clone(),
        (many, _) => format!("[\n  {},\n]", many.join(",\n  ")),
    };
    let _ = writeln!(text, "\n[facts]\n{fact} = {values}");
    text.push_str("\n[expect]\ndecision = \"refused\"\ncode = \"policy.no_rule_matched\"\n");
    Some(text)
}

fn head(frame: &Frame<'_>, sample: &Sample, description: &str) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "api_version = \"holdfast/1\"\nkind = \"case\"\ndescription = {}", quoted(description));
    let _ = writeln!(text, "policy = {}", quoted(&format!("../{}.toml", frame.name)));
    let _ = writeln!(
        text,
        "base = {}\nat = {}\n\n[ownership]",
        quoted(&format!("machines/{}.toml", sample.name)),
        frame.created
    );
    for factor in frame.ownership {
        match *factor {
            "inventory" => text.push_str("inventory = \"listed\"\n"),
            "launch" => text.push_str("launch = \"registered\"\n"),
            "approval" => text.push_str("approval = \"given\"\n"),
            _ => {}
        }
    }
    text
}

/// One state fact that the policy is about, with another value.
fn changed(learned: &Learned, sample: &Sample) -> Option<(FactId, Vec<Value>, String)> {
    let used = used(learned);
    let is_used = |id: &FactId| used.contains(id) && sample.values(*id).is_some_and(|values| !values.is_empty());
    let line = FactId::CommandLines;
    if is_used(&line)
        && let Some([first, rest @ ..]) = sample.values(line)
        && let Value::Text(text) = first
    {
        let changed = Value::text(&format!("{text} init=/bin/sh"));
        let values = std::iter::once(changed).chain(rest.iter().cloned()).collect();
        return Some((line, values, "another command line".to_owned()));
    }
    let by_digest = |id: &FactId| {
        let definition = id.definition();
        definition.subject == Subject::State
            && definition.ownable == Ownable::No
            && definition.value_type == ValueType::Digest
    };
    let fact = used.iter().copied().filter(by_digest).find(|id| is_used(id))?;
    let values = sample.values(fact)?;
    let digits = match values.first()? {
        Value::Digest(digest) => 2 * digest.as_bytes().len(),
        _ => return None,
    };
    let strange = Value::parse(ValueType::Digest, STRANGE.get(..digits)?)?;
    let values = std::iter::once(strange).chain(values.iter().skip(1).cloned()).collect();
    Some((fact, values, format!("another {fact}")))
}

fn used(learned: &Learned) -> BTreeSet<FactId> {
    let states = learned.states.iter().flat_map(|state| &state.conditions);
    let all = learned.common.iter().chain(states);
    all.filter(|condition| !matches!(condition.expected, Expected::Values("at_least" | "all_bits", _)))
        .map(|condition| condition.fact)
        .collect()
}
