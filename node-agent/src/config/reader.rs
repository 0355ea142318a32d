//! Takes keys out of a TOML table one by one and keeps account of what was wrong.

use toml::{Table, Value};

use super::Problem;
use super::keys::{KEYS, Overrides};

/// The table, the overrides, and the problems so far.
pub(super) struct Reader {
    values: Vec<(String, Value)>,
    overrides: Overrides,
    problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn new(table: Table, overrides: &Overrides) -> Self {
        let mut values = Vec::new();
        let mut under_way: Vec<_> = table.into_iter().collect();
        while let Some((path, value)) = under_way.pop() {
            match value {
                Value::Table(inner) if inner.is_empty() => {}
                Value::Table(inner) => {
                    under_way.extend(inner.into_iter().map(|(inner, value)| (format!("{path}.{inner}"), value)));
                }
                value => values.push((path, value)),
            }
        }
        Self { values, overrides: overrides.clone(), problems: Vec::new() }
    }

    /// Notes a problem; `None`, for the caller to pass on.
    pub(super) fn problem<T>(&mut self, key: &str, problem: &str) -> Option<T> {
        self.problems.push(Problem { key: key.to_owned(), problem: problem.to_owned() });
        None
    }

    /// The key's value where it is written, whatever its default; `None` where it is not, or where it is wrong.
    pub(super) fn optional<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key)?;
        self.parsed(key, &text, parse)
    }

    /// The key's value or its default; a problem where there is neither.
    pub(super) fn required<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let problems = self.problems.len();
        let default = KEYS.iter().find(|known| known.path == key).and_then(|known| known.default);
        match self.text(key).or_else(|| default.map(str::to_owned)) {
            Some(text) => self.parsed(key, &text, parse),
            None if self.problems.len() == problems => self.problem(key, "is required"),
            None => None,
        }
    }

    fn parsed<T>(&mut self, key: &str, text: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        parse(text).map_err(|problem| self.problem::<()>(key, &problem)).ok()
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let written = self.values.iter().position(|(path, _)| path == key).map(|at| self.values.swap_remove(at).1);
        if let Some(text) = self.overrides.get(key) {
            return Some(text.to_owned());
        }
        match written? {
            Value::String(text) => Some(text),
            Value::Integer(number) => Some(number.to_string()),
            Value::Boolean(flag) => Some(flag.to_string()),
            // Written with commas on the command line and in the environment.
            Value::Array(items) => match items.iter().map(Value::as_str).collect::<Option<Vec<_>>>() {
                Some(items) => Some(items.join(",")),
                None => self.problem(key, "expected strings in the list"),
            },
            other => self.problem(key, &format!("expected a string, found {}", other.type_str())),
        }
    }

    /// The problems, with every key that nobody asked for among them.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        for (key, _) in self.values {
            self.problems.push(Problem { key, problem: "is no key of the agent's configuration".to_owned() });
        }
        self.problems.sort_by(|a, b| a.key.cmp(&b.key));
        self.problems
    }
}
