//! Which facts a quote becomes, by name; and which it does not.

use std::collections::BTreeMap;

use holdfast_appraisal::facts::{Facts, tdx, tdx_quote};
use holdfast_appraisal::{Ownership, Value};
use holdfast_evidence::{Provenance, TdxLaunch, TrustClass};

use crate::log::boot;
use crate::td::{Td, at};

/// Facts by name, values as policies write them.
fn shown(facts: &Facts) -> BTreeMap<String, Vec<String>> {
    facts
        .iter()
        .map(|(id, fact)| {
            for value in &fact.values {
                let digest_of_a_line = matches!(value, Value::Digest(_)) && id.to_string() == "tdx.boot.command_lines";
                assert!(digest_of_a_line || value.value_type() == id.definition().value_type, "{id}");
            }
            (id.to_string(), fact.values.iter().map(ToString::to_string).collect())
        })
        .collect()
}

fn of(td: &Td) -> BTreeMap<String, Vec<String>> {
    let quote = td.verify().unwrap();
    shown(&tdx_quote(&quote, None, quote.provenance()))
}

#[test]
fn every_fact_of_a_quote_has_its_value() {
    let td = Td::v5_extended().with(|td| {
        td.put(at::TEE_TCB_SVN2, &[7, 1, 4]);
        td.attribute(30);
        td.attribute(63);
        td.extension.cpu_svn[0] = 2;
        td.trailing = vec![0xee; 39];
    });
    let launch = TdxLaunch { mrtd: [1; 48], mrconfigid: [2; 48], mrowner: [3; 48], mrownerconfig: [4; 48] };
    let hex48 = |byte: u8| hex::encode([byte; 48]);
    let expected = [
        ("tdx.class", "firmware".to_owned()),
        ("tdx.root.sha256", hex::encode(td.verify().unwrap().root().sha256)),
        ("tdx.root.name", "Made-up SGX Root CA".to_owned()),
        ("tdx.launch", hex::encode(launch.digest())),
        ("tdx.mrtd", hex48(1)),
        ("tdx.mrconfigid", hex48(2)),
        ("tdx.mrowner", hex48(3)),
        ("tdx.mrownerconfig", hex48(4)),
        ("tdx.rtmr0", hex48(5)),
        ("tdx.rtmr1", hex48(6)),
        ("tdx.rtmr2", hex48(7)),
        ("tdx.rtmr3", hex48(8)),
        ("tdx.td_id", "1d".repeat(32)),
        ("tdx.td_attributes", (1u64 << 63 | 1 << 30 | 1 << 28).to_string()),
        ("tdx.attributes.sept_ve_disable", "true".to_owned()),
        ("tdx.attributes.pks", "true".to_owned()),
        ("tdx.attributes.key_locker", "false".to_owned()),
        ("tdx.attributes.perfmon", "true".to_owned()),
        ("tdx.xfam", 0x602e7.to_string()),
        ("tdx.service_td", "false".to_owned()),
        ("tdx.mrseam", hex48(0x5b)),
        ("tdx.mrsignerseam", hex48(0)),
        ("tdx.tee_tcb_svn.module_svn", "6".to_owned()),
        ("tdx.tee_tcb_svn.module_version", "1".to_owned()),
        ("tdx.tee_tcb_svn.microcode", "3".to_owned()),
        ("tdx.tee_tcb_svn2.module_svn", "7".to_owned()),
        ("tdx.tee_tcb_svn2.module_version", "1".to_owned()),
        ("tdx.tee_tcb_svn2.microcode", "4".to_owned()),
        ("tdx.tcb.status", "SWHardeningNeeded".to_owned()),
        ("tdx.tcb.qe_status", "UpToDate".to_owned()),
        ("tdx.tcb.evaluation_number", "17".to_owned()),
        ("tdx.tcb.date", "20240313".to_owned()),
        ("tdx.tcb.age_days", "659".to_owned()),
        ("tdx.fmspc", "50806f000000".to_owned()),
        ("tdx.pceid", "0000".to_owned()),
        ("tdx.pce_svn", "11".to_owned()),
        ("tdx.cpu_svn", "02030202040100050000000000000000".to_owned()),
        ("tdx.piid", "22".repeat(16)),
        ("tdx.platform.dynamic", "false".to_owned()),
        ("tdx.platform.cached_keys", "false".to_owned()),
        ("tdx.platform.smt", "true".to_owned()),
        ("tdx.trailing_bytes", "39".to_owned()),
    ];
    let mut expected: BTreeMap<String, Vec<String>> =
        expected.into_iter().map(|(name, value)| (name.to_owned(), vec![value])).collect();
    expected.insert("tdx.tcb.advisories".to_owned(), vec!["INTEL-SA-00615".to_owned(), "INTEL-SA-00828".to_owned()]);
    assert_eq!(of(&td), expected);
}

#[test]
fn what_is_not_there_is_no_fact() {
    let of_v4 = of(&Td::v4().with(|td| (td.extension.piid, td.extension.flags) = (None, None)));
    for absent in ["tdx.tee_tcb_svn2.module_svn", "tdx.td_id", "tdx.mrservicetd", "tdx.piid", "tdx.platform.smt"] {
        assert!(!of_v4.contains_key(absent), "{absent}");
    }
    assert_eq!(of_v4["tdx.tcb.advisories"], [""; 0], "known to be none");
    assert!(!of_v4.keys().any(|name| name.starts_with("tdx.boot") || name.starts_with("tdx.events")));
    let bound = Td::v5().with(|td| {
        td.put(at::MRSERVICETD, &[0x5e; 48]);
        td.service_tds = vec![[0x5e; 48]];
    });
    assert_eq!(of(&bound)["tdx.mrservicetd"], ["5e".repeat(48)]);
    assert_eq!(of(&bound)["tdx.service_td"], ["true"]);
}

#[test]
fn a_log_adds_what_it_proves() {
    let log = boot();
    let verified = crate::attested(Td::v4(), Some(&log));
    let facts = tdx(verified.claims(), &Ownership::unknown());
    let shown = shown(&facts);
    assert_eq!(shown["tdx.secure_boot.enabled"], ["true"]);
    assert_eq!(shown["tdx.boot.applications"].len(), 2);
    assert_eq!(shown["tdx.boot.command_lines"].len(), 2);
    assert_eq!(shown["tdx.boot.command_lines"][0], "/vmlinuz ro quiet");
    assert_eq!(shown["tdx.boot.loader_texts"], ["set default=0", "/vmlinuz ro quiet"]);
    assert_eq!(shown["tdx.boot.loaded_files"].len(), 1);
    assert_eq!(shown["tdx.events.rtmr3"], [""; 0]);
    let events: usize = (0..4).map(|n| shown[&format!("tdx.events.rtmr{n}")].len()).sum();
    assert_eq!(events, 18);
    for (id, fact) in facts.iter() {
        assert_eq!(fact.provenance, Provenance::Hardware, "{id}");
    }
}

#[test]
fn below_a_simulated_root_every_fact_is_simulated() {
    let td = Td::v4().with(|td| td.class = TrustClass::Simulated);
    let quote = td.verify().unwrap();
    let facts = tdx_quote(&quote, None, quote.provenance());
    assert!(facts.iter().all(|(_, fact)| fact.provenance == Provenance::Simulated));
}
