//! The hardware report of an Azure confidential VM, check by check: its certificates, its collateral, and what it says.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use holdfast_evidence::azure::{TD_REPORT_BYTES, VerifiedHardware, checks as azure_checks};
use holdfast_evidence::snp::{self, Report, SnpEndorsements, Vek, checks as snp_checks, verify_report};
use holdfast_evidence::tdx::{
    self, KnownCollateral, Quote, TdxEndorsements, VerifiedPck, checks as tdx_checks, pck_chain, verify_quote,
};
use holdfast_evidence::x509::Roots;

use super::flags::Flags;
use super::report::Checks;
use super::tdx::{CollateralFile, collateral, collateral_files, measurement};
use super::{amd, certificates, forms, snp as inspect_snp};

/// Flags about the hardware report inside an HCL report.
#[derive(Debug, Args)]
pub(super) struct HardwareFlags {
    /// SNP: certificate of the key that signed (VCEK), PEM or DER. Further certificates in it are taken as its chain.
    #[arg(long, value_name = "FILE")]
    vek: Option<PathBuf>,
    /// Issuers of any certificate, PEM or DER; may be given several times.
    #[arg(long, value_name = "FILE")]
    chain: Vec<PathBuf>,
    /// Revocation list, PEM or DER; may be given several times.
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
    /// TDX: the quote that was made of the TDREPORT.
    #[arg(long, value_name = "FILE", conflicts_with = "vek")]
    td_quote: Option<PathBuf>,
    /// TDX: what Intel says about the platform: files or folders, may be given several times.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    collateral: Vec<PathBuf>,
    /// TDX: MRSERVICETD of a service TD that may be bound to the guest; may be given several times.
    #[arg(long, value_name = "HEX", value_parser = measurement)]
    service_td: Vec<[u8; 48]>,
}

/// What the flags name, read.
pub(super) struct HardwareFiles {
    vek: Option<Result<Vec<Vec<u8>>, snp::Unverified>>,
    chain: Vec<Vec<u8>>,
    crls: Vec<Vec<u8>>,
    td_quote: Option<Vec<u8>>,
    collateral: Vec<CollateralFile>,
    service_tds: Vec<[u8; 48]>,
}

impl HardwareFlags {
    /// Reads the files; where a flag is silent, what stands in the document is taken.
    pub(super) fn read(&self, vek: Option<Vec<Vec<u8>>>, td_quote: Option<Vec<u8>>) -> anyhow::Result<HardwareFiles> {
        let own = self.vek.as_deref().map(forms::read).transpose()?;
        let mut chain = Vec::new();
        for file in &self.chain {
            chain.extend(certificates::of_file(file)?);
        }
        let mut crls = Vec::new();
        for file in &self.crl {
            let list = inspect_snp::crl(file)?;
            Roots::new().add_crl(&list).with_context(|| format!("revocation list in {}", file.display()))?;
            crls.push(list);
        }
        Ok(HardwareFiles {
            vek: own.map(|bytes| inspect_snp::certificates_in(&bytes)).or(vek.map(Ok)),
            chain,
            crls,
            td_quote: self.td_quote.as_deref().map(forms::read).transpose()?.or(td_quote),
            collateral: collateral_files(&self.collateral)?,
            service_tds: self.service_td.clone(),
        })
    }
}

impl HardwareFiles {
    /// What stands in `--chain`.
    pub(super) fn chain(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.chain.iter()
    }

    /// Every certificate that came along, those in the quote among them.
    pub(super) fn certificates(&self) -> Vec<Vec<u8>> {
        let vek = self.vek.as_ref().and_then(|vek| vek.as_ref().ok());
        let quote = self.td_quote.as_deref().and_then(|bytes| Quote::parse(bytes).ok());
        let quoted = quote.map(|quote| tdx::certificates(&quote)).unwrap_or_default();
        vek.into_iter().flatten().chain(&self.chain).cloned().chain(quoted).collect()
    }

