//! What real evidence proves, as its provenance says, and what it lacks.

use clap::Parser as _;
use holdfast_policy::cli::{self, Cli};
use holdfast_policy::exit::Exit;
use serde_json::Value;

use crate::lines::{CHALLENGE, FULL, TODAY, code, good, more, owned, refused, run, vectors_are_here, with, without};
use crate::machine::{inspect, result_of};

#[test]
fn whole_evidence_of_every_kind_verifies() {
    if !vectors_are_here() {
        return;
    }
    for arguments in good() {
        let (exit, report) = run(&arguments);
        assert_eq!((exit, &report["verdict"]), (Exit::Yes, &"verified".into()), "{arguments:?}\n{report:#}");
        let facts = &report["facts"];
        assert_eq!(facts["tpm.pcr.16"]["value"], "00".repeat(32));
        let by = if arguments[0] == "gcp" { "provider" } else { "paravisor" };
        assert_eq!(facts["tpm.pcr.0"]["provenance"], by);
    }
}

#[test]
fn facts_are_those_of_the_provenance() {
    if !vectors_are_here() {
        return;
    }
    let facts = |at: usize| run(&good()[at]).1["facts"].clone();
    let value = |facts: &Value, name: &str| facts[name]["value"].clone();
    let snp = facts(1);
    assert_eq!(value(&snp, "azure.vm_unique_id"), "26f8bc30-774e-4290-8e7a-535f3b672aee");
    assert_eq!(value(&snp, "azure.class"), "firmware");
    assert_eq!(value(&snp, "snp.guest_svn"), 10);
    assert_eq!(snp["snp.measurement"]["provenance"], "hardware");
    assert!(snp.get("snp.class").is_none() && snp.get("tpm.class").is_none());
    let with_user_data = facts(2);
    assert_eq!(with_user_data["azure.user_data"]["provenance"], "unauthenticated");
    let tdx = facts(4);
    assert_eq!(value(&tdx, "tdx.tcb.status"), "UpToDate");
    assert_eq!(value(&tdx, "tdx.rtmr0"), "00".repeat(48));
    assert_eq!(value(&tdx, "azure.hardware"), "tdx");
    let gcp = facts(5);
    assert_eq!(value(&gcp, "gcp.instance_name"), "instance-20260202-065609");
    assert_eq!(value(&gcp, "gcp.project_id"), "lockboot");
    assert_eq!(value(&gcp, "gcp.class"), "cloud");
}

#[test]
fn the_certificate_of_june_proves_azure_too() {
    if !vectors_are_here() {
        return;
    }
    let (cert, chain) = (format!("{FULL}/ak-cert.pem"), format!("{FULL}/ak-intermediates.pem"));
    let tdx = more(&good()[4], &["--ak-cert", &cert, "--chain", &chain, "--roots", "@cvm/roots"]);
    let (exit, report) = run(&tdx);
    assert_eq!((exit, result_of(&report, "ak_certificate")), (Exit::Yes, "passed"), "{report:#}");
    let facts = &report["facts"];
    assert_eq!(facts["azure.ak.subject"]["value"], "2ede2d532aaf.ConfidentialVM.Azure.windows.net");
    assert_eq!(facts["azure.ak.root.name"]["provenance"], "provider");
    // without the report the same machine is what its certificate says, today too
    let mut alone = ["--hcl", "--td-quote", "--collateral"].iter().fold(tdx, |all, flag| without(&all, flag));
    let at = alone.iter().position(|argument| argument == "--at").unwrap();
    alone[at + 1] = TODAY.to_owned();
    let (exit, report) = run(&alone);
    assert_eq!((exit, &report["facts"]["azure.class"]["value"]), (Exit::Yes, &"cloud".into()), "{report:#}");
    assert_eq!(report["facts"]["tpm.pcr.7"]["provenance"], "provider");
    assert_eq!(code(&without(&alone, "--roots")).0, Exit::Incomplete);
    let mut expired = alone;
    expired[at + 1] = "2027-07-01T00:00:00Z".to_owned();
    assert_eq!(code(&expired), refused("azure.ak.expired"));
}

