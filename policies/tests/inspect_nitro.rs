//! `holdfast-policy inspect nitro` and `inspect nitrotpm` on real documents: the verdicts that their provenance gives, and
//! every input spoiled alone.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

#[allow(dead_code, reason = "the inspection of TPMs uses all of it")]
mod machine;

use std::path::PathBuf;

use holdfast_policy::exit::Exit;
use machine::{inspect, result_of, vectors};
use serde_json::Value;

/// Kind, file, its own time, nonce, user data (empty where the document has none).
const DOCUMENTS: [(&str, &str, &str, &str, &str); 5] = [
    (
        "nitro",
        "veracruz-2022.cose",
        "2022-11-09T22:52:00Z",
        "c678c86135de539d183acff58886d98dfb9823041af9f934bf909ac0f8d96245",
        "7c37108079b3e8a36d8a7970de1d6d4ff1461e0e35d9557c4d789df5e0576620",
    ),
    ("nitro", "evervault-2022-pcr3-pcr8.cose", "2022-10-13T08:58:02Z", "", ""),
    ("nitro", "worldcoin-2025-09-signed-eif-pcr8.cose", "2025-09-23T11:56:49Z", "", ""),
    ("nitro", "dstack-2025-12-a.cose", "2025-12-25T13:15:37Z", "", ""),
    (
        "nitrotpm",
        "attestation-doc.cose",
        "2026-02-03T10:12:02Z",
        "230af3f7c0ec43ccf99a4cab47ac61469a36ea74b1e79740fdf8ccfc8f56161a",
        "",
    ),
];

fn cvm() -> Option<PathBuf> {
    vectors().map(|folder| folder.join("cvm"))
}

/// Runs `inspect KIND --document FILE` with further flags.
fn run(kind: &str, document: &std::path::Path, flags: &[&str]) -> (Exit, Value) {
    let start = [kind, "--document", document.to_str().unwrap()];
    inspect(&start.iter().chain(flags).map(ToString::to_string).collect::<Vec<_>>())
}

#[test]
fn real_documents_are_verified_at_their_own_time_and_refused_today() {
    let Some(cvm) = cvm() else { return };
    for (kind, file, at, nonce, binding) in DOCUMENTS {
        let document = cvm.join(kind).join(file);
        let mut flags = vec!["--at", at];
        if !nonce.is_empty() {
            flags.extend(["--nonce", nonce]);
        }
        if !binding.is_empty() {
            flags.extend(["--binding", binding]);
        }
        let (exit, report) = run(kind, &document, &flags);
        let verdict = if nonce.is_empty() { (Exit::Incomplete, "incomplete") } else { (Exit::Yes, "verified") };
        assert_eq!((exit, report["verdict"].as_str().unwrap()), verdict, "{file}: {report}");
        assert_eq!(run(kind, &document, &[&flags[..], &["--allow-incomplete"]].concat()).0, Exit::Yes, "{file}");
        assert_eq!(report["facts"][format!("{kind}.class")]["value"], "cloud", "known by its fingerprint");

        let (exit, report) = run(kind, &document, &flags[2..]);
        assert_eq!((exit, &report["code"]), (Exit::Refused, &format!("{kind}.chain.expired").into()), "{file}");
        assert_eq!(report["facts"], serde_json::json!({}), "nothing is a fact after a refusal");
    }
}

#[test]
fn spoiled_documents_get_the_codes_of_their_provenance() {
    let Some(cvm) = cvm() else { return };
    for (file, at, code) in [
        ("NEG-evervault-2022-debug.cose", "2022-10-12T13:50:06Z", "nitro.pcr.debug"),
        ("NEG-evervault-2023-debug.cose", "2023-09-18T15:03:30Z", "nitro.pcr.debug"),
        ("NEG-veracruz-2022-bad-signature.cose", "2022-11-09T22:52:00Z", "nitro.document.signature"),
    ] {
        let (exit, report) = run("nitro", &cvm.join("nitro").join(file), &["--at", at, "--allow-incomplete"]);
        assert_eq!((exit, &report["code"]), (Exit::Refused, &code.into()), "{file}");
    }
    let tpm = cvm.join("nitrotpm/attestation-doc.cose");
    let (exit, report) = run("nitro", &tpm, &["--at", DOCUMENTS[4].2]);
    assert_eq!((exit, &report["code"]), (Exit::Refused, &"nitro.document.kind".into()));
    let (exit, report) = run("nitrotpm", &cvm.join("nitro").join(DOCUMENTS[0].1), &["--at", DOCUMENTS[0].2]);
    assert_eq!((exit, &report["code"]), (Exit::Refused, &"nitrotpm.document.kind".into()));
}

