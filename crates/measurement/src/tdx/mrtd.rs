//! `MRTD`: one SHA-384 over the order in which pages are added to a guest and measured. Intel TDX module ABI,
//! `TDH.MEM.PAGE.ADD` and `TDH.MR.EXTEND`.

use holdfast_evidence::crypto::{HashAlg, Hasher};

use crate::ovmf::{Ovmf, TdvfSection};
use crate::{Input, PAGE, Unmeasurable};

/// Bytes that one `TDH.MR.EXTEND` measures.
const CHUNK: usize = 256;

/// In which order the hypervisor adds pages and measures them: it is part of the digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOrder {
    /// Each page is measured when it is added: QEMU from 9, and Linux as it is upstream.
    EachPage,
    /// All pages of a section are added, then measured: QEMU 8 with Intel's patches.
    EachSection,
}

/// `MRTD`, and what went into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mrtd {
    /// The measurement, 48 bytes.
    pub digest: [u8; 48],
    /// The sections.
    pub inputs: Vec<Input>,
}

/// Computes `MRTD`.
///
/// # Errors
/// The firmware has no TDX metadata, or broken one.
pub fn mrtd(firmware: &[u8], order: PageOrder) -> Result<Mrtd, Unmeasurable> {
    let ovmf = Ovmf::parse(firmware)?;
    let mut hasher = Hasher::new(HashAlg::Sha384);
    let mut inputs = Vec::new();
    for section in ovmf.tdvf_sections()? {
        if !section.is_added_later {
            add(&mut hasher, &section, order);
        }
        let how = match (section.is_added_later, section.is_extended) {
            (true, _) => "not measured",
            (false, true) => "contents measured",
            (false, false) => "place measured",
        };
        let place = format!("{} bytes at {:#x}, {how}", section.size, section.address);
        let digest = section.is_extended.then(|| HashAlg::Sha384.digest(&[section.contents]));
        inputs.push(Input::new(section.kind.name(), place, digest));
    }
    let digest = hasher.finish();
    let digest = digest.as_bytes().first_chunk().copied().unwrap_or([0; 48]);
    Ok(Mrtd { digest, inputs })
}

fn add(hasher: &mut Hasher, section: &TdvfSection<'_>, order: PageOrder) {
    let pages = || (0..section.size / PAGE).map(|index| index * PAGE);
    match order {
        PageOrder::EachPage => pages().for_each(|offset| {
            page(hasher, section, offset);
            extend(hasher, section, offset);
        }),
        PageOrder::EachSection => {
            pages().for_each(|offset| page(hasher, section, offset));
            pages().for_each(|offset| extend(hasher, section, offset));
        }
    }
}

fn page(hasher: &mut Hasher, section: &TdvfSection<'_>, offset: u64) {
    hasher.update(&operation(b"MEM.PAGE.ADD", section.address + offset));
}

fn extend(hasher: &mut Hasher, section: &TdvfSection<'_>, offset: u64) {
    if !section.is_extended {
        return;
    }
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let contents = section.contents.get(start..).unwrap_or_default();
    for chunk in 0..usize::try_from(PAGE).unwrap_or_default() / CHUNK {
        let at = chunk * CHUNK;
        hasher.update(&operation(b"MR.EXTEND", section.address + offset + at as u64));
        let present = contents.get(at..).unwrap_or_default();
        let present = present.get(..CHUNK).unwrap_or(present);
        hasher.update(present);
        hasher.update([0; CHUNK].get(present.len()..).unwrap_or_default());
    }
}

/// The name of the operation in 16 bytes, the address, zeros: 128 bytes.
fn operation(name: &[u8], address: u64) -> [u8; 128] {
    let mut operation = [0; 128];
    operation.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    operation.iter_mut().skip(16).zip(address.to_le_bytes()).for_each(|(to, from)| *to = from);
    operation
}