#[test]
fn a_nonce_or_a_binding_that_is_not_the_quotes_is_refused_and_without_either_it_is_incomplete() {
    if !vectors_are_here() {
        return;
    }
    for arguments in good() {
        let flag = if arguments.contains(&"--nonce".to_owned()) { "--nonce" } else { "--binding" };
        // extraData has a length of its own: no part of it, and nothing longer
        for wrong in ["00", "6368", "00112233", &format!("{}00", "ff".repeat(40)), "ff"] {
            assert_eq!(code(&with(&arguments, flag, wrong)), refused("tpm.quote.nonce"), "{arguments:?} {wrong}");
        }
        let at = arguments.iter().position(|argument| argument == flag).unwrap() + 1;
        let longer = format!("{}00", arguments[at]);
        assert_eq!(code(&with(&arguments, flag, &longer)), refused("tpm.quote.nonce"));
        let unasked = without(&arguments, flag);
        let (exit, report) = run(&unasked);
        assert_eq!((exit, &report["verdict"]), (Exit::Incomplete, &"incomplete".into()), "{report:#}");
        assert_eq!(run(&more(&unasked, &["--allow-incomplete"])).0, Exit::Yes);
        // both are asked where both are given
        let other = if flag == "--nonce" { "--binding" } else { "--nonce" };
        assert_eq!(code(&more(&arguments, &[other, "ab"])), refused("tpm.quote.nonce"));
        let same = arguments[at].clone();
        assert_eq!(run(&more(&arguments, &[other, &same])).0, Exit::Yes);
    }
}

#[test]
fn without_key_or_collateral_it_is_incomplete() {
    if !vectors_are_here() {
        return;
    }
    let all = good();
    // AMD's roots are at hand
    for machine in &all[..3] {
        let (exit, report) = run(&without(machine, "--roots"));
        assert_eq!((exit, &report["facts"]["azure.class"]["value"]), (Exit::Yes, &"firmware".into()), "{report:#}");
    }
    let others = with(&all[1], "--roots", "@cvm/roots/amd-turin-ark.der");
    assert_eq!(code(&others), refused("snp.chain.untrusted"));
    assert_eq!(code(&without(&all[3], "--vek")).0, Exit::Incomplete);
    assert_eq!(code(&without(&all[4], "--collateral")).0, Exit::Incomplete);
    assert_eq!(code(&without(&all[4], "--td-quote")).0, Exit::Incomplete);
    assert_eq!(code(&without(&all[4], "--pcrs")).0, Exit::Incomplete);
    // the certificate of the report's key is judged even where nobody says who issued it
    let strange = with(&all[3], "--vek", "@cvm/snp-milan/azure-aci-v3/vcek.pem");
    assert_eq!(code(&strange), refused("snp.tcb.certificate_mismatch"));
}

#[test]
fn collateral_and_certificates_count_in_their_time_alone() {
    if !vectors_are_here() {
        return;
    }
    let all = good();
    assert_eq!(code(&with(&all[4], "--at", TODAY)), refused("tdx.collateral.expired"));
    assert_eq!(code(&with(&all[1], "--at", "2032-06-01T00:00:00Z")), refused("snp.chain.expired"));
    assert_eq!(code(&with(&all[5], "--at", "2026-02-01T00:00:00Z")), refused("gcp.ak.expired"));
}

/// The quote, report and registers of other tools' test sets: real ones, without what vouches for the hardware.
#[test]
fn quotes_of_other_test_sets_are_read_as_far_as_they_go() {
    if !vectors_are_here() {
        return;
    }
    let trustee = owned(&[
        "azure",
        "--evidence",
        "@tpm/trustee/quotes/az-tpm-quote-v1.json",
        "--hcl",
        "@tpm/trustee/quotes/az-snp-hcl-report.bin",
        "--nonce",
        CHALLENGE,
        "--at",
        TODAY,
    ]);
    let (exit, report) = run(&trustee);
    assert_eq!((exit, result_of(&report, "signature")), (Exit::Incomplete, "passed"), "{report:#}");
    assert_eq!(result_of(&report, "pcr_digest"), "passed");
    assert_eq!(result_of(&report, "runtime_digest"), "passed");
    let vek = more(&trustee, &["--vek", "@cvm/azure-snp-vtpm/old-v2-report/vcek-and-chain.pem"]);
    assert_eq!(run(&vek).0, Exit::Yes);
    // reports and a quote of different machines
    for hcl in ["hcl-report-snp.bin", "hcl-report-tdx.bin"] {
        let hcl = format!("@tpm/azure-cvm-tooling/quotes/{hcl}");
        let quote = "@tpm/azure-cvm-tooling/quotes/quote.bin";
        let mixed = owned(&["azure", "--hcl", &hcl, "--quote", quote, "--nonce", CHALLENGE]);
        assert_eq!(code(&mixed), refused("tpm.quote.signature"), "{hcl}");
    }
}

