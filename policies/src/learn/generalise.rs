//! What several samples have in common, as conditions: constants become exact, sets their union, floors their lowest, and
//! what was booted one alternative each. What cannot become a condition is left out with the reason. Writes nothing.

use std::collections::BTreeSet;

use holdfast_appraisal::facts::Shape;
use holdfast_appraisal::{FactId, Value};

use super::recipe::{How, LEFT_OUT, RECIPE};
use super::sample::{Sample, is_spelt};

/// Most alternatives that are written; more states than that are no list that anybody reviews.
const STATES_MAX: usize = 16;
/// Most values of a fact with one value that become `one_of`.
const ONE_OF_MAX: usize = 16;

/// What a fact must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Equals(Value),
    /// Operator and values; written into the file of reference values where the fact has several.
    Values(&'static str, Vec<Value>),
}

/// One condition, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) fact: FactId,
    pub(super) expected: Expected,
    /// What varies and how it was generalised; empty where nothing does.
    pub(super) why: String,
}

/// One way in which samples booted.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) name: String,
    pub(super) samples: Vec<String>,
    pub(super) conditions: Vec<Condition>,
}

/// Everything that was learned.
#[derive(Clone, Debug, Default)]
pub(super) struct Learned {
    pub(super) common: Vec<Condition>,
    /// One for each distinct boot; a single one is part of the rule itself.
    pub(super) states: Vec<State>,
    /// Fact and reason.
    pub(super) left_out: Vec<(String, String)>,
}

pub(super) fn generalise(samples: &[Sample]) -> Learned {
    let mut learned = Learned::default();
    for (name, how) in RECIPE.iter().filter(|(_, how)| *how != How::Chain) {
        let Some(id) = FactId::parse(name) else { continue };
        if learned.skips_keys(id, samples) {
            continue;
        }
        learned.one(id, *how, samples);
    }
    learned.chain(samples);
    for (prefix, reason) in LEFT_OUT {
        let is_there = |sample: &Sample| sample.facts.iter().any(|(id, _)| id.to_string().starts_with(prefix));
        if samples.iter().any(is_there) {
            learned.left_out.push((prefix.trim_end_matches('.').to_owned(), (*reason).to_owned()));
        }
    }
    learned
}

impl Learned {
    /// With Secure Boot off nobody checks against the firmware's keys.
    fn skips_keys(&mut self, id: FactId, samples: &[Sample]) -> bool {
        let is_key = matches!(
            id,
            FactId::SecureBootPk
                | FactId::SecureBootKek
                | FactId::SecureBootDb
                | FactId::SecureBootDbx
                | FactId::SecureBootAuthorities
        );
        let is_on = |sample: &Sample| sample.values(FactId::SecureBootEnabled) == Some(&[Value::Bool(true)]);
        if !is_key || samples.iter().all(is_on) {
            return false;
        }
        if id == FactId::SecureBootDb && samples.iter().any(|sample| sample.values(id).is_some()) {
            self.leave(id, "Secure Boot is not on in every sample: nobody checks what starts against the keys");
        }
        true
    }

    fn leave(&mut self, id: FactId, reason: impl Into<String>) {
        self.left_out.push((id.to_string(), reason.into()));
    }

    fn one(&mut self, id: FactId, how: How, samples: &[Sample]) {
        let found: Vec<Option<&[Value]>> = samples.iter().map(|sample| sample.values(id)).collect();
        if found.iter().all(Option::is_none) {
            return;
        }
        let missing: Vec<&str> = samples
            .iter()
            .zip(&found)
            .filter(|(_, found)| found.is_none())
            .map(|(sample, _)| sample.name.as_str())
            .collect();
        if !missing.is_empty() {
            return self.leave(id, format!("not proven in {}", missing.join(", ")));
        }
        let found: Vec<&[Value]> = found.into_iter().flatten().collect();
        if !found.iter().all(|values| is_spelt(id, values)) {
            return self.leave(id, "only its digest is known");
        }
        match condition(id, how, &found) {
            Ok(condition) => self.common.push(condition),
            Err(Some(reason)) => self.leave(id, reason),
            Err(None) => {}
        }
    }

