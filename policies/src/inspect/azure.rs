//! `inspect azure`: the checks of evidence of Azure's virtual TPM one by one, on files.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use holdfast_appraisal::facts::{AzureSources, Facts, azure};
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::azure::{
    AzureMachine, HardwareReport, HclReport, RuntimeData, Unverified, VerifiedHardware, checks as azure_checks,
    verify_ak_certificate,
};
use holdfast_evidence::crypto::{PublicKey, sha256};
use holdfast_evidence::tpm::{PcrSelection, Public};
use holdfast_evidence::x509::Roots;

use super::azure_hardware::{HardwareFiles, HardwareFlags};
use super::flags::Flags;
use super::report::{Checks, Refusal};
use super::told::Told;
use super::tools::AzureDocument;
use super::vtpm::{self, Place, QuoteFiles};
use super::{certificates, forms};
use crate::exit::Exit;

/// Every check, in the order in which they are made.
const CHECKS: [&str; 25] = [
    "evidence",
    "hcl",
    "runtime_data",
    "report",
    "report_key",
    "hardware",
    "paravisor",
    "td_report",
    "runtime_digest",
    "ak_public",
    "ak_certificate",
    "attest",
    "magic",
    "type",
    "nonce",
    "binding",
    "ak",
    "scheme",
    "signature",
    "signer",
    "selection",
    "logs",
    "pcr_digest",
    "boot",
    "policy",
];
/// Those without which nothing is verified on a confidential VM, beside those of the quote.
const CONFIDENTIAL: [&str; 7] = ["hcl", "runtime_data", "report", "report_key", "hardware", "runtime_digest", "signer"];

/// Flags of `inspect azure`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    holdfast-policy inspect azure --evidence evidence.json --roots amd/ --nonce 0011…\n  \
    holdfast-policy inspect azure --hcl hcl.bin --quote quote.msg --signature quote.sig --pcrs pcrs.bin --vek vcek.pem --binding 9a9d48e7…\n  \
    holdfast-policy inspect azure --hcl hcl.bin --quote quote.msg --signature quote.sig --pcrs pcrs.bin \\\n      \
    --td-quote quote.bin --collateral collateral.json --nonce 0011…\n  \
    holdfast-policy inspect azure --ak-cert ak.pem --quote quote.msg --signature quote.sig --event-log binary_bios_measurements --nonce 0011…\n\n\
    Evidence is the JSON of Trustee (wrapped or not), az-snp-vtpm and az-tdx-vtpm; what it lacks may be given beside it. Without an HCL report\n\
    the machine is no confidential one, and the certificate of its attestation key must vouch for it (Trusted Launch).\n\
    Exit codes: 0 verified, 1 refused, 2 usage or I/O, 3 incomplete.")]
pub(super) struct InspectAzure {
    /// Report, quote and what vouches for them in one document.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// The HCL report, as NV index 0x01400001 has it.
    #[arg(long, value_name = "FILE")]
    hcl: Option<PathBuf>,
    /// The quote: TPMS_ATTEST or TPM2B_ATTEST, or the bincode of az-cvm-vtpm with everything in it.
    #[arg(long, value_name = "FILE")]
    quote: Option<PathBuf>,
    /// Its signature: TPMT_SIGNATURE, or the bare signature.
    #[arg(long, value_name = "FILE", requires = "quote")]
    signature: Option<PathBuf>,
    /// Values of the registers: 32 bytes each in a row (all 24, or those that are quoted), or JSON.
    #[arg(long, value_name = "FILE", requires = "quote")]
    pcrs: Option<PathBuf>,
    /// The firmware log, as the kernel's binary_bios_measurements.
    #[arg(long, value_name = "FILE")]
    event_log: Option<PathBuf>,
    /// The attestation key: TPMT_PUBLIC or TPM2B_PUBLIC. Unstated, the key of the report in the paravisor's own template.
    #[arg(long, value_name = "FILE")]
    ak_public: Option<PathBuf>,
    /// Its certificate, PEM or DER; further certificates are taken as its chain.
    #[arg(long, value_name = "FILE")]
    ak_cert: Option<PathBuf>,
    #[command(flatten)]
    hardware: HardwareFlags,
    #[command(flatten)]
    flags: Flags,
}

