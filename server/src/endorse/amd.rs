//! What AMD certifies, by what it is looked up: a chip's key by product, chip and TCB; a provider's key by product and
//! TCB; and the intermediates above. Fetches nothing.

use holdfast_evidence::EvidenceKind;
use holdfast_evidence::snp::{Product, SnpWants, Tcb, Vek, VekKind, kds};
use holdfast_identity::UnixTime;

use crate::fleet::TcbFacts;
use crate::store::{EndorsementDraft, EndorsementRole, EndorsementSource};

/// Which key a report needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VekKey {
    pub(super) kind: VekKind,
    pub(super) product: Product,
    /// As many bytes as the product's chips have; `None` for a provider's key.
    chip_id: Option<Vec<u8>>,
    tcb: Tcb,
}

impl VekKey {
    /// The key that signed, if the product is that one; `None` where the report names no key that anybody could have.
    pub(super) fn wanted(wants: &SnpWants, product: Product) -> Option<Self> {
        let kind = wants.kind?;
        let chip_id = match kind {
            VekKind::Vcek if wants.chip_id == [0; 64] => return None,
            VekKind::Vcek => Some(wants.chip_id.get(..product.chip_id_bytes())?.to_vec()),
            VekKind::Vlek => None,
        };
        Some(Self { kind, product, chip_id, tcb: wants.tcb(product)? })
    }

    /// The key that a certificate is for, by its own words.
    pub(super) fn of(vek: &Vek) -> Self {
        Self { kind: vek.kind, product: vek.product, chip_id: vek.chip_id.clone(), tcb: vek.tcb }
    }

    /// By which it is looked up: `vcek/Milan/59790f…/bl=4,tee=0,snp=24,ucode=219`.
    pub(super) fn about(&self) -> String {
        let chip = self.chip_id.as_ref().map(|chip| format!("{}/", hex::encode(chip))).unwrap_or_default();
        let tcb = self.tcb.to_string().replace(' ', ",");
        format!("{}/{}/{chip}{tcb}", self.kind.as_str(), self.product)
    }

    /// A key from its name.
    pub(super) fn read(about: &str) -> Option<Self> {
        let mut parts = about.split('/');
        let kind = match parts.next()? {
            "vcek" => VekKind::Vcek,
            "vlek" => VekKind::Vlek,
            _ => return None,
        };
        let product: Product = parts.next()?.parse().ok()?;
        let chip_id = match kind {
            VekKind::Vcek => Some(hex::decode(parts.next()?).ok()?),
            VekKind::Vlek => None,
        };
        let tcb = parts.next()?;
        let level = |name: &str| {
            let found = tcb.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|number| number.parse().ok())
        };
        let fits = chip_id.as_ref().is_none_or(|chip| chip.len() == product.chip_id_bytes());
        let tcb = Tcb {
            fmc: level("fmc"),
            bootloader: level("bl")?,
            tee: level("tee")?,
            snp: level("snp")?,
            microcode: level("ucode")?,
        };
        let key = Self { kind, product, chip_id, tcb };
        (fits && key.about() == about).then_some(key)
    }

    /// Path in AMD's service; none for a provider's key.
    pub(super) fn path(&self) -> Option<String> {
        let chip = self.chip_id.as_ref()?;
        let mut padded = [0; 64];
        padded.get_mut(..chip.len())?.copy_from_slice(chip);
        Some(kds::vcek_path(self.product, &padded, &self.tcb))
    }
}

/// By which the key of a machine is looked up whose TCB is on record.
pub(crate) fn vek_about(facts: &TcbFacts) -> Option<String> {
    let text = |name: &str| facts.get(name).map(String::as_str);
    let level = |name: &str| text(&format!("snp.tcb.reported.{name}"))?.parse().ok();
    let product: Product = text("snp.product")?.parse().ok()?;
    let kind = if text("snp.signing_key")? == VekKind::Vlek.as_str() { VekKind::Vlek } else { VekKind::Vcek };
    let chip_id = match kind {
        VekKind::Vcek => Some(hex::decode(text("snp.chip_id")?).ok()?.get(..product.chip_id_bytes())?.to_vec()),
        VekKind::Vlek => None,
    };
    let tcb = Tcb {
        fmc: level("fmc"),
        bootloader: level("bootloader")?,
        tee: level("tee")?,
        snp: level("snp")?,
        microcode: level("microcode")?,
    };
    Some(VekKey { kind, product, chip_id, tcb }.about())
}

/// By which an intermediate is looked up: `ca/vcek/Milan`.
pub(super) fn issuer_about(kind: VekKind, product: Product) -> String {
    format!("ca/{}/{product}", kind.as_str())
}

/// By which a revocation list is looked up: `crl/vcek/Milan`.
pub(super) fn list_about(kind: VekKind, product: Product) -> String {
    format!("crl/{}/{product}", kind.as_str())
}

/// A VEK to be held. The caller has verified its chain.
pub(super) fn vek_draft(der: &[u8], vek: &Vek, source: EndorsementSource, at: UnixTime) -> EndorsementDraft {
    let (about, kind) = (VekKey::of(vek).about(), vek.kind.as_str().to_uppercase());
    EndorsementDraft {
        role: EndorsementRole::Vek,
        serves: EvidenceKind::Snp.into(),
        content: der.to_vec(),
        class: String::new(),
        name: vek.csp_id.as_ref().map_or_else(|| format!("{kind} {}", vek.product), |csp| format!("{kind} {csp}")),
        subject: format!("CN={}", vek.kind.common_name()),
        about,
        not_after: UnixTime(vek.not_after),
        source,
        fetched_at: at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_from_its_name() {
        let chip = "59790fb1c39f35c1";
        for about in [
            format!("vcek/Milan/{}/bl=4,tee=0,snp=24,ucode=219", chip.repeat(8)),
            format!("vcek/Turin/{chip}/fmc=1,bl=1,tee=1,snp=4,ucode=81"),
            "vlek/Genoa/bl=9,tee=0,snp=23,ucode=72".to_owned(),
        ] {
            assert_eq!(VekKey::read(&about).map(|key| key.about()), Some(about));
        }
        for about in [
            format!("vcek/Milan/{chip}/bl=4,tee=0,snp=24,ucode=219"),
            format!("vcek/Naples/{chip}/bl=4,tee=0,snp=24,ucode=219"),
            format!("vcek/Turin/{chip}/bl=4,tee=0,snp=24,ucode=999"),
            "vlek/Genoa/snp=23,bl=9,tee=0,ucode=72".to_owned(),
            "ca/vcek/Genoa".to_owned(),
        ] {
            assert_eq!(VekKey::read(&about), None, "{about}");
        }
        let milan = VekKey::read(&format!("vcek/Milan/{}/bl=4,tee=0,snp=24,ucode=219", chip.repeat(8))).unwrap();
        assert!(milan.path().unwrap().ends_with("?blSPL=04&teeSPL=00&snpSPL=24&ucodeSPL=219"));
    }
}
