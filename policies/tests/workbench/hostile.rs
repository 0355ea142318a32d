//! One hostile string, as a machine might say it, through every output: TOML, comments, XML, JSON, the terminal.

use holdfast_policy::exit::Exit;

use super::{AT, json, policy, read, text, vectors};

/// Ends a line, a comment, a string, an element; colours a terminal; turns it from right to left.
const HOSTILE: &str = "@x\n[[rule]] #\r\u{1b}[31m\u{202e}\u{85}]]>&<b a='\"'>\\\u{0}\u{7f}\u{9b}{}";

/// Whether nothing but printable ASCII and line ends is in it.
#[track_caller]
fn plain(what: &str, text: &str) {
    let bad = text.chars().find(|c| *c != '\n' && !(' '..='~').contains(c));
    assert_eq!(bad, None, "{what}:\n{text:?}");
}

#[test]
fn a_hostile_command_line_stays_a_value_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let facts = folder.path().join("machine.toml");
    let string = toml::Value::String(HOSTILE.to_owned());
    let mut table = toml::Table::new();
    table.insert("tpm.boot.command_lines".to_owned(), toml::Value::Array(vec![string]));
    for (name, value) in [("tpm.machine", "e1".repeat(32)), ("tpm.ek.spki_sha256", "e1".repeat(32))] {
        table.insert(name.to_owned(), value.into());
    }
    table.insert("tpm.class".to_owned(), "discrete".into());
    table.insert("tpm.boot.applications".to_owned(), vec!["ab".repeat(32)].into());
    let mut document = toml::Table::new();
    for (key, value) in [("api_version", "holdfast/1"), ("kind", "facts"), ("description", HOSTILE)] {
        document.insert(key.to_owned(), value.into());
    }
    document.insert("facts".to_owned(), table.clone().into());
    std::fs::write(&facts, document.to_string()).unwrap();
    let other = folder.path().join("other.toml");
    table.insert("tpm.boot.command_lines".to_owned(), vec!["quiet".to_owned()].into());
    document.insert("facts".to_owned(), table.into());
    std::fs::write(&other, document.to_string()).unwrap();

    let out = folder.path().join("out");
    let both = ["learn", "--name", "both", "--description", HOSTILE, text(&facts), text(&other), "--at", AT];
    let one = ["learn", "--name", "one", text(&facts), "--at", AT];
    for flags in [&both[..], &one[..]] {
        let (_, said) = policy(&[flags, &["--out", text(&out)]].concat()).unwrap();
        plain("learn", &said);
    }
    let files = vectors::files_below(&out);
    assert!(files.len() >= 8, "{files:?}");
    for file in &files {
        plain(text(file), &read(file));
        let policy: toml::Table = read(file).parse().unwrap();
        assert!(policy.get("rule").is_none_or(|rules| rules.as_array().unwrap().len() == 1), "no rule was smuggled in");
    }
    assert_eq!(json(&["test", text(&out)]).0, Exit::Yes, "the string is the same value on both sides");

    let [both, one] = ["both.toml", "one.toml"].map(|name| out.join(name));
    for flags in [
        &["diff", text(&both), text(&one), "--evidence", text(&facts), "--evidence", text(&other), "--at", AT][..],
        &["reference", "from-evidence", text(&facts), "--write", text(&folder.path().join("values.toml"))],
        &["lint", text(&both)],
    ] {
        plain(flags[0], &policy(flags).unwrap().1);
        plain(flags[0], &policy(&[flags, &["--output", "json"]].concat()).map(|(_, out)| out).unwrap_or_default());
    }
    plain("reference values", &read(&folder.path().join("values.toml")));

    let case = format!(
        "api_version = \"holdfast/1\"\nkind = \"case\"\ndescription = {}\npolicy = \"one.toml\"\nbase = {:?}\nat = {AT}\n\
         [expect]\ndecision = \"admitted\"\n",
        toml::Value::String(HOSTILE.to_owned()),
        other
    );
    std::fs::write(out.join("case.toml"), case).unwrap();
    let junit = folder.path().join("report.xml");
    let (exit, said) = policy(&["test", text(&out), "--junit", text(&junit)]).unwrap();
    assert_eq!(exit, Exit::Refused);
    plain("test", &said);
    plain("JUnit", &read(&junit));
    assert!(!read(&junit).contains("<b a="), "{}", read(&junit));
}

#[test]
fn what_is_no_token_is_refused_in_the_form_that_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("result.cwt");
    std::fs::write(&token, "no token").unwrap();
    let (exit, report) = json(&["ear", "show", text(&token)]);
    assert_eq!((exit, report["code"].as_str()), (Exit::Refused, Some("ear.token.form")));
    let (exit, told) = policy(&["ear", "show", text(&token)]).unwrap();
    assert!(exit == Exit::Refused && told.starts_with("refused: "), "{told}");
}
