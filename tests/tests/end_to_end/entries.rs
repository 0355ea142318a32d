//! Entries from files and from SPIRE, by the programs alone: a plan, what comes of it, and what is refused by name.

use std::path::Path;

use holdfast_tests::{Output, Programs, Server, WorkDir};
use serde_json::{Value, json};

const DOMAIN: &str = "example.org";
const NODE: &str = "spiffe://example.org/holdfast/node/tpm/1";

fn server(work: &WorkDir) -> Server {
    let programs = Programs::beside_this_one().unwrap();
    Server::init(&programs, work, DOMAIN).unwrap().start(&work.path().join("server.log")).unwrap()
}

fn written(work: &WorkDir, name: &str, text: &str) -> String {
    let path = work.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn entry(id: &str, hint: &str) -> String {
    format!(
        "[[entry]]\nid = \"{id}\"\nspiffe_id = \"spiffe://{DOMAIN}/{id}\"\nparent_id = \"{NODE}\"\n\
         selectors = [\"unix:uid:1000\"]\nhint = \"{hint}\"\n"
    )
}

fn ids(server: &Server) -> Vec<String> {
    let listed = server.json(&["entry", "list"]).unwrap();
    let entries = listed["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn files_are_planned_applied_and_pruned_and_a_plan_that_differs_says_so_by_its_exit_code() {
    let work = WorkDir::new().unwrap();
    let server = server(&work);
    let by_hand = ["entry", "create", "--entry-id", "by-hand", "--spiffe-id", "spiffe://example.org/by-hand"];
    let by_hand: Vec<&str> = by_hand.into_iter().chain(["--parent-id", NODE, "--selector", "unix:uid:1000"]).collect();
    server.operator(&by_hand).unwrap();
    let file = written(&work, "a.toml", &format!("{}{}", entry("web", ""), entry("db", "")));
    let apply = |more: &[&str]| {
        let words: Vec<&str> = ["entry", "apply", "-f", &file].into_iter().chain(more.iter().copied()).collect();
        server.cli(&words).unwrap()
    };
    let planned = apply(&["--dry-run"]);
    assert_eq!((planned.code, ids(&server).len()), (1, 1), "{planned:?}");
    assert!(planned.stdout.starts_with("+ web  spiffe://example.org/web\n+ db  "), "{planned:?}");
    assert_eq!(apply(&[]).code, 0);
    assert_eq!((apply(&["--dry-run"]).code, ids(&server)), (0, vec!["by-hand".into(), "web".into(), "db".into()]));

    std::fs::write(&file, format!("{}{}", entry("web", "internal"), entry("new", ""))).unwrap();
    let planned = apply(&["--prune", "--dry-run"]);
    let expected = "~ web  spiffe://example.org/web\n    hint: \"\" -> \"internal\"\n+ new  spiffe://example.org/new\n\
                    - db  spiffe://example.org/db\n1 to create, 1 to change, 1 to delete, 0 unchanged\n";
    assert_eq!((planned.code, planned.stdout.as_str()), (1, expected));
    assert_eq!(apply(&["--prune"]).code, 0);
    assert_eq!(ids(&server), ["by-hand", "web", "new"]);

    // What a list prints is read again, and says the same.
    let listed = written(&work, "listed.json", &server.json(&["entry", "list"]).unwrap().to_string());
    let refused = server.cli(&["entry", "apply", "-f", &listed]).unwrap();
    assert!(refused.code == 1 && refused.stdout.contains("entry.not_owned"), "{refused:?}");
    let adopted = server.cli(&["entry", "apply", "-f", &listed, "--adopt"]).unwrap();
    assert!(adopted.stdout.ends_with("0 created, 1 changed, 0 deleted, 2 unchanged\n"), "{adopted:?}");
    server.operator(&["audit", "verify"]).unwrap();
}

#[test]
fn one_wrong_entry_keeps_all_back_and_is_named_with_its_reason() {
    let work = WorkDir::new().unwrap();
    let server = server(&work);
    let refused = |text: &str| -> Output {
        let file = written(&work, "wrong.toml", text);
        let output = server.cli(&["entry", "apply", "-f", &file]).unwrap();
        assert_eq!(ids(&server), Vec::<String>::new());
        output
    };
    let good = entry("good", "");
    for (from, to, names) in [
        ("example.org/bad", "example.org/holdfast/server", "bad: spiffe_id"),
        ("holdfast/node/tpm/1", "holdfast/server", "bad: parent_id"),
        ("holdfast/node/tpm/1", "holdfast", "bad: parent_id"),
        ("unix:uid:1000", "unix", "(selector.no_type)"),
    ] {
        let output = refused(&format!("{good}{}", entry("bad", "").replace(from, to)));
        assert!(output.code == 1 && output.stdout.contains(names), "{names}: {output:?}");
    }
    let mistyped = refused(&format!("{good}selector = []\n"));
    assert!(mistyped.code == 2 && mistyped.stderr.contains("wrong.toml") && mistyped.stderr.contains("line 7"));
    for field in ["admin", "downstream", "store_svid"] {
        let output = refused(&format!("{good}{field} = true\n"));
        assert!(output.code == 2 && output.stderr.contains(&format!("{field}: ")), "{output:?}");
        let flag = format!("--{}", field.replace('_', "-"));
        let words = ["entry", "create", "--spiffe-id", "spiffe://example.org/a", "--parent-id", NODE];
        let words: Vec<&str> = words.into_iter().chain(["--selector", "unix:uid:1", &flag]).collect();
        let output = server.cli(&words).unwrap();
        assert!(output.code == 2 && output.stderr.contains(&format!("{field}: ")), "{output:?}");
    }
}

fn spire(id: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut entry = json!({
        "admin": false, "created_at": "1678731397", "dns_names": [], "downstream": false, "expires_at": "0",
        "federates_with": [], "hint": "", "id": id, "jwt_svid_ttl": 0,
        "parent_id": {"path": "/spire/agent/x509pop/1", "trust_domain": DOMAIN}, "revision_number": "0",
        "selectors": [{"type": "unix", "value": "uid:1000"}],
        "spiffe_id": {"path": format!("/{id}"), "trust_domain": DOMAIN}, "store_svid": false, "x509_svid_ttl": 0,
    });
    change(&mut entry);
    entry
}

fn shown(work: &Path, entries: &[Value]) -> String {
    let path = work.join("spire.json");
    std::fs::write(&path, json!({ "entries": entries, "next_page_token": "" }).to_string()).unwrap();
    path.display().to_string()
}

#[test]
fn entries_of_spire_are_imported_once_all_of_them_can_be_or_the_others_are_left_out() {
    let work = WorkDir::new().unwrap();
    let server = server(&work);
    let underscore = |entry: &mut Value| entry["dns_names"] = json!(["a_b"]);
    let entries = [
        spire("web", |_| {}),
        spire("admin", |entry| entry["admin"] = json!(true)),
        spire("named", underscore),
        spire("reserved", |entry| entry["spiffe_id"]["path"] = json!("/holdfast/server")),
    ];
    let file = shown(work.path(), &entries);
    let map = format!("spiffe://{DOMAIN}/spire/agent/x509pop/1={NODE}");
    let import = |more: &[&str]| {
        let words = ["entry", "import", &file, "--output", "json"].into_iter().chain(more.iter().copied());
        server.cli(&words.collect::<Vec<_>>()).unwrap()
    };
    let unmapped = import(&[]);
    assert!(unmapped.code == 1 && unmapped.stdout.contains("an agent of SPIRE's"), "{unmapped:?}");
    let refused = import(&["--parent-map", &map]);
    let report: Value = refused.json().unwrap();
    let left: Vec<(&str, &str)> = report["left"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| (left["id"].as_str().unwrap(), left["reasons"][0].as_str().unwrap()))
        .collect();
    assert_eq!((refused.code, left.len(), ids(&server).len()), (1, 3, 0), "{left:?}");
    for (id, reason) in [("admin", "admin: "), ("named", "dns_names: "), ("reserved", "spiffe_id: ")] {
        assert!(left.iter().any(|(left, why)| *left == id && why.starts_with(reason)), "{id}: {left:?}");
    }
    let planned = import(&["--parent-map", &map, "--skip-unsupported", "--dry-run"]);
    assert_eq!((planned.code, ids(&server).len()), (1, 0), "{planned:?}");
    let done = import(&["--parent-map", &map, "--skip-unsupported"]);
    assert_eq!((done.code, ids(&server)), (0, vec!["web".to_owned()]), "{done:?}");
    let again: Value = import(&["--parent-map", &map, "--skip-unsupported"]).json().unwrap();
    assert_eq!((&again["unchanged"], again["steps"].as_array().unwrap().len()), (&json!(1), 0), "{again:#}");
    let web = server.json(&["entry", "show", "web"]).unwrap();
    assert_eq!((&web["owner"], &web["parent_id"]), (&json!("spire"), &json!(NODE)));
    let nothing = server.cli(&["entry", "import", &written(&work, "no.json", "[]")]).unwrap();
    assert!(nothing.code == 2 && nothing.stderr.contains("spire-server entry show"), "{nothing:?}");
}

#[test]
fn a_match_shows_what_was_seen_what_is_lacking_and_what_is_there_in_its_place() {
    let work = WorkDir::new().unwrap();
    let server = server(&work);
    server.operator(&["entry", "apply", "-f", &written(&work, "a.toml", &entry("web", ""))]).unwrap();
    let asked = |selector: &str| server.cli(&["entry", "match", "--selector", selector]).unwrap();
    let found = asked("unix:uid:1000");
    assert!(found.code == 0 && found.stdout.contains("would get spiffe://example.org/web"), "{found:?}");
    let near = asked("unix:uid:1001");
    let lines =
        ["selectors seen: unix:uid:1001", "misses spiffe://example.org/web", "lacks unix:uid:1000, has unix:uid:1001"];
    assert!(near.code == 1 && lines.iter().all(|line| near.stdout.contains(line)), "{near:?}");
    let far = asked("k8s:ns:shop");
    assert!(far.code == 1 && far.stdout.contains("no entry comes near"), "{far:?}");
}
