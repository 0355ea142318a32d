//! `[upstream_authority]`, who signs this server's intermediates, and `[lifetimes]`.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use super::{DAY, Lifetimes};
use crate::authority::UpstreamSettings;

/// Words of a command at most.
const WORDS_MAX: usize = 64;

/// Which keys belong to which type, beside `type` itself.
const BELONGS: [(&str, &[&str]); 3] = [
    ("files", &["cert_file", "key_file", "bundle_file"]),
    ("command", &["command", "timeout"]),
    ("pkcs11", &["module", "token", "key", "pin_file", "cert_file", "bundle_file", "timeout"]),
];

/// How long things live where no policy or entry says otherwise.
pub(super) fn lifetimes(reader: &mut Reader) -> Option<Lifetimes> {
    let challenge = reader.seconds("lifetimes.challenge", 10..=600);
    let node_svid = reader.seconds("lifetimes.node_svid", 60..=86_400);
    let x509_svid = reader.seconds("lifetimes.x509_svid", 5..=86_400);
    let intermediate = reader.seconds("lifetimes.intermediate", 20..=3650 * DAY);
    Some(Lifetimes { challenge: challenge?, node_svid: node_svid?, x509_svid: x509_svid?, intermediate: intermediate? })
}

/// The upstream authority, where there is a section of it.
pub(super) fn upstream(reader: &mut Reader) -> Option<UpstreamSettings> {
    let path = |reader: &mut Reader, key: &str| reader.optional(&format!("upstream_authority.{key}"), absolute);
    let kind = reader.optional("upstream_authority.type", |text| match text {
        "files" | "command" | "pkcs11" => Ok(text.to_owned()),
        _ => Err(format!("expected one of files, command, pkcs11, found {text:?}")),
    });
    let (cert_file, key_file) = (path(reader, "cert_file"), path(reader, "key_file"));
    let (bundle_file, pin_file) = (path(reader, "bundle_file"), path(reader, "pin_file"));
    let module = path(reader, "module");
    let word = |reader: &mut Reader, key: &str| reader.optional(&format!("upstream_authority.{key}"), label);
    let (token, key) = (word(reader, "token"), word(reader, "key"));
    let command = reader.list("upstream_authority.command");
    let timeout = reader.seconds("upstream_authority.timeout", 1..=300);
    let timeout = timeout.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    let given = [
        ("cert_file", cert_file.is_some()),
        ("key_file", key_file.is_some()),
        ("bundle_file", bundle_file.is_some()),
        ("pin_file", pin_file.is_some()),
        ("module", module.is_some()),
        ("token", token.is_some()),
        ("key", key.is_some()),
        ("command", command.is_some()),
    ];
    let Some(kind) = kind else {
        if let Some((key, _)) = given.iter().find(|(_, given)| *given) {
            let needs = "needs upstream_authority.type: files, command or pkcs11";
            reader.refuse(&format!("upstream_authority.{key}"), needs);
        }
        return None;
    };
    let belongs = BELONGS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, keys)| *keys);
    for (key, given) in given {
        let path = format!("upstream_authority.{key}");
        match (given, belongs.contains(&key), key) {
            (true, false, _) => reader.refuse(&path, format!("is no key of type {kind}")),
            (false, true, "bundle_file") | (true, true, _) | (false, false, _) => {}
            (false, true, _) => reader.refuse(&path, format!("is required for type {kind}")),
        }
    }
    if let Some(words) = &command {
        let is_absolute = words.first().is_some_and(|program| program.starts_with('/'));
        if !is_absolute || words.len() > WORDS_MAX {
            let expected =
                format!("expected the absolute path of a program and its arguments, at most {WORDS_MAX} words");
            reader.refuse("upstream_authority.command", expected);
            return None;
        }
    }
    Some(match kind.as_str() {
        "files" => UpstreamSettings::Files { cert_file: cert_file?, key_file: key_file?, bundle_file },
        "command" => UpstreamSettings::Command { command: command?, timeout: timeout? },
        _ => UpstreamSettings::Pkcs11 {
            module: module?,
            token: token?,
            key: key?,
            pin_file: pin_file?,
            cert_file: cert_file?,
            bundle_file,
            timeout: timeout?,
        },
    })
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(format!("expected an absolute path, found {text:?}")) }
}

fn label(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("is empty") } else { Ok(text.to_owned()) }
}
