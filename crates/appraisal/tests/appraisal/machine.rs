//! A machine's facts, records and clock for tests, and policies around one rule.

use holdfast_appraisal::decision::{Appraiser, Approval, InventoryAnswer, Listing, MachineRecord, Ownership, Verdict};
use holdfast_appraisal::facts::{Explained, Fact, FactId, Facts};
use holdfast_appraisal::finding::Finding;
use holdfast_appraisal::{Document, Policy, Value};
use holdfast_evidence::Provenance;
use holdfast_identity::UnixTime;

/// 2026-06-01T00:00:00Z.
pub(crate) const NOW: UnixTime = UnixTime(1_780_272_000);

pub(crate) const EK: [u8; 32] = [0xe1; 32];

/// A digest of 32 equal bytes, in hex.
pub(crate) fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

/// The good machine: class firmware, one EK, Secure Boot on, two applications, one command line.
pub(crate) fn machine() -> Facts {
    let mut facts = Facts::new();
    for (name, values) in [
        ("tpm.machine", vec![hex(0xe1)]),
        ("tpm.class", vec!["firmware".to_owned()]),
        ("tpm.ek.spki_sha256", vec![hex(0xe1)]),
        ("tpm.manufacturer", vec!["id:49465800".to_owned()]),
        ("tpm.firmware_version", vec!["7.85.4555.0".to_owned()]),
        ("tpm.secure_boot.enabled", vec!["true".to_owned()]),
        ("tpm.secure_boot.db", vec![format!("x509:{}", hex(0xdb)), format!("x509:{}", hex(0xdc))]),
        ("tpm.secure_boot.dbx", vec![format!("sha256:{}", hex(1)), format!("sha256:{}", hex(2))]),
        ("tpm.boot.applications", vec![hex(0xa1), hex(0xa2)]),
        ("tpm.boot.command_lines", vec!["root=/dev/sda1 ro".to_owned()]),
    ] {
        set(&mut facts, name, &values);
    }
    facts
}

/// Gives a fact other values.
pub(crate) fn set(facts: &mut Facts, name: &str, values: &[String]) {
    let id = FactId::parse(name).unwrap();
    let value_type = id.definition().value_type;
    let values = values.iter().map(|text| Value::parse(value_type, text).unwrap()).collect();
    facts.insert(id, Fact::of(Provenance::Hardware, values));
}

/// The machine with one fact changed.
pub(crate) fn with(name: &str, values: &[&str]) -> Facts {
    let mut facts = machine();
    set(&mut facts, name, &values.iter().map(ToString::to_string).collect::<Vec<_>>());
    facts
}

/// The machine without one fact.
pub(crate) fn without(name: &str) -> Facts {
    let mut facts = machine();
    facts.remove(FactId::parse(name).unwrap()).unwrap();
    facts
}

/// The machine with a PCR that was extended and that no event explains.
pub(crate) fn unexplained(pcr: u8) -> Facts {
    let mut facts = with(&format!("tpm.pcr.{pcr}"), &[&hex(0x99)]);
    facts.quoted_pcr(pcr, Explained::Not);
    facts
}

/// Records of a machine whose EK the inventory lists.
pub(crate) fn listed() -> Ownership {
    let inventory = vec![InventoryAnswer { digest: EK, listing: Listing::Listed }];
    Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New }
}

/// A policy of one rule (ownership by inventory) with these lines under it.
pub(crate) fn policy_text(rule: &str) -> String {
    format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"test\"\n\
         [issue]\nnode_id = \"/holdfast/node/tpm/{{tpm.machine}}\"\n\
         [[rule]]\nname = \"rack\"\nownership = \"inventory\"\ntrust_classes = [\"firmware\"]\n{rule}\n"
    )
}

pub(crate) fn parse(text: &str) -> Result<Policy, Vec<Finding>> {
    Policy::parse(Document { name: "p.toml", text }, &[])
}

pub(crate) fn policy(rule: &str) -> Policy {
    let text = policy_text(rule);
    parse(&text).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}"))
}

pub(crate) fn judge(policy: &Policy, facts: &Facts, ownership: &Ownership) -> Verdict {
    Appraiser::new("example.org".parse().unwrap()).judge(policy, facts, ownership, NOW)
}

/// The code of the decision, and the codes of what differs; `admitted` where the machine is.
pub(crate) fn codes(verdict: &Verdict) -> (&'static str, Vec<&'static str>) {
    match verdict {
        Verdict::Admit(_) => ("admitted", Vec::new()),
        Verdict::AwaitsApproval(rejection) | Verdict::Refuse(rejection) => {
            (rejection.code, rejection.because().collect())
        }
    }
}

/// What becomes of `facts` under a rule with these lines, the machine being listed.
pub(crate) fn outcome(rule: &str, facts: &Facts) -> (&'static str, Vec<&'static str>) {
    codes(&judge(&policy(rule), facts, &listed()))
}
