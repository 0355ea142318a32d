//! `inspect snp`: the checks of an SEV-SNP report one by one, on files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use holdfast_appraisal::facts::{Facts, snp};
use holdfast_evidence::EvidenceKind;
use holdfast_evidence::snp::{
    CertificateTable, Product, Report, SnpEndorsements, Unverified, Vek, bundle, checks as snp_checks, pem_begins,
    verify_chain, verify_report,
};
use holdfast_evidence::x509::Roots;

use super::flags::Flags;
use super::report::{Checks, Refusal};
use super::told::Told;
use super::{amd, certificates, forms};
use crate::exit::Exit;

/// Every check, in the order in which they are made.
const CHECKS: [&str; 17] = [
    "report",
    "version",
    "signature_algorithm",
    "signing_key",
    "nonce",
    "binding",
    "vek",
    "vek_kind",
    "product",
    "tcb",
    "chip_id",
    "chain",
    "signature",
    "reserved",
    "vmpl",
    "guest_policy",
    "policy",
];
/// Those without which nothing is verified, beside the caller's data.
const NEEDED: [&str; 14] = [
    "report",
    "version",
    "signature_algorithm",
    "signing_key",
    "vek",
    "vek_kind",
    "product",
    "tcb",
    "chip_id",
    "chain",
    "signature",
    "reserved",
    "vmpl",
    "guest_policy",
];

/// Bytes of the guest's own in a report.
const REPORT_DATA_BYTES: usize = 64;

/// Flags of `inspect snp`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    holdfast-policy inspect snp --report report.bin --vek vcek.pem --chain cert_chain.pem --binding 9f86…\n  \
    holdfast-policy inspect snp --report outblob --vek auxblob --nonce 0011… --policy guests.toml\n\n\
    Exit codes: 0 verified, 1 refused, 2 usage or I/O, 3 incomplete.")]
pub(super) struct InspectSnp {
    /// The attestation report, 1184 bytes: configfs-tsm's outblob, or what snpguest writes.
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// Certificate of the key that signed, VCEK or VLEK: PEM, DER, or the whole certificate table (auxblob). Further
    /// certificates in it are taken as its chain.
    #[arg(long, value_name = "FILE")]
    vek: Option<PathBuf>,
    /// Its issuers, as AMD's service has them (cert_chain): PEM or DER; may be given several times. AMD's own of Milan,
    /// Genoa and Turin are at hand.
    #[arg(long, value_name = "FILE")]
    chain: Vec<PathBuf>,
    /// Revocation list of the root, PEM or DER; may be given several times.
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// Files, read before anything is checked.
struct Inputs {
    report: Vec<u8>,
    /// Certificates that came with the key's own, and what stands in `--chain`.
    certificates: Vec<Vec<u8>>,
    /// Whether `--vek` holds certificates at all.
    vek: Option<Result<Vec<Vec<u8>>, Unverified>>,
    roots: Roots,
}

impl InspectSnp {
    pub(super) fn run(&self, told: &mut Told<'_>) -> anyhow::Result<Exit> {
        self.flags.require_caller_data(REPORT_DATA_BYTES)?;
        let inputs = self.read()?;
        let mut checks = Checks::new(&CHECKS);
        let mut needed: Vec<&str> = NEEDED.to_vec();
        let facts = self.check(&inputs, &mut checks, &mut needed);
        self.flags.conclude(checks, &needed, facts.as_ref(), told)
    }

    fn read(&self) -> anyhow::Result<Inputs> {
        let vek = self.vek.as_deref().map(forms::read).transpose()?.map(|bytes| certificates_in(&bytes));
        let mut all: Vec<Vec<u8>> = vek.as_ref().and_then(|vek| vek.as_ref().ok()).cloned().unwrap_or_default();
        for file in &self.chain {
            all.extend(certificates::of_file(file)?);
        }
        let mut roots = certificates::trusted(&self.flags, EvidenceKind::Snp, &all)?;
        amd::complete(&mut roots, &self.flags);
        for list in &self.crl {
            add_crl(&mut roots, list)?;
        }
        Ok(Inputs { report: forms::read(&self.report)?, certificates: all, vek, roots })
    }

