//! Whose word for a machine is believed: classes of makers' roots, and what the inventory lists as what.

use holdfast_appraisal::Value;
use holdfast_appraisal::decision::{InventoryAnswer, Listing, Ownership};
use holdfast_appraisal::facts::{Fact, FactId, Facts, owner_digest};
use holdfast_evidence::Provenance;

use crate::decision::{REFUSED, require};
use crate::machine::{codes, hex, judge, listed, machine, parse, policy, policy_text, without};

/// The machine with a platform's name of this class, and records that list that name alone.
fn named_by_its_maker(class: Option<&str>) -> (Facts, Ownership) {
    let serial = FactId::parse("tpm.platform.id").unwrap();
    let value = Value::text("Maker Inc./SN1");
    let inventory = vec![InventoryAnswer { digest: owner_digest(serial, &value), listing: Listing::Listed }];
    let mut facts = machine();
    let provenance = if class == Some("simulated") { Provenance::Simulated } else { Provenance::Hardware };
    facts.insert(serial, Fact::of(provenance, vec![value]));
    if let Some(class) = class {
        facts.insert(FactId::parse("tpm.platform.class").unwrap(), Fact::of(provenance, vec![Value::text(class)]));
    }
    (facts, Ownership { inventory, ..listed() })
}

#[test]
fn a_makers_root_of_a_lower_class_satisfies_no_rule_for_a_higher_one() {
    let firmware = policy("");
    for (class, is_admitted) in [
        (Some("discrete"), true),
        (Some("firmware"), true),
        (Some("vtpm"), false),
        (Some("cloud"), false),
        (Some("simulated"), false),
        (Some("nonsense"), false),
        (None, false),
    ] {
        let (facts, by_serial) = named_by_its_maker(class);
        let (code, because) = codes(&judge(&firmware, &facts, &by_serial));
        assert_eq!(code == "admitted", is_admitted, "{class:?}: {because:?}");
        assert!(is_admitted || because.contains(&"policy.trust_class"), "{class:?}: {because:?}");
        // Whatever else makes the machine ours: nothing of it rests on somebody whom the rule does not believe.
        assert_eq!(codes(&judge(&firmware, &facts, &listed())).0 == "admitted", is_admitted, "{class:?}");
    }
    let all = parse(&policy_text("").replace("[\"firmware\"]", "[\"firmware\", \"simulated\"]")).unwrap();
    let (facts, by_serial) = named_by_its_maker(Some("simulated"));
    assert_eq!(codes(&judge(&all, &facts, &by_serial)).0, "admitted");
}

#[test]
fn what_a_simulated_maker_says_meets_no_condition_of_a_rule_for_hardware() {
    let anyone = policy_text(&require("tpm.platform.id = \"Maker Inc./SN1\""))
        .replace("\"inventory\"", "\"any-genuine-device\"\nownership_reason = \"a test\"");
    let policy = parse(&anyone).unwrap();
    for (class, expected) in [("discrete", "admitted"), ("simulated", REFUSED)] {
        let (facts, _) = named_by_its_maker(Some(class));
        assert_eq!(codes(&judge(&policy, &facts, &Ownership::unknown())).0, expected, "{class}");
    }
}

#[test]
fn the_digest_of_a_key_lists_no_key_of_another_role() {
    let ek = listed().inventory[0].digest;
    let owned_by = |fact: &str, listing| {
        let id = FactId::parse(fact).unwrap();
        let mut facts = without("tpm.ek.spki_sha256");
        let class = fact.replace("spki_sha256", "class").replace("certificate_sha256", "class");
        for (name, value) in [(fact, hex(ek[0])), (class.as_str(), "firmware".to_owned())] {
            let id = FactId::parse(name).unwrap();
            let value = Value::parse(id.definition().value_type, &value).unwrap();
            facts.insert(id, Fact::of(Provenance::Hardware, vec![value]));
        }
        let value = facts.get(id).unwrap().values[0].clone();
        let judged = |digest| {
            let inventory = vec![InventoryAnswer { digest, listing }];
            codes(&judge(&policy(""), &facts, &Ownership { inventory, ..listed() })).0 == "admitted"
        };
        (judged(ek), judged(owner_digest(id, &value)))
    };
    for fact in [
        "tpm.iak.spki_sha256",
        "tpm.iak.certificate_sha256",
        "tpm.idevid.spki_sha256",
        "tpm.platform.certificate_sha256",
    ] {
        assert_eq!(owned_by(fact, Listing::Listed), (false, true), "{fact}");
        assert_eq!(owned_by(fact, Listing::ListedBare), (true, true), "{fact}: as it was listed before");
    }
    // And what is listed as an IAK is no endorsement key.
    let iak = FactId::parse("tpm.iak.spki_sha256").unwrap();
    let digest = owner_digest(iak, &Value::parse(iak.definition().value_type, &hex(ek[0])).unwrap());
    let inventory = vec![InventoryAnswer { digest, listing: Listing::Listed }];
    assert_eq!(codes(&judge(&policy(""), &machine(), &Ownership { inventory, ..listed() })).0, REFUSED);
}
