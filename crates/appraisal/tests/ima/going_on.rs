//! Judging a list that grows: only what is new is read, and nothing that was refused is forgotten.

use holdfast_appraisal::ima::{ImaState, ImaUnusable, judge};
use holdfast_evidence::tpm::ima::Quoted;
use holdfast_evidence::tpm::{Bank, PcrValues};

use crate::list::{self, Written, quoted};
use crate::scene::{good, policy, quoted_pcrs, state, with};

fn go_on(policy: &holdfast_appraisal::Policy, held: &ImaState, entries: &[Written]) -> Result<ImaState, ImaUnusable> {
    let list = list::bytes(entries);
    let quoted = quoted(entries);
    let from = usize::try_from(held.resume.offset).unwrap();
    judge(policy, &list[from..], Some(held), &quoted, &quoted_pcrs(&quoted))
}

#[test]
fn a_list_in_two_parts_is_judged_as_in_one() {
    let policy = policy("");
    let whole = [good(), vec![Written::ng(&[9; 32], "/tmp/x"), Written::ng(&[1; 32], "/usr/bin/y")]].concat();
    for split in 1..whole.len() {
        let first = state(&policy, &whole[..split]).unwrap();
        assert_eq!(go_on(&policy, &first, &whole).unwrap(), state(&policy, &whole).unwrap(), "{split}");
    }
}

#[test]
fn an_old_refusal_stands_although_its_entry_is_not_read_again() {
    let policy = policy("");
    let bad = with(Written::ng(&[9; 32], "/tmp/x"));
    let first = state(&policy, &bad).unwrap();
    let later = go_on(&policy, &first, &[bad, vec![Written::ng(&[1; 32], "/usr/bin/y")]].concat()).unwrap();
    assert!(!later.rules["rack"].is_good());
    assert_eq!(later.rules["rack"].first[0].index, 3);
}

#[test]
fn an_unchanged_list_is_judged_without_its_bytes() {
    let policy = policy("");
    let first = state(&policy, &good()).unwrap();
    let quoted = quoted(&good());
    assert_eq!(judge(&policy, b"", Some(&first), &quoted, &quoted_pcrs(&quoted)).unwrap(), first);
}

#[test]
fn a_state_is_kept_as_text_and_read_back() {
    let state = state(&policy(""), &with(Written::ng(&[9; 32], "/tmp/x \u{7}"))).unwrap();
    assert_eq!(ImaState::parse(&state.encode()), Some(state.clone()));
    assert_eq!(ImaState::parse(&state.encode().replace("\"version\":2", "\"version\":1")), None);
    assert_eq!(ImaState::parse("{}"), None);
}

#[test]
fn another_version_of_the_policy_begins_at_the_first_entry() {
    let first = state(&policy(""), &good()).unwrap();
    let unusable = go_on(&policy("violations = \"tolerated\""), &first, &good()).unwrap_err();
    assert_eq!((unusable.code(), unusable.wants_the_whole_list()), ("policy.ima.other_policy", true));
}

#[test]
fn a_list_goes_on_only_under_the_boot_registers_that_it_began_under() {
    let policy = policy("");
    let first = state(&policy, &good()).unwrap();
    let mut quoted = quoted(&good());
    quoted.boot = Quoted::boot(&PcrValues::new(Bank::Sha256));
    let unusable = judge(&policy, b"", Some(&first), &quoted, &quoted_pcrs(&quoted)).unwrap_err();
    assert_eq!((unusable.code(), unusable.wants_the_whole_list()), ("tpm.ima.other_pcrs", true));
}
