//! `holdfast-policy inspect snp` on real reports: the verdicts that their provenance gives, and every input spoiled alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

#[allow(dead_code, reason = "the inspection of TPMs uses all of it")]
mod machine;

use std::path::{Path, PathBuf};

use holdfast_policy::cli::{self, Cli};
use holdfast_policy::exit::Exit;
use machine::{inspect, result_of, vectors};
use serde_json::Value;

const TODAY: &str = "2026-11-21T00:00:00Z";
const VLEK_DAY: &str = "2025-06-01T00:00:00Z";

/// Report, file of the key's certificate, moment at which it is good.
const REPORTS: [(&str, &str, &str); 7] = [
    ("snp-milan/azure-aci-v3/report.bin", "vcek.pem", TODAY),
    ("snp-milan/trustee-v2/report.bin", "vcek.der", TODAY),
    ("snp-milan/virtee-v2/report.bin", "vcek.der", TODAY),
    ("snp-genoa/azure-aci-v3/report.bin", "vcek.pem", TODAY),
    ("snp-genoa/configfs-tsm-v3/outblob.bin", "auxblob.bin", TODAY),
    ("snp-turin/azure-aci-v5/report.bin", "vcek.pem", TODAY),
    ("snp-milan-vlek-aws/report.bin", "vlek.der", VLEK_DAY),
];

/// One command line, on copies so that a test may spoil them.
struct Run {
    folder: tempfile::TempDir,
    flags: Vec<(String, String)>,
}

fn cvm() -> Option<PathBuf> {
    vectors().map(|folder| folder.join("cvm"))
}

/// The complete command line for each real report.
fn runs() -> Vec<Run> {
    let Some(cvm) = cvm() else { return Vec::new() };
    REPORTS.iter().map(|(report, vek, at)| Run::new(&cvm, report, vek, at)).collect()
}

fn milan() -> Option<Run> {
    runs().into_iter().next()
}

impl Run {
    fn new(cvm: &Path, report: &str, vek: &str, at: &str) -> Self {
        let (folder, report) = (tempfile::tempdir().unwrap(), cvm.join(report));
        let bytes = std::fs::read(&report).unwrap();
        std::fs::write(folder.path().join("report"), &bytes).unwrap();
        std::fs::copy(report.parent().unwrap().join(vek), folder.path().join("vek")).unwrap();
        let run = Self { folder, flags: Vec::new() };
        run.with_file("--report", "report")
            .with_file("--vek", "vek")
            .with("--roots", &cvm.join("roots").to_string_lossy())
            .with("--nonce", &hex(&bytes[0x50..0x90]))
            .with("--at", at)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn with(mut self, flag: &str, value: &str) -> Self {
        self.flags.retain(|(known, _)| known != flag);
        self.flags.push((flag.to_owned(), value.to_owned()));
        self
    }

    fn with_file(self, flag: &str, file: &str) -> Self {
        let path = self.path(file).to_string_lossy().into_owned();
        self.with(flag, &path)
    }

    fn without(mut self, flag: &str) -> Self {
        self.flags.retain(|(known, _)| known != flag);
        self
    }

    fn write(self, file: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.path(file), bytes).unwrap();
        self
    }

    fn change(self, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = std::fs::read(self.path(file)).unwrap();
        change(&mut bytes);
        self.write(file, &bytes)
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let flags = self.flags.iter().flat_map(|(flag, value)| [flag.clone(), value.clone()]);
        std::iter::once("snp".to_owned()).chain(flags).chain(more.iter().map(|more| (*more).to_owned())).collect()
    }

    fn run(&self) -> (Exit, Value) {
        inspect(&self.arguments(&[]))
    }

    #[track_caller]
    fn verified(&self) -> Value {
        let (exit, report) = self.run();
        assert_eq!((exit, report["verdict"].as_str()), (Exit::Yes, Some("verified")), "{report:#}");
        report
    }

