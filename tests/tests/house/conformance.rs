//! The table of SPIFFE conformance: every row of the checklist has a test, and docs/spiffe-conformance.md says what became
//! of each. `make conformance` runs them and writes the page; here it is only compared.

use std::collections::{BTreeMap, BTreeSet};

use super::{MEMBERS, files, none, read, root};

const PAGE: &str = "docs/spiffe-conformance.md";
/// Rows whose tests are on their way, with the rooms that they are about. Not in the table until they are taken out here.
const AWAITED: &[u16] = &[];
/// Where `make conformance` keeps what the tests said.
const RESULTS: &str = "HOLDFAST_CONFORMANCE";
/// Lines of the page before its table.
const HEAD: &str = "\
# SPIFFE conformance

What the stable SPIFFE standards demand, row by row, with the test that shows it on the real programs: a server, and an agent on a machine with a software TPM.
What is malformed is signed by trust domains whose keys the tests hold. `make conformance` runs the tests and writes this page; a house rule compares it with the
tests that there are. Requirements are in our own words; the standards' documents say more.

`passed`: the test ran and found what the row demands. `skipped`: it could not run where the page was written, and why; it shows nothing.
Run one with `cargo test --workspace --tests spiffe_014`.

| row | document | requirement | test | result |
| --: | --- | --- | --- | --- |
";

struct Row {
    document: String,
    requirement: String,
}

/// The checklist.
fn rows() -> BTreeMap<u16, Row> {
    let text = read(root().join("tests/tests/spiffe_conformance/rows.txt"));
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let row = |line: &str| {
        let parts: Vec<&str> = line.splitn(3, " | ").collect();
        let [number, document, requirement] = parts[..] else { panic!("rows.txt: {line}") };
        (number.parse().unwrap(), Row { document: document.to_owned(), requirement: requirement.to_owned() })
    };
    lines.map(row).collect()
}

/// Names of tests by the row that they are for.
fn tests() -> BTreeMap<u16, BTreeSet<String>> {
    let mut found: BTreeMap<u16, BTreeSet<String>> = BTreeMap::new();
    // Put together here, so that this file does not find itself.
    let mark = concat!("fn spi", "ffe_");
    for path in MEMBERS.iter().flat_map(|member| files(member, ".rs")) {
        for rest in read(&path).split(mark).skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if let Some(Ok(row)) = name.split('_').next().filter(|digits| digits.len() == 3).map(str::parse) {
                found.entry(row).or_default().insert(format!("spiffe_{name}"));
            }
        }
    }
    found
}

fn is_awaited(row: u16) -> bool {
    AWAITED.contains(&row)
}

/// The lines of the table, each with what became of its test.
fn table(result: &dyn Fn(&str) -> String) -> String {
    let tests = tests();
    let lines = rows().into_iter().filter(|(number, _)| !is_awaited(*number)).flat_map(|(number, row)| {
        let of_row = tests.get(&number).cloned().unwrap_or_default();
        of_row.into_iter().map(move |test| {
            format!("| {number} | {} | {} | `{test}` | {} |\n", row.document, row.requirement, result(&test))
        })
    });
    lines.collect()
}

/// Results by test in the lines of a table.
fn results(table: &str) -> BTreeMap<String, String> {
    let of_line = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, _, _, test, result] = cells[..] else { return None };
        Some((test.trim_matches('`').to_owned(), result.to_owned()))
    };
    table.lines().filter(|line| line.contains("`spiffe_")).filter_map(of_line).collect()
}

/// What libtest said of each test, with `--show-output`: what a test printed stands below its name.
fn judged(said: &str) -> BTreeMap<String, String> {
    let short = |name: &str| name.rsplit("::").next().unwrap_or_default().to_owned();
    let mut found = BTreeMap::new();
    for line in said.lines() {
        let Some((name, verdict)) = line.strip_prefix("test ").and_then(|line| line.rsplit_once(" ... ")) else {
            continue;
        };
        found.insert(short(name), if verdict == "ok" { "passed".to_owned() } else { "failed".to_owned() });
    }
    let mut test = String::new();
    for line in said.lines() {
        if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            test = short(name);
        } else if let Some(why) = line.strip_prefix("SKIPPED: ")
            && let Some(held) = found.get_mut(&test).filter(|held| *held == "passed")
        {
            *held = format!("skipped: {}", why.replace('|', "/"));
        }
    }
    found
}

#[test]
fn every_row_of_the_checklist_has_a_test() {
    let (rows, tests) = (rows(), tests());
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=79).collect::<Vec<_>>(), "rows.txt");
    let missing = rows.keys().filter(|row| !is_awaited(**row) && !tests.contains_key(row));
    none("rows without a test", missing.map(u16::to_string).collect());
    none(
        "tests of rows that are not there",
        tests.keys().filter(|row| !rows.contains_key(row)).map(u16::to_string).collect(),
    );
}

#[test]
fn the_page_of_conformance_has_the_tests_that_there_are() {
    if let Some(file) = std::env::var_os(RESULTS) {
        let judged = judged(&read(&file));
        let result = |test: &str| judged.get(test).cloned().unwrap_or_else(|| panic!("{test} was not run"));
        std::fs::write(root().join(PAGE), format!("{HEAD}{}", table(&result))).unwrap();
        let tested: Vec<_> = tests().into_keys().filter(|row| is_awaited(*row)).collect();
        assert!(tested.is_empty(), "take these rows out of AWAITED, then write the page again: {tested:?}");
    }
    let page = read(root().join(PAGE));
    let written = results(&page);
    let bad = written.iter().filter(|(_, result)| *result != "passed" && !result.starts_with("skipped: "));
    none("rows that do not hold", bad.map(|(test, result)| format!("{test}: {result}")).collect());
    let result = |test: &str| written.get(test).cloned().unwrap_or_else(|| "is new".to_owned());
    let expected = format!("{HEAD}{}", table(&result));
    let differs = page.lines().zip(expected.lines()).find(|(page, expected)| page != expected);
    assert!(page == expected, "{PAGE} is not that of the tests: run `make conformance`; {differs:?}");
}

#[test]
fn a_test_that_was_skipped_has_not_passed() {
    let said = "test a::spiffe_001_x ... ok\ntest spiffe_002_y ... ok\ntest spiffe_003_z ... FAILED\n\n\
                successes:\n\n---- a::spiffe_001_x stdout ----\nSKIPPED: no such | program\n\n---- spiffe_002_y stdout ----\nwords\n";
    let found = judged(said);
    assert_eq!(found["spiffe_001_x"], "skipped: no such / program");
    assert_eq!((found["spiffe_002_y"].as_str(), found["spiffe_003_z"].as_str()), ("passed", "failed"));
}
