//! Documents of other tools with one thing changed.

use holdfast_policy::exit::Exit;
use serde_json::{Value, json};

use crate::lines::{code, good, refused, vectors_are_here, with};
use crate::machine::vectors;

/// One document, written anew with one thing changed.
fn spoiled(file: &str, arguments: &[String], change: impl FnOnce(&mut Value)) -> (Exit, String) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(vectors().unwrap().join(file)).unwrap();
    let mut value: Value = serde_json::from_slice(&bytes).unwrap();
    change(&mut value);
    let path = folder.path().join("evidence.json");
    std::fs::write(&path, value.to_string()).unwrap();
    code(&with(arguments, "--evidence", &path.to_string_lossy()))
}

#[test]
fn each_part_of_a_document_spoiled_alone_is_refused() {
    if !vectors_are_here() {
        return;
    }
    let arguments = good().remove(1);
    let spoil = |change: fn(&mut Value)| spoiled("cvm/azure-snp-vtpm/evidence-v1.json", &arguments, change);
    let flip = |value: &mut Value, at: usize| {
        let text = value.as_str().unwrap();
        let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
        *value = json!(format!("{}{other}{}", &text[..at], &text[at + 1..]));
    };
    assert_eq!(spoil(|_| {}).0, Exit::Yes);
    let other = std::fs::read(vectors().unwrap().join("cvm/azure-snp-vtpm/evidence-v2.json")).unwrap();
    let other: Value = serde_json::from_slice(&other).unwrap();
    let spoil =
        |change: &dyn Fn(&mut Value)| spoiled("cvm/azure-snp-vtpm/evidence-v1.json", &arguments, |value| change(value));
    assert_eq!(spoil(&|value| flip(&mut value["tpm_quote"]["signature"], 9)), refused("tpm.quote.signature"));
    assert_eq!(spoil(&|value| flip(&mut value["tpm_quote"]["pcrs"][11], 9)), refused("tpm.quote.pcr_digest"));
    let their_report = |value: &mut Value| value["hcl_report"] = other["hcl_report"].clone();
    assert_eq!(spoil(&their_report), refused("snp.chip_id.mismatch"));
    let their_machine = |value: &mut Value| {
        their_report(value);
        value["vcek"] = other["vcek"].clone();
    };
    assert_eq!(spoil(&their_machine), refused("tpm.quote.signature"));
    assert_eq!(spoil(&|value| value["vcek"] = other["vcek"].clone()), refused("snp.chip_id.mismatch"));
    assert_eq!(
        spoil(&|value| value["tpm_quote"]["pcrs"].as_array_mut().unwrap().swap(7, 8)),
        refused("tpm.quote.pcr_digest")
    );
    assert_eq!(
        spoil(&|value| drop(value["tpm_quote"]["pcrs"].as_array_mut().unwrap().pop())),
        refused("tpm.quote.pcr_digest")
    );
    // what a document says of its version decides nothing
    for version in [json!(0), json!(1), json!(2), json!("nine"), Value::Null] {
        assert_eq!(spoil(&|value| value["version"] = version.clone()).0, Exit::Yes);
        let both = |value: &mut Value| {
            value["version"] = version.clone();
            flip(&mut value["tpm_quote"]["pcrs"][0], 0);
        };
        assert_eq!(spoil(&both), refused("tpm.quote.pcr_digest"));
    }
}

#[test]
fn registers_of_an_instance_are_named_once_and_by_what_was_signed() {
    if !vectors_are_here() {
        return;
    }
    let arguments = good().remove(5);
    let spoil = |change: &dyn Fn(&mut Value)| {
        spoiled("cvm/gcp-vtpm/sev-guest-ak-quote.json", &arguments, |value| change(value))
    };
    assert_eq!(spoil(&|_| {}).0, Exit::Yes);
    let relabelled = |value: &mut Value| {
        let registers = &mut value["pcrs"]["sha256"];
        let eight = registers["8"].take();
        registers["8"] = registers["9"].take();
        registers["9"] = eight;
    };
    assert_eq!(spoil(&relabelled), refused("tpm.quote.pcr_digest"));
    assert_eq!(spoil(&|value| value["pcrs"]["sha256"]["24"] = json!("00")), refused("gcp.item.malformed"));
    assert_eq!(spoil(&|value| value["pcrs"] = json!({})), refused("gcp.item.malformed"));
    let other_key = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
    assert_eq!(spoil(&|value| value["ak_pubkeys"]["ecc_p256"]["x"] = json!(other_key)), refused("gcp.ak.key_mismatch"));
    // a name twice, which no JSON value can hold
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(vectors().unwrap().join("cvm/gcp-vtpm/sev-guest-ak-quote.json")).unwrap();
    let twice = text.replacen("\"16\":", "\"8\":", 1);
    let path = folder.path().join("evidence.json");
    std::fs::write(&path, twice).unwrap();
    assert_eq!(code(&with(&arguments, "--evidence", &path.to_string_lossy())), refused("gcp.item.malformed"));
}
