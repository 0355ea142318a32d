//! `inspect tpm`: the checks of a quote one by one, on files.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use holdfast_evidence::TrustClass;
use holdfast_evidence::crypto::{self, HashAlg};
use holdfast_evidence::tpm::checks::{self, ProvenPcrs};
use holdfast_evidence::tpm::endorsement::{EkCertificate, ExpiredIssuers, Sha1Signatures, verify_chain};
use holdfast_evidence::tpm::event_log::{BootFacts, EventLog, Replay};
use holdfast_evidence::tpm::{
    AkParent, Attest, AttestationKey, PcrIndex, PcrSelection, PcrSet, Public, Signature, Statement, Unverified,
    check_endorsement_key,
};

use super::certificates;
use super::forms::{self, AnyPublic, Nonce};
use super::report::{Checks, Refusal, Report, Verdict, shown_events, shown_pcrs};
use crate::exit::Exit;
use crate::moment::{self, Moment};
use crate::output::Format;

const QUOTE: Statement = Statement::Quote;

/// Every check, in the order in which they are made.
const CHECKS: [&str; 18] = [
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
    ak_public: PathBuf,
    /// The quote: TPMS_ATTEST, with or without TPM2B length.
    #[arg(long, value_name = "FILE")]
    attest: PathBuf,
    /// Its signature: TPMT_SIGNATURE, bare RSA bytes or DER ECDSA.
    #[arg(long, value_name = "FILE")]
    signature: PathBuf,
    /// Firmware event log, as the kernel's binary_bios_measurements.
    #[arg(long, value_name = "FILE")]
    event_log: Option<PathBuf>,
    /// EK certificate, PEM or DER, padding allowed. Further certificates of a PEM file are taken as its chain.
    #[arg(long, value_name = "FILE", requires = "roots")]
    ek_certificate: Option<PathBuf>,
    /// Endorsement key: TPM2B_PUBLIC, TPMT_PUBLIC or PEM.
    #[arg(long, value_name = "FILE")]
    ek_public: Option<PathBuf>,
    /// Trusted certificates: a PEM or DER file, or a folder of them.
    #[arg(long, value_name = "PATH", requires = "ek_certificate")]
    roots: Option<PathBuf>,
    /// Certificates between the EK certificate and a root; may be given several times.
    #[arg(long, value_name = "FILE")]
    chain: Vec<PathBuf>,
    /// What stands behind the roots. Unstated, they count as the least trusted: simulated.
    #[arg(long, value_name = "CLASS", default_value = "simulated")]
    root_class: TrustClass,
    /// Take SHA-1 signatures in the chain, as old vendors have them.
    #[arg(long)]
    accept_sha1: bool,
    /// Take issuers that have expired.
    #[arg(long)]
    accept_expired_issuers: bool,
    /// Under what the attestation key stands. Unstated: a primary of the endorsement hierarchy, or a child of the EK.
    #[arg(long, value_enum)]
    ak_parent: Option<Parent>,
    /// PCRs that the quote must cover.
    #[arg(long, value_name = "BANK:LIST", value_parser = forms::selection)]
    require_pcrs: Option<PcrSelection>,
    /// Value of a PCR that no log covers; may be given several times.
    #[arg(long, value_name = "N=HEX", num_args = 1.., value_parser = forms::pcr_value)]
    pcr: Vec<(PcrIndex, Vec<u8>)>,
    /// What the quote must have signed along.
    #[arg(long, value_name = "HEX", value_parser = forms::nonce)]
    nonce: Option<Nonce>,
    /// The moment of the verification; now, if not given.
    #[arg(long, value_name = "RFC3339", value_parser = moment::parse)]
    at: Option<Moment>,
    /// Exit with 0 where nothing failed and not everything was asked.
    #[arg(long)]
    allow_incomplete: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Parent {
    /// A primary of the endorsement hierarchy.
    Endorsement,
    /// A child of the endorsement key, as `tpm2_createak` makes them.
    Ek,
    /// Somewhere else, or not to be asked.
    Unknown,
}

/// Files, read before anything is checked: a file that is not there is usage and no refusal.
struct Inputs {
    ak: Vec<u8>,
    attest: Vec<u8>,
    signature: Vec<u8>,
    log: Option<Vec<u8>>,
    ek_certificate: Option<Vec<Vec<u8>>>,
    ek_public: Option<Vec<u8>>,
    chain: Vec<Vec<u8>>,
}

/// What came out beside the checks.
#[derive(Default)]
struct Findings {
    signed: Option<PcrSelection>,
    pcrs: Option<ProvenPcrs>,
    boot: Option<BootFacts>,
    ek: Option<EkCertificate>,
    firmware_version: Option<u64>,
}

impl InspectTpm {
    pub(super) fn run(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let inputs = self.read()?;
        let mut checks = Checks::new(&CHECKS);
        let mut findings = Findings::default();
        let ek = self.check_endorsement(&inputs, &mut checks, &mut findings)?;
        self.check_quote(&inputs, ek.as_ref(), &mut checks, &mut findings);
        let verdict = match checks.refusal() {
            Some(_) => Verdict::Refused,
            None if checks.all_passed(&NEEDED) => Verdict::Verified,
            None => Verdict::Incomplete,
        };
        let mut report = Report::new(verdict, checks);
        if let Some(pcrs) = &findings.pcrs {
            report.bank = Some(pcrs.values.bank().as_str());
            report.pcrs = shown_pcrs(&pcrs.values);
        }
        if let Some(log) = inputs.log.as_deref().and_then(|bytes| EventLog::parse(bytes).ok()) {
            let bank = findings.signed.map_or(HashAlg::Sha256, |signed| signed.bank);
            report.bank = Some(bank.as_str());
            report.events = shown_events(&log, bank);
        }
        report.write(format, out)?;
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
            ek_certificate: self.ek_certificate.as_deref().map(certificates::of_file).transpose()?,
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

    fn check_quote(&self, inputs: &Inputs, ek: Option<&AnyPublic>, checks: &mut Checks, findings: &mut Findings) {
        let ak = checks.note("ak_public", AnyPublic::parse(&inputs.ak));
        let attest = checks.note("attest", Attest::parse(forms::attest(&inputs.attest)));
        let (Some(ak), Some(attest)) = (ak, attest) else { return };
        let key = match &ak {
            AnyPublic::Tpm(public) => checks.note("ak_attributes", AttestationKey::check(public)),
            AnyPublic::Pem(_) => None,
        };
        checks.note("magic", checks::magic(QUOTE, &attest));
        checks.note("type", checks::kind(QUOTE, &attest));
        if let Some(nonce) = &self.nonce {
            checks.note("nonce", checks::nonce(QUOTE, &attest, &nonce.0));
        }
        findings.firmware_version = Some(attest.firmware_version);
        let hash = self.check_signature(inputs, &ak, key.as_ref(), &attest, checks);
        if let Some(key) = &key {
            self.check_signer(&attest, key, ek, checks);
        }
        let Ok(info) = checks::quote_info(&attest) else { return };
        let Some(signed) = checks.note("selection", checks::signed_selection(info)) else { return };
        findings.signed = Some(signed);
        if let Some(needed) = &self.require_pcrs {
            checks.note("required_pcrs", checks::required(&signed, needed));
        }
        if let Some(hash) = hash {
            self.check_state(inputs, info, hash, signed, checks, findings);
        }
    }

    /// Scheme and signature; the hash that pcrDigest is by.
    fn check_signature(
        &self,
        inputs: &Inputs,
        ak: &AnyPublic,
        key: Option<&AttestationKey<'_>>,
        attest: &Attest<'_>,
        checks: &mut Checks,
    ) -> Option<HashAlg> {
        let bytes = forms::signature(&inputs.signature, ak);
        let parsed = match Signature::parse(&bytes) {
            Ok(parsed) => parsed,
            Err(malformed) => {
                checks.note::<()>("signature", Err(malformed));
                return None;
            }
        };
        if let Some(key) = key {
            checks.note("scheme", checks::scheme(QUOTE, key, &parsed))?;
            checks.note("signature", checks::signature(QUOTE, key, attest, &parsed))?;
            return Some(key.hash());
        }
        // a bare key has no scheme of its own: the signature names it
        let hash =
            checks.note("scheme", HashAlg::from_id(parsed.hash_id()).ok_or(Unverified::Scheme { statement: QUOTE }))?;
        let verified = crypto::verify(ak.key(), parsed.algorithm(), hash, attest.bytes, parsed.value());
        checks.note("signature", verified.map_err(|_| Unverified::Signature { statement: QUOTE }))?;
        Some(hash)
    }

    fn check_signer(&self, attest: &Attest<'_>, key: &AttestationKey<'_>, ek: Option<&AnyPublic>, checks: &mut Checks) {
        let area: Option<&Public> = match ek {
            Some(AnyPublic::Tpm(public)) => Some(public),
            Some(AnyPublic::Pem(_)) | None => None,
        };
        let primary = checks::signer(QUOTE, attest, key, AkParent::Endorsement);
        let child = area.map(|ek| checks::signer(QUOTE, attest, key, AkParent::Ek(ek)));
        let result = match (self.ak_parent, child) {
            (Some(Parent::Unknown), _) => None,
            (Some(Parent::Endorsement), _) => Some(primary),
            // without the EK's public area nobody can compute the name
            (Some(Parent::Ek), child) => child,
            (None, Some(child)) => Some(primary.or(child)),
            (None, None) => primary.is_ok().then_some(primary),
        };
        if let Some(result) = result {
            checks.note("signer", result);
        }
    }

    /// The log, the registers it leads to, pcrDigest, and what all that proves.
    fn check_state(
        &self,
        inputs: &Inputs,
        info: &holdfast_evidence::tpm::QuoteInfo<'_>,
        hash: HashAlg,
        signed: PcrSelection,
        checks: &mut Checks,
        findings: &mut Findings,
    ) {
        let mut replayed: Option<(EventLog<'_>, Replay)> = None;
        if let Some(bytes) = &inputs.log {
            let read = EventLog::parse(bytes).map_err(Refusal::from);
            let read = read.and_then(|log| log.replay(signed.bank).map(|replay| (log, replay)).map_err(Refusal::from));
            match read {
                Ok(read) => replayed = Some(read),
                Err(refusal) => {
                    checks.note::<()>("logs", Err(refusal));
                    return;
                }
            }
        }
        if replayed.is_none() && self.pcr.is_empty() {
            return;
        }
        let claims: Vec<(PcrIndex, &[u8])> = self.pcr.iter().map(|(pcr, value)| (*pcr, value.as_slice())).collect();
        let replay = replayed.as_ref().map(|(_, replay)| replay);
        let result = checks::pcr_values(info, &signed, hash, replay, &claims);
        let proven = match result {
            Ok(proven) => proven,
            Err(refusal @ Unverified::Replay { .. }) => {
                checks.note("pcr_digest", Ok::<_, Refusal>(()));
                checks.note::<()>("logs", Err(refusal));
                return;
            }
            Err(refusal) => {
                let refusal = explained(refusal, &signed, replay, &claims);
                checks.note::<()>("pcr_digest", Err(refusal));
                return;
            }
        };
        checks.note("pcr_digest", Ok::<_, Refusal>(()));
        if let Some((log, _)) = &replayed {
            checks.note("logs", Ok::<_, Refusal>(()));
            findings.boot = checks.note("boot", BootFacts::derive(log, signed.bank, proven.replayed));
        }
        findings.pcrs = Some(proven);
    }
}

/// Names the registers that neither the log nor a flag gives: the usual reason why pcrDigest does not come out.
fn explained(
    refusal: Unverified,
    signed: &PcrSelection,
    replay: Option<&Replay>,
    claims: &[(PcrIndex, &[u8])],
) -> Refusal {
    let claimed: PcrSet = claims.iter().map(|(pcr, _)| *pcr).collect();
    let covered = replay.map(Replay::extended).unwrap_or_default();
    let assumed = signed.pcrs.without(covered).without(claimed);
    let is_digest = matches!(refusal, Unverified::PcrDigest);
    let mut refusal = Refusal::from(refusal);
    if is_digest && !assumed.is_empty() {
        refusal.detail += &format!("; neither log nor --pcr gives PCR {assumed}, taken as never extended");
    }
    refusal
}
