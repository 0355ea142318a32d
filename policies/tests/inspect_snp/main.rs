//! `holdfast-policy inspect snp` on real reports: the verdicts that their provenance gives, and every input spoiled alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

mod certificates;
mod line;
#[allow(dead_code, reason = "the inspection of TPMs uses all of it")]
#[path = "../machine/mod.rs"]
mod machine;

use holdfast_policy::exit::Exit;
use line::{Run, TODAY, cvm, milan, runs};
use machine::result_of;
use serde_json::Value;

#[test]
fn every_real_report_is_verified_with_its_certificates() {
    for run in runs() {
        let report = run.verified();
        assert_eq!(report["facts"]["snp.class"]["value"], "firmware");
        assert_eq!(report["facts"]["snp.report_id"]["provenance"], "hardware");
        assert_eq!(result_of(&report, "policy"), "not_asked");
        for check in report["checks"].as_array().unwrap() {
            let asked = !["policy", "binding"].contains(&check["name"].as_str().unwrap());
            assert_eq!(check["result"] == "passed", asked, "{check}");
        }
    }
}

#[test]
fn the_facts_have_the_values_of_the_provenance() {
    let Some(run) = milan() else { return };
    let facts = run.verified()["facts"].clone();
    for (name, value) in [
        ("snp.product", Value::from("Milan")),
        ("snp.signing_key", "vcek".into()),
        ("snp.guest_svn", 2.into()),
        ("snp.vmpl", 0.into()),
        ("snp.tcb.reported.microcode", 219.into()),
        ("snp.platform.info", "0x25".into()),
        ("snp.platform.alias_check_complete", true.into()),
        ("snp.firmware.current", "1.55.29.0".into()),
        ("snp.host_data", "4f4448c67f3c8dfc8de8a5e37125d807dadcc41f06cf23f615dbd52eec777d10".into()),
    ] {
        assert_eq!(facts[name]["value"], value, "{name}");
    }
}

#[test]
fn a_vlek_of_last_year_is_refused_today_and_verified_in_its_time() {
    let Some(run) = runs().into_iter().next_back() else { return };
    let facts = run.verified()["facts"].clone();
    assert_eq!(facts["snp.csp_id"]["value"], "CN=cc-us-east-2.amazonaws.com");
    assert_eq!(facts["snp.chip_id"], Value::Null);
    let run = run.with("--at", TODAY);
    run.refused("snp.chain.expired");
    run.without("--at").refused("snp.chain.expired");
}

#[test]
fn nonce_and_binding_are_each_the_callers_data() {
    let Some(cvm) = cvm() else { return };
    // 32 bytes and zeros
    let run = Run::new(&cvm, "snp-milan/trustee-v2/report.bin", "vcek.der", TODAY);
    let data = "ec6c52d7533cc2c4f45be7849cf112ab82b2009fe7bd43e71ed08c14400ad7e2";
    run.with("--nonce", data).verified();
    let run = Run::new(&cvm, "snp-milan/trustee-v2/report.bin", "vcek.der", TODAY);
    let run = run.without("--nonce").with("--binding", data);
    run.verified();
    run.with("--nonce", data).verified();
    let other = |nonce: &str, binding: &str| {
        let run = Run::new(&cvm, "snp-milan/trustee-v2/report.bin", "vcek.der", TODAY);
        let report = run.with("--nonce", nonce).with("--binding", binding).refused("snp.report.data");
        (result_of(&report, "nonce").to_owned(), result_of(&report, "binding").to_owned())
    };
    let wrong = "5a".repeat(16);
    assert_eq!(other(&wrong, data), ("failed".to_owned(), "passed".to_owned()));
    assert_eq!(other(data, &wrong), ("passed".to_owned(), "failed".to_owned()));
    assert_eq!(other(&data[..62], data).0, "failed", "a prefix with more behind it");
    assert_eq!(other(&format!("{data}{}", "00".repeat(33)), data).0, "failed", "more than there can be");
    let run = Run::new(&cvm, "snp-milan/trustee-v2/report.bin", "vcek.der", TODAY);
    let report = run.without("--nonce").incomplete("nonce");
    assert_eq!(report["facts"]["snp.product"]["value"], "Milan", "shown, if not fresh");
}

#[test]
fn without_the_keys_certificate_nothing_is_verified() {
    let Some(run) = milan() else { return };
    run.without("--vek").incomplete("vek, vek_kind, product, tcb, chip_id, chain, signature");
}

#[test]
fn pem_and_der_are_the_same() {
    let (Some(run), Some(_)) = (milan(), cvm()) else { return };
    let pem = std::fs::read(run.path("vek")).unwrap();
    let (_, parsed) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    run.write("vek", &parsed.contents).verified();
}

#[test]
fn made_up_certificates_are_refused() {
    let Some(cvm) = cvm() else { return };
    for file in ["NEG-vcek-hwid-legacy-encoding.der", "NEG-vcek-hwid-new-encoding.der"] {
        let run = Run::new(&cvm, "snp-milan/trustee-v2/report.bin", file, TODAY);
        let report = run.refused("snp.tcb.certificate_mismatch");
        for check in ["chip_id", "chain", "signature"] {
            assert_eq!(result_of(&report, check), "failed", "{file}: {check}");
        }
    }
}