/// Files, read before anything is checked.
struct Inputs {
    hcl: Option<Vec<u8>>,
    quote: QuoteFiles,
    log: Option<Vec<u8>>,
    ak_public: Option<Vec<u8>>,
    /// DER, the key's own first.
    ak_certificates: Vec<Vec<u8>>,
    hardware: HardwareFiles,
}

/// What the paravisor says, and what the hardware says of it, as far as it passed.
struct Confidential {
    runtime_data: RuntimeData,
    hardware: Option<VerifiedHardware>,
}

impl InspectAzure {
    pub(super) fn run(&self, told: &mut Told<'_>) -> anyhow::Result<Exit> {
        let document = self.evidence.as_deref().map(forms::read).transpose()?;
        let mut checks = Checks::new(&CHECKS);
        let mut needed: Vec<&str> = vtpm::NEEDED.to_vec();
        needed.push(if self.flags.binding.is_some() { "binding" } else { "nonce" });
        let document = match document.map(|json| AzureDocument::parse(&json)) {
            None => AzureDocument::default(),
            Some(parsed) => match checks.note("evidence", parsed) {
                Some(document) => document,
                None => return self.flags.conclude(checks, &needed, None, told),
            },
        };
        let inputs = self.read(document)?;
        let roots = certificates::trusted(&self.flags, EvidenceKind::Azure, &inputs.offered())?;
        let (facts, quoted) = self.check(&inputs, &roots, &mut checks, &mut needed).unzip();
        self.flags.conclude_quote(checks, &needed, facts.as_ref(), quoted.as_ref(), told)
    }

    fn read(&self, document: AzureDocument) -> anyhow::Result<Inputs> {
        let optional = |path: &Option<PathBuf>| path.as_deref().map(forms::read).transpose();
        let quote = match &self.quote {
            Some(path) => Some(QuoteFiles::read(path, self.signature.as_deref(), self.pcrs.as_deref())?),
            None => document.quote,
        };
        let Some(quote) = quote else { bail!("no quote: give --quote, or --evidence with one in it") };
        let hcl = optional(&self.hcl)?.or(document.hcl);
        let ak_certificates = self.ak_cert.as_deref().map(certificates::of_evidence).transpose()?.unwrap_or_default();
        if hcl.is_none() && ak_certificates.is_empty() {
            bail!("nothing vouches for the attestation key: give --hcl, --ak-cert, or --evidence with a report in it");
        }
        Ok(Inputs {
            hcl,
            quote,
            log: optional(&self.event_log)?,
            ak_public: optional(&self.ak_public)?,
            ak_certificates,
            hardware: self.hardware.read(document.vek, document.td_quote)?,
        })
    }

    /// All checks; the facts and what was quoted, if whatever vouches for the machine passed.
    fn check(
        &self,
        inputs: &Inputs,
        roots: &Roots,
        checks: &mut Checks,
        needed: &mut Vec<&'static str>,
    ) -> Option<(Facts, PcrSelection)> {
        let confidential = match &inputs.hcl {
            Some(bytes) => {
                needed.extend(CONFIDENTIAL);
                Some(self.check_paravisor(bytes, inputs, roots, checks, needed)?)
            }
            None => {
                needed.push("ak_certificate");
                None
            }
        };
        let named = confidential.as_ref().map(|confidential| &confidential.runtime_data.ak);
        let public = checks.note("ak_public", inputs.public(named))?;
        let certificate = self.check_certificate(inputs, public.key(), roots, checks);
        let place = if confidential.is_some() { Place::Endorsement } else { Place::Unknown };
        let log = inputs.log.as_deref();
        let boot = vtpm::check(&inputs.quote, log, &public, place, &self.flags, checks)?;
        let machine = match confidential {
            Some(Confidential { runtime_data, hardware }) => {
                AzureMachine::Confidential { hardware: hardware?, runtime_data: Box::new(runtime_data) }
            }
            None => AzureMachine::TrustedLaunch,
        };
        let root = match (machine.hardware(), &certificate) {
            (Some(hardware), _) => hardware.root(),
            (None, Some(certificate)) => &certificate.root,
            (None, None) => return None,
        };
        let facts = azure(&AzureSources {
            machine: &machine,
            ak_certificate: certificate.as_ref(),
            ak_spki_sha256: &sha256(&[&public.key().spki()]),
            root,
            boot: &boot,
        });
        Some((facts, boot.selection))
    }