/// The paravisor of 2024 ran without SEPT_VE_DISABLE, which no TD may.
#[test]
fn a_td_of_azures_without_sept_ve_disable_is_refused_at_once() {
    if !vectors_are_here() {
        return;
    }
    let evidence = "@cvm/azure-tdx-vtpm/evidence-v1.json";
    let arguments = owned(&["azure", "--evidence", evidence, "--nonce", CHALLENGE, "--roots", "@cvm/roots"]);
    assert_eq!(code(&arguments), refused("tdx.td.sept_ve"));
}

/// A quote of another machine does not say what the TDREPORT says.
#[test]
fn a_tdreport_and_a_quote_of_two_machines_are_refused() {
    if !vectors_are_here() {
        return;
    }
    let evidence = "@cvm/azure-tdx-vtpm/live-2026-user-data.json";
    let other = format!("{FULL}/td-quote.bin");
    let arguments = owned(&["azure", "--evidence", evidence, "--nonce", CHALLENGE, "--roots", "@cvm/roots"]);
    let (_, report) = run(&more(&arguments, &["--td-quote", &other]));
    assert_eq!(result_of(&report, "td_report"), "failed", "{report:#}");
}

/// Google's own tool: a quote for each bank, the log, and a certificate of the other hierarchy.
#[test]
fn an_attestation_of_go_tpm_tools_verifies_with_its_nonce_alone() {
    if !vectors_are_here() {
        return;
    }
    let cas = "@tpm/go-tpm-tools/gce-cas";
    let nonced = "@tpm/go-tpm-tools/attestations/gce-cos-85-nonce9009.pb";
    let arguments = owned(&["gcp", "--evidence", nonced, "--roots", cas, "--nonce", "9009", "--at", TODAY]);
    let (exit, report) = run(&arguments);
    assert_eq!(exit, Exit::Yes, "{report:#}");
    assert_eq!(report["facts"]["gcp.class"]["value"], "cloud");
    for check in ["logs", "boot", "chain", "signer", "pcr_digest"] {
        assert_eq!(result_of(&report, check), "passed", "{check}");
    }
    for nonce in ["9008", "90", "900900"] {
        assert_eq!(code(&with(&arguments, "--nonce", nonce)), refused("tpm.quote.nonce"));
    }
    let unrooted = without(&arguments, "--roots");
    let (exit, report) = run(&unrooted);
    assert_eq!(exit, Exit::Incomplete);
    assert!(report["detail"].as_str().unwrap().contains("give --roots"), "{report:#}");
    let chain = more(&unrooted, &["--chain", &format!("{cas}/tpm_ek_intermediate_2.crt")]);
    let rooted = more(&chain, &["--chain", &format!("{cas}/tpm_ek_root_1.cer")]);
    assert_eq!(run(&rooted).0, Exit::Yes, "the root is known by its fingerprint");
}

#[test]
fn what_is_missing_is_said_with_the_flag_that_brings_it() {
    if !vectors_are_here() {
        return;
    }
    let all = good();
    let detail = |arguments: &[String]| run(arguments).1["detail"].as_str().unwrap_or_default().to_owned();
    assert_eq!(run(&without(&all[1], "--roots")).0, Exit::Yes, "AMD's certificates are at hand");
    assert!(detail(&without(&all[3], "--vek")).contains("give --vek"));
    assert!(detail(&without(&all[4], "--td-quote")).contains("give --td-quote"));
    assert!(detail(&without(&all[4], "--pcrs")).contains("give --pcrs or --event-log"));
}

