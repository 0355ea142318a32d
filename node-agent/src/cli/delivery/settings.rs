//! The helper's configuration: spiffe-helper's words, in TOML; every problem is reported at once with its key.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use serde::Deserialize;

use super::super::api::address::{self, Address};

/// Bytes of the largest configuration that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Bits that a key's file may have: its owner reads and writes, its group reads.
const KEY_MODES: u32 = 0o640;
/// Bits that other files may have.
const MODES: u32 = 0o664;

/// As it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    agent_address: Option<String>,
    cert_dir: PathBuf,
    #[serde(default = "yes")]
    daemon_mode: bool,
    #[serde(default = "yes")]
    swap_directory: bool,
    #[serde(default = "svid")]
    svid_file_name: String,
    #[serde(default = "key")]
    svid_key_file_name: String,
    #[serde(default = "bundle")]
    svid_bundle_file_name: String,
    svid_and_key_file_name: Option<String>,
    #[serde(default)]
    add_intermediates_to_bundle: bool,
    #[serde(default)]
    include_federated_domains: bool,
    #[serde(default)]
    omit_expired: bool,
    #[serde(default)]
    hint: String,
    #[serde(default)]
    jwt_svids: Vec<Token>,
    jwt_bundle_file_name: Option<String>,
    #[serde(default = "readable")]
    cert_file_mode: String,
    #[serde(default = "private")]
    key_file_mode: String,
    #[serde(default = "private")]
    jwt_svid_file_mode: String,
    #[serde(default = "readable")]
    jwt_bundle_file_mode: String,
    file_owner: Option<String>,
    file_group: Option<String>,
    renew_signal: Option<String>,
    #[serde(alias = "pid_file")]
    pid_file_name: Option<PathBuf>,
    renew_command: Option<Vec<String>>,
}

/// A JWT-SVID that is wanted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    /// For whom it is.
    pub(super) jwt_audience: String,
    /// And for whom besides.
    #[serde(default)]
    pub(super) jwt_extra_audiences: Vec<String>,
    /// Its file.
    pub(super) jwt_svid_file_name: String,
}

fn yes() -> bool {
    true
}
fn svid() -> String {
    "svid.pem".to_owned()
}
fn key() -> String {
    "svid_key.pem".to_owned()
}
fn bundle() -> String {
    "svid_bundle.pem".to_owned()
}
fn readable() -> String {
    "0644".to_owned()
}
fn private() -> String {
    "0600".to_owned()
}

/// What to write, where, and whom to tell.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) address: Address,
    pub(super) cert_dir: PathBuf,
    pub(super) daemon_mode: bool,
    /// All files are exchanged in one step.
    pub(super) swap_directory: bool,
    pub(super) svid_file_name: String,
    pub(super) svid_key_file_name: String,
    pub(super) svid_bundle_file_name: String,
    pub(super) svid_and_key_file_name: Option<String>,
    pub(super) add_intermediates_to_bundle: bool,
    pub(super) include_federated_domains: bool,
    pub(super) omit_expired: bool,
    pub(super) hint: String,
    pub(super) jwt_svids: Vec<Token>,
    pub(super) jwt_bundle_file_name: Option<String>,
    pub(super) modes: Modes,
    /// User and group of the files; the helper's own where there is none.
    pub(super) owner: (Option<u32>, Option<u32>),
    pub(super) signal: Option<(Signal, PathBuf)>,
    pub(super) command: Option<Vec<String>>,
}

/// Of each kind of file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Modes {
    pub(super) certificate: u32,
    pub(super) key: u32,
    pub(super) token: u32,
    pub(super) keys: u32,
}

impl Settings {
    pub(super) fn load(file: &Path) -> anyhow::Result<Self> {
        let named = || format!("cannot read {}", file.display());
        if std::fs::metadata(file).with_context(named)?.len() > FILE_BYTES_MAX {
            bail!("{} is larger than 1 MiB", file.display());
        }
        let text = std::fs::read_to_string(file).with_context(named)?;
        let variable = std::env::var(address::VARIABLE).ok();
        Self::parse(&text, variable.as_deref()).with_context(|| file.display().to_string())
    }

