//! An item taken apart into the files that `holdfast-policy inspect` reads.

use std::path::Path;

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::nitro::NitroItem;
use holdfast_evidence::nitrotpm::NitroTpmItem;
use holdfast_evidence::snp::SnpItem;
use holdfast_evidence::tdx::TdxItem;

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
        EvidenceKind::Azure | EvidenceKind::Gcp | EvidenceKind::Tpm => {
            gathered.write(to, &format!("{kind}.item"), item)
        }
    }
}
