//! Evidence in files: what the simulator writes, `holdfast-policy inspect` verifies; what an attack made of it, it refuses. The
//! commands are those of the pages on evidence.

use std::path::{Path, PathBuf};

use holdfast_tests::{Output, Programs, WorkDir};

/// What the evidence is about, and the challenge that it answers.
const BINDING: &str = "4242424242424242424242424242424242424242424242424242424242424242";
const NONCE: &str = "1717171717171717171717171717171717171717171717171717171717171717";

struct Guest {
    programs: Programs,
    work: WorkDir,
    kind: &'static str,
}

impl Guest {
    fn launched(kind: &'static str, fields: &[&str]) -> Self {
        let guest = Self { programs: Programs::beside_this_one().unwrap(), work: WorkDir::new().unwrap(), kind };
        let lab = guest.lab().display().to_string();
        let set = fields.iter().flat_map(|field| ["--set", field]);
        let words: Vec<&str> = ["launch", "--kind", kind, "--dir", &lab].into_iter().chain(set).collect();
        guest.simulator(&words);
        guest
    }

    fn lab(&self) -> PathBuf {
        self.work.path().join("lab")
    }

    fn simulator(&self, words: &[&str]) {
        let mut command = self.programs.command("holdfast-tpm-sim");
        Output::of(command.arg("guest").args(words)).unwrap().success().unwrap();
    }

    fn directory(&self) -> String {
        self.lab().join(format!("guests/{}-0", self.kind)).display().to_string()
    }

    fn attack(&self, name: &str) {
        self.simulator(&["heal", "--guest", &self.directory()]);
        self.simulator(&["attack", "--guest", &self.directory(), name]);
    }

    /// Exit code and code of the refusal; `files` are flags and names of files.
    fn inspected(&self, files: &[(&str, &str)]) -> (i32, String) {
        let to = self.work.path().join("files");
        let _ = std::fs::remove_dir_all(&to);
        let (directory, folder) = (self.directory(), to.display().to_string());
        self.simulator(&["evidence", "--guest", &directory, "--binding", BINDING, "--nonce", NONCE, "--to", &folder]);
        let mut command = self.programs.command("holdfast-policy");
        command
            .args(["--output", "json", "inspect", self.kind, "--binding", BINDING])
            .arg("--roots")
            .arg(to.join("roots.pem"));
        if self.kind.starts_with("nitro") {
            command.args(["--nonce", NONCE]);
        }
        for (flag, name) in files {
            command.arg(flag).arg(Path::new(&to).join(name));
        }
        let output = Output::of(&mut command).unwrap();
        let report: serde_json::Value =
            serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}\n{}", output.stdout, output.stderr));
        (output.code, report["code"].as_str().unwrap_or_default().to_owned())
    }

    fn check(&self, files: &[(&str, &str)], attacks: &[(&str, &str)]) {
        assert_eq!(self.inspected(files), (0, String::new()), "{}", self.kind);
        for (attack, code) in attacks {
            self.attack(attack);
            assert_eq!(self.inspected(files), (1, (*code).to_owned()), "{} {attack}", self.kind);
        }
    }
}

const DOCUMENT: &[(&str, &str)] = &[("--document", "document.cose")];

#[test]
fn an_snp_report_in_files_is_verified_and_an_attacked_one_refused() {
    let files = [("--report", "report.bin"), ("--vek", "vek.pem"), ("--chain", "chain.pem")];
    let attacks = [("debug", "snp.guest_policy.debug"), ("other-chip", "snp.report.signature")];
    Guest::launched("snp", &[]).check(&files, &attacks);
    Guest::launched("snp", &["product=Turin"]).check(&files, &attacks);
    Guest::launched("snp", &["signing_key=vlek"]).check(&files, &[("debug", "snp.guest_policy.debug")]);
}

#[test]
fn a_quote_in_files_is_verified_and_an_attacked_one_refused() {
    let files = [("--quote", "quote.bin"), ("--collateral", "collateral.json"), ("--ccel", "ccel.bin")];
    let attacks = [("debug", "tdx.td.debug"), ("event-omitted", "tdx.ccel.replay"), ("revoked-tcb", "tdx.tcb.revoked")];
    Guest::launched("tdx", &[]).check(&files, &attacks);
    Guest::launched("tdx", &["version=5", "body_type=3"]).check(&files, &attacks);
}

#[test]
fn a_document_in_a_file_is_verified_and_an_attacked_one_refused() {
    let attacks = [("debug", "nitro.pcr.debug"), ("other-leaf", "nitro.document.signature")];
    Guest::launched("nitro", &[]).check(DOCUMENT, &attacks);
    let attacks = [("unmeasured", "nitrotpm.pcr.bank_unextended"), ("own-root", "nitrotpm.chain.root")];
    Guest::launched("nitrotpm", &[]).check(DOCUMENT, &attacks);
}

#[test]
fn quotes_of_providers_in_files_are_verified_and_attacked_ones_refused() {
    let quote = [
        ("--quote", "quote.msg"),
        ("--signature", "quote.sig"),
        ("--pcrs", "pcrs.bin"),
        ("--event-log", "event-log.bin"),
        ("--ak-cert", "ak-cert.der"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&quote[..], more].concat();
    let attacks = [("own-runtime-data", "azure.runtime_data.digest"), ("tampered-quote", "tpm.quote.signature")];
    let on_snp = with(&[("--hcl", "hcl.bin"), ("--vek", "vek.pem"), ("--chain", "chain.pem")]);
    Guest::launched("azure", &[]).check(&on_snp, &attacks);
    let on_tdx = with(&[("--hcl", "hcl.bin"), ("--td-quote", "td-quote.bin"), ("--collateral", "collateral.json")]);
    Guest::launched("azure", &["hardware=tdx"]).check(&on_tdx, &attacks);
    let trusted_launch = with(&[("--ak-public", "ak.pub")]);
    Guest::launched("azure", &["hardware=none"]).check(&trusted_launch, &attacks[1..]);
    let attacks = [("own-root", "chain.signature"), ("tampered-quote", "tpm.quote.signature")];
    Guest::launched("gcp", &[]).check(&quote, &attacks);
    Guest::launched("gcp", &["ecc=false"]).check(&quote, &attacks);
}
