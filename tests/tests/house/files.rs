//! How files look: short, named by nouns, nothing unfinished, nothing of the machine they were written on.

use super::{MEMBERS, files, none, read, short};

/// Lines a source file may have; a longer one is two subjects.
const LINES_MAX: usize = 400;

fn sources() -> Vec<std::path::PathBuf> {
    MEMBERS.iter().flat_map(|member| files(member, ".rs")).collect()
}

#[test]
fn no_source_file_is_longer_than_400_lines() {
    let offenders = sources()
        .into_iter()
        .filter_map(|path| {
            let lines = read(&path).lines().count();
            (lines > LINES_MAX).then(|| format!("{lines} {}", short(&path)))
        })
        .collect();
    none("files to split", offenders);
}

#[test]
fn modules_have_the_names_of_their_subjects() {
    let banned = ["util", "utils", "helper", "helpers", "common", "misc", "manager", "data", "info", "shared"];
    let offenders = sources()
        .into_iter()
        .filter(|path| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let folder = path.parent().and_then(|p| p.file_name()).unwrap_or_default().to_string_lossy().into_owned();
            banned.contains(&stem.as_str()) || (stem == "mod" && banned.contains(&folder.as_str()))
        })
        .map(|path| short(&path))
        .collect();
    none("drawers", offenders);
}

#[test]
fn every_source_file_says_what_it_is_first() {
    let offenders = sources()
        .into_iter()
        .filter(|path| {
            let text = read(path);
            let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            !first.starts_with("//!") && !first.starts_with("#!")
        })
        .map(|path| short(&path))
        .collect();
    none("files without a first paragraph", offenders);
}

#[test]
fn nothing_is_unfinished_or_ignored() {
    // The words are put together here, so that this file does not find itself.
    let marks = [concat!("to", "do!("), concat!("unimpl", "emented!("), concat!("FIX", "ME"), concat!("#[ig", "nore")];
    let mut offenders = Vec::new();
    for path in sources() {
        for (index, line) in read(&path).lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                offenders.push(format!("{}:{}: {}", short(&path), index + 1, line.trim()));
            }
        }
    }
    none("unfinished marks", offenders);
}

#[test]
fn every_shipped_policy_has_cases() {
    let offenders = files("policies/shipped", ".toml")
        .into_iter()
        .filter(|path| path.parent().is_some_and(|folder| folder.ends_with("shipped")))
        .filter(|path| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            !files("policies/shipped/cases", ".toml").iter().any(|case| {
                case.file_name().unwrap_or_default().to_string_lossy().starts_with(&stem)
                    || case.parent().is_some_and(|folder| folder.ends_with(&stem))
            })
        })
        .map(|path| short(&path))
        .collect();
    none("policies without cases", offenders);
}

#[test]
fn every_migration_is_carried_out() {
    let history = read(super::root().join("server/src/store/sqlite/open.rs"));
    let offenders = files("server/migrations", ".sql")
        .iter()
        .map(|path| short(path))
        .filter(|path| !history.contains(path.trim_start_matches("server/")))
        .collect();
    none("migrations that server/src/store/sqlite/open.rs does not name", offenders);
}
