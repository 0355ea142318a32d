//! By what a policy version may be enforced for some nodes alone. A machine must not choose the policy that judges it:
//! only what it can neither choose nor leave out may. Decides about nobody.

use std::collections::BTreeSet;

use holdfast_appraisal::facts::{FactId, Facts};
use holdfast_evidence::Provenance;
use holdfast_identity::Selector;

/// Facts that stand for the life of a machine and that its evidence cannot be shown without: vendor's names in
/// certificates, products, accounts, and the name by which the machine stands on record.
///
/// None of what it booted, and no firmware or TCB, which whoever holds the machine can turn back. None that it brings
/// along or leaves behind as it likes: single endorsement keys and the roots above them (it may offer fewer), the kind of
/// key that signs an SNP report and who that key is of (the guest asks for one), the class of an Azure machine (which
/// changes with the report that it adds).
const FIXED: [&str; 19] = [
    "azure.instance",
    "gcp.class",
    "gcp.instance_id",
    "gcp.project_id",
    "gcp.project_number",
    "nitro.class",
    "nitro.region",
    "nitrotpm.class",
    "nitrotpm.instance_id",
    "nitrotpm.region",
    "snp.class",
    "snp.product",
    "snp.root.sha256",
    "tdx.class",
    "tdx.fmspc",
    "tpm.machine",
    "tpm.manufacturer",
    "tpm.model",
    "tpm.version",
];

/// What of these facts is put on record of a machine, beside and whatever its policy issues. Nothing that it merely says.
#[must_use]
pub fn fixed_selectors(facts: &Facts) -> BTreeSet<Selector> {
    let of = |name: &&str| {
        let id = FactId::parse(name)?;
        let (prefix, fact) = (id.selector()?, facts.get(id)?);
        let vouched = fact.provenance != Provenance::Unauthenticated;
        let values = fact.values.iter().filter(move |_| vouched);
        // What cannot be spelt as a selector chooses nothing: the version for all others judges such a machine.
        Some(values.filter_map(move |value| format!("{prefix}:{value}").parse().ok()))
    };
    FIXED.iter().filter_map(of).flatten().collect()
}

/// The selector does not choose a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{selector:?} cannot choose a policy: a machine could change it or leave it out, and choose what judges it; only \
     selectors of {} can",
    FIXED.join(", ")
)]
pub struct NotFixed {
    /// The selector.
    pub selector: String,
}

/// Checks that a machine cannot change what `selector` says of it.
///
/// # Errors
/// [`NotFixed`].
pub fn scope_selector(selector: &Selector) -> Result<(), NotFixed> {
    let text = selector.to_string();
    let is_of = |name: &&str| {
        let prefix = FactId::parse(name).and_then(FactId::selector);
        prefix.is_some_and(|prefix| text.strip_prefix(&prefix).is_some_and(|rest| rest.starts_with(':')))
    };
    if FIXED.iter().any(is_of) { Ok(()) } else { Err(NotFixed { selector: text }) }
}

#[cfg(test)]
mod tests {
    use holdfast_appraisal::Value;
    use holdfast_appraisal::facts::{Fact, Subject};

    use super::*;

    #[test]
    fn each_fixed_fact_is_one_and_becomes_a_selector_and_none_is_of_a_state() {
        for name in FIXED {
            let fact = FactId::parse(name).unwrap_or_else(|| panic!("{name} is no fact"));
            assert!(fact.selector().is_some(), "{name}");
            assert_ne!(fact.definition().subject, Subject::State, "{name}");
        }
    }

    #[test]
    fn what_a_machine_can_change_chooses_no_policy() {
        let check = |text: &str| scope_selector(&text.parse().unwrap());
        assert_eq!(check("tpm:manufacturer:id:49465800"), Ok(()));
        assert_eq!(check("snp:product:Milan"), Ok(()));
        for changeable in [
            "tpm:secure_boot:false",
            "tpm:firmware_version:1.2.3.4",
            "tpm:command_line:quiet",
            "tpm:pcr:7:00",
            "tdx:tcb_status:UpToDate",
            "tpm:ek:00",
            "tpm:ek_certificate:00",
            "tpm:root:00",
            "tpm:class:discrete",
            "snp:csp_id:provider",
            "snp:signing_key:vlek",
            "azure:class:cloud",
            "tpm:manufacturers:x",
            "x:y",
        ] {
            assert!(check(changeable).is_err(), "{changeable}");
        }
    }

    #[test]
    fn what_is_fixed_is_put_on_record_whatever_is_issued_and_nothing_else() {
        let mut facts = Facts::new();
        let mut add = |id, provenance, values: &[&str]| {
            facts.insert(id, Fact::of(provenance, values.iter().map(|value| Value::text(value)).collect()));
        };
        add(FactId::Manufacturer, Provenance::Hardware, &["id:49465800", "id:\n"]);
        add(FactId::Model, Provenance::Unauthenticated, &["what it says"]);
        add(FactId::Class, Provenance::Hardware, &["discrete"]);
        add(FactId::CommandLines, Provenance::Hardware, &["quiet"]);
        let fixed: Vec<String> = fixed_selectors(&facts).iter().map(ToString::to_string).collect();
        assert_eq!(fixed, ["tpm:manufacturer:id:49465800"]);
    }
}
