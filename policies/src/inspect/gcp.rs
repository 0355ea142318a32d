//! `inspect gcp`: the checks of a quote of Google Cloud's virtual TPM one by one, on files.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use holdfast_appraisal::facts::{Facts, gcp_instance, gcp_quote};
use holdfast_evidence::crypto::{HashAlg, PublicKey, SignatureAlg};
use holdfast_evidence::gcp::{Instance, Unverified, checks as gcp_checks};
use holdfast_evidence::tpm::{
    AkParent, Attest, AttestationKey, Attributes, PcrSelection, Public, Scheme, Statement, checks as tpm_checks,
};
use holdfast_evidence::x509::Roots;
use holdfast_evidence::{EvidenceKind, Provenance, TrustClass};

use super::flags::Flags;
use super::report::{Checks, Refusal};
use super::told::Told;
use super::tools::GcpDocument;
use super::vtpm::{self, Place, QuoteFiles};
use super::{certificates, forms};
use crate::exit::Exit;

/// Every check, in the order in which they are made.
const CHECKS: [&str; 20] = [
    "evidence",
    "certificate",
    "dates",
    "chain",
    "instance",
    "ak_public",
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
/// Those without which nothing is verified, beside those of the quote.
const NEEDED: [&str; 6] = ["certificate", "dates", "chain", "instance", "ak_public", "signer"];
/// Attributes of the keys that Google certifies: as go-tpm-tools' template has them, with and without noDA.
const AK_ATTRIBUTES: [u32; 2] = [0x0005_0072, 0x0005_0472];

/// Flags of `inspect gcp`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    holdfast-policy inspect gcp --evidence evidence.json --nonce 0011…\n  \
    holdfast-policy inspect gcp --ak-cert ak.pem --chain issuers.pem --quote quote.msg --signature quote.sig --pcrs pcrs.json --binding 9a9d48e7…\n\n\
    Evidence is the JSON of vaportpm, or the Attestation of go-tpm-tools, binary or JSON; what it lacks may be given beside it.\n\
    Exit codes: 0 verified, 1 refused, 2 usage or I/O, 3 incomplete.")]
pub(super) struct InspectGcp {
    /// Quote, registers and certificates in one document: JSON, or an Attestation of go-tpm-tools in binary.
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    /// Certificate of the attestation key, as NV index 0x01c10002 or 0x01c10000 has it, PEM or DER; further certificates
    /// are taken as its chain.
    #[arg(long, value_name = "FILE")]
    ak_cert: Option<PathBuf>,
    /// Its issuers, PEM or DER; may be given several times.
    #[arg(long, value_name = "FILE")]
    chain: Vec<PathBuf>,
    /// The quote: TPMS_ATTEST or TPM2B_ATTEST.
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
    /// The attestation key: TPMT_PUBLIC or TPM2B_PUBLIC. Unstated, the certificate's key in Google's own template.
    #[arg(long, value_name = "FILE")]
    ak_public: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// Files, read before anything is checked.
struct Inputs {
    /// DER, the key's own first.
    certificates: Vec<Vec<u8>>,
    quote: QuoteFiles,
    log: Option<Vec<u8>>,
    ak_public: Option<Vec<u8>>,
    key: Option<PublicKey>,
}

impl InspectGcp {
    pub(super) fn run(&self, told: &mut Told<'_>) -> anyhow::Result<Exit> {
        let document = self.evidence.as_deref().map(forms::read).transpose()?;
        let mut checks = Checks::new(&CHECKS);
        let mut needed = [&vtpm::NEEDED[..], &NEEDED].concat();
        needed.push(if self.flags.binding.is_some() { "binding" } else { "nonce" });
        let document = match document.map(|json| GcpDocument::parse(&json)) {
            None => None,
            Some(parsed) => match checks.note("evidence", parsed) {
                Some(document) => Some(document),
                None => return self.flags.conclude(checks, &needed, None, told),
            },
        };
        let inputs = self.read(document)?;
        let roots = certificates::trusted(&self.flags, EvidenceKind::Gcp, &inputs.certificates)?;
        let (facts, quoted) = self.check(&inputs, &roots, &mut checks).unzip();
        self.flags.conclude_quote(checks, &needed, facts.as_ref(), quoted.as_ref(), told)
    }

    fn read(&self, document: Option<GcpDocument>) -> anyhow::Result<Inputs> {
        let optional = |path: &Option<PathBuf>| path.as_deref().map(forms::read).transpose();
        let (mut key, mut offered, mut quoted, mut log, mut area) = (None, Vec::new(), None, None, None);
        if let Some(document) = document {
            (key, offered, quoted) = (document.key, document.certificates, Some(document.quote));
            (log, area) = (document.log, document.ak_public);
        }
        let quote = match &self.quote {
            Some(path) => Some(QuoteFiles::read(path, self.signature.as_deref(), self.pcrs.as_deref())?),
            None => quoted,
        };
        let Some(quote) = quote else { bail!("no quote: give --quote, or --evidence") };
        let mut all = self.ak_cert.as_deref().map(certificates::of_evidence).transpose()?.unwrap_or(offered);
        if all.is_empty() {
            bail!("no certificate of the attestation key: give --ak-cert, or --evidence");
        }
        for file in &self.chain {
            all.extend(certificates::of_file(file)?);
        }
        Ok(Inputs {
            certificates: all,
            quote,
            log: optional(&self.event_log)?.or(log),
            ak_public: optional(&self.ak_public)?.or(area),
            key,
        })
    }

    /// All checks; the facts and what was quoted, if the certificate's passed.
    fn check(&self, inputs: &Inputs, roots: &Roots, checks: &mut Checks) -> Option<(Facts, PcrSelection)> {
        let (der, above) = inputs.certificates.split_first()?;
        let above: Vec<&[u8]> = above.iter().map(Vec::as_slice).collect();
        let now = self.flags.now();
        let certificate = checks.note("certificate", gcp_checks::leaf(der))?;
        checks.note("dates", gcp_checks::dates(&certificate, now));
        let is_rooted =
            self.flags.roots.is_some() || inputs.certificates.iter().any(|der| certificates::is_self_issued(der));
        let path = if is_rooted {
            checks.note("chain", gcp_checks::chain(&certificate, &above, roots, now))
        } else {
            checks.leave_open(
                "chain",
                "no root is trusted: give --roots with Google's, or --chain with it in it".to_owned(),
            );
            None
        };
        let instance = checks.note("instance", Instance::of(&certificate));
        let public = inputs.public(der).and_then(|public| {
            gcp_checks::key(&certificate, public.key())?;
            Ok(public)
        });
        let public = checks.note("ak_public", public)?;
        let log = inputs.log.as_deref();
        let boot = vtpm::check(&inputs.quote, log, &public, Place::Endorsement, &self.flags, checks)?;
        let root = path?.anchor.identity();
        let provenance = if root.class == TrustClass::Simulated { Provenance::Simulated } else { Provenance::Provider };
        let mut facts = gcp_quote(&boot, provenance);
        gcp_instance(&mut facts, &instance?, &root, provenance);
        Some((facts, boot.selection))
    }
}

impl Inputs {
    /// The attestation key's public area: as given, else by the template whose Name the quote's signer has.
    fn public(&self, certificate: &[u8]) -> Result<Public, Refusal> {
        if let Some(bytes) = &self.ak_public {
            return Ok(Public::parse_either(bytes)?);
        }
        let key = self.key.clone().or_else(|| certificates::key(certificate));
        let key = key.ok_or(Unverified::Certificate { what: "no key that is accepted" })?;
        let mut areas = AK_ATTRIBUTES.map(|bits| Public::parse(&area(&key, Attributes::from_bits(bits)))).into_iter();
        let attest = Attest::parse(&self.quote.attest)?;
        let is_signer = |public: &Public| {
            AttestationKey::check(public)
                .and_then(|key| tpm_checks::signer(Statement::Quote, &attest, &key, AkParent::Endorsement))
                .is_ok()
        };
        let first = areas.next().ok_or(Unverified::KeyMismatch)??;
        if is_signer(&first) {
            return Ok(first);
        }
        let other = areas.find_map(|area| area.ok().filter(is_signer));
        Ok(other.unwrap_or(first))
    }
}

fn area(key: &PublicKey, attributes: Attributes) -> Vec<u8> {
    let algorithm = match key {
        PublicKey::Rsa { .. } => SignatureAlg::Rsassa,
        PublicKey::Ec { .. } => SignatureAlg::Ecdsa,
    };
    let scheme = Scheme::Signing { algorithm, hash: HashAlg::Sha256.id() };
    Public::encode(key, HashAlg::Sha256, attributes, &[], None, scheme)
}
