//! What relying parties are told of the files that ran.

use holdfast_appraisal::Value;
use holdfast_appraisal::ear::{Claim, ItemResult, appraised};
use holdfast_appraisal::facts::{Explained, Fact, FactId};
use holdfast_appraisal::ima::{ImaSeen, attach};
use holdfast_evidence::Provenance;
use holdfast_evidence::crypto::sha256;

use crate::list::{Written, quoted};
use crate::scene::{decide_facts, facts, good, policy, state, with};

const BOOT: &str = "[rule.require]\ntpm.pcr.4 = \"0404040404040404040404040404040404040404040404040404040404040404\"\n\
                    tpm.pcr.9 = \"0909090909090909090909090909090909090909090909090909090909090909\"\n";

/// The claim about executables under a rule whose `ima` table says this besides, and what follows the table.
fn executables(more: &str, entries: &[Written]) -> Option<(i8, String)> {
    let policy = policy(more);
    let mut facts = facts(&quoted(entries));
    for pcr in [4, 9] {
        let value = Value::Digest(holdfast_appraisal::digest_of(&[pcr; 32]).unwrap());
        facts.insert(FactId::Pcr(pcr), Fact::of(Provenance::Hardware, vec![value]));
        facts.quoted_pcr(pcr, Explained::ByEvents);
    }
    attach(&mut facts, &policy, Some(&ImaSeen::Judged(state(&policy, entries).unwrap())));
    let verdict = decide_facts(&policy, &facts);
    let results = appraised(&policy, &facts, (&verdict).into());
    let [ItemResult { vector, because, .. }] = results.as_slice() else { panic!("{results:#?}") };
    let why = because.get(&Claim::Executables)?;
    Some((vector.get(Claim::Executables), why.clone()))
}

#[test]
fn what_was_named_at_boot_and_listed_after_it_is_approved_during_and_after_the_boot() {
    let (value, why) = executables(BOOT, &good()).unwrap();
    assert_eq!(value, 2, "{why}");
    assert!(why.ends_with("every measured file is listed or signed"), "{why}");
}

#[test]
fn what_a_rule_leaves_to_itself_leaves_the_claim_at_the_boot() {
    for room in ["exclude = \"/var/**\"", "violations = \"tolerated\"", "buffer_names = \"kexec-cmdline\""] {
        assert_eq!(executables(&format!("{room}\n{BOOT}"), &good()).unwrap().0, 3, "{room}");
    }
}

#[test]
fn a_list_under_a_boot_that_nobody_named_earns_nothing() {
    assert_eq!(executables("", &good()), None);
}

#[test]
fn a_measured_file_that_is_refused_is_not_recognised() {
    let buffer = Written::buf("sha256", &sha256(&[b"x"]), "kexec-cmdline", b"x");
    for (entry, code) in [
        (Written::ng(&[9; 32], "/tmp/x"), "policy.ima.not_allowed"),
        (Written::violation("/usr/bin/init"), "policy.ima.violation"),
        (buffer, "policy.ima.buffer"),
    ] {
        assert_eq!(executables(BOOT, &with(entry)).unwrap(), (33, code.to_owned()));
    }
}