    /// All checks; the facts, if every one of the evidence passed.
    fn check(&self, inputs: &Inputs, checks: &mut Checks, needed: &mut Vec<&'static str>) -> Option<Facts> {
        let report = checks.note("report", Report::parse(&inputs.report))?;
        // of another version no field can be read
        checks.note("version", snp_checks::version(&report))?;
        checks.note("signature_algorithm", snp_checks::signature_algorithm(&report));
        checks.note("signing_key", snp_checks::signing_key(&report));
        let other = Refusal::from(Unverified::ReportData);
        needed.push(self.flags.note_caller_data(checks, &report.report_data(), &other));
        let product = match &inputs.vek {
            Some(offered) => self.check_vek(inputs, offered, &report, checks),
            None => report.product(),
        };
        if let Some(product) = product {
            checks.note("reserved", snp_checks::reserved(&report, product));
        }
        checks.note("vmpl", snp_checks::vmpl(&report));
        checks.note("guest_policy", snp_checks::guest_policy(&report));
        let roots = Arc::new(inputs.roots.clone());
        let endorsements = SnpEndorsements { roots, ..SnpEndorsements::default() };
        // the one that was checked first, however many stand before it
        let picked = pick(&inputs.certificates, &report).map(|(der, _)| der);
        let offered: Vec<Vec<u8>> = picked.into_iter().chain(inputs.certificates.iter().cloned()).collect();
        let verified = verify_report(&inputs.report, &offered, &endorsements, self.flags.now());
        verified.ok().as_ref().map(snp)
    }

    /// The certificate of the key that signed: what it is for, who issued it, and that it signed. Its product.
    fn check_vek(
        &self,
        inputs: &Inputs,
        offered: &Result<Vec<Vec<u8>>, Unverified>,
        report: &Report,
        checks: &mut Checks,
    ) -> Option<Product> {
        let found = offered.clone().and_then(|certificates| pick(&certificates, report));
        let (der, vek) = checks.note("vek", found)?;
        checks.note("vek_kind", snp_checks::vek_kind(report, &vek));
        let product = checks.note("product", snp_checks::product(report, &vek));
        checks.note("tcb", snp_checks::tcb(report, &vek));
        checks.note("chip_id", snp_checks::chip_id(report, &vek));
        checks.note("chain", verify_chain(&der, &inputs.certificates, &inputs.roots, self.flags.now()));
        checks.note("signature", snp_checks::signature(report, &vek));
        product
    }
}

/// The certificates in PEM, in DER, or in a GHCB table.
pub(super) fn certificates_in(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Unverified> {
    let is_certificate = pem_begins(bytes).is_some() || bytes.starts_with(&[0x30, 0x82]);
    let found =
        if is_certificate { bundle(bytes) } else { CertificateTable::parse(bytes).and_then(|t| t.certificates()) };
    found.map_err(|_| Unverified::VekMalformed { what: "certificate" })
}

/// The certificate of the key that signed, as the verifier finds it among several: one that is for this report and
/// under which it verifies. Where there is none, the one that comes closest, so that the checks say what is wrong with
/// it; where none is a VEK's, why the first is none.
pub(super) fn pick(certificates: &[Vec<u8>], report: &Report) -> Result<(Vec<u8>, Vek), Unverified> {
    let mut refusal = Unverified::VekMalformed { what: "certificate" };
    let mut best: Option<(u8, &Vec<u8>, Vek)> = None;
    for (at, der) in certificates.iter().enumerate() {
        match Vek::parse(der) {
            Ok(vek) => {
                let closeness = closeness(report, &vek);
                if best.as_ref().is_none_or(|(known, ..)| closeness > *known) {
                    best = Some((closeness, der, vek));
                }
            }
            Err(error) if at == 0 => refusal = error,
            Err(_) => {}
        }
    }
    best.map(|(_, der, vek)| (der.clone(), vek)).ok_or(refusal)
}

/// 0 for another report's key, 1 for this one's by the certificate's own words, 2 if it signed.
fn closeness(report: &Report, vek: &Vek) -> u8 {
    let fits = snp_checks::vek_kind(report, vek).is_ok()
        && snp_checks::product(report, vek).is_ok()
        && snp_checks::tcb(report, vek).is_ok()
        && snp_checks::chip_id(report, vek).is_ok();
    u8::from(fits) + u8::from(fits && snp_checks::signature(report, vek).is_ok())
}

fn add_crl(roots: &mut Roots, path: &Path) -> anyhow::Result<()> {
    use anyhow::Context as _;
    roots.add_crl(&crl(path)?).with_context(|| format!("revocation list in {}", path.display()))
}

/// The revocation list in a file, DER.
pub(super) fn crl(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = forms::read(path)?;
    let pem = x509_parser::pem::parse_x509_pem(&bytes).ok().filter(|(_, pem)| pem.label.ends_with("CRL"));
    Ok(pem.map_or(bytes.clone(), |(_, pem)| pem.contents))
}
