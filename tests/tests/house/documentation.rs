//! What must be documented, checked against the code.

use std::collections::BTreeSet;

use super::{MEMBERS, files, none, read, root, short};

/// Evidence kinds: the folders of `crates/evidence/src` that hold a `verify` module.
fn kinds() -> Vec<String> {
    std::fs::read_dir(root().join("crates/evidence/src"))
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter(|entry| entry.path().join("verify.rs").exists() || entry.path().join("verify").is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn every_evidence_kind_has_a_page_and_a_fuzz_target() {
    assert!(kinds().contains(&"tpm".to_owned()), "found no evidence kinds: the rule looks in the wrong place");
    let mut offenders = Vec::new();
    for kind in kinds() {
        for path in [format!("docs/evidence/{kind}.md"), format!("fuzz/fuzz_targets/{kind}.rs")] {
            if !root().join(&path).exists() {
                offenders.push(format!("{kind}: {path} is missing"));
            }
        }
    }
    none("evidence kinds", offenders);
}

/// String literals of the form `a.b.c` in the bodies of functions named `code`.
fn codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for path in MEMBERS.iter().filter(|member| **member != "tests").flat_map(|member| files(member, ".rs")) {
        let text = read(&path);
        for (at, _) in text.match_indices("fn code(") {
            let Some(open) = text[at..].find('{') else { continue };
            let mut depth = 0;
            let body: String = text[at + open..]
                .chars()
                .take_while(|c| {
                    depth += match c {
                        '{' => 1,
                        '}' => -1,
                        _ => 0,
                    };
                    depth > 0
                })
                .collect();
            for literal in body.split('"').skip(1).step_by(2) {
                let shaped = literal.contains('.')
                    && literal.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '.'))
                    && !literal.starts_with('.');
                if shaped {
                    codes.insert(literal.to_owned());
                }
            }
        }
    }
    codes
}

#[test]
fn the_reference_of_error_codes_is_complete_and_true() {
    let codes = codes();
    assert!(codes.len() > 20, "found {} codes: the rule looks in the wrong place", codes.len());
    let page = read(root().join("docs/reference/error-codes.md"));
    let listed: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .map(str::to_owned)
        .collect();
    let mut offenders: Vec<String> =
        codes.difference(&listed).map(|code| format!("`{code}` is not in the page")).collect();
    offenders.extend(listed.difference(&codes).map(|code| format!("`{code}` is in the page, not in the code")));
    none("docs/reference/error-codes.md", offenders);
}

/// What stands before the name of an act where the server writes one into the record.
const ACTS: [&str; 10] = [
    "\"action\": ",
    "action: ",
    "action: if is_low { ",
    "} else { ",
    "append(tx, ",
    "leaf(",
    "act(",
    "bundle_changed(tx, ",
    "alarm = Some(",
    "operation(",
];

/// Names of acts: literals of the form `a.b` behind one of [`ACTS`], in arguments behind others, and the acts on nodes.
fn acts() -> BTreeSet<String> {
    let mut acts = BTreeSet::new();
    for path in files("server/src", ".rs") {
        let name = short(&path);
        if name.contains("test") || name.contains("conformance") || name.contains("/cli/") {
            continue;
        }
        let text = read(&path);
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        for line in text.lines() {
            let is_node_action =
                name.ends_with("store/nodes.rs") && line.contains("Self::") && line.contains("=> \"node.");
            let removes = line.contains("remove(tx, ")
                || line.contains("go_on(")
                || line.contains("next(state, ")
                || line.contains("const INSTANT");
            for (at, literal) in line.split('"').enumerate().skip(1).step_by(2) {
                let before = line.split('"').take(at).collect::<Vec<_>>().join("\"");
                let marked = ACTS.iter().any(|act| format!("{before}\"").ends_with(&format!("{act}\"")));
                let words: Vec<&str> = literal.split('.').collect();
                let is_name = words.len() == 2
                    && words.iter().all(|word| {
                        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
                    });
                if is_name && (marked || removes || is_node_action) {
                    acts.insert(literal.to_owned());
                }
            }
        }
    }
    acts
}

#[test]
fn every_act_of_the_record_is_on_its_page() {
    let acts = acts();
    for known in ["entry.expire", "node.ban", "policy.apply", "policy.restore", "events.replay", "storage.recovered"] {
        assert!(acts.contains(known), "{known} is not found: the rule looks in the wrong place: {acts:?}");
    }
    let page = read(root().join("docs/record.md"));
    let of_refusals = ["node.unknown", "node.not_banned", "node.banned", "node.ambiguous"];
    let missing = acts.iter().filter(|act| !of_refusals.contains(&act.as_str()) && !page.contains(&format!("`{act}`")));
    none("acts that docs/record.md does not list", missing.cloned().collect());
}