#[test]
fn another_reports_certificate_is_refused() {
    let Some(cvm) = cvm() else { return };
    let pairs = [
        ("snp-milan/azure-aci-v3/report.bin", "../trustee-v2/vcek.der", "snp.tcb.certificate_mismatch"),
        ("snp-milan/trustee-v2/report.bin", "../virtee-v2/vcek.der", "snp.chip_id.mismatch"),
        ("snp-genoa/azure-aci-v3/report.bin", "../../snp-milan/azure-aci-v3/vcek.pem", "snp.product.mismatch"),
        ("snp-milan-vlek-aws/report.bin", "../snp-milan/azure-aci-v3/vcek.pem", "snp.vek.kind"),
    ];
    for (report, vek, code) in pairs {
        Run::new(&cvm, report, vek, TODAY).refused(code);
    }
}

#[test]
fn a_byte_of_any_input_is_missed() {
    for (file, at, code) in [
        ("report", 0x01, "snp.report.version"),
        ("report", 0x0a, "snp.report.signature"),
        ("report", 0x34, "snp.report.signature_algorithm"),
        ("report", 0x48, "snp.report.signature"),
        ("report", 0x50, "snp.report.data"),
        ("report", 0x90, "snp.report.signature"),
        ("report", 0x187, "snp.tcb.certificate_mismatch"),
        ("report", 0x1a0, "snp.chip_id.mismatch"),
        ("report", 0x2a0, "snp.report.signature"),
        ("report", 0x49f, "snp.report.signature_encoding"),
    ] {
        let Some(run) = milan() else { return };
        run.change(file, |bytes| bytes[at] ^= 1).refused(code);
    }
    let Some(run) = milan() else { return };
    run.change("report", |bytes| bytes.push(0)).refused("snp.report.malformed");
    let Some(run) = milan() else { return };
    run.write("vek", b"no certificate").refused("snp.vek.malformed");
}

/// The bits are signed, so that a genuine report of a debug guest cannot be made here; that each is refused where it is
/// signed anew, the tests of the verifier show. These are refused by their own checks all the same.
#[test]
fn the_always_on_refusals_are_checks_of_their_own() {
    for (at, value, check) in [
        (0x0a, 0x0b, "guest_policy"),
        (0x0a, 0x07, "guest_policy"),
        (0x0a, 0x01, "guest_policy"),
        (0x30, 0x04, "vmpl"),
        (0x48, 0x02, "signing_key"),
        (0x208, 0x01, "reserved"),
    ] {
        let Some(run) = milan() else { return };
        let (exit, report) = run.change("report", |bytes| bytes[at] = value).run();
        assert_eq!((exit, result_of(&report, check)), (Exit::Refused, "failed"), "{at:#x} {check}");
    }
}

#[test]
fn a_policy_judges_the_facts() {
    let Some(run) = milan() else { return };
    let policy = |floor: u8| {
        format!(
            "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"guests\"\n\
             [issue]\nnode_id = \"/holdfast/node/snp/{{snp.report_id}}\"\n\
             [[rule]]\nname = \"guests\"\nevidence = [\"snp\"]\nownership = \"inventory\"\n\
             trust_classes = [\"firmware\"]\n[rule.require]\nsnp.tcb.reported.snp = {{ at_least = {floor} }}\n"
        )
    };
    let run = run.write("p.toml", policy(24).as_bytes()).with_file("--policy", "p.toml");
    let report = run.verified();
    assert_eq!(report["decision"]["ownership_assumed"], true);
    let (exit, report) = run.write("p.toml", policy(25).as_bytes()).run();
    assert_eq!((exit, report["code"].as_str()), (Exit::Refused, Some("policy.no_rule_matched")));
    assert_eq!(report["decision"]["differences"][0]["fact"], "snp.tcb.reported.snp");
}

#[test]
fn a_file_that_is_not_there_is_usage() {
    let Some(run) = milan() else { return };
    let run = run.with("--crl", "/nonexistent/crl");
    run.usage("cannot read /nonexistent/crl");
    let run = run.write("crl", b"no list").with_file("--crl", "crl");
    run.usage("revocation list in ");
    run.without("--crl").with("--report", "/nonexistent/report").usage("cannot read /nonexistent/report");
}

/// A report's data is padded with zeros: one that answers nobody is met by any number of them.
#[test]
fn an_expectation_that_says_next_to_nothing_is_usage() {
    for flag in ["--nonce", "--binding"] {
        for (value, reason) in [
            ("00", "expected at least 16"),
            (&"5a".repeat(15), "expected at least 16"),
            (&"00".repeat(16), "zeros alone"),
            (&"00".repeat(63), "zeros alone"),
        ] {
            // a report whose data is zeros
            let Some(run) = milan() else { return };
            run.without("--nonce").with(flag, value).usage(reason);
        }
    }
    // all of them written out is what that report says
    let Some(run) = milan() else { return };
    run.with("--nonce", &"00".repeat(64)).verified();
}
