//! Which facts a report becomes, by name; and which it does not.

use std::collections::BTreeMap;

use holdfast_appraisal::facts::{FactId, owner_digest, owner_marks, snp, snp_report};
use holdfast_evidence::snp::{Product, VekKind};
use holdfast_evidence::{Provenance, SnpLaunch, TrustClass};

use crate::guest::{Guest, chip_id};
use crate::pki::{Rsa, dated_list};
use crate::real::reports;

/// Facts by name, values as policies write them.
fn shown(guest: &Guest) -> BTreeMap<String, String> {
    let facts = snp(&guest.verify().unwrap());
    facts
        .iter()
        .map(|(id, fact)| {
            assert_eq!(fact.values.len(), 1, "{id}");
            assert_eq!(fact.values[0].value_type(), id.definition().value_type, "{id}");
            (id.to_string(), fact.values[0].to_string())
        })
        .collect()
}

#[test]
fn every_fact_of_a_turin_guest_has_its_value() {
    let guest = Guest::new(Product::Turin, VekKind::Vcek).with(|guest| {
        guest.put(0x048, &[1]);
        guest.put(0x110, &[0x99; 48]);
        // each TCB differs in every component: current, committed, launch
        guest.put(0x038, &[11, 12, 13, 14, 0, 0, 0, 15]);
        guest.put(0x1e0, &[21, 22, 23, 24, 0, 0, 0, 25]);
        guest.put(0x1f0, &[31, 32, 33, 34, 0, 0, 0, 35]);
        guest.put(0x00a, &[0x92, 0x03]);
        guest.put(0x040, &[0xf8]);
        guest.put(0x030, &[2]);
    });
    let launch = SnpLaunch { measurement: [0x44; 48], host_data: [0x55; 32], id_key_digest: [0x66; 48] };
    let root = hex::encode(guest.verify().unwrap().root().sha256);
    let expected = [
        ("snp.report_id", "77".repeat(32)),
        ("snp.class", "firmware".to_owned()),
        ("snp.root.sha256", root),
        ("snp.root.name", "ARK-Turin".to_owned()),
        ("snp.chip_id", hex::encode(chip_id(Product::Turin))),
        ("snp.product", "Turin".to_owned()),
        ("snp.signing_key", "vcek".to_owned()),
        ("snp.report_version", "5".to_owned()),
        ("snp.launch", hex::encode(launch.digest())),
        ("snp.measurement", "44".repeat(48)),
        ("snp.host_data", "55".repeat(32)),
        ("snp.vmpl", "2".to_owned()),
        ("snp.id_block", "true".to_owned()),
        ("snp.id_key_digest", "66".repeat(48)),
        ("snp.author_key_digest", "99".repeat(48)),
        ("snp.guest_svn", "7".to_owned()),
        ("snp.family_id", "11".repeat(16)),
        ("snp.image_id", "22".repeat(16)),
        ("snp.policy.abi", "0.31.0.0".to_owned()),
        ("snp.policy.smt", "false".to_owned()),
        ("snp.policy.migration_agent", "false".to_owned()),
        ("snp.policy.debug", "false".to_owned()),
        ("snp.policy.single_socket", "true".to_owned()),
        ("snp.policy.cxl", "false".to_owned()),
        ("snp.policy.aes_256_xts", "false".to_owned()),
        ("snp.policy.rapl_disabled", "true".to_owned()),
        ("snp.policy.ciphertext_hiding", "true".to_owned()),
        ("snp.policy.page_swap_disabled", "true".to_owned()),
        ("snp.platform.smt", "false".to_owned()),
        ("snp.platform.tsme", "false".to_owned()),
        ("snp.platform.ecc", "false".to_owned()),
        ("snp.platform.rapl_disabled", "true".to_owned()),
        ("snp.platform.ciphertext_hiding", "true".to_owned()),
        ("snp.platform.alias_check_complete", "true".to_owned()),
        ("snp.platform.sev_tio", "true".to_owned()),
        ("snp.platform.info", "0xf8".to_owned()),
        ("snp.tcb.reported.fmc", "1".to_owned()),
        ("snp.tcb.reported.bootloader", "2".to_owned()),
        ("snp.tcb.reported.tee", "3".to_owned()),
        ("snp.tcb.reported.snp", "4".to_owned()),
        ("snp.tcb.reported.microcode", "81".to_owned()),
        ("snp.tcb.current.fmc", "11".to_owned()),
        ("snp.tcb.current.bootloader", "12".to_owned()),
        ("snp.tcb.current.tee", "13".to_owned()),
        ("snp.tcb.current.snp", "14".to_owned()),
        ("snp.tcb.current.microcode", "15".to_owned()),
        ("snp.tcb.committed.fmc", "21".to_owned()),
        ("snp.tcb.committed.bootloader", "22".to_owned()),
        ("snp.tcb.committed.tee", "23".to_owned()),
        ("snp.tcb.committed.snp", "24".to_owned()),
        ("snp.tcb.committed.microcode", "25".to_owned()),
        ("snp.tcb.launch.fmc", "31".to_owned()),
        ("snp.tcb.launch.bootloader", "32".to_owned()),
        ("snp.tcb.launch.tee", "33".to_owned()),
        ("snp.tcb.launch.snp", "34".to_owned()),
        ("snp.tcb.launch.microcode", "35".to_owned()),
        ("snp.firmware.current", "1.55.40.0".to_owned()),
        ("snp.firmware.committed", "1.55.39.0".to_owned()),
        ("snp.firmware.provisional", "true".to_owned()),
        ("snp.crl.checked", "false".to_owned()),
        ("snp.mitigations.launch", "0x3f".to_owned()),
        ("snp.mitigations.current", "0x3b".to_owned()),
    ];
    let expected: BTreeMap<String, String> =
        expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(shown(&guest), expected);
}

