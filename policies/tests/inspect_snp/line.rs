//! One command line of `inspect snp` on real evidence, copied so that a test may spoil it.

use std::path::{Path, PathBuf};

use holdfast_policy::cli::{self, Cli};
use holdfast_policy::exit::Exit;
use serde_json::Value;

use crate::machine::{inspect, vectors};

pub(crate) const TODAY: &str = "2026-11-21T00:00:00Z";
pub(crate) const VLEK_DAY: &str = "2025-06-01T00:00:00Z";

/// Report, file of the key's certificate, moment at which it is good.
pub(crate) const REPORTS: [(&str, &str, &str); 7] = [
    ("snp-milan/azure-aci-v3/report.bin", "vcek.pem", TODAY),
    ("snp-milan/trustee-v2/report.bin", "vcek.der", TODAY),
    ("snp-milan/virtee-v2/report.bin", "vcek.der", TODAY),
    ("snp-genoa/azure-aci-v3/report.bin", "vcek.pem", TODAY),
    ("snp-genoa/configfs-tsm-v3/outblob.bin", "auxblob.bin", TODAY),
    ("snp-turin/azure-aci-v5/report.bin", "vcek.pem", TODAY),
    ("snp-milan-vlek-aws/report.bin", "vlek.der", VLEK_DAY),
];

/// One command line, on copies so that a test may spoil them.
pub(crate) struct Run {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) flags: Vec<(String, String)>,
}

pub(crate) fn cvm() -> Option<PathBuf> {
    vectors().map(|folder| folder.join("cvm"))
}

/// The complete command line for each real report.
pub(crate) fn runs() -> Vec<Run> {
    let Some(cvm) = cvm() else { return Vec::new() };
    REPORTS.iter().map(|(report, vek, at)| Run::new(&cvm, report, vek, at)).collect()
}

pub(crate) fn milan() -> Option<Run> {
    runs().into_iter().next()
}

impl Run {
    pub(crate) fn new(cvm: &Path, report: &str, vek: &str, at: &str) -> Self {
        let (folder, report) = (tempfile::tempdir().unwrap(), cvm.join(report));
        let bytes = std::fs::read(&report).unwrap();
        std::fs::write(folder.path().join("report"), &bytes).unwrap();
        std::fs::copy(report.parent().unwrap().join(vek), folder.path().join("vek")).unwrap();
        let run = Self { folder, flags: Vec::new() };
        run.with_file("--report", "report")
            .with_file("--vek", "vek")
            .with("--roots", &cvm.join("roots").to_string_lossy())
            .with("--nonce", &hex(&bytes[0x50..0x90]))
            .with("--at", at)
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn with(mut self, flag: &str, value: &str) -> Self {
        self.flags.retain(|(known, _)| known != flag);
        self.flags.push((flag.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn with_file(self, flag: &str, file: &str) -> Self {
        let path = self.path(file).to_string_lossy().into_owned();
        self.with(flag, &path)
    }

    pub(crate) fn without(mut self, flag: &str) -> Self {
        self.flags.retain(|(known, _)| known != flag);
        self
    }

    pub(crate) fn write(self, file: &str, bytes: &[u8]) -> Self {
        std::fs::write(self.path(file), bytes).unwrap();
        self
    }

    pub(crate) fn change(self, file: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = std::fs::read(self.path(file)).unwrap();
        change(&mut bytes);
        self.write(file, &bytes)
    }

    pub(crate) fn arguments(&self, more: &[&str]) -> Vec<String> {
        let flags = self.flags.iter().flat_map(|(flag, value)| [flag.clone(), value.clone()]);
        std::iter::once("snp".to_owned()).chain(flags).chain(more.iter().map(|more| (*more).to_owned())).collect()
    }

    pub(crate) fn run(&self) -> (Exit, Value) {
        inspect(&self.arguments(&[]))
    }

    /// Asserts that the command line is at fault, and is told so in these words.
    #[track_caller]
    pub(crate) fn usage(&self, reason: &str) {
        use clap::Parser as _;
        let start = ["holdfast-policy", "inspect"].map(str::to_owned);
        let cli = Cli::try_parse_from(start.into_iter().chain(self.arguments(&[]))).unwrap();
        let error = cli::run(&cli, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }

    #[track_caller]
    pub(crate) fn verified(&self) -> Value {
        let (exit, report) = self.run();
        assert_eq!((exit, report["verdict"].as_str()), (Exit::Yes, Some("verified")), "{report:#}");
        report
    }

    #[track_caller]
    pub(crate) fn refused(&self, code: &str) -> Value {
        let (exit, report) = self.run();
        let found = (exit, report["code"].as_str(), report["verdict"].as_str());
        assert_eq!(found, (Exit::Refused, Some(code), Some("refused")), "{report:#}");
        assert!(report["facts"].as_object().unwrap().is_empty(), "nothing is a fact after a refusal");
        report
    }

    #[track_caller]
    pub(crate) fn incomplete(&self, missing: &str) -> Value {
        let (exit, report) = self.run();
        assert_eq!((exit, report["verdict"].as_str()), (Exit::Incomplete, Some("incomplete")), "{report:#}");
        assert_eq!(report["detail"].as_str(), Some(format!("not asked: {missing}").as_str()));
        assert_eq!(inspect(&self.arguments(&["--allow-incomplete"])).0, Exit::Yes);
        report
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