    /// An SNP report, and its report data.
    pub(super) fn check_snp(
        &self,
        bytes: &[u8],
        roots: &Roots,
        flags: &Flags,
        checks: &mut Checks,
    ) -> Option<(Option<[u8; 64]>, Option<VerifiedHardware>)> {
        let report = checks.note("report", readable(bytes))?;
        checks.note("paravisor", azure_checks::paravisor(&report));
        if self.vek.is_none() {
            let why = "the certificate of the key that signed the SNP report is missing: give --vek";
            checks.leave_open("report_key", why.to_owned());
        }
        let verified = self.vek.as_ref().and_then(|vek| {
            let certificates = vek.clone().unwrap_or_default();
            checks.note("report_key", vek.clone().and_then(|all| signed(&report, &all)))?;
            let all: Vec<Vec<u8>> = certificates.into_iter().chain(self.chain.iter().cloned()).collect();
            let mut roots = roots.clone();
            amd::complete(&mut roots, flags);
            // each was read once already
            for list in &self.crls {
                let _ = roots.add_crl(list);
            }
            let endorsements = SnpEndorsements { roots: Arc::new(roots), ..SnpEndorsements::default() };
            checks.note("hardware", verify_report(bytes, &all, &endorsements, flags.now()))
        });
        Some((Some(report.report_data()), verified.map(|report| VerifiedHardware::Snp(Box::new(report)))))
    }

    /// The quote of a TD, and its report data; nothing without a quote.
    pub(super) fn check_tdx(
        &self,
        td_report: &[u8; TD_REPORT_BYTES],
        roots: &Roots,
        flags: &Flags,
        checks: &mut Checks,
    ) -> (Option<[u8; 64]>, Option<VerifiedHardware>) {
        let parsed = self.td_quote.as_deref().map(|bytes| (bytes, Quote::parse(bytes).map_err(tdx::Unverified::from)));
        let Some((bytes, parsed)) = parsed else {
            checks
                .leave_open("report", "the quote that was made of the TDREPORT is missing: give --td-quote".to_owned());
            return (None, None);
        };
        let readable = parsed.and_then(|quote| {
            tdx_checks::debug(&quote)?;
            tdx_checks::attributes(&quote)?;
            tdx_checks::seam(&quote)?;
            tdx_checks::service_td(&quote, &self.service_tds)?;
            Ok(quote)
        });
        let Some(quote) = checks.note("report", readable) else { return (None, None) };
        checks.note("td_report", azure_checks::td_report(td_report, &quote.report));
        let (roots, now) = (Arc::new(roots.clone()), flags.now());
        let signed = pck_chain(&quote, &roots, now).and_then(|pck: VerifiedPck| {
            tdx_checks::qe_report(&quote, &pck)?;
            tdx_checks::attestation_key(&quote)?;
            tdx_checks::quote_signature(&quote)?;
            Ok(pck)
        });
        let pck = checks.note("report_key", signed);
        if let (Some(pck), true) = (&pck, self.collateral.is_empty()) {
            let fmspc = hex::encode(pck.platform().kind.fmspc);
            checks.leave_open("hardware", format!("what Intel says about FMSPC {fmspc} is missing: give --collateral"));
        }
        let pck = pck.filter(|_| !self.collateral.is_empty());
        let verified = pck.and_then(|pck| {
            let verified = collateral(&self.collateral, &pck, &roots, now).and_then(|checked| {
                let service_tds = self.service_tds.clone();
                let collateral = KnownCollateral::Checked(Arc::new(checked));
                let endorsements = TdxEndorsements { roots: Arc::clone(&roots), collateral, service_tds, pck: None };
                verify_quote(bytes, &endorsements, now)
            });
            checks.note("hardware", verified)
        });
        (Some(quote.report.report_data), verified.map(|quote| VerifiedHardware::Tdx(Box::new(quote))))
    }
}

/// The report, if all that can be said without its certificates is as it must be.
fn readable(bytes: &[u8]) -> Result<Report, snp::Unverified> {
    let report = Report::parse(bytes)?;
    snp_checks::version(&report)?;
    snp_checks::signature_algorithm(&report)?;
    snp_checks::signing_key(&report)?;
    snp_checks::vmpl(&report)?;
    snp_checks::guest_policy(&report)?;
    Ok(report)
}

/// One of the certificates is for the key that signed.
fn signed(report: &Report, certificates: &[Vec<u8>]) -> Result<Vek, snp::Unverified> {
    let (_, vek) = inspect_snp::pick(certificates, report)?;
    snp_checks::vek_kind(report, &vek)?;
    let product = snp_checks::product(report, &vek)?;
    snp_checks::tcb(report, &vek)?;
    snp_checks::chip_id(report, &vek)?;
    snp_checks::signature(report, &vek)?;
    snp_checks::reserved(report, product)?;
    Ok(vek)
}