#[test]
fn what_the_document_holds_and_nobody_compared_makes_the_verdict_incomplete() {
    let Some(cvm) = cvm() else { return };
    let (kind, file, at, nonce, binding) = DOCUMENTS[0];
    let document = cvm.join(kind).join(file);
    for (flags, missing) in [
        (vec!["--nonce", nonce], "not asked: binding"),
        (vec!["--binding", binding], "not asked: nonce"),
        (vec![], "not asked: nonce, binding"),
    ] {
        let (exit, report) = run(kind, &document, &[&["--at", at], &flags[..]].concat());
        assert_eq!((exit, &report["detail"]), (Exit::Incomplete, &missing.into()), "{flags:?}");
    }
    // a document without either field answers nobody
    let silent = cvm.join("nitro").join(DOCUMENTS[2].1);
    assert_eq!(run("nitro", &silent, &["--at", DOCUMENTS[2].2]).1["detail"], "not asked: nonce");
    let (exit, report) = run("nitro", &silent, &["--at", DOCUMENTS[2].2, "--nonce", "00"]);
    assert_eq!((exit, &report["code"]), (Exit::Refused, &"nitro.document.nonce".into()));
}

#[test]
fn another_nonce_or_binding_is_refused() {
    let Some(cvm) = cvm() else { return };
    let (kind, file, at, nonce, binding) = DOCUMENTS[0];
    let document = cvm.join(kind).join(file);
    for (nonce, binding, code) in [
        (binding, binding, "nitro.document.nonce"),
        (&nonce[2..], binding, "nitro.document.nonce"),
        (nonce, nonce, "nitro.document.binding"),
        (nonce, &binding[..62], "nitro.document.binding"),
    ] {
        let (exit, report) = run(kind, &document, &["--at", at, "--nonce", nonce, "--binding", binding]);
        assert_eq!((exit, &report["code"]), (Exit::Refused, &code.into()));
    }
}

#[test]
fn an_old_document_is_neither_verified_nor_refused_while_its_chain_holds() {
    let Some(cvm) = cvm() else { return };
    let (kind, file, _, nonce, binding) = DOCUMENTS[0];
    let document = cvm.join(kind).join(file);
    let (exit, report) = run(kind, &document, &["--binding", binding, "--at", "2022-11-10T00:52:00Z"]);
    assert_eq!((exit, result_of(&report, "timestamp")), (Exit::Incomplete, "not_asked"));
    assert!(report["detail"].as_str().unwrap().starts_with("document was made 7200 seconds ago"), "{report}");
    // whoever made the nonce knows how old it is
    let answer = |nonce: &str, at: &str| run(kind, &document, &["--nonce", nonce, "--binding", binding, "--at", at]);
    for at in ["2022-11-09T23:52:00Z", "2022-11-10T01:51:59Z"] {
        let (exit, report) = answer(nonce, at);
        assert_eq!((exit, result_of(&report, "timestamp")), (Exit::Yes, "passed"), "{report}");
        let remark = report["remarks"][0].as_str().unwrap();
        assert!(remark.starts_with("document was made ") && remark.ends_with("was made for it"), "{remark}");
    }
    assert_eq!(answer(binding, "2022-11-09T23:52:00Z").0, Exit::Refused);
    assert_eq!(answer(nonce, "2022-11-10T01:52:01Z").1["code"], "nitro.chain.expired");
    assert_eq!(answer(nonce, "2022-11-09T22:51:56Z").0, Exit::Refused, "one from the future");
}