/// Tools of the field quote every register and bring no log: those that the policy does not ask for stay facts.
#[test]
fn registers_that_a_policy_does_not_ask_for_say_nothing_against_a_machine() {
    if !vectors_are_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    let all = good();
    for (at, conditions) in [(1, "snp.vmpl = 0\nsnp.id_key_digest"), (5, "gcp.project_id = \"lockboot\"\ngcp.zone")] {
        let arguments = &all[at];
        let (kind, class) = if at == 5 { ("gcp", "cloud") } else { ("azure", "firmware") };
        let facts = run(arguments).1["facts"].clone();
        let last = conditions.rsplit('\n').next().unwrap();
        let policy = |first: u8, bank: &str| {
            let pcrs: String = (first..8)
                .map(|pcr| format!("tpm.pcr.{pcr} = {}\n", facts[format!("tpm.pcr.{pcr}")]["value"]))
                .collect();
            let name = if kind == "gcp" { "gcp.instance_id" } else { "azure.instance" };
            let text = format!(
                "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"p\"\n{bank}\n[issue]\n\
                 node_id = \"/holdfast/node/{kind}/{{{name}}}\"\n\n[[rule]]\nname = \"r\"\nevidence = [\"{kind}\"]\n\
                 ownership = \"inventory\"\ntrust_classes = [\"{class}\"]\n\n[rule.require]\n\
                 {conditions} = {}\n{pcrs}",
                facts[last]["value"]
            );
            std::fs::write(&path, text).unwrap();
            path.to_string_lossy().into_owned()
        };
        let (exit, report) = run(&more(arguments, &["--policy", &policy(0, "")]));
        assert_eq!(exit, Exit::Yes, "{report:#}");
        assert!(report["facts"].get("tpm.pcr.9").is_some(), "a fact all the same");
        // what it asks for must be explained or given
        let (exit, report) = run(&more(arguments, &["--policy", &policy(1, "")]));
        assert_eq!((exit, report["code"].as_str()), (Exit::Refused, Some("policy.no_rule_matched")));
        assert!(report["decision"].to_string().contains("policy.pcr.unexplained"), "{report:#}");
    }
}

#[test]
fn a_policy_is_judged_with_the_paravisor_that_it_pins() {
    if !vectors_are_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    let arguments = good().remove(1);
    // without a log nothing explains a register: each value must be given
    let facts = run(&arguments).1["facts"].clone();
    let pcrs: String =
        (0..24).map(|pcr| format!("tpm.pcr.{pcr} = {}\n", facts[format!("tpm.pcr.{pcr}")]["value"])).collect();
    let policy = |key: &str| {
        let text = format!(
            "api_version = \"holdfast/1\"\nkind = \"policy\"\nname = \"p\"\n\n[issue]\n\
             node_id = \"/holdfast/node/azure/{{azure.instance}}\"\n\n[[rule]]\nname = \"r\"\nevidence = [\"azure\"]\n\
             ownership = \"inventory\"\ntrust_classes = [\"firmware\"]\n\n[rule.require]\n\
             snp.id_key_digest = \"{key}\"\nazure.secure_boot = true\n{pcrs}"
        );
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let theirs = "942fd93ebde6ea7a96efadeafc60f1c6b3d10e703b1dafd7555b92f7f3d32d0e006767648cba5b102af3d65756af4177";
    let admitted = run(&more(&arguments, &["--policy", &policy(theirs)]));
    assert_eq!(
        (admitted.0, &admitted.1["decision"]["ownership_assumed"]),
        (Exit::Yes, &true.into()),
        "{:#}",
        admitted.1
    );
    assert_eq!(code(&more(&arguments, &["--policy", &policy(&"66".repeat(48))])), refused("policy.no_rule_matched"));
}

#[test]
fn what_no_file_can_answer_is_usage() {
    let usage = |arguments: &[&str]| {
        let all = ["holdfast-policy", "inspect"].into_iter().chain(arguments.iter().copied());
        match Cli::try_parse_from(all) {
            Err(_) => Exit::Usage,
            Ok(cli) => cli::run(&cli, &mut Vec::new()).unwrap_or(Exit::Usage),
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, [0; 40]).unwrap();
    let file = file.to_string_lossy().into_owned();
    for arguments in [
        &["azure"][..],
        &["azure", "--evidence", "/nonexistent"],
        &["azure", "--hcl", &file],
        &["azure", "--quote", &file, "--signature", &file],
        &["azure", "--quote", &file, "--hcl", &file],
        &["azure", "--quote", &file, "--signature", &file, "--hcl", &file, "--pcrs", &file],
        &["azure", "--signature", &file, "--hcl", &file],
        &["gcp"],
        &["gcp", "--quote", &file, "--signature", &file],
        &["gcp", "--ak-cert", &file],
        &["gcp", "--evidence", "/nonexistent"],
    ] {
        assert_eq!(usage(arguments), Exit::Usage, "{arguments:?}");
    }
    for kind in ["azure", "gcp"] {
        let (exit, report) = inspect(&owned(&[kind, "--evidence", &file]));
        assert_eq!((exit, report["code"].as_str()), (Exit::Refused, Some(&*format!("{kind}.item.malformed"))));
    }
}
