//! Facts of documents of the Nitro hypervisor, and what policies may rest on them.

use holdfast_appraisal::decision::{Appraiser, Approval, InventoryAnswer, Listing, MachineRecord, Ownership, Verdict};
use holdfast_appraisal::facts::{Facts, NitroSources, nitro, nitrotpm, owner_marks};
use holdfast_appraisal::{FactId, Policy};
use holdfast_evidence::crypto::{Digest, HashAlg};
use holdfast_evidence::nitro::checks::measured_text;
use holdfast_evidence::nitro::{DocumentKind, ModuleId};
use holdfast_evidence::x509::RootIdentity;
use holdfast_evidence::{Provenance, TrustClass};

use crate::machine::{NOW, codes, parse};

const INSTANCE: &str = "i-0123456789abcdef0";
const ROLE: &str = "arn:aws:iam::123456789012:role/enclaves";

fn digest(byte: u8) -> Digest {
    Digest::new(HashAlg::Sha384, &[byte; 48]).unwrap()
}

fn root(class: TrustClass) -> RootIdentity {
    RootIdentity { name: "aws.nitro-enclaves".to_owned(), sha256: [0x64; 32], class }
}

/// The facts of an enclave with a role and without a signature.
fn enclave(class: TrustClass) -> Facts {
    let module_id = ModuleId::parse(DocumentKind::Enclave, &format!("{INSTANCE}-enc0123456789abcdef")).unwrap();
    let zero = Digest::zero(HashAlg::Sha384);
    let pcrs = [(0, digest(0x10)), (1, digest(0x11)), (2, digest(0x12)), (3, measured_text(ROLE)), (8, zero)];
    let root = root(class);
    let region = Some("eu-west-1");
    nitro(&NitroSources { module_id: &module_id, region, pcrs: &pcrs, public_key: None, root: &root })
}

fn tpm() -> Facts {
    let module_id = ModuleId::parse(DocumentKind::Tpm, &format!("{INSTANCE}-tpm0000000000000000")).unwrap();
    let pcrs = [(4, digest(0x24)), (12, Digest::zero(HashAlg::Sha384))];
    let root = root(TrustClass::Cloud);
    let public_key = Some(&b"somebody's key"[..]);
    nitrotpm(&NitroSources { module_id: &module_id, region: None, pcrs: &pcrs, public_key, root: &root }, None)
}

fn value(facts: &Facts, name: &str) -> Option<String> {
    facts.get(FactId::parse(name).unwrap()).map(|fact| fact.values[0].to_string())
}

fn policy(kind: &str, node_id: &str, rule: &str) -> String {
    format!(
        "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"test\"\n\
         [issue]\nnode_id = \"/holdfast/node/{node_id}\"\nmax_evidence_age = \"1h\"\nsvid_ttl = \"1h\"\n\
         [[rule]]\nname = \"enclaves\"\nevidence = [\"{kind}\"]\nownership = \"inventory\"\n\
         trust_classes = [\"cloud\"]\n{rule}\n"
    )
}

fn read(text: &str) -> Policy {
    parse(text).unwrap_or_else(|findings| panic!("{findings:#?}\n{text}"))
}

/// What becomes of the facts if the operator listed what `listed` names.
fn outcome(rule: &str, facts: &Facts, listed: &[&str]) -> (&'static str, Vec<&'static str>) {
    let marks = owner_marks(facts).filter(|mark| listed.contains(&mark.fact.to_string().as_str()));
    let inventory = marks.map(|mark| InventoryAnswer { digest: mark.digest, listing: Listing::Listed }).collect();
    let ownership = Ownership { inventory, approval: Approval::NotGiven, machine: MachineRecord::New };
    let policy = read(&policy("nitro", "nitro/{nitro.module_id}", rule));
    codes(&Appraiser::new("example.org".parse().unwrap()).judge(&policy, facts, &ownership, NOW))
}

#[test]
fn pcrs_have_readable_names_and_unused_ones_are_no_facts() {
    let facts = enclave(TrustClass::Cloud);
    for (name, byte) in [("image", 0x10), ("kernel", 0x11), ("application", 0x12), ("pcr.0", 0x10), ("pcr.2", 0x12)] {
        assert_eq!(value(&facts, &format!("nitro.{name}")), Some(digest(byte).to_string()), "{name}");
    }
    assert_eq!(value(&facts, "nitro.signer"), None);
    assert_eq!(value(&facts, "nitro.pcr.8"), None);
    assert_eq!(value(&facts, "nitro.module_id").unwrap(), format!("{INSTANCE}-enc0123456789abcdef"));
    assert_eq!(value(&facts, "nitro.instance_id").as_deref(), Some(INSTANCE));
    assert_eq!(value(&facts, "nitro.region").as_deref(), Some("eu-west-1"));
    // of a TPM, zero is a value
    assert_eq!(value(&tpm(), "nitrotpm.pcr.12"), Some("00".repeat(48)));
}