    /// The HCL report, the hardware report inside, and that it is about the runtime data.
    fn check_paravisor(
        &self,
        bytes: &[u8],
        inputs: &Inputs,
        roots: &Roots,
        checks: &mut Checks,
        needed: &mut Vec<&'static str>,
    ) -> Option<Confidential> {
        let report = checks.note("hcl", HclReport::parse(bytes))?;
        let runtime_data = checks.note("runtime_data", RuntimeData::parse(report.runtime_data))?;
        let (report_data, hardware) = match report.hardware {
            HardwareReport::Snp(bytes) => {
                needed.push("paravisor");
                inputs.hardware.check_snp(bytes, roots, &self.flags, checks)?
            }
            HardwareReport::Tdx(td_report) => {
                needed.push("td_report");
                inputs.hardware.check_tdx(td_report, roots, &self.flags, checks)
            }
        };
        let mut reported = [report.hardware.td_report_data().copied(), report_data].into_iter().flatten();
        let is_about = reported.try_for_each(|data| azure_checks::runtime_data(&data, report.runtime_data));
        checks.note("runtime_digest", is_about);
        Some(Confidential { runtime_data, hardware })
    }

    /// The attestation key's certificate: asked where a root that could have issued it is at hand.
    fn check_certificate(
        &self,
        inputs: &Inputs,
        ak: &PublicKey,
        roots: &Roots,
        checks: &mut Checks,
    ) -> Option<holdfast_evidence::azure::AkCertificate> {
        let is_rooted =
            self.flags.roots.is_some() || inputs.ak_certificates.iter().any(|der| certificates::is_self_issued(der));
        if inputs.ak_certificates.is_empty() {
            return None;
        }
        if !is_rooted {
            let why = "no root is trusted above --ak-cert: give --roots with Microsoft's, or --chain with it in it";
            checks.leave_open("ak_certificate", why.to_owned());
            return None;
        }
        let above = inputs.hardware.chain();
        let all: Vec<&[u8]> = inputs.ak_certificates.iter().chain(above).map(Vec::as_slice).collect();
        checks.note("ak_certificate", verify_ak_certificate(&all, ak, roots, self.flags.now()))
    }
}

impl Inputs {
    /// Every certificate that came along.
    fn offered(&self) -> Vec<Vec<u8>> {
        self.ak_certificates.iter().cloned().chain(self.hardware.certificates()).collect()
    }

    /// The attestation key's public area: as given, else by the template, for the key that the report or the certificate
    /// names.
    fn public(&self, named: Option<&PublicKey>) -> Result<Public, Refusal> {
        if let Some(bytes) = &self.ak_public {
            let public = Public::parse_either(bytes)?;
            return match named.map(|named| azure_checks::key(named, &public)) {
                Some(Err(refused)) => Err(refused.into()),
                Some(Ok(())) | None => Ok(public),
            };
        }
        let certified = || self.ak_certificates.first().and_then(|der| certificates::key(der));
        let Some(key) = named.cloned().or_else(certified) else {
            return Err(Unverified::Certificate { what: "no key that is accepted" }.into());
        };
        Ok(azure_checks::area(&key)?)
    }
}
