//! `inspect tpm`: the checks of a quote one by one, on files.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use holdfast_appraisal::facts::TpmSources;
use holdfast_evidence::TrustClass;
use holdfast_evidence::crypto::HashAlg;
use holdfast_evidence::tpm::checks::ProvenPcrs;
use holdfast_evidence::tpm::endorsement::{EkCertificate, ExpiredIssuers, Sha1Signatures, verify_chain};
use holdfast_evidence::tpm::event_log::{BootFacts, EventLog};
use holdfast_evidence::tpm::{ClockInfo, EkIdentity, PcrIndex, PcrSelection, Unverified, check_endorsement_key};

use super::forms::{self, AnyPublic, Nonce};
use super::report::{Checks, Report, Verdict, shown_events, shown_pcrs};
use super::told::Told;
use super::{certificates, facts, ima};
use crate::exit::Exit;
use crate::files;
use crate::moment::{self, Moment};

/// Every check, in the order in which they are made.
const CHECKS: [&str; 19] = [
    "ak_public",
    "ak_attributes",
    "attest",
    "magic",
    "type",
    "scheme",
    "signature",
    "nonce",
    "signer",
    "selection",
    "required_pcrs",
    "logs",
    "pcr_digest",
    "boot",
    "ek_public",
    "chain",
    "ek_match",
    "ima",
    "policy",
];
/// Those without which nothing is verified.
const NEEDED: [&str; 15] = [
    "ak_public",
    "ak_attributes",
    "attest",
    "magic",
    "type",
    "scheme",
    "signature",
    "nonce",
    "selection",
    "logs",
    "pcr_digest",
    "boot",
    "ek_public",
    "chain",
    "ek_match",
];

/// Flags of `inspect tpm`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    holdfast-policy inspect tpm --ak-public ak.pub --attest quote.msg --signature quote.sig --nonce 0011… \\\n      \
    --event-log binary_bios_measurements --pcr 10=ab12… \\\n      \
    --ek-certificate ek.der --ek-public ek.pub --roots vendor-roots/ --ak-parent ek\n  \
    holdfast-policy inspect tpm --ak-public ak.pub --attest quote.msg --signature quote.sig --allow-incomplete\n\n\
    Exit codes: 0 verified, 1 refused, 2 usage or I/O, 3 incomplete.")]
