//! What `@name` in a policy stands for: a set of the policy, or the values of a reference-value file.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_evidence::nitro::checks::measured_text;
use holdfast_evidence::tpm::Bank;
use holdfast_evidence::tpm::event_log::boot::load_options_digest;
use toml::de::{DeTable, DeValue};

use super::signed::Signatures;
use crate::decision::Origin;
use crate::document::{Document, Node, Reader, is_name};
use crate::facts::read::{self, Noted};
use crate::facts::{FactId, NitroFact, TdxFact};
use crate::finding::{Finding, Kind, nearest};
use crate::reference::ReferenceValues;
use crate::value::Value;

/// Most reference-value files that one policy may name.
pub(crate) const REFERENCE_FILES_MAX: usize = 256;

/// The names of one policy, and which of them were used.
pub(crate) struct Names<'t, 'i> {
    sets: BTreeMap<String, (&'t Node<'i>, std::ops::Range<usize>)>,
    references: BTreeMap<String, (ReferenceValues, std::ops::Range<usize>)>,
    origins: BTreeMap<String, Arc<Origin>>,
    used: BTreeSet<String>,
    /// What the condition that is being read took its values from.
    lately: Vec<Arc<Origin>>,
    bank: Bank,
}

impl<'t, 'i> Names<'t, 'i> {
    /// Reads `reference_values` and `[sets]`; problems inside the files are findings of these files.
    pub(crate) fn read(
        reader: &mut Reader<'_>,
        table: &'t DeTable<'i>,
        files: &[Document<'_>],
        foreign: &mut Vec<Finding>,
        bank: Bank,
    ) -> Self {
        let mut names = Self {
            sets: BTreeMap::new(),
            references: BTreeMap::new(),
            origins: BTreeMap::new(),
            used: BTreeSet::new(),
            lately: Vec::new(),
            bank,
        };
        let signatures = Signatures::read(reader, table, files);
        if let Some(node) = table.get("reference_values") {
            for (file, span) in reader.strings(node, "reference_values").into_iter().take(REFERENCE_FILES_MAX) {
                let Some(document) = files.iter().find(|document| document.name == file) else {
                    let message = format!("reference-value file {file:?} was not given");
                    reader.add(span, Kind::ReferenceFileMissing, message, None);
                    continue;
                };
                // What nobody signed is not even read.
                let Some(signed_by) = signatures.check(reader, *document, files, &span) else { continue };
                match ReferenceValues::parse(*document) {
                    Ok(values) => names.add_reference(reader, values, (file, signed_by), span),
                    Err(findings) => foreign.extend(findings),
                }
            }
        }
        if let Some(sets) = table.get("sets").and_then(|node| reader.subtable(node, "sets")) {
            for (key, node) in sets {
                let name = key.get_ref().to_string();
                if !is_name(&name) {
                    let suggestion = Some("use a-z, 0-9, '-', '_', '.'".to_owned());
                    reader.add(key.span(), Kind::BadName, format!("{name:?} is not a name of a set"), suggestion);
                } else if names.references.contains_key(&name) {
                    let message = format!("{name:?} is both a set and a reference-value file");
                    reader.add(key.span(), Kind::DuplicateName, message, None);
                } else if reader.array(node, &format!("set {name:?}")).is_some() {
                    let (line, _) = reader.position(key.span().start);
                    let file = format!("{}, line {line}", reader.file());
                    let origin = Origin { name: name.clone(), file, ..Origin::default() };
                    names.origins.insert(name.clone(), Arc::new(origin));
                    names.sets.insert(name, (node, key.span()));
                }
            }
        }
        names
    }

    fn add_reference(
        &mut self,
        reader: &mut Reader<'_>,
        values: ReferenceValues,
        (file, signed_by): (&str, String),
        span: std::ops::Range<usize>,
    ) {
        if self.references.contains_key(&values.name) {
            let message = format!("two reference-value files are named {:?}", values.name);
            reader.add(span, Kind::DuplicateName, message, None);
        } else {
            let origin = Origin {
                name: values.name.clone(),
                file: file.to_owned(),
                source: values.source.clone(),
                created: values.created.clone(),
                description: values.description.clone(),
                signed_by,
            };
            self.origins.insert(values.name.clone(), Arc::new(origin));
            self.references.insert(values.name.clone(), (values, span));
        }
    }

    /// The values that `node` stands for: `"@name"`, or an array of values and `"@name"`s.
    pub(crate) fn values(&mut self, reader: &mut Reader<'_>, id: FactId, node: &Node<'_>, what: &str) -> Vec<Noted> {
        if let DeValue::String(text) = node.get_ref()
            && let Some(name) = reference(text)
        {
            let values = self.resolve(reader, id, name, node);
            return self.measured(id, values);
        }
        let elements = reader.array(node, what).unwrap_or_default();
        let mut values: Vec<Noted> = Vec::with_capacity(elements.len());
        for element in elements {
            match element.get_ref().as_str().and_then(reference) {
                Some(name) => values.extend(self.resolve(reader, id, name, element)),
                None => values.extend(one(reader, id, element)),
            }
        }
        repeated(reader, node, &values, what);
        self.measured(id, values)
    }

    /// As [`Names::values`], and one value may stand alone.
    pub(crate) fn digests(&mut self, reader: &mut Reader<'_>, id: FactId, node: &Node<'_>, what: &str) -> Vec<Noted> {
        let several =
            node.get_ref().is_array() || node.get_ref().as_str().is_some_and(|text| reference(text).is_some());
        if several { self.values(reader, id, node, what) } else { self.value(reader, id, node).into_iter().collect() }
    }

    /// Gives each text the digest under which it is measured where the evidence holds no text: a command line by a
    /// kernel's EFI stub, a role's ARN by the Nitro hypervisor.
    fn measured(&self, id: FactId, mut values: Vec<Noted>) -> Vec<Noted> {
        for noted in &mut values {
            noted.digest = match (id, &noted.value) {
                (FactId::CommandLines, Value::Text(text)) => Some(load_options_digest(self.bank, text)),
                // RTMRs have one bank, whatever the policy asks of a TPM
                (FactId::Tdx(TdxFact::CommandLines), Value::Text(text)) => {
                    Some(load_options_digest(Bank::Sha384, text))
                }
                (FactId::Nitro(NitroFact::RoleArn), Value::Text(text)) => Some(measured_text(text)),
                _ => continue,
            };
        }
        values
    }

    /// The one value that `node` stands for: a literal, or `"@name"` of a file with one value for the fact.
    pub(crate) fn value(&mut self, reader: &mut Reader<'_>, id: FactId, node: &Node<'_>) -> Option<Noted> {
        let found = match node.get_ref().as_str().and_then(reference) {
            None => one(reader, id, node),
            Some(name) => self.resolve_one(reader, id, name, node),
        };
        self.measured(id, found.into_iter().collect()).pop()
    }

    fn resolve_one(&mut self, reader: &mut Reader<'_>, id: FactId, name: &str, node: &Node<'_>) -> Option<Noted> {
        let mut values = self.resolve(reader, id, name, node);
        if values.len() > 1 {
            let message = format!("\"@{name}\" has {} values of \"{id}\", expected one", values.len());
            let suggestion = format!("write: {{ one_of = \"@{name}\" }}");
            reader.add(node.span(), Kind::BadValue, message, Some(suggestion));
            return None;
        }
        values.pop()
    }

    /// Where the values came from that were read since this was last asked.
    pub(crate) fn lately(&mut self) -> Vec<Arc<Origin>> {
        std::mem::take(&mut self.lately)
    }

    fn resolve(&mut self, reader: &mut Reader<'_>, id: FactId, name: &str, node: &Node<'_>) -> Vec<Noted> {
        if let Some(origin) = self.origins.get(name)
            && !self.lately.iter().any(|other| other.name == name)
        {
            self.lately.push(Arc::clone(origin));
        }
        if let Some((set, _)) = self.sets.get(name) {
            self.used.insert(name.to_owned());
            let elements = set.get_ref().as_array().map(|array| &**array).unwrap_or_default();
            let values: Vec<Noted> = elements.iter().filter_map(|element| one(reader, id, element)).collect();
            repeated(reader, set, &values, "the set");
            return values;
        }
        if let Some((file, _)) = self.references.get(name) {
            self.used.insert(name.to_owned());
            if let Some(values) = file.get(id) {
                return values.to_vec();
            }
            let message = format!("reference values \"@{name}\" say nothing about \"{id}\"");
            let facts: Vec<String> = file.facts().map(|fact| fact.to_string()).collect();
            reader.add(node.span(), Kind::UnknownSet, message, Some(format!("they speak of {}", facts.join(", "))));
            return Vec::new();
        }
        let known = self.sets.keys().chain(self.references.keys()).map(String::as_str);
        let suggestion = match nearest(name, known) {
            Some(near) => format!("did you mean \"@{near}\"?"),
            None => "name a set of [sets] or the `name` of a file under reference_values; \"@@\" begins a text with @"
                .to_owned(),
        };
        reader.add(node.span(), Kind::UnknownSet, format!("unknown set \"@{name}\""), Some(suggestion));
        Vec::new()
    }

    /// Warns of names that nothing used.
    pub(crate) fn unused(&self, reader: &mut Reader<'_>) {
        for (name, (_, span)) in &self.sets {
            if !self.used.contains(name) {
                reader.add(span.clone(), Kind::SetUnused, format!("set {name:?} is used nowhere"), None);
            }
        }
        for (name, (_, span)) in &self.references {
            if !self.used.contains(name) {
                let message = format!("reference values \"@{name}\" are used nowhere");
                reader.add(span.clone(), Kind::ReferenceFileUnused, message, None);
            }
        }
    }
}

/// The name behind `@`; `@@` begins a text that itself begins with `@`.
fn reference(text: &str) -> Option<&str> {
    text.strip_prefix('@').filter(|name| !name.starts_with('@'))
}

fn one(reader: &mut Reader<'_>, id: FactId, node: &Node<'_>) -> Option<Noted> {
    let mut noted = read::noted(reader, node, id.definition().value_type)?;
    if let Value::Text(text) = &noted.value
        && let Some(rest) = text.strip_prefix("@@")
    {
        noted.value = Value::text(&format!("@{rest}"));
    }
    Some(noted)
}

fn repeated(reader: &mut Reader<'_>, node: &Node<'_>, values: &[Noted], what: &str) {
    let mut seen = BTreeSet::new();
    if let Some(twice) = values.iter().find(|noted| !seen.insert(&noted.value)) {
        let message = format!("{what} lists {} twice", twice.value);
        reader.add(node.span(), Kind::DuplicateValue, message, None);
    }
}
