//! The bans of `deny.toml`, over the lock file, where cargo-deny is not installed.

use super::{MEMBERS, none, read, root};

fn table(path: &str) -> toml::Table {
    read(root().join(path)).parse().unwrap()
}

#[test]
fn nothing_banned_is_in_the_lock_file() {
    let lock = table("Cargo.lock");
    let held: Vec<&str> = lock["package"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
    assert!(held.contains(&"ring"));
    let offenders = table("deny.toml")["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|ban| held.contains(&ban["crate"].as_str().unwrap()))
        .map(|ban| format!("{}: {}", ban["crate"], ban["reason"]))
        .collect();
    none("banned crates", offenders);
}

#[test]
fn every_package_comes_from_the_registry_with_a_checksum() {
    let lock = table("Cargo.lock");
    let offenders = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| !package["name"].as_str().unwrap().starts_with("holdfast-"))
        .filter(|package| {
            let source = package.get("source").and_then(|s| s.as_str()).unwrap_or_default();
            !source.starts_with("registry+") || package.get("checksum").is_none()
        })
        .map(|package| package["name"].to_string())
        .collect();
    none("packages of another origin", offenders);
}

#[test]
fn dependencies_are_named_once_at_the_root() {
    let mut offenders = Vec::new();
    for member in MEMBERS {
        let manifest = table(&format!("{member}/Cargo.toml"));
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in manifest.get(section).and_then(|s| s.as_table()).into_iter().flatten() {
                if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    offenders.push(format!("{member}: {name} has a version of its own"));
                }
            }
        }
    }
    none("versions outside the root manifest", offenders);
}
