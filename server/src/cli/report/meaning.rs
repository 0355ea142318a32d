//! What codes and states mean, in the words of the documentation: the page is part of the program, so that a report and the
//! page cannot differ. Judges nothing.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The page that a house test compares with the codes of the programs.
const PAGE: &str = include_str!("../../../../docs/reference/error-codes.md");

static WORDS: LazyLock<BTreeMap<&'static str, String>> = LazyLock::new(|| PAGE.lines().filter_map(row).collect());

/// What a code means; nothing where only the message of one attempt can say it, or a newer server made the code.
pub(in crate::cli) fn of_code(code: &str) -> &'static str {
    WORDS.get(code).map_or("", String::as_str)
}

/// What it means that a node is in this state.
pub(super) fn of_state(state: &str) -> &'static str {
    match state {
        "admitted" => "proved itself, and holds an identity",
        "pending" => "proved itself, and waits for an operator's approval",
        "expired" => "was admitted, and has not proved itself again in time: its identity has ended",
        "refused" => "its last proof was genuine and did not meet the policy",
        "denied" => "an operator turned it down",
        "evicted" => "an operator had it forgotten; it may enrol anew",
        "frozen" => "two machines used its identity at once: nothing is issued until an operator decides",
        "banned" => "an operator banned it",
        _ => "",
    }
}

/// What an attempt came to.
pub(super) fn of_verdict(verdict: &str) -> &'static str {
    match verdict {
        "admitted" => "the machine met the policy, and got or kept its identity",
        "refused" => "the machine got nothing; the next table says why",
        "awaits_approval" | "awaits-approval" => "the machine met the policy, and an operator must approve it",
        _ => "",
    }
}

/// Whose word an admitted node's proof rests on.
pub(super) fn of_class(class: &str) -> &'static str {
    match class {
        "discrete" => "a security chip of its own",
        "firmware" => "a TPM in the platform's firmware or security processor",
        "vtpm" => "a TPM that a hypervisor emulates",
        "cloud" => "a TPM or enclave that a cloud provider vouches for",
        "simulated" => "a software TPM for tests: proves nothing about hardware",
        _ => "",
    }
}

fn row(line: &'static str) -> Option<(&'static str, String)> {
    let (code, words) = line.strip_prefix("| `")?.split_once("` | ")?;
    let words = words.strip_suffix(" |")?;
    // The form of a message alone tells a reader nothing.
    (!words.contains('…')).then(|| (code, without_markup(words)))
}

/// The page's words without code marks and the addresses of links.
fn without_markup(words: &str) -> String {
    let mut plain = String::with_capacity(words.len());
    let mut rest = words;
    while let Some((before, link)) = rest.split_once("](") {
        plain.push_str(before);
        rest = link.split_once(')').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain.replace(['`', '['], "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NodeState;

    #[test]
    fn codes_have_the_words_of_the_page_without_its_markup() {
        assert_eq!(
            of_code("policy.fact.below_minimum"),
            "the fact is below at_least or, in a component, below each_at_least"
        );
        assert_eq!(of_code("admin.argument"), "", "the form of a message says nothing");
        assert_eq!(of_code("no.such_code"), "");
        assert!(WORDS.len() > 400, "{}", WORDS.len());
        assert!(WORDS.values().all(|words| !words.contains(['`', '[']) && !words.contains("](")));
    }

    #[test]
    fn every_state_has_words() {
        for state in NodeState::ALL {
            assert_ne!(of_state(state.as_str()), "", "{}", state.as_str());
        }
        for class in holdfast_evidence::TrustClass::ALL {
            assert_ne!(of_class(class.as_str()), "");
        }
    }
}
