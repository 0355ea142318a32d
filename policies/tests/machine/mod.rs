//! One virtual machine's real evidence and the command line that inspects it.

use std::path::{Path, PathBuf};

use clap::Parser as _;
use holdfast_policy::cli::{self, Cli};
use holdfast_policy::exit::Exit;
use serde_json::Value;

/// Where the real evidence lies, or `None` with a printed reason.
pub(crate) fn vectors() -> Option<PathBuf> {
    let named = std::env::var_os("HOLDFAST_VECTORS").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let found = named.into_iter().chain([beside]).find(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: no real evidence here; set HOLDFAST_VECTORS to its folder");
    }
    found
}

/// Runs `inspect` with these arguments and `--output json`.
pub(crate) fn inspect(arguments: &[String]) -> (Exit, Value) {
    let start = ["holdfast-policy", "--output", "json", "inspect"].map(str::to_owned);
    let cli = Cli::try_parse_from(start.iter().chain(arguments)).unwrap();
    let mut out = Vec::new();
    let exit = cli::run(&cli, &mut out).unwrap();
    assert!(out.iter().all(|byte| *byte == b'\n' || (0x20..0x7f).contains(byte)), "a terminal would obey this");
    (exit, serde_json::from_slice(&out).unwrap())
}

/// Evidence of one virtual machine, copied so that a test may spoil it.
pub(crate) struct Machine {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) flags: Vec<(String, String)>,
}

pub(crate) const MACHINES: [&str; 6] = [
    "direct-kernel",
    "direct-kernel-again",
    "uki-nosb",
    "uki-nosb-cmdline-changed",
    "uki-sb-snakeoil",
    "shim-grub-debian-sb",
];

impl Machine {
    /// The complete command line for the RSA keys of a machine.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let source = vectors()?.join("vm").join(name);
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&source).unwrap() {
            let path = entry.unwrap().path();
            std::fs::write(folder.path().join(path.file_name().unwrap()), std::fs::read(&path).unwrap()).unwrap();
        }
        let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
        let roots = read("swtpm-localca-rootca-cert.pem") + &read("issuercert.pem");
        std::fs::write(folder.path().join("roots.pem"), roots).unwrap();
        let pcrs = read("pcrs.txt");
        let sha256 = pcrs.split("sha256:").nth(1).unwrap();
        let ten = sha256.lines().find_map(|line| line.trim().strip_prefix("10:")).unwrap();
        let nonce = read("nonce.hex");
        let mut machine = Self { folder, flags: Vec::new() };
        for (flag, file) in [
            ("--ak-public", "ak-rsa.tpm2b_public"),
            ("--attest", "quote-rsa.msg"),
            ("--signature", "quote-rsa.sig"),
            ("--event-log", "binary_bios_measurements"),
            ("--ek-certificate", "nv-0x1c00002.bin"),
            ("--ek-public", "ek-rsa.tpm2b_public"),
            ("--roots", "roots.pem"),
        ] {
            machine = machine.with_file(flag, file);
        }
        let machine = machine.with("--ak-parent", "ek").with("--require-pcrs", "sha256:0-7,11");
        let machine = machine.with("--pcr", &format!("10={}", ten.trim().trim_start_matches("0x")));
        Some(machine.with("--nonce", nonce.trim()).with("--at", "2026-11-22T12:00:00Z"))
    }

    pub(crate) fn path(&self, file: &str) -> String {
        self.folder.path().join(file).to_string_lossy().into_owned()
    }

    /// Sets a flag to another value.
    pub(crate) fn with(mut self, flag: &str, value: &str) -> Self {
        self.flags.retain(|(known, _)| known != flag);
        self.flags.push((flag.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn with_file(self, flag: &str, file: &str) -> Self {
        let path = self.path(file);
        self.with(flag, &path)
    }

    pub(crate) fn without(mut self, flags: &[&str]) -> Self {
        self.flags.retain(|(known, _)| !flags.contains(&known.as_str()));
        self
    }

    /// Rewrites a file.
    pub(crate) fn change(self, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let path = self.folder.path().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(path, bytes).unwrap();
        self
    }

    pub(crate) fn run(&self, more: &[&str]) -> (Exit, Value) {
        let flags = self.flags.iter().flat_map(|(flag, value)| [flag.clone(), value.clone()]);
        let arguments: Vec<String> =
            std::iter::once("tpm".to_owned()).chain(flags).chain(more.iter().map(|more| (*more).to_owned())).collect();
        inspect(&arguments)
    }

    /// Runs, and compares the code of the refusal.
    pub(crate) fn refused(&self, code: &str) {
        let (exit, report) = self.run(&[]);
        assert_eq!(
            (exit, report["code"].as_str(), report["verdict"].as_str()),
            (Exit::Refused, Some(code), Some("refused"))
        );
        assert!(report["facts"].as_object().unwrap().is_empty(), "nothing is a fact after a refusal");
    }
}

pub(crate) fn result_of<'r>(report: &'r Value, check: &str) -> &'r str {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|found| found["name"] == check).unwrap()["result"].as_str().unwrap()
}
