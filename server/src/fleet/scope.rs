//! By which selectors a policy version may be enforced for some nodes alone. A machine must not choose the policy that
//! judges it: only what it cannot change while it is the same machine may choose. Decides about nobody.

use holdfast_appraisal::facts::FactId;
use holdfast_identity::Selector;

/// Facts that stand for the life of a machine: certified keys, vendor's names in certificates, products, accounts.
/// None of what it booted, and no firmware or TCB, which whoever holds the machine can turn back.
const FIXED: [&str; 25] = [
    "azure.class",
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
    "snp.csp_id",
    "snp.product",
    "snp.root.sha256",
    "tdx.class",
    "tdx.fmspc",
    "tpm.class",
    "tpm.ek.certificate_sha256",
    "tpm.ek.spki_sha256",
    "tpm.machine",
    "tpm.manufacturer",
    "tpm.model",
    "tpm.root.sha256",
    "tpm.version",
];

/// The selector does not choose a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{selector:?} cannot choose a policy: a machine could change it, and choose what judges it; only selectors of {} can",
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
    use holdfast_appraisal::facts::Subject;

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
        assert_eq!(check("tpm:class:vtpm"), Ok(()));
        for changeable in [
            "tpm:secure_boot:false",
            "tpm:firmware_version:1.2.3.4",
            "tpm:command_line:quiet",
            "tpm:pcr:7:00",
            "tdx:tcb_status:UpToDate",
            "tpm:classes:vtpm",
            "x:y",
        ] {
            assert!(check(changeable).is_err(), "{changeable}");
        }
    }
}