#[test]
fn the_map_names_every_room() {
    let map = read(root().join("ARCHITECTURE.md"));
    let mut offenders = Vec::new();
    for member in MEMBERS {
        if !map.contains(&format!("`{member}")) {
            offenders.push(format!("{member} is not in ARCHITECTURE.md"));
        }
        for entry in std::fs::read_dir(root().join(member).join("src")).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.path().is_dir() && name != "generated" && name != "bin" && !map.contains(&name) {
                offenders.push(format!("{member}/src/{name} is not in ARCHITECTURE.md"));
            }
        }
    }
    none("rooms off the map", offenders);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages = files("docs", ".md");
    pages.extend(["README.md", "ARCHITECTURE.md", "SECURITY.md"].map(|page| root().join(page)));
    let mut offenders = Vec::new();
    for page in pages {
        let text = read(&page);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            if !page.parent().unwrap().join(target).exists() {
                offenders.push(format!("{}: {link}", short(&page)));
            }
        }
    }
    none("broken links", offenders);
}

/// What stands between backticks on a page.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn pages_of_evidence() -> impl Iterator<Item = (String, String)> {
    files("docs/evidence", ".md").into_iter().map(|path| (short(&path), read(&path)))
}

#[test]
fn what_a_page_of_evidence_calls_a_code_or_a_fact_is_in_a_reference() {
    let references = ["docs/reference/error-codes.md", "docs/reference/policy.md"].map(|path| read(root().join(path)));
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
    let known: BTreeSet<&str> = references.iter().flat_map(|text| text.split(|c| !word(c))).collect();
    let kinds: Vec<String> = kinds().into_iter().map(|kind| format!("{kind}.")).collect();
    let mut offenders = Vec::new();
    for (page, text) in pages_of_evidence() {
        let named = quoted(&text).filter(|name| kinds.iter().any(|kind| name.starts_with(kind.as_str())));
        for name in named.filter(|name| name.chars().all(word)) {
            // a register is written with its number here and with an N there; a group of names by what they begin with
            let group = format!("{}.", name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('.'));
            if !known.contains(name) && !known.iter().any(|known| known.starts_with(&group)) {
                offenders.push(format!("{page}: {name}"));
            }
        }
    }
    none("codes and facts that no reference has", offenders);
}

#[test]
fn every_attack_names_a_test_or_a_case_that_is_there() {
    let sources: String = MEMBERS.iter().flat_map(|member| files(member, ".rs")).map(|path| read(&path)).collect();
    let cases: BTreeSet<String> = files("policies/shipped/cases", ".toml")
        .iter()
        .filter_map(|p| Some(p.file_stem()?.to_str()?.to_owned()))
        .collect();
    let (mut offenders, mut found) = (Vec::new(), 0);
    for (page, text) in pages_of_evidence() {
        let attacks = text.split("\n## ").filter(|part| part.starts_with("Attacks")).flat_map(str::lines);
        let last_cells = attacks.filter_map(|line| line.strip_suffix('|')?.rsplit('|').next());
        for name in last_cells.flat_map(quoted) {
            let snake = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            found += 1;
            if !(cases.contains(name) || snake && sources.contains(&format!("fn {name}("))) {
                offenders.push(format!("{page}: {name}"));
            }
        }
    }
    assert!(found > 50, "found {found} attacks: the rule looks in the wrong place");
    none("attacks without a test", offenders);
}

#[test]
fn the_readme_shows_the_line_of_the_demos_policy_that_is_not_met() {
    let policy = read(root().join("tests/src/bin/holdfast-demo/policy.toml"));
    let line = 1 + policy.lines().position(|line| line.starts_with("tpm.boot.applications")).unwrap();
    let shown = format!("tpm.boot.applications (policy line {line})");
    assert!(read(root().join("README.md")).contains(&shown), "README.md has no {shown:?}");
}

#[test]
fn the_page_of_benchmarks_names_every_row_and_no_other() {
    let program = read(root().join("tests/benches/holdfast/main.rs"));
    let (_, rows) = program.split_once("const MEASUREMENTS").unwrap();
    let (rows, _) = rows.split_once("\n];").unwrap();
    let rows: BTreeSet<&str> = rows.split('"').skip(1).step_by(2).collect();
    assert!(rows.len() > 40, "found {} rows: the rule looks in the wrong place", rows.len());
    let page = read(root().join("docs/benchmarks.md"));
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let listed: BTreeSet<&str> =
        cells.flat_map(|cell| cell.split(['`', ',', ' '])).filter(|name| !name.is_empty()).collect();
    let mut offenders: Vec<String> =
        rows.difference(&listed).map(|row| format!("`{row}` is not in the page")).collect();
    offenders.extend(listed.difference(&rows).map(|row| format!("`{row}` is in the page, and not measured")));
    none("docs/benchmarks.md", offenders);
}

#[test]
fn examples_are_run_where_there_are_any() {
    let mut offenders = Vec::new();
    for member in MEMBERS {
        let runs = !read(root().join(member).join("Cargo.toml")).contains("doctest = false");
        for file in files(&format!("{member}/src"), ".rs") {
            let mut is_inside = false;
            for (number, line) in (1..).zip(read(&file).lines()) {
                let fence = line.trim_start().trim_start_matches(['/', '!']).trim_start().strip_prefix("```");
                let Some(kind) = fence.filter(|_| line.trim_start().starts_with("//")) else { continue };
                if !is_inside && !kind.starts_with("text") && !runs {
                    offenders.push(format!("{}:{number}: `doctest = false` in {member}/Cargo.toml", short(&file)));
                }
                is_inside = !is_inside;
            }
        }
    }
    none("examples that nothing runs", offenders);
}