#[test]
fn what_a_milan_or_an_old_report_does_not_say_is_no_fact() {
    let milan = shown(&Guest::milan());
    for name in ["snp.tcb.reported.fmc", "snp.mitigations.launch", "snp.mitigations.current", "snp.csp_id"] {
        assert!(!milan.contains_key(name), "{name}");
    }
    assert_eq!(milan["snp.tcb.reported.microcode"], "219");
}

#[test]
fn whether_a_revocation_list_was_looked_at_is_a_fact() {
    let list = |dates| dated_list("ARK-Milan", &[], Rsa::ark(), dates);
    let facts = |lists: Vec<Vec<u8>>| {
        let facts = shown(&Guest::milan().with(|guest| guest.lists = lists));
        (facts["snp.crl.checked"].clone(), facts.get("snp.crl.age_days").cloned())
    };
    let (yes, no) = ("true".to_owned(), "false".to_owned());
    assert_eq!(facts(Vec::new()), (no.clone(), None));
    assert_eq!(facts(vec![list(("251201000000Z", Some("260201000000Z")))]), (yes, Some("31".to_owned())));
    assert_eq!(facts(vec![list(("251201000000Z", Some("251215000000Z")))]), (no, None), "out of its dates");
}

#[test]
fn firmware_that_is_not_committed_is_provisional() {
    let good = Guest::milan().with(|guest| guest.put(0x1ec, &[40, 55, 1]));
    assert_eq!(shown(&good)["snp.firmware.provisional"], "false");
    // build, minor and major of what runs; a component of the TCB that runs, and of the committed one
    let spoils: [(usize, u8); 6] = [(0x1e8, 41), (0x1e9, 56), (0x1ea, 2), (0x038, 5), (0x03f, 220), (0x1e0, 3)];
    for (at, value) in spoils {
        let guest = good.clone().with(|guest| guest.put(at, &[value]));
        assert_eq!(shown(&guest)["snp.firmware.provisional"], "true", "{at:#x}");
    }
}

/// Guest SVN, family and image id are fields of every report; without an ID block nobody vouches for them.
#[test]
fn a_guest_svn_without_an_id_block_is_no_fact() {
    let bare = shown(&Guest::milan().with(|guest| guest.put(0xe0, &[0; 48])));
    assert_eq!(bare["snp.id_block"], "false");
    for name in ["snp.guest_svn", "snp.family_id", "snp.image_id", "snp.id_key_digest", "snp.author_key_digest"] {
        assert!(!bare.contains_key(name), "{name}");
    }
}

