//! An item taken apart into the files that `holdfast-policy inspect` reads.

use std::path::Path;

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::azure::{AzureHardware, AzureItem};
use holdfast_evidence::gcp::GcpItem;
use holdfast_evidence::nitro::NitroItem;
use holdfast_evidence::nitrotpm::NitroTpmItem;
use holdfast_evidence::snp::SnpItem;
use holdfast_evidence::tdx::TdxItem;
use holdfast_evidence::tpm::Signed;

use super::Gathered;

pub(super) fn write(gathered: &mut Gathered, to: &Path, kind: EvidenceKind, item: &[u8]) -> anyhow::Result<()> {
    match kind {
        EvidenceKind::Snp => {
            let SnpItem { report, certificates } = SnpItem::parse(item)?;
            gathered.write(to, "snp.report", report)?;
            if certificates.is_empty() {
                gathered.missing.push("certificate table");
                return Ok(());
            }
            gathered.write(to, "snp.certificates", certificates)
        }
        EvidenceKind::Tdx => {
            let TdxItem { quote, ccel } = TdxItem::parse(item)?;
            gathered.write(to, "tdx.quote", quote)?;
            match ccel {
                Some(log) => gathered.write(to, "tdx.ccel", log),
                None => {
                    gathered.missing.push("TDX event log");
                    Ok(())
                }
            }
        }
        EvidenceKind::Nitro => gathered.write(to, "nitro.document", NitroItem::parse(item)?.document),
        EvidenceKind::NitroTpm => gathered.write(to, "nitrotpm.document", NitroTpmItem::parse(item)?.document),
        EvidenceKind::Gcp => {
            let GcpItem { ak_certificates, ak_public, quote, firmware_log, .. } = GcpItem::parse(item)?;
            write_quote(gathered, to, &ak_certificates, ak_public, &quote, firmware_log)
        }
        EvidenceKind::Azure => {
            let AzureItem { report, hardware, ak_certificates, ak_public, quote, firmware_log, .. } =
                AzureItem::parse(item)?;
            if !report.is_empty() {
                gathered.write(to, "hcl.report", report)?;
            }
            match hardware {
                AzureHardware::None => {}
                AzureHardware::Snp(certificates) => gathered.write(to, "vcek.pem", certificates)?,
                AzureHardware::Tdx(quote) => gathered.write(to, "tdx.quote", quote)?,
            }
            write_quote(gathered, to, &ak_certificates, ak_public, &quote, firmware_log)
        }
        // A TPM's parts are gathered one by one.
        EvidenceKind::Tpm => Ok(()),
    }
}

/// What a provider's TPM quoted, under the names that a TPM's evidence has.
fn write_quote(
    gathered: &mut Gathered,
    to: &Path,
    certificates: &[&[u8]],
    public: &[u8],
    quote: &Signed<'_>,
    firmware_log: Option<&[u8]>,
) -> anyhow::Result<()> {
    for (number, certificate) in certificates.iter().enumerate() {
        gathered.write(to, &format!("ak-certificate-{number}.der"), certificate)?;
    }
    gathered.write(to, "ak.pub", public)?;
    gathered.write(to, "quote.attest", quote.attest)?;
    gathered.write(to, "quote.sig", quote.signature)?;
    match firmware_log {
        Some(log) => gathered.write(to, "firmware.log", log),
        None => {
            gathered.missing.push("firmware log");
            Ok(())
        }
    }
}