    #[track_caller]
    fn refused(&self, code: &str) -> Value {
        let (exit, report) = self.run();
        let found = (exit, report["code"].as_str(), report["verdict"].as_str());
        assert_eq!(found, (Exit::Refused, Some(code), Some("refused")), "{report:#}");
        assert!(report["facts"].as_object().unwrap().is_empty(), "nothing is a fact after a refusal");
        report
    }

    #[track_caller]
    fn incomplete(&self, missing: &str) -> Value {
        let (exit, report) = self.run();
        assert_eq!((exit, report["verdict"].as_str()), (Exit::Incomplete, Some("incomplete")), "{report:#}");
        assert_eq!(report["detail"].as_str(), Some(format!("not asked: {missing}").as_str()));
        assert_eq!(inspect(&self.arguments(&["--allow-incomplete"])).0, Exit::Yes);
        report
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

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
fn a_root_that_comes_along_is_known_by_its_fingerprint() {
    let (Some(run), Some(cvm)) = (milan(), cvm()) else { return };
    let read = |name: &str| std::fs::read(cvm.join("roots").join(name)).unwrap();
    let run = run.without("--roots").write("ask", &read("amd-milan-ask.der")).write("ark", &read("amd-milan-ark.der"));
    // nobody is trusted, nobody claims to be
    run.incomplete("chain");
    let ask = run.with_file("--chain", "ask");
    ask.incomplete("chain");
    let both = |run: &Run| {
        let ark = run.path("ark").to_string_lossy().into_owned();
        inspect(&run.arguments(&["--chain", &ark]))
    };
    let (exit, report) = both(&ask);
    assert_eq!((exit, report["verdict"].as_str()), (Exit::Yes, Some("verified")), "{report:#}");
    assert_eq!(report["facts"]["snp.class"]["value"], "firmware", "by its fingerprint");
    // one bit of the root, and it is nobody's
    let changed = ask.change("ark", |bytes| *bytes.last_mut().unwrap() ^= 1);
    let (exit, report) = both(&changed);
    assert_eq!((exit, report["code"].as_str()), (Exit::Refused, Some("snp.chain.untrusted")));
    // the root of another product
    let genoa = changed.write("ark", &read("amd-genoa-ark.der"));
    assert_eq!(both(&genoa).1["code"].as_str(), Some("snp.chain.untrusted"));
}

#[test]
fn a_root_without_a_fingerprint_of_ours_counts_as_it_is_said() {
    let (Some(run), Some(cvm)) = (milan(), cvm()) else { return };
    let read = |name: &str| std::fs::read(cvm.join("roots").join(name)).unwrap();
    // a root alone, and no intermediate: nobody can say who issued the certificate
    let run = run.write("roots", &read("amd-milan-ark.der")).with_file("--roots", "roots");
    run.incomplete("chain");
    let run = run.write("ask", &read("amd-milan-asvk.der")).with_file("--chain", "ask");
    run.refused("snp.chain.issuer_missing");
    let run = run.write("ask", &read("amd-milan-ask.der"));
    let report = run.with("--root-class", "simulated").verified();
    assert_eq!(report["facts"]["snp.class"]["value"], "firmware", "the fingerprint is the better word");
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
    assert_eq!(other("00", data), ("failed".to_owned(), "passed".to_owned()));
    assert_eq!(other(data, "00"), ("passed".to_owned(), "failed".to_owned()));
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
    let parse = |run: &Run| {
        use clap::Parser as _;
        let start = ["holdfast-policy", "inspect"].map(str::to_owned);
        let cli = Cli::try_parse_from(start.into_iter().chain(run.arguments(&[]))).unwrap();
        cli::run(&cli, &mut Vec::new())
    };
    let run = run.with("--crl", "/nonexistent/crl");
    assert!(parse(&run).is_err());
    let run = run.write("crl", b"no list").with_file("--crl", "crl");
    assert!(parse(&run).is_err());
    assert!(parse(&run.without("--crl").with("--report", "/nonexistent/report")).is_err());
}