    /// As [`Self::load`], from text and the value of `SPIFFE_ENDPOINT_SOCKET`.
    pub(super) fn parse(text: &str, variable: Option<&str>) -> anyhow::Result<Self> {
        let raw: Raw = toml::from_str(text)?;
        let mut problems = Vec::new();
        let mut note = |key: &str, problem: String| problems.push(format!("\n  {key}: {problem}"));

        let (path, uri) = match raw.agent_address.as_deref() {
            Some(text) if text.contains(':') => (None, Some(text)),
            Some(text) => (Some(Path::new(text)), None),
            None => (None, variable),
        };
        let address = Address::choose(path, uri).map_err(|error| note("agent_address", error.to_string())).ok();
        let mut mode = |key: &str, text: &str, allowed: u32| match octal(text) {
            Some(mode) if mode & !allowed == 0 && mode & 0o400 != 0 => mode,
            Some(_) => {
                note(key, format!("{text:?} lets others do more than {allowed:04o} does, or its owner too little"));
                0
            }
            None => {
                note(key, format!("expected an octal mode in quotes, such as \"0640\", found {text:?}"));
                0
            }
        };
        let modes = Modes {
            certificate: mode("cert_file_mode", &raw.cert_file_mode, MODES),
            key: mode("key_file_mode", &raw.key_file_mode, KEY_MODES),
            token: mode("jwt_svid_file_mode", &raw.jwt_svid_file_mode, KEY_MODES),
            keys: mode("jwt_bundle_file_mode", &raw.jwt_bundle_file_mode, MODES),
        };
        let mut names = vec![
            ("svid_file_name", &raw.svid_file_name),
            ("svid_key_file_name", &raw.svid_key_file_name),
            ("svid_bundle_file_name", &raw.svid_bundle_file_name),
        ];
        names.extend(raw.svid_and_key_file_name.as_ref().map(|name| ("svid_and_key_file_name", name)));
        names.extend(raw.jwt_bundle_file_name.as_ref().map(|name| ("jwt_bundle_file_name", name)));
        names.extend(raw.jwt_svids.iter().map(|token| ("jwt_svid_file_name", &token.jwt_svid_file_name)));
        for (place, (key, name)) in names.iter().enumerate() {
            // What begins or ends with two dots and a word are names of our own.
            let is_ours = name.starts_with("..") || name.ends_with("..new");
            if name.is_empty() || is_ours || name.contains('/') || *name == "." {
                note(key, format!("expected the name of a file in cert_dir, found {name:?}"));
            }
            if names.iter().take(place).any(|(_, other)| other == name) {
                note(key, format!("{name:?} is the name of another file, too"));
            }
        }
        if raw.jwt_svids.iter().any(|token| token.jwt_audience.is_empty()) {
            note("jwt_audience", "is empty".to_owned());
        }
        let owner =
            raw.file_owner.as_deref().and_then(|text| user(text).map_err(|problem| note("file_owner", problem)).ok());
        let owning_group =
            raw.file_group.as_deref().and_then(|text| group(text).map_err(|problem| note("file_group", problem)).ok());
        let signal = match (raw.renew_signal.as_deref(), raw.pid_file_name) {
            (None, None) => None,
            (Some(name), Some(file)) => {
                let signal = signal(name);
                if signal.is_none() {
                    note("renew_signal", format!("{name:?} is no signal that asks a program to read its files again"));
                }
                signal.map(|signal| (signal, file))
            }
            (Some(_), None) => {
                note(
                    "renew_signal",
                    "needs pid_file_name: the file with the number of the process to signal".to_owned(),
                );
                None
            }
            (None, Some(_)) => {
                note("pid_file_name", "needs renew_signal".to_owned());
                None
            }
        };
        if raw.renew_command.as_ref().is_some_and(|argv| argv.first().is_none_or(String::is_empty)) {
            note("renew_command", "expected a program and its arguments, found nothing".to_owned());
        }
        let Some(address) = address.filter(|_| problems.is_empty()) else {
            bail!("configuration has {} problem(s):{}", problems.len(), problems.concat());
        };
        Ok(Self {
            address,
            cert_dir: raw.cert_dir,
            daemon_mode: raw.daemon_mode,
            swap_directory: raw.swap_directory,
            svid_file_name: raw.svid_file_name,
            svid_key_file_name: raw.svid_key_file_name,
            svid_bundle_file_name: raw.svid_bundle_file_name,
            svid_and_key_file_name: raw.svid_and_key_file_name,
            add_intermediates_to_bundle: raw.add_intermediates_to_bundle,
            include_federated_domains: raw.include_federated_domains,
            omit_expired: raw.omit_expired,
            hint: raw.hint,
            jwt_svids: raw.jwt_svids,
            jwt_bundle_file_name: raw.jwt_bundle_file_name,
            modes,
            owner: (owner, owning_group),
            signal,
            command: raw.renew_command,
        })
    }
}

fn octal(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777)
}

fn user(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => match nix::unistd::User::from_name(text) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            _ => Err(format!("this system knows no user {text:?}")),
        },
    }
}

fn group(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number) => Ok(number),
        Err(_) => match nix::unistd::Group::from_name(text) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            _ => Err(format!("this system knows no group {text:?}")),
        },
    }
}

fn signal(name: &str) -> Option<Signal> {
    match name.strip_prefix("SIG").unwrap_or(name) {
        "HUP" => Some(Signal::HUP),
        "INT" => Some(Signal::INT),
        "QUIT" => Some(Signal::QUIT),
        "USR1" => Some(Signal::USR1),
        "USR2" => Some(Signal::USR2),
        "TERM" => Some(Signal::TERM),
        "CONT" => Some(Signal::CONT),
        "WINCH" => Some(Signal::WINCH),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
