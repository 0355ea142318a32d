//! An SNP item as evidence: what it wants fetched, and its verification against a binding.

use holdfast_identity::UnixTime;

use super::checks;
use super::claims::SnpClaims;
use super::error::Unverified;
use super::item::SnpItem;
use super::kds::SnpWants;
use super::report::Report;
use super::table::CertificateTable;
use super::verify::{SnpEndorsements, verify_report};
use crate::EvidenceKind;
use crate::binding::Binding;
use crate::challenge::Commitment;
use crate::error::Malformed;
use crate::evidence::{Evidence, Verified};

/// An evidence item of kind `snp`, its report and the certificates of its table.
#[derive(Clone, Debug)]
pub struct SnpEvidence<'a> {
    bytes: &'a [u8],
    item: SnpItem<'a>,
    report: Report,
    certificates: Vec<Vec<u8>>,
}

impl SnpEvidence<'_> {
    /// The report as claimed.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// The certificates that came along, DER.
    #[must_use]
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.certificates
    }
}

impl crate::evidence::sealed::Sealed for SnpEvidence<'_> {}

impl<'a> Evidence<'a> for SnpEvidence<'a> {
    const KIND: EvidenceKind = EvidenceKind::Snp;
    type Wants = SnpWants;
    type Endorsements = SnpEndorsements;
    type Claims = SnpClaims;
    type Unverified = Unverified;

    fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let item = SnpItem::parse(bytes)?;
        let report = Report::parse(item.report)?;
        let certificates = CertificateTable::parse(item.certificates)?.certificates()?;
        Ok(Self { bytes, item, report, certificates })
    }

    fn commitment(&self) -> Commitment<'a> {
        Commitment { kind: Self::KIND, item: self.bytes, firmware_log: None, ak_spki_sha256: None }
    }

    fn wants(&self) -> SnpWants {
        SnpWants::beside(&self.report, &self.certificates)
    }

    fn verify(
        &self,
        endorsements: &SnpEndorsements,
        binding: &Binding,
        now: UnixTime,
    ) -> Result<Verified<SnpClaims>, Unverified> {
        if now >= binding.expires_at() {
            return Err(Unverified::Expired { seconds: now.since(binding.expires_at()) });
        }
        let digest = binding.digest_of(Self::KIND).ok_or(Unverified::OtherBinding)?;
        if binding.firmware_log_of(Self::KIND) != Some(None) {
            return Err(Unverified::OtherBinding);
        }
        let node_key = binding.proven_key().ok_or(Unverified::NodeKeyUnproven)?;
        checks::version(&self.report)?;
        checks::report_data(&self.report, digest)?;
        let report = verify_report(self.item.report, &self.certificates, endorsements, now)?;
        let (root, not_after) = (report.root().clone(), report.not_after());
        Ok(Verified::new(binding, SnpClaims { report, root, node_key, not_after }))
    }
}