#[test]
fn an_author_key_that_is_not_enabled_is_no_fact() {
    let named = |guest: &mut Guest| guest.put(0x110, &[0x99; 48]);
    assert!(!shown(&Guest::milan().with(named)).contains_key("snp.author_key_digest"));
    let enabled = Guest::milan().with(named).with(|guest| guest.put(0x48, &[1]));
    assert!(shown(&enabled).contains_key("snp.author_key_digest"));
}

#[test]
fn a_vlek_names_its_provider_and_perhaps_no_chip() {
    let facts = shown(&Guest::new(Product::Genoa, VekKind::Vlek));
    assert_eq!((facts["snp.signing_key"].as_str(), facts["snp.csp_id"].as_str()), ("vlek", "CN=cc-test.example"));
    assert!(!facts.contains_key("snp.chip_id"));
}

#[test]
fn the_chip_may_be_listed_and_the_launch_registered() {
    let facts = snp(&Guest::milan().verify().unwrap());
    let marks: Vec<_> = owner_marks(&facts).map(|mark| (mark.fact.to_string(), mark.digest)).collect();
    let chip = facts.get(FactId::parse("snp.chip_id").unwrap()).unwrap().values[0].clone();
    let launch = SnpLaunch { measurement: [0x44; 48], host_data: [0x55; 32], id_key_digest: [0x66; 48] };
    let expected = [
        ("snp.chip_id".to_owned(), owner_digest(FactId::parse("snp.chip_id").unwrap(), &chip)),
        ("snp.launch".to_owned(), launch.digest()),
    ];
    assert_eq!(marks, expected);
}

#[test]
fn everything_below_a_simulated_root_is_simulated() {
    for (class, provenance) in
        [(TrustClass::Firmware, Provenance::Hardware), (TrustClass::Simulated, Provenance::Simulated)]
    {
        let facts = snp(&Guest::milan().with(|guest| guest.class = class).verify().unwrap());
        assert!(facts.iter().all(|(_, fact)| fact.provenance == provenance));
    }
}

#[test]
fn a_report_inside_other_evidence_does_not_claim_to_be_an_snp_item() {
    let verified = Guest::milan().verify().unwrap();
    let (item, inside) = (snp(&verified), snp_report(&verified));
    assert_eq!(item.kinds().count(), 1);
    assert_eq!(inside.kinds().count(), 0);
    assert_eq!(item.iter().count(), inside.iter().count() + 1);
}

#[test]
fn real_reports_say_what_their_provenance_says() {
    for real in reports() {
        let facts = snp(&real.verify_at(real.now).unwrap());
        let value = |name: &str| facts.get(FactId::parse(name).unwrap()).map(|fact| fact.values[0].to_string());
        let expected: &[(&str, Option<&str>)] = match real.name {
            "milan v3" => &[
                ("snp.guest_svn", Some("2")),
                ("snp.tcb.reported.snp", Some("24")),
                ("snp.platform.alias_check_complete", Some("true")),
                ("snp.platform.tsme", Some("false")),
                ("snp.family_id", Some("01000000000000000000000000000000")),
            ],
            "milan v2 azure" => &[
                ("snp.guest_svn", Some("4")),
                ("snp.tcb.reported.microcode", Some("115")),
                ("snp.tcb.current.microcode", Some("206")),
                ("snp.platform.alias_check_complete", Some("false")),
                ("snp.firmware.current", Some("1.52.4.0")),
            ],
            "milan v2" | "genoa configfs" => &[("snp.guest_svn", None), ("snp.id_block", Some("false"))],
            "genoa v3" => &[("snp.product", Some("Genoa")), ("snp.platform.tsme", Some("true"))],
            "turin v5" => &[
                ("snp.tcb.reported.fmc", Some("1")),
                ("snp.mitigations.current", Some("0x3f")),
                ("snp.platform.info", Some("0x65")),
            ],
            "milan vlek" => &[
                ("snp.chip_id", None),
                ("snp.vmpl", Some("1")),
                ("snp.csp_id", Some("CN=cc-us-east-2.amazonaws.com")),
                ("snp.tcb.reported.microcode", Some("217")),
                ("snp.tcb.launch.microcode", Some("219")),
                ("snp.tcb.committed.microcode", Some("219")),
                ("snp.tcb.current.microcode", Some("220")),
            ],
            other => panic!("{other}"),
        };
        for (name, wanted) in expected {
            assert_eq!(value(name).as_deref(), *wanted, "{}: {name}", real.name);
        }
    }
}