    /// What was booted: samples with the same images, sections and files are one state.
    fn chain(&mut self, samples: &[Sample]) {
        const KEY: [FactId; 3] = [FactId::BootApplications, FactId::UkiSections, FactId::LoadedFiles];
        let key = |sample: &Sample| KEY.map(|id| sample.values(id).map(<[Value]>::to_vec));
        let mut groups: Vec<(_, Vec<&Sample>)> = Vec::new();
        for sample in samples {
            let this = key(sample);
            match groups.iter_mut().find(|(other, _)| *other == this) {
                Some((_, members)) => members.push(sample),
                None => groups.push((this, vec![sample])),
            }
        }
        if groups.len() > STATES_MAX {
            self.leave(
                FactId::BootApplications,
                format!(
                    "{} different boots: more than {STATES_MAX} alternatives are no list that anybody reviews",
                    groups.len()
                ),
            );
            return;
        }
        for (_, members) in groups {
            let conditions = self.state(&members);
            if conditions.is_empty() {
                continue;
            }
            let name = members.first().map_or_else(|| "boot".to_owned(), |sample| sample.name.clone());
            let samples = members.iter().map(|sample| sample.name.clone()).collect();
            self.states.push(State { name, samples, conditions });
        }
    }

    fn state(&mut self, members: &[&Sample]) -> Vec<Condition> {
        let mut conditions = Vec::new();
        let Some(first) = members.first() else { return conditions };
        let files = if first.values(FactId::LoadedFiles).is_some_and(<[Value]>::is_empty) { "" } else { "exactly" };
        let applications = if first.is_unordered { "exactly" } else { "sequence" };
        for (id, operator) in
            [(FactId::BootApplications, applications), (FactId::UkiSections, "sequence"), (FactId::LoadedFiles, files)]
        {
            let values = first.values(id).unwrap_or_default();
            if !values.is_empty() && is_spelt(id, values) {
                let why = match (id, first.is_unordered) {
                    (FactId::BootApplications, true) => {
                        "in any order: files do not say in which, or how often, each is started"
                    }
                    _ => "",
                };
                let expected = Expected::Values(operator, distinct_if(values, operator != "sequence"));
                conditions.push(Condition { fact: id, expected, why: why.to_owned() });
            }
        }
        conditions.extend(self.command_lines(members));
        conditions
    }

    fn command_lines(&mut self, members: &[&Sample]) -> Vec<Condition> {
        let id = FactId::CommandLines;
        let lines: Vec<&[Value]> = members.iter().filter_map(|sample| sample.values(id)).collect();
        if lines.iter().all(|lines| lines.is_empty()) {
            return Vec::new();
        }
        if lines.len() < members.len() || !lines.iter().all(|lines| is_spelt(id, lines)) {
            return self.command_line_events(members);
        }
        let union = union(&lines);
        let (operator, why) = if lines.iter().all(|other| Some(other) == lines.first()) {
            ("exactly", String::new())
        } else {
            let words = differing_words(&union);
            (
                "subset_of",
                format!("varies between the samples in: {words}; each line that was seen is allowed, and no other"),
            )
        };
        vec![Condition { fact: id, expected: Expected::Values(operator, union), why }]
    }

    /// Where the log holds the digest of a command line alone: all events of the registers that it may stand in.
    fn command_line_events(&mut self, members: &[&Sample]) -> Vec<Condition> {
        self.leave(
            FactId::CommandLines,
            "the log holds digests of it alone, and no file `cmdline` beside the log gives them: its events stand in for it",
        );
        let mut conditions = Vec::new();
        for pcr in [8, 9, 12] {
            let id = FactId::Events(pcr);
            let found: Vec<&[Value]> = members.iter().filter_map(|sample| sample.values(id)).collect();
            if found.len() == members.len() && found.iter().any(|values| !values.is_empty()) {
                let same = found.iter().all(|values| Some(values) == found.first());
                let (operator, values) = match found.first() {
                    Some(values) if same => ("sequence", values.to_vec()),
                    _ => ("subset_of", union(&found)),
                };
                let why = format!("every event of PCR {pcr}, the command line's digest among them");
                conditions.push(Condition { fact: id, expected: Expected::Values(operator, values), why });
            }
        }
        conditions
    }
}

