//! What two versions of a policy accept differently.

use std::path::Path;

use holdfast_policy::exit::Exit;
use serde_json::Value;

use super::{AT, json, machine, policy, text};

const POLICY: &str = r#"
api_version = "holdfast/1"
kind = "policy"
name = "rack"
[issue]
node_id = "/holdfast/node/tpm/{tpm.machine}"
svid_ttl = "1h"
[sets]
lines = ["quiet"]
[[deny]]
name = "old"
reason = "withdrawn"
when.tpm.firmware_version = { at_most = "7.62" }
[[rule]]
name = "measured"
ownership = ["inventory", "approval"]
trust_classes = ["discrete"]
[rule.require]
tpm.secure_boot.enabled = true
tpm.firmware_version = { at_least = "7.2" }
tpm.boot.command_lines = { subset_of = "@lines" }
tpm.secure_boot.dbx = { superset_of = [{ value = "sha256:DIGEST", note = "boothole" }] }
"#;

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text.replace("DIGEST", &"d0".repeat(32))).unwrap();
    path.to_string_lossy().into_owned()
}

/// The one change that replacing `from` by `to` makes: direction, whether it is dangerous, and its words.
#[track_caller]
fn check(from: &str, to: &str, direction: &str, dangerous: bool, words: &str) {
    let folder = tempfile::tempdir().unwrap();
    assert!(POLICY.contains(from), "{from}");
    let (old, new) =
        (written(folder.path(), "old.toml", POLICY), written(folder.path(), "new.toml", &POLICY.replace(from, to)));
    let (exit, report) = json(&["diff", &old, &new]);
    assert_eq!((exit, report["changes"].as_array().unwrap().len()), (Exit::Refused, 1), "{report}");
    let change = &report["changes"][0];
    assert_eq!(
        (change["direction"].as_str().unwrap(), &change["dangerous"]),
        (direction, &dangerous.into()),
        "{change}"
    );
    assert!(format!("{} {}", change["place"], change["what"]).contains(words), "{change}");
    // the way back is the other way
    let (_, back) = json(&["diff", &new, &old]);
    let opposite = match direction {
        "loosened" => "tightened",
        "tightened" => "loosened",
        other => other,
    };
    assert_eq!(back["changes"][0]["direction"].as_str().unwrap(), opposite, "{back}");
}

#[test]
fn each_change_has_its_direction() {
    check("\"inventory\", \"approval\"", "\"inventory\"", "loosened", true, "ownership");
    check("[\"discrete\"]", "[\"discrete\", \"firmware\"]", "loosened", true, "trust classes");
    check("\"7.2\"", "\"7.4\"", "tightened", false, "at_least 7.4 instead of 7.2");
    check("\"7.62\"", "\"7.60\"", "loosened", true, "deny old, tpm.firmware_version");
    check("[\"quiet\"]", "[\"quiet\", \"debug\"]", "loosened", false, "subset_of: 1 added, 0 removed");
    check("svid_ttl = \"1h\"", "svid_ttl = \"90m\"", "loosened", false, "svid_ttl: 90m instead of 1h");
    check("tpm.secure_boot.enabled = true\n", "", "loosened", true, "no longer demanded: equals true");
    check("superset_of = [{", "superset_of = [\"sha256:DIGEST\", {", "changed", false, "another order or number");
    check("node/tpm/{", "node/rack/{", "changed", true, "every node gets another identity");
    check("name = \"measured\"", "name = \"rack-a\"", "changed", false, "renamed from measured");
}

#[test]
fn anybodys_machine_is_a_danger() {
    let folder = tempfile::tempdir().unwrap();
    let any = "ownership = \"any-genuine-device\"\nownership_reason = \"a demonstration\"";
    let new = POLICY.replace("ownership = [\"inventory\", \"approval\"]", any);
    let (old, new) = (written(folder.path(), "old.toml", POLICY), written(folder.path(), "new.toml", &new));
    let (_, out) = policy(&["diff", &old, &new]).unwrap();
    assert!(
        out.contains("! loosened   rule measured: ownership any-genuine-device instead of inventory and approval"),
        "{out}"
    );
}

#[test]
fn the_same_policy_written_otherwise_is_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let other = POLICY
        .replace("tpm.secure_boot.enabled = true", "\"tpm.secure_boot.enabled\" = { equals = true }")
        .replace("\"@lines\"", "[\"quiet\"]")
        .replace("[sets]\nlines = [\"quiet\"]\n", "");
    let (old, new) = (written(folder.path(), "old.toml", POLICY), written(folder.path(), "new.toml", &other));
    let (exit, report) = json(&["diff", &old, &new]);
    assert_eq!((exit, &report["differ"]), (Exit::Yes, &Value::Bool(false)), "{report}");
    assert!(policy(&["diff", &old, "/nonexistent.toml"]).is_err());
}

#[test]
fn machines_that_flip_are_named_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    let facts = |lines: &str| {
        format!(
            "api_version = \"holdfast/1\"\nkind = \"facts\"\n[facts]\ntpm.machine = \"{ek}\"\n\
             tpm.ek.spki_sha256 = \"{ek}\"\ntpm.class = \"discrete\"\ntpm.secure_boot.enabled = true\n\
             tpm.firmware_version = \"7.85\"\ntpm.boot.command_lines = [\"{lines}\"]\n\
             tpm.secure_boot.dbx = [\"sha256:DIGEST\"]\n",
            ek = "e1".repeat(32)
        )
    };
    let cases = folder.path().join("cases");
    std::fs::create_dir(&cases).unwrap();
    written(&cases, "quiet.toml", &facts("quiet"));
    written(&cases, "debug.toml", &facts("debug"));
    let new = POLICY.replace("lines = [\"quiet\"]", "lines = [\"debug\"]");
    let (old, new) = (written(folder.path(), "old.toml", POLICY), written(folder.path(), "new.toml", &new));
    let (exit, report) = json(&["diff", &old, &new, "--cases", text(&cases), "--at", AT]);
    assert_eq!((exit, &report["judged"]), (Exit::Refused, &2.into()));
    let flips = report["flips"].as_array().unwrap();
    let flip = |name: &str| flips.iter().find(|flip| flip["of"].as_str().unwrap().ends_with(name)).unwrap();
    assert_eq!(flip("debug.toml")["new"]["decision"], "admitted");
    assert_eq!(flip("quiet.toml")["new"]["because"][0], "policy.fact.not_allowed tpm.boot.command_lines");
}

#[test]
fn stored_evidence_is_judged_by_both() {
    let Some(golden) = machine("uki-nosb") else { return };
    let changed = golden.parent().unwrap().join("uki-nosb-cmdline-changed");
    let folder = tempfile::tempdir().unwrap();
    let out = text(folder.path());
    for (name, samples) in [("one", &[&golden][..]), ("two", &[&golden, &changed])] {
        let samples: Vec<&str> = samples.iter().map(|path| text(path)).collect();
        policy(&[&["learn", "--name", name, "--out", out, "--at", AT], &samples[..]].concat()).unwrap();
    }
    let [one, two] = ["one", "two"].map(|name| folder.path().join(format!("{name}.toml")));
    let flags = ["diff", text(&one), text(&two), "--evidence", text(&golden), "--evidence", text(&changed), "--at", AT];
    let (_, report) = json(&flags);
    assert_eq!((&report["judged"], report["flips"].as_array().unwrap().len()), (&2.into(), 1), "{report}");
    assert_eq!(report["flips"][0]["old"]["decision"], "refused");
    assert_eq!(report["flips"][0]["new"]["by"], "rule learned, alternative uki-nosb-cmdline-changed");
}
