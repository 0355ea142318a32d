//! Who may import whom: the arrows of ARCHITECTURE.md, read from the manifests.

use super::{MEMBERS, files, none, read, root, short};

/// Our own crates that each member may name under `[dependencies]`.
const EDGES: &[(&str, &[&str])] = &[
    ("crates/identity", &[]),
    ("crates/evidence", &["holdfast-identity"]),
    ("crates/measurement", &["holdfast-evidence"]),
    ("crates/appraisal", &["holdfast-identity", "holdfast-evidence"]),
    ("crates/record", &["holdfast-identity", "holdfast-evidence"]),
    ("crates/proof", &["holdfast-identity", "holdfast-evidence", "holdfast-appraisal", "holdfast-record"]),
    ("crates/svid", &["holdfast-identity", "holdfast-evidence"]),
    ("crates/protocol", &[]),
    (
        "server",
        &[
            "holdfast-identity",
            "holdfast-evidence",
            "holdfast-appraisal",
            "holdfast-record",
            "holdfast-proof",
            "holdfast-svid",
            "holdfast-protocol",
        ],
    ),
    ("node-agent", &["holdfast-identity", "holdfast-evidence", "holdfast-svid", "holdfast-protocol"]),
    ("tpm-sim", &["holdfast-identity"]),
    (
        "policies",
        &[
            "holdfast-identity",
            "holdfast-evidence",
            "holdfast-measurement",
            "holdfast-appraisal",
            "holdfast-record",
            "holdfast-proof",
        ],
    ),
];

/// Crates that only the named members may use, with the reason.
const CONFINED: &[(&str, &[&str], &str)] = &[
    ("tss-esapi", &["node-agent", "tpm-sim"], "the server parses TPM structures in Rust"),
    ("sqlx", &["server"], "only the server keeps state in a database"),
    (
        "rsa",
        &["crates/evidence", "tpm-sim"],
        "one module, evidence::crypto, touches primitives; the simulator makes keys of its own",
    ),
    ("aes", &["crates/evidence"], "one module, evidence::crypto, touches primitives"),
    ("tokio", &["server", "node-agent", "tpm-sim", "tests"], "libraries and the offline tool hold no I/O"),
];

fn manifest(member: &str) -> toml::Table {
    read(root().join(member).join("Cargo.toml")).parse().unwrap()
}

fn names(manifest: &toml::Table, section: &str) -> Vec<String> {
    manifest.get(section).and_then(|s| s.as_table()).map(|t| t.keys().cloned().collect()).unwrap_or_default()
}

#[test]
fn each_room_imports_only_the_rooms_below_it() {
    let mut offenders = Vec::new();
    for (member, allowed) in EDGES {
        for name in names(&manifest(member), "dependencies") {
            if name.starts_with("holdfast-") && !allowed.contains(&name.as_str()) {
                offenders.push(format!("{member} imports {name}"));
            }
        }
    }
    none("an arrow that ARCHITECTURE.md does not draw", offenders);
}

#[test]
fn the_simulator_is_only_ever_a_dev_dependency() {
    let offenders = MEMBERS
        .iter()
        .filter(|member| names(&manifest(member), "dependencies").contains(&"holdfast-tpm-sim".to_owned()))
        .map(ToString::to_string)
        .collect();
    none("a program that contains the simulator", offenders);
}

#[test]
fn confined_crates_stay_where_they_belong() {
    let mut offenders = Vec::new();
    for (name, allowed, reason) in CONFINED {
        for member in MEMBERS {
            if !allowed.contains(member) && names(&manifest(member), "dependencies").iter().any(|n| n == name) {
                offenders.push(format!("{member} uses {name}, but {reason}"));
            }
        }
    }
    none("a confined crate got out", offenders);
}

#[test]
fn libraries_forbid_unsafe_code_and_every_member_takes_the_workspace_lints() {
    let mut offenders = Vec::new();
    for member in MEMBERS {
        let lints = manifest(member).get("lints").and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool);
        if lints != Some(true) {
            offenders.push(format!("{member} has lints of its own"));
        }
        if member.starts_with("crates/") {
            let lib = root().join(member).join("src/lib.rs");
            if !read(&lib).contains("#![forbid(unsafe_code)]") {
                offenders.push(format!("{} does not forbid unsafe code", short(&lib)));
            }
        }
    }
    none("lints", offenders);
}

#[test]
fn only_one_module_of_the_evidence_crate_touches_primitives() {
    let offenders = files("crates/evidence/src", ".rs")
        .into_iter()
        .filter(|path| !short(path).starts_with("crates/evidence/src/crypto"))
        .filter(|path| {
            let text = read(path);
            let product = text.split("#[cfg(test)]").next().unwrap_or_default();
            product.lines().any(|line| {
                let line = line.trim_start();
                !line.starts_with("//")
                    && [
                        "rsa::",
                        "aes::",
                        "cfb_mode::",
                        "ring::signature",
                        "ring::aead",
                        "ring::hmac",
                        "ring::agreement",
                    ]
                    .iter()
                    .any(|name| line.contains(name))
            })
        })
        .map(|path| short(&path))
        .collect();
    none("primitives outside evidence::crypto", offenders);
}
