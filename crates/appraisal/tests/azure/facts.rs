//! Which facts an Azure machine becomes, who vouches for each, and which it does not become.

use std::collections::BTreeMap;

use holdfast_appraisal::FactId;
use holdfast_appraisal::facts::{AzureSources, Facts, azure, owner_marks};
use holdfast_evidence::crypto::sha256;
use holdfast_evidence::{EvidenceKind, Provenance, TrustClass};

use crate::machine::Machine;
use crate::paravisor::Ak;

fn facts(mut machine: Machine) -> Facts {
    azure(&AzureSources::from(machine.verify().unwrap().claims()))
}

/// Values and provenance by name, of those whose name begins so.
fn shown(facts: &Facts, prefix: &str) -> BTreeMap<String, (String, Provenance)> {
    let with = facts.iter().filter(|(id, _)| id.to_string().starts_with(prefix));
    with.map(|(id, fact)| {
        for value in &fact.values {
            assert_eq!(value.value_type(), id.definition().value_type, "{id}");
        }
        (id.to_string(), (fact.values.first().map(ToString::to_string).unwrap_or_default(), fact.provenance))
    })
    .collect()
}

#[test]
fn every_fact_of_an_snp_machine_has_its_value_and_its_voucher() {
    let mut machine = Machine::snp().with(|machine| {
        machine.certify(|_| {});
        machine.runtime_data = machine.runtime_data.replacen("thumbprint\":\"", "thumbprint\":\"6nZZ", 1);
        let zeros = "0".repeat(128);
        machine.runtime_data = machine.runtime_data.replace(&zeros, &"0a".repeat(64));
    });
    let verified = machine.verify().unwrap();
    let facts = azure(&AzureSources::from(verified.claims()));
    let ak = sha256(&[&Ak::own().key().spki()]);
    let id = "26f8bc30-774e-4290-8e7a-535f3b672aee";
    let instance = hex::encode(sha256(&[b"azure.instance", id.as_bytes(), &ak]));
    let root = hex::encode(verified.claims().root.sha256);
    let ak_root = hex::encode(verified.claims().ak_certificate.as_ref().unwrap().root.sha256);
    let (hardware, paravisor) = (Provenance::Hardware, Provenance::Paravisor);
    let expected = [
        ("azure.instance", instance.as_str(), paravisor),
        ("azure.class", "firmware", hardware),
        ("azure.root.sha256", &root, hardware),
        ("azure.root.name", "ARK-Milan", hardware),
        ("azure.hardware", "snp", hardware),
        ("azure.vm_unique_id", id, paravisor),
        ("azure.ak.spki_sha256", &hex::encode(ak), paravisor),
        ("azure.ak.subject", "2ede2d532aaf.ConfidentialVM.Azure.windows.net", Provenance::Provider),
        ("azure.ak.root.sha256", &ak_root, Provenance::Provider),
        ("azure.ak.root.name", "Made-up Virtual TPM Root CA", Provenance::Provider),
        ("azure.secure_boot", "true", paravisor),
        ("azure.console_enabled", "true", paravisor),
        ("azure.tpm_enabled", "true", paravisor),
        ("azure.tpm_persisted", "true", paravisor),
        ("azure.filtered_vpci_devices_allowed", "false", paravisor),
        ("azure.root_cert_thumbprint", "6nZZ", paravisor),
        ("azure.user_data", &"0a".repeat(64), Provenance::Unauthenticated),
    ];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(name, value, by)| (name.to_owned(), (value.to_owned(), by))).collect();
    assert_eq!(shown(&facts, "azure."), expected);
}

#[test]
fn what_the_hardware_says_keeps_its_own_words_and_weight() {
    let snp = facts(Machine::snp());
    let shown_snp = shown(&snp, "snp.");
    assert_eq!(shown_snp["snp.measurement"], ("44".repeat(48), Provenance::Hardware));
    assert_eq!(shown_snp["snp.report_id"], ("77".repeat(32), Provenance::Hardware));
    assert!(!shown_snp.contains_key("snp.class"), "there is no item of kind snp");
    let tdx = facts(Machine::tdx());
    let shown_tdx = shown(&tdx, "tdx.");
    assert_eq!(shown_tdx["tdx.mrtd"], ("01".repeat(48), Provenance::Hardware));
    assert!(!shown_tdx.contains_key("tdx.class") && !shown_tdx.contains_key("tdx.instance"));
    for facts in [&snp, &tdx] {
        assert_eq!(facts.kinds().collect::<Vec<_>>(), [EvidenceKind::Azure]);
        let boot = shown(facts, "tpm.");
        assert_eq!(boot["tpm.secure_boot.enabled"], ("true".to_owned(), Provenance::Paravisor));
        assert_eq!(boot["tpm.pcr.11"].1, Provenance::Paravisor);
        assert!(!boot.contains_key("tpm.class") && !boot.contains_key("tpm.machine"));
    }
}

#[test]
fn with_trusted_launch_all_is_the_providers_word() {
    let facts = facts(Machine::trusted_launch());
    assert!(shown(&facts, "").values().all(|(_, by)| *by == Provenance::Provider));
    let azure = shown(&facts, "azure.");
    assert_eq!((azure["azure.hardware"].0.as_str(), azure["azure.class"].0.as_str()), ("none", "cloud"));
    assert!(!azure.contains_key("azure.vm_unique_id") && !azure.contains_key("azure.secure_boot"));
    assert_eq!(shown(&facts, "snp.").len() + shown(&facts, "tdx.").len(), 0);
}

#[test]
fn below_a_simulators_root_everything_is_simulated() {
    for machine in [
        Machine::snp().with(|machine| machine.guest().class = TrustClass::Simulated),
        Machine::tdx().with(|machine| machine.td().class = TrustClass::Simulated),
        Machine::trusted_launch().with(|machine| machine.ak_class = Some(TrustClass::Simulated)),
    ] {
        let facts = facts(machine);
        assert!(shown(&facts, "").values().all(|(_, by)| *by == Provenance::Simulated));
    }
}

#[test]
fn what_makes_a_machine_ours_is_its_id_its_key_or_what_the_hardware_says() {
    let owned = |machine: Machine| {
        let marks: Vec<String> = owner_marks(&facts(machine)).map(|mark| mark.fact.to_string()).collect();
        marks
    };
    let snp = ["snp.chip_id", "snp.launch", "azure.vm_unique_id", "azure.ak.spki_sha256"];
    assert_eq!(owned(Machine::snp()), snp);
    assert_eq!(owned(Machine::trusted_launch()), ["azure.ak.spki_sha256"]);
    let user = FactId::parse("azure.user_data").unwrap();
    assert!(facts(Machine::snp()).get(user).is_none(), "zeros say nothing");
}
