//! Takes keys out of a TOML table one by one and keeps account of what was wrong.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::{Table, Value};

use super::Problem;
use super::duration::seconds;
use super::keys::{KEYS, SINK_KEYS};

/// The values that nobody has asked for yet, and the problems so far.
pub(super) struct Reader {
    values: Vec<(String, Value)>,
    problems: Vec<Problem>,
    /// In which element of an array of tables, such as `events.webhook[2].`, and as the list of keys has it.
    place: String,
    family: String,
}

impl Reader {
    pub(super) fn new(table: Table) -> Self {
        let mut values = Vec::new();
        for (name, value) in table {
            match value {
                Value::Table(inner) => {
                    for (key, value) in inner {
                        match value {
                            // [admin.roles] is the deepest.
                            Value::Table(deep) => {
                                let path = |deep: String| format!("{name}.{key}.{deep}");
                                values.extend(deep.into_iter().map(|(deep, value)| (path(deep), value)));
                            }
                            value => values.push((format!("{name}.{key}"), value)),
                        }
                    }
                }
                value => values.push((name, value)),
            }
        }
        Self { values, problems: Vec::new(), place: String::new(), family: String::new() }
    }

    /// One reader for each table of an array; give each back to [`Reader::absorb`].
    pub(super) fn tables(&mut self, key: &str) -> Vec<Self> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let tables = match value {
            Value::Array(elements) => elements.into_iter().map(|element| match element {
                Value::Table(table) => Some(table),
                _ => None,
            }),
            _ => return self.no_tables(key),
        };
        let Some(tables) = tables.collect::<Option<Vec<Table>>>() else { return self.no_tables(key) };
        let reader = |(number, table): (usize, Table)| Self {
            values: table.into_iter().collect(),
            problems: Vec::new(),
            place: format!("{key}[{}].", number + 1),
            family: format!("{key}[]."),
        };
        tables.into_iter().enumerate().map(reader).collect()
    }

    /// Takes over what is wrong with one table.
    pub(super) fn absorb(&mut self, reader: Self) {
        self.problems.extend(reader.finish());
    }

    /// A list of texts; empty where there is none.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        let texts = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(elements)) => {
                elements.iter().map(|element| element.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
            }
            Some(_) => None,
        };
        texts.unwrap_or_else(|| {
            self.problem(key, "expected a list of texts".to_owned());
            Vec::new()
        })
    }

    /// Says that something is wrong with `key`.
    pub(super) fn refuse(&mut self, key: &str, problem: impl Into<String>) {
        self.problem(key, problem.into());
    }

    fn no_tables(&mut self, key: &str) -> Vec<Self> {
        self.problem(key, format!("expected tables: write [[{key}]]"));
        Vec::new()
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.values.iter().position(|(path, _)| path == key).map(|at| self.values.swap_remove(at).1)
    }

    /// The text of a key, or its default; a problem where there is neither.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.found(key, true)
    }

    /// The same, parsed.
    pub(super) fn parsed<T, E: Display>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.found(key, true)?;
        self.checked(key, &text, parse)
    }

    /// The same for a key that may be absent.
    pub(super) fn optional<T, E: Display>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.found(key, false)?;
        self.checked(key, &text, parse)
    }

    /// A file or directory.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.parsed(key, |text| if text.is_empty() { Err("is empty") } else { Ok(PathBuf::from(text)) })
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str) -> Option<bool> {
        self.parsed(key, |text| text.parse::<bool>().map_err(|_| format!("expected true or false, found {text:?}")))
    }

    /// A whole number within `range`.
    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        self.parsed(key, |text| match text.parse() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(format!("expected a number from {} to {}, found {text:?}", range.start(), range.end())),
        })
    }

    /// A duration of `range` seconds.
    pub(super) fn seconds(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.parsed(key, |text| {
            let found = seconds(text)?;
            let expected = || format!("expected {} s to {} s, found {text:?}", range.start(), range.end());
            range.contains(&found).then_some(found).ok_or_else(expected)
        })
    }

    /// One of a few words.
    pub(super) fn one_of(&mut self, key: &str, words: &'static [&'static str]) -> Option<&'static str> {
        self.parsed(key, |text| {
            let known = words.iter().find(|word| **word == text).copied();
            known.ok_or_else(|| format!("expected one of {}, found {text:?}", words.join(", ")))
        })
    }

    /// An array of texts that may be absent; a problem where it is empty or holds anything else.
    pub(super) fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let at = self.values.iter().position(|(path, _)| path == key)?;
        let texts = match self.values.swap_remove(at).1 {
            Value::Array(elements) if !elements.is_empty() => elements
                .into_iter()
                .map(|element| match element {
                    Value::String(text) if !text.is_empty() => Some(text),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>(),
            _ => None,
        };
        if texts.is_none() {
            self.problem(key, "expected an array of texts, not empty".to_owned());
        }
        // Said to be there, whatever is wrong with it: an absent list would mean something else.
        Some(texts.unwrap_or_default())
    }

    /// The problems, with every key that nobody asked for among them.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        for (key, _) in std::mem::take(&mut self.values) {
            let problem = match nearest(&format!("{}{key}", self.family)) {
                Some(known) => format!("is no key of the server's configuration; did you mean {known:?}?"),
                None => "is no key of the server's configuration".to_owned(),
            };
            self.problem(&key, problem);
        }
        self.problems.sort_by(|a, b| a.key.cmp(&b.key));
        self.problems
    }

    fn checked<T, E: Display>(&mut self, key: &str, text: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        parse(text).map_err(|problem| self.problem(key, problem.to_string())).ok()
    }

    fn found(&mut self, key: &str, required: bool) -> Option<String> {
        match self.take(key) {
            Some(Value::String(text)) => Some(text),
            Some(Value::Integer(number)) => Some(number.to_string()),
            Some(Value::Boolean(flag)) => Some(flag.to_string()),
            Some(other) => {
                self.problem(key, format!("expected one value, found {}", other.type_str()));
                None
            }
            None => {
                let known = KEYS
                    .iter()
                    .chain(SINK_KEYS)
                    .find(|known| known.path.strip_prefix(self.family.as_str()) == Some(key));
                let default = known.and_then(|known| known.default);
                if default.is_none() && required {
                    self.problem(key, "is required".to_owned());
                }
                default.map(str::to_owned)
            }
        }
    }

    pub(super) fn problem(&mut self, key: &str, problem: String) {
        self.problems.push(Problem { key: format!("{}{key}", self.place), problem });
    }
}

/// The known key that shares most of its letters' pairs with `key`, if it shares more than half.
fn nearest(key: &str) -> Option<&'static str> {
    let pairs = |text: &str| -> Vec<(char, char)> { text.chars().zip(text.chars().skip(1)).collect() };
    let wanted = pairs(key);
    let shared = |known: &str| pairs(known).iter().filter(|pair| wanted.contains(pair)).count();
    let best = KEYS.iter().chain(SINK_KEYS).map(|known| known.path).max_by_key(|known| shared(known))?;
    (shared(best) * 2 > wanted.len().max(pairs(best).len())).then_some(best)
}
