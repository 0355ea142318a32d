//! The selectors that one attestor gathers: bounded in number, and without those that no entry can name.

use std::collections::BTreeSet;
use std::fmt::Display;

use holdfast_identity::Selector;

use super::AttestFault;

/// Selectors of one attestor for one workload. A container's environment and labels are what makes them many.
pub(super) const SELECTORS_MAX: usize = 4096;

/// Selectors of one kind.
#[derive(Debug)]
pub(super) struct Selection {
    kind: &'static str,
    selectors: BTreeSet<Selector>,
}

impl Selection {
    pub(super) const fn of(kind: &'static str) -> Self {
        Self { kind, selectors: BTreeSet::new() }
    }

    /// Adds `kind:name:value`. What is no selector (with control characters, or longer than an entry's may be) is left
    /// out, as is an empty value.
    pub(super) fn add(&mut self, name: &str, value: impl Display) {
        let value = value.to_string();
        if !value.is_empty() {
            self.selectors.extend(Selector::new(self.kind, &format!("{name}:{value}")));
        }
    }

    pub(super) fn add_some(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// [`AttestFault::TooMany`]: with a part of them it would be another workload.
    pub(super) fn finish(self) -> Result<BTreeSet<Selector>, AttestFault> {
        if self.selectors.len() > SELECTORS_MAX {
            return Err(AttestFault::TooMany { kind: self.kind, limit: SELECTORS_MAX });
        }
        Ok(self.selectors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_entry_can_name_is_left_out() {
        let mut selection = Selection::of("t");
        selection.add("a", "b:c");
        selection.add("line", "1\n2");
        selection.add("empty", "");
        selection.add("long", "x".repeat(holdfast_identity::SELECTOR_BYTES_MAX));
        selection.add_some("none", None::<u32>);
        assert_eq!(selection.finish().unwrap(), BTreeSet::from(["t:a:b:c".parse().unwrap()]));
    }

    #[test]
    fn too_many_are_a_fault_and_not_a_part_of_them() {
        let mut selection = Selection::of("t");
        for number in 0..=SELECTORS_MAX {
            selection.add("n", number);
        }
        assert_eq!(selection.finish().unwrap_err().code(), "attest.too_many");
    }
}