#[test]
fn roots_count_for_what_the_caller_says_and_the_vendors_for_what_it_is() {
    let Some(cvm) = cvm() else { return };
    let (kind, file, at, ..) = DOCUMENTS[0];
    let document = cvm.join(kind).join(file);
    let pinned = cvm.join("roots/aws-nitro-enclaves-root-g1.pem");
    let (exit, report) = run(kind, &document, &["--at", at, "--roots", pinned.to_str().unwrap(), "--allow-incomplete"]);
    assert_eq!((exit, &report["facts"]["nitro.class"]["value"]), (Exit::Yes, &"cloud".into()));
    assert_eq!(report["facts"]["nitro.image"]["provenance"], "provider");
    let all = cvm.join("roots");
    assert_eq!(
        run(kind, &document, &["--at", at, "--roots", all.to_str().unwrap(), "--allow-incomplete"]).0,
        Exit::Yes
    );
    let other = cvm.join("roots/intel-sgx-root-ca.der");
    let (exit, report) = run(kind, &document, &["--at", at, "--roots", other.to_str().unwrap()]);
    assert_eq!((exit, &report["code"]), (Exit::Refused, &"nitro.chain.root".into()));
}

#[test]
fn a_quote_beside_a_document_is_shown_as_what_nobody_vouches_for() {
    let Some(cvm) = cvm() else { return };
    let fixture = std::fs::read_to_string(cvm.join("nitrotpm/vaportpm-fixture.json")).unwrap();
    let fixture: Value = serde_json::from_str(&fixture).unwrap();
    let quoted = &fixture["attestation"]["tpm"]["ecc_p256"];
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, hex_text: &Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, hex::decode(hex_text.as_str().unwrap()).unwrap()).unwrap();
        path
    };
    let (attest, signature) = (write("quote.msg", &quoted["attest_data"]), write("quote.sig", &quoted["signature"]));
    let (kind, file, at, nonce, _) = DOCUMENTS[4];
    let document = cvm.join(kind).join(file);
    let files = ["--attest", attest.to_str().unwrap(), "--signature", signature.to_str().unwrap()];
    let flags = [&["--at", at, "--nonce", nonce], &files[..]].concat();
    let (exit, report) = run(kind, &document, &flags);
    assert_eq!((exit, result_of(&report, "quote")), (Exit::Yes, "passed"), "{report}");
    assert_eq!(report["facts"]["nitrotpm.quote.pcr_digest"]["provenance"], "unauthenticated");
    assert_eq!(report["facts"]["nitrotpm.pcr.7"]["provenance"], "provider");
    assert!(report["facts"].as_object().unwrap().keys().all(|name| name.starts_with("nitrotpm.")), "no fact of a TPM");

    let mut spoiled = std::fs::read(&attest).unwrap();
    let last = spoiled.len() - 1;
    spoiled[last] ^= 1;
    std::fs::write(&attest, spoiled).unwrap();
    let (exit, report) = run(kind, &document, &flags);
    assert_eq!((exit, &report["code"]), (Exit::Refused, &"nitrotpm.quote.signature".into()));
}

#[test]
fn a_policy_judges_the_facts() {
    let Some(cvm) = cvm() else { return };
    let shipped = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("shipped");
    let (kind, file, at, ..) = DOCUMENTS[0];
    let policy = shipped.join("nitro-enclaves.toml");
    let flags = ["--at", at, "--policy", policy.to_str().unwrap(), "--allow-incomplete"];
    let (exit, report) = run(kind, &cvm.join(kind).join(file), &flags);
    assert_eq!((exit, result_of(&report, "policy")), (Exit::Refused, "failed"));
    assert_eq!(
        (&report["code"], &report["decision"]["ownership_assumed"]),
        (&"policy.no_rule_matched".into(), &true.into())
    );
}

#[test]
fn no_file_is_usage_and_no_refusal() {
    use clap::Parser as _;
    let arguments = ["holdfast-policy", "inspect", "nitro", "--document", "/nonexistent"];
    let cli = holdfast_policy::cli::Cli::try_parse_from(arguments).unwrap();
    assert!(holdfast_policy::cli::run(&cli, &mut Vec::new()).is_err());
    let (exit, report) = {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("doc");
        std::fs::write(&file, b"not CBOR").unwrap();
        run("nitro", &file, &["--allow-incomplete"])
    };
    assert_eq!((exit, &report["code"]), (Exit::Refused, &"nitro.document.malformed".into()));
}