/// The condition, or why there is none; `None` where that goes without saying.
fn condition(id: FactId, how: How, found: &[&[Value]]) -> Result<Condition, Option<String>> {
    let samples = found.len();
    let all = union(found);
    let constant = found.iter().all(|values| Some(values) == found.first());
    let made = |expected, why: String| Ok(Condition { fact: id, expected, why });
    let unproven = || Err(Some("there is no value in any sample: an empty set cannot be required".to_owned()));
    match how {
        How::Exact if all.iter().all(|value| value.to_string().is_empty()) => Err(None),
        How::Exact => match (all.as_slice(), id.definition().shape) {
            ([one], Shape::One) => made(Expected::Equals(one.clone()), String::new()),
            ([Value::Bool(_), ..], _) => {
                Err(Some("some samples say yes and others no: decide, and write it in".to_owned()))
            }
            ([], _) => unproven(),
            (many, _) if many.len() <= ONE_OF_MAX => {
                made(Expected::Values("one_of", many.to_vec()), format!("{} values in {samples} samples", many.len()))
            }
            (many, _) => Err(Some(format!("{} different values in {samples} samples", many.len()))),
        },
        How::KeptTrue if all.as_slice() == [Value::Bool(true)] => {
            made(Expected::Equals(Value::Bool(true)), String::new())
        }
        How::KeptTrue => Err(None),
        How::Floor => match all.iter().min() {
            // nothing is below zero
            Some(Value::Integer(0)) | None => Err(None),
            Some(least) => {
                let why = if constant { String::new() } else { format!("the lowest of {samples} samples") };
                made(Expected::Values("at_least", vec![least.clone()]), why)
            }
        },
        How::Bits => {
            let bits = all.iter().map(|value| if let Value::Bits(bits) = value { *bits } else { 0 });
            match bits.reduce(|all, bits| all & bits) {
                Some(0) | None => Err(Some("no bit is set in every sample".to_owned())),
                Some(bits) => made(Expected::Values("all_bits", vec![Value::Bits(bits)]), String::new()),
            }
        }
        How::Subset if all.iter().all(|value| value.to_string().is_empty()) => {
            if all.is_empty() {
                unproven()
            } else {
                Err(Some("the text is empty".to_owned()))
            }
        }
        How::Subset => {
            let why =
                if constant { String::new() } else { format!("varies: all {} values of {samples} samples", all.len()) };
            made(Expected::Values("subset_of", all), why)
        }
        How::Common => {
            let common: Vec<Value> =
                all.iter().filter(|value| found.iter().all(|values| values.contains(value))).cloned().collect();
            if common.is_empty() {
                return Err(Some("no value is in every sample".to_owned()));
            }
            let why = if constant {
                "at least these; a longer list is no outage".to_owned()
            } else {
                format!(
                    "varies: the {} of {} values that every sample has; a longer list is no outage",
                    common.len(),
                    all.len()
                )
            };
            made(Expected::Values("superset_of", common), why)
        }
        How::Chain => Err(None),
    }
}

/// All values, each once, in the order of their first appearance.
fn union(found: &[&[Value]]) -> Vec<Value> {
    let all: Vec<Value> = found.iter().flat_map(|values| values.iter().cloned()).collect();
    distinct_if(&all, true)
}

fn distinct_if(values: &[Value], distinct: bool) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    values.iter().filter(|value| !distinct || seen.insert((*value).clone())).cloned().collect()
}

/// The words that stand in some lines and not in all, at most eight of them.
fn differing_words(lines: &[Value]) -> String {
    let words: Vec<BTreeSet<String>> =
        lines.iter().map(|line| line.to_string().split_ascii_whitespace().map(str::to_owned).collect()).collect();
    let all: BTreeSet<&String> = words.iter().flatten().collect();
    let varying: Vec<&str> =
        all.into_iter().filter(|word| !words.iter().all(|words| words.contains(*word))).map(String::as_str).collect();
    match varying.as_slice() {
        [] => "spaces or order alone".to_owned(),
        few if few.len() <= 8 => few.join(" "),
        many => format!("{} and {} more words", many.get(..8).unwrap_or_default().join(" "), many.len() - 8),
    }
}