pub(super) struct InspectTpm {
    /// Attestation key: TPM2B_PUBLIC, TPMT_PUBLIC, or PEM (whose attributes nobody can check).
    #[arg(long, value_name = "FILE")]
    pub(super) ak_public: PathBuf,
    /// The quote: TPMS_ATTEST, with or without TPM2B length.
    #[arg(long, value_name = "FILE")]
    pub(super) attest: PathBuf,
    /// Its signature: TPMT_SIGNATURE, bare RSA bytes or DER ECDSA.
    #[arg(long, value_name = "FILE")]
    pub(super) signature: PathBuf,
    /// Firmware event log, as the kernel's binary_bios_measurements.
    #[arg(long, value_name = "FILE")]
    pub(super) event_log: Option<PathBuf>,
    /// The kernel's list of measured files, as its binary_runtime_measurements; replayed to the quoted PCR 10.
    #[arg(long, value_name = "FILE")]
    pub(super) ima_log: Option<PathBuf>,
    /// EK certificate, PEM or DER, padding allowed. Further certificates of a PEM file are taken as its chain.
    #[arg(long, value_name = "FILE", requires = "roots")]
    pub(super) ek_certificate: Option<PathBuf>,
    /// Endorsement key: TPM2B_PUBLIC, TPMT_PUBLIC or PEM.
    #[arg(long, value_name = "FILE")]
    pub(super) ek_public: Option<PathBuf>,
    /// Trusted certificates: a PEM or DER file, or a folder of them.
    #[arg(long, value_name = "PATH", requires = "ek_certificate")]
    pub(super) roots: Option<PathBuf>,
    /// Certificates between the EK certificate and a root; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub(super) chain: Vec<PathBuf>,
    /// What stands behind the roots. Unstated, they count as the least trusted: simulated.
    #[arg(long, value_name = "CLASS", default_value = "simulated")]
    pub(super) root_class: TrustClass,
    /// Take SHA-1 signatures in the chain, as old vendors have them.
    #[arg(long)]
    accept_sha1: bool,
    /// Take issuers that have expired.
    #[arg(long)]
    pub(super) accept_expired_issuers: bool,
    /// Under what the attestation key stands. Unstated: a primary of the endorsement hierarchy, or a child of the EK.
    #[arg(long, value_enum)]
    pub(super) ak_parent: Option<Parent>,
    /// PCRs that the quote must cover.
    #[arg(long, value_name = "BANK:LIST", value_parser = forms::selection)]
    pub(super) require_pcrs: Option<PcrSelection>,
    /// Value of a PCR that no log covers; may be given several times.
    #[arg(long, value_name = "N=HEX", num_args = 1.., value_parser = forms::pcr_value)]
    pub(super) pcr: Vec<(PcrIndex, Vec<u8>)>,
    /// What the quote must have signed along.
    #[arg(long, value_name = "HEX", value_parser = forms::nonce)]
    pub(super) nonce: Option<Nonce>,
    /// The moment of the verification; now, if not given.
    #[arg(long, value_name = "RFC3339", value_parser = moment::parse)]
    pub(super) at: Option<Moment>,
    /// A policy to judge the facts by. Whose machine it is no file can say: that is taken as given.
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
    /// Exit with 0 where nothing failed and not everything was asked.
    #[arg(long)]
    pub(super) allow_incomplete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Parent {
    /// A primary of the endorsement hierarchy.
    Endorsement,
    /// A child of the endorsement key, as `tpm2_createak` makes them.
    Ek,
    /// Somewhere else, or not to be asked.
    Unknown,
}

/// Files, read before anything is checked: a file that is not there is usage and no refusal.
pub(super) struct Inputs {
    pub(super) ak: Vec<u8>,
    pub(super) attest: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) log: Option<Vec<u8>>,
    pub(super) ima: Option<Vec<u8>>,
    pub(super) ek_certificate: Option<Vec<Vec<u8>>>,
    pub(super) ek_public: Option<Vec<u8>>,
    pub(super) chain: Vec<Vec<u8>>,
}

/// What came out beside the checks.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) signed: Option<PcrSelection>,
    pub(super) pcrs: Option<ProvenPcrs>,
    pub(super) boot: Option<BootFacts>,
    pub(super) ek: Option<EkCertificate>,
    pub(super) firmware_version: Option<u64>,
    pub(super) clock: Option<ClockInfo>,
}

impl Findings {
    /// What facts come from, once the quote's registers are proven.
    fn sources<'a>(&'a self, eks: &'a [EkIdentity]) -> Option<TpmSources<'a>> {
        let (pcrs, selection) = (self.pcrs.as_ref()?, self.signed?);
        Some(TpmSources {
            ownership: None,
            eks,
            firmware_version: self.firmware_version?,
            selection,
            pcrs: &pcrs.values,
            replayed: pcrs.replayed,
            untouched: pcrs.untouched,
            boot: self.boot.as_ref(),
        })
    }
}