#[test]
fn every_fact_says_that_the_provider_or_a_simulator_vouches_for_it() {
    for (class, expected) in [(TrustClass::Cloud, Provenance::Provider), (TrustClass::Simulated, Provenance::Simulated)]
    {
        assert!(enclave(class).iter().all(|(_, fact)| fact.provenance == expected));
    }
    for (id, fact) in tpm().iter() {
        let is_key = id.to_string() == "nitrotpm.public_key.sha256";
        let expected = if is_key { Provenance::Unauthenticated } else { Provenance::Provider };
        assert_eq!(fact.provenance, expected, "{id}");
    }
}

#[test]
fn a_role_is_compared_by_its_arn() {
    let facts = enclave(TrustClass::Cloud);
    let listed = ["nitro.instance_id"];
    for condition in [
        format!("nitro.role_arn = \"{ROLE}\""),
        format!("nitro.role_arn = {{ one_of = [\"arn:aws:iam::1:role/x\", \"{ROLE}\"] }}"),
        format!("nitro.role = \"{}\"", measured_text(ROLE)),
    ] {
        assert_eq!(outcome(&format!("require.{condition}"), &facts, &listed), ("admitted", vec![]), "{condition}");
    }
    for (condition, because) in [
        ("nitro.role_arn = \"arn:aws:iam::123456789012:role/Enclaves\"".to_owned(), "policy.fact.differs"),
        (format!("nitro.role_arn = {{ none_of = [\"{ROLE}\"] }}"), "policy.fact.denied"),
    ] {
        let refused = ("policy.no_rule_matched", vec![because]);
        assert_eq!(outcome(&format!("require.{condition}"), &facts, &listed), refused, "{condition}");
    }
}

#[test]
fn an_image_alone_makes_no_enclave_ours() {
    let facts = enclave(TrustClass::Cloud);
    let image = format!("require.nitro.image = \"{}\"", digest(0x10));
    for owner in ["nitro.instance_id", "nitro.role"] {
        assert_eq!(outcome(&image, &facts, &[owner]), ("admitted", vec![]), "{owner}");
    }
    for no_owner in ["nitro.image", "nitro.pcr.0", "nitro.module_id", "nitro.signer"] {
        let refused = ("policy.no_rule_matched", vec!["policy.ownership.not_in_inventory"]);
        assert_eq!(outcome(&image, &facts, &[no_owner]), refused, "{no_owner}");
    }
}

#[test]
fn a_node_is_named_by_its_enclave_and_by_nothing_that_others_share() {
    let facts = enclave(TrustClass::Cloud);
    let marks = owner_marks(&facts).map(|mark| InventoryAnswer { digest: mark.digest, listing: Listing::Listed });
    let ownership = Ownership { inventory: marks.collect(), approval: Approval::NotGiven, machine: MachineRecord::New };
    let named = read(&policy("nitro", "nitro/{nitro.module_id}", ""));
    let verdict = Appraiser::new("example.org".parse().unwrap()).judge(&named, &facts, &ownership, NOW);
    let Verdict::Admit(grant) = verdict else { panic!("{verdict:?}") };
    assert_eq!(
        grant.spiffe_id.as_str(),
        format!("spiffe://example.org/holdfast/node/nitro/{INSTANCE}-enc0123456789abcdef")
    );
    for shared in ["nitro/{nitro.image}", "nitro/{nitro.instance_id}"] {
        assert!(parse(&policy("nitro", shared, "")).is_err(), "{shared}");
    }
    assert!(parse(&policy("nitrotpm", "nitrotpm/{nitrotpm.instance_id}", "")).is_ok());
}

#[test]
fn lint_warns_of_what_only_the_instance_says() {
    for (condition, warned) in
        [("nitrotpm.public_key.sha256", true), ("nitrotpm.quote.pcr_digest", true), ("nitrotpm.pcr.4", false)]
    {
        let rule = format!("require.{condition} = \"{}\"", "4".repeat(96));
        let policy = read(&policy("nitrotpm", "nitrotpm/{nitrotpm.instance_id}", &rule));
        let codes: Vec<_> = policy.warnings().iter().map(|finding| finding.code).collect();
        assert_eq!(codes.contains(&"policy.lint.low_provenance"), warned, "{condition}: {codes:?}");
    }
}

#[test]
fn what_lies_beyond_the_registers_is_no_fact() {
    for name in ["nitro.pcr.32", "nitrotpm.pcr.24", "nitro.pcr", "nitro.debug"] {
        assert_eq!(FactId::parse(name), None, "{name}");
    }
}
