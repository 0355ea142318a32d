//! The largest policies that a server takes: a decision by them can be proven.

use std::fmt::Write as _;

use holdfast_appraisal::policy::{Bundle, BundleFile};
use holdfast_proof::{Digest, PROOF_BYTES_MAX, ProofBundle};

use crate::sample::{Lie, refuted};

/// Bytes of a policy and its files at most, as the server takes them.
const POLICY_BYTES_MAX: usize = 100 << 20;
const DIGESTS: usize = 1_000_000;

/// A policy with a million digests of files, each with its path.
fn policy(name: &str) -> Bundle {
    let text = format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = {name:?}\n[issue]\nnode_id = \"/holdfast/node/tpm/{{tpm.machine}}\"\n[[rule]]\nname = \"files\"\n\
         ownership = \"inventory\"\ntrust_classes = [\"discrete\"]\nrequire.tpm.secure_boot.enabled = true\n\
         [rule.ima]\ndigests = \"all.digests\"\n"
    );
    let mut digests = String::with_capacity(DIGESTS * 96);
    for number in 0..DIGESTS {
        writeln!(digests, "{number:064x}  /usr/lib/{number}").unwrap();
    }
    let file = |name: &str, text: String| BundleFile { name: name.to_owned(), text };
    Bundle { policy: file("policy.toml", text), references: vec![file("all.digests", digests)] }
}

#[test]
fn two_policies_with_a_million_digests_each_are_within_a_proof() {
    let mut lie = Lie::about("admitted");
    let (enforced, observed) = (policy("one"), policy("two"));
    let compiled = enforced.parse().unwrap_or_else(|findings| panic!("{findings:?}"));
    let digest = Digest::from_hex(&compiled.version().digest);
    lie.manifest.policy = digest;
    lie.entry["policy"] = digest.unwrap().to_string().into();
    lie.bundle.policies = vec![enforced, observed];
    let bytes = lie.told().encode();
    assert!(bytes.len() > 150 << 20);
    let bundle = ProofBundle::parse(&bytes).unwrap();
    drop(bytes);
    // The policy is read, and known to be the recorded one; that it decided nothing here is found.
    let failures = refuted(&bundle);
    assert!(failures.contains(&"proof.decision_differs"), "{failures:?}");
}

#[test]
fn the_bound_has_room_for_two_policies_of_the_largest_size_whose_every_letter_is_escaped() {
    let lines = "\n".repeat(1 << 10);
    let escaped = serde_json::to_string(&lines).unwrap().len() - 2;
    assert_eq!(escaped, 2 * lines.len(), "a letter becomes two");
    let list_in_base64 = (32 << 20) / 3 * 4;
    assert!(2 * 2 * POLICY_BYTES_MAX + 2 * list_in_base64 <= PROOF_BYTES_MAX);
}