impl InspectTpm {
    pub(super) fn run(&self, told: &mut Told<'_>) -> anyhow::Result<Exit> {
        let inputs = self.read()?;
        let policy = self.policy.as_deref().map(facts::policy).transpose()?;
        let mut checks = Checks::new(&CHECKS);
        let mut findings = Findings::default();
        let ek = self.check_endorsement(&inputs, &mut checks, &mut findings)?;
        self.check_quote(&inputs, ek.as_ref(), &mut checks, &mut findings);
        let measured = inputs.ima.as_deref().and_then(|log| ima::check(log, &findings, &mut checks));
        let eks: Vec<EkIdentity> = findings.ek.take().map(EkIdentity::from).into_iter().collect();
        // after a failed check nothing is a fact
        let mut facts = match checks.refusal() {
            Some(_) => None,
            None => findings.sources(&eks).as_ref().map(facts::of),
        };
        if let (Some(log), Some(policy), Some(facts)) = (&inputs.ima, &policy, &mut facts) {
            ima::attach(log, &findings, policy, facts);
        }
        let now = self.at.unwrap_or_else(moment::now).0;
        let mut decision = None;
        if let (Some(policy), Some(facts)) = (&policy, &facts) {
            let (shown, result) = facts::judge(policy, facts, findings.signed.as_ref(), now);
            checks.note("policy", result);
            decision = Some(shown);
        }
        let is_complete = checks.all_passed(&NEEDED)
            && (policy.is_none() || checks.all_passed(&["policy"]))
            && (inputs.ima.is_none() || checks.all_passed(&["ima"]));
        let verdict = match checks.refusal() {
            Some(_) => Verdict::Refused,
            None if is_complete => Verdict::Verified,
            None => Verdict::Incomplete,
        };
        let mut report = Report::new(verdict, checks, &NEEDED);
        report.decision = decision;
        report.measured_files = measured;
        if let Some(facts) = &facts {
            report.facts = facts::shown(facts);
        }
        if let Some(pcrs) = &findings.pcrs {
            report.bank = Some(pcrs.values.bank().as_str());
            report.pcrs = shown_pcrs(&pcrs.values);
        }
        if let Some(log) = inputs.log.as_deref().and_then(|bytes| EventLog::parse(bytes).ok()) {
            let bank = findings.signed.map_or(HashAlg::Sha256, |signed| signed.bank);
            report.bank = Some(bank.as_str());
            report.events = shown_events(&log, bank);
        }
        told.tell(&report, facts.as_ref(), findings.signed.as_ref())?;
        let tolerated = verdict == Verdict::Incomplete && self.allow_incomplete;
        Ok(if tolerated { Exit::Yes } else { verdict.exit() })
    }

    fn read(&self) -> anyhow::Result<Inputs> {
        let optional = |path: &Option<PathBuf>| path.as_deref().map(forms::read).transpose();
        let mut chain = Vec::new();
        for file in &self.chain {
            chain.extend(certificates::of_file(file)?);
        }
        Ok(Inputs {
            ak: forms::read(&self.ak_public)?,
            attest: forms::read(&self.attest)?,
            signature: forms::read(&self.signature)?,
            log: optional(&self.event_log)?,
            ima: self.ima_log.as_deref().map(files::measurements).transpose()?,
            ek_certificate: self.ek_certificate.as_deref().map(certificates::of_evidence).transpose()?,
            ek_public: optional(&self.ek_public)?,
            chain,
        })
    }

    /// The endorsement key: its public area, its certificate, and that they belong together.
    fn check_endorsement(
        &self,
        inputs: &Inputs,
        checks: &mut Checks,
        findings: &mut Findings,
    ) -> anyhow::Result<Option<AnyPublic>> {
        let ek = inputs.ek_public.as_deref().and_then(|bytes| {
            let parsed = AnyPublic::parse(bytes).map_err(Unverified::from).and_then(|ek| {
                if let AnyPublic::Tpm(public) = &ek {
                    check_endorsement_key(public)?;
                }
                Ok(ek)
            });
            checks.note("ek_public", parsed)
        });
        let (Some(certificates), Some(path)) = (&inputs.ek_certificate, &self.roots) else { return Ok(ek) };
        let sha1 = if self.accept_sha1 { Sha1Signatures::Accepted } else { Sha1Signatures::Refused };
        let expired = if self.accept_expired_issuers { ExpiredIssuers::Accepted } else { ExpiredIssuers::Refused };
        let roots = certificates::roots(path, self.root_class, sha1)?;
        let now = self.at.unwrap_or_else(moment::now).0;
        let (leaf, more) = certificates.split_first().map_or((&[][..], &[][..]), |(leaf, more)| (leaf, more));
        let chain: Vec<&[u8]> = more.iter().chain(&inputs.chain).map(Vec::as_slice).collect();
        let chained = checks.note("chain", verify_chain(leaf, &chain, &roots, expired, now));
        if let (Some(chained), Some(ek)) = (chained, &ek) {
            findings.ek = checks.note("ek_match", chained.certifies(ek.key()));
        }
        Ok(ek)
    }
}
