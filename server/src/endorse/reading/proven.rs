//! What must lead up to a root before it is held: VEKs and collateral. What does not would stand in the way of what does.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_evidence::snp::verify_chain;
use holdfast_evidence::tdx::{CollateralParts, PckCa, PlatformKind};
use holdfast_evidence::x509::{Anchor, Roots};
use holdfast_evidence::{EvidenceKind, TrustClass};

use super::sorted::Sorted;
use super::{File, NotImported, Reading};
use crate::endorse::amd::vek_draft;
use crate::endorse::intel;
use crate::store::{Endorsement, EndorsementDraft, EndorsementRole};

impl Reading<'_> {
    /// VEKs must lead up to a root: one that does not would stand in the way of the right one.
    pub(super) fn veks(&mut self, sorted: &Sorted<'_>, held: &[Endorsement]) -> Result<(), NotImported> {
        if sorted.veks.is_empty() {
            return Ok(());
        }
        let roots = self.roots_for(EvidenceKind::Snp, held);
        for (file, vek) in &sorted.veks {
            let none: [&[u8]; 0] = [];
            verify_chain(&file.content, &none, &roots, self.now).map_err(|refused| NotImported::Unproven {
                file: file.name.clone(),
                serves: EvidenceKind::Snp,
                reason: refused.to_string(),
            })?;
            self.drafts.push(vek_draft(&file.content, vek, self.source, self.fetched_at(file)));
        }
        Ok(())
    }

    /// Collateral is held whole: every platform of which there is a TCB info, under each CA of which there is a list. A
    /// document that is not whole in itself is put together with the others, and with the CRLs and certificates beside. One
    /// about SGX, as every dump of Intel's service has them, is left out, unless there is no other.
    pub(super) fn collateral(&mut self, sorted: &Sorted<'_>, held: &[Endorsement]) -> Result<(), NotImported> {
        if sorted.documents.is_empty() {
            return Ok(());
        }
        let roots = Arc::new(self.roots_for(EvidenceKind::Tdx, held));
        let (mut rest, mut first, mut found) = (CollateralParts::new(), None, false);
        for file in sorted.documents.iter().copied() {
            let mut parts = CollateralParts::new();
            parts.add(&file.content).map_err(|error| unproven(file, error.to_string()))?;
            if self.whole(&parts, file, &roots)? {
                found = true;
                continue;
            }
            rest.add(&file.content).map_err(|error| unproven(file, error.to_string()))?;
            if parts.is_about_tdx() {
                first.get_or_insert(file);
            }
        }
        let none = || sorted.documents.first().copied().filter(|_| !found);
        let Some(first) = first.or_else(none) else { return Ok(()) };
        let crls = sorted.crls.iter().map(|(file, _)| *file);
        for file in crls.chain(sorted.certificates.iter().map(|(file, _)| *file)) {
            // Other vendors' certificates may lie beside: what is missing is said below.
            let _ = rest.add(&file.content);
        }
        if self.whole(&rest, first, &roots)? {
            return Ok(());
        }
        let kind = |fmspc| PlatformKind { fmspc, ca: PckCa::Platform };
        let missing = rest.fmspcs().next().map(|fmspc| rest.check(kind(fmspc), &roots, self.now));
        let missing = missing.and_then(Result::err).map_or_else(|| "no TCB info".to_owned(), |m| m.to_string());
        Err(unproven(first, missing))
    }

    /// Takes what is whole in these parts; whether anything was.
    fn whole(&mut self, parts: &CollateralParts, file: &File, roots: &Arc<Roots>) -> Result<bool, NotImported> {
        let fmspcs: BTreeSet<[u8; 6]> = parts.fmspcs().collect();
        let before = self.drafts.len();
        for fmspc in fmspcs {
            for ca in [PckCa::Processor, PckCa::Platform] {
                let checked = match parts.check(PlatformKind { fmspc, ca }, roots, self.now) {
                    Ok(checked) => checked,
                    // the other CA's list, or whoever signed it, is in another file
                    Err(refused) if refused.is_missing() => continue,
                    Err(refused) => return Err(unproven(file, refused.to_string())),
                };
                self.drafts.push(intel::draft(&checked, intel::ANY, self.source, self.fetched_at(file)));
            }
        }
        Ok(self.drafts.len() > before)
    }

    /// Roots and intermediates for a kind, or for what Azure puts around it: those held and those imported.
    fn roots_for(&self, kind: EvidenceKind, held: &[Endorsement]) -> Roots {
        let serves = |draft: &&EndorsementDraft| [kind, EvidenceKind::Azure].iter().any(|kind| draft.serves == *kind);
        let mut roots = Roots::new();
        for draft in held.iter().map(|held| &held.draft).chain(&self.drafts).filter(serves) {
            match (draft.role, draft.class.parse::<TrustClass>()) {
                (EndorsementRole::Root, Ok(class)) => {
                    if let Ok(anchor) = Anchor::new(&draft.content, class) {
                        roots.add(anchor.named(&draft.name));
                    }
                }
                // What is none was refused when it was imported.
                (EndorsementRole::Intermediate, _) => {
                    let _ = roots.add_intermediate(&draft.content);
                }
                _ => {}
            }
        }
        roots
    }
}

fn unproven(file: &File, reason: String) -> NotImported {
    NotImported::Unproven { file: file.name.clone(), serves: EvidenceKind::Tdx, reason }
}
