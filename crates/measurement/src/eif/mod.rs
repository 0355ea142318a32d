//! Enclave images of AWS Nitro (EIF), and the PCRs that a document of such an enclave then carries.
//! aws-nitro-enclaves-image-format, version 4. Each of these PCRs is extended once: SHA-384 over 48 zeros and the
//! SHA-384 of what it measures.

mod section;
mod signature;

pub use section::{Section, SectionKind};
pub use signature::Signer;

use holdfast_evidence::crypto::{Digest, HashAlg, Hasher};

use crate::bytes::Bytes;
use crate::{Input, Register, Unmeasurable};

/// Largest image: enclaves have less memory than that.
pub const EIF_BYTES_MAX: u64 = 4 << 30;
const HEADER_BYTES: u64 = 548;
/// Bytes of the header before its checksum, which is its last field.
const CHECKSUM_OFFSET: u64 = HEADER_BYTES - 4;

/// An enclave image.
#[derive(Clone, Debug)]
pub struct Eif<'a> {
    sections: Vec<Section<'a>>,
    signer: Option<Signer>,
    is_arm: bool,
}

/// The PCRs of an enclave that runs an image, and what went into them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnclavePcrs {
    /// PCR 0: kernel, command line and all RAM disks.
    pub image: Register,
    /// PCR 1: kernel, command line and the first RAM disk.
    pub boot: Register,
    /// PCR 2: the other RAM disks.
    pub application: Register,
    /// PCR 8: the certificate that signed the image; `None` if nobody did, so that it stays zero.
    pub signer: Option<Register>,
    /// The sections.
    pub inputs: Vec<Input>,
}

impl<'a> Eif<'a> {
    /// Reads an image, exactly.
    ///
    /// # Errors
    /// It is no EIF, its checksum or its table of sections does not fit, or it has no kernel, command line or RAM disk.
    pub fn parse(image: &'a [u8]) -> Result<Self, Unmeasurable> {
        let file = Bytes::new("EIF", image);
        file.limited("size", file.len(), EIF_BYTES_MAX)?;
        if file.slice(0, 4, "magic").ok() != Some(b".eif") {
            return Err(file.missing("EIF header"));
        }
        let version = file.u16_be(4, "version")?;
        if !matches!(version, 2..=4) {
            return Err(file.value("version", version.into()));
        }
        let is_arm = file.u16_be(6, "flags")? & 1 != 0;
        let checksum = file.u32_be(CHECKSUM_OFFSET, "checksum")?;
        let covered = [
            file.slice(0, CHECKSUM_OFFSET, "header")?,
            file.slice(HEADER_BYTES, file.len().saturating_sub(HEADER_BYTES), "sections")?,
        ];
        if section::crc32(&covered) != checksum {
            return Err(file.value("checksum", checksum.into()));
        }
        let sections = section::sections(file)?;
        for (kind, part) in [(SectionKind::Kernel, "kernel"), (SectionKind::CommandLine, "command line")] {
            match sections.iter().filter(|section| section.kind == kind).count() {
                0 => return Err(file.missing(part)),
                1 => {}
                _ => return Err(file.twice(part)),
            }
        }
        if !sections.iter().any(|section| section.kind == SectionKind::RamDisk) {
            return Err(file.missing("RAM disk"));
        }
        let mut signed = sections.iter().filter(|section| section.kind == SectionKind::Signature);
        let signer = match (signed.next(), signed.next()) {
            (None, _) => None,
            (Some(section), None) => {
                Some(Signer::parse(section.contents).ok_or(file.missing("certificate in its signature section"))?)
            }
            (Some(_), Some(_)) => return Err(file.twice("signature section")),
        };
        Ok(Self { sections, signer, is_arm })
    }

    /// The sections, in the order of the file.
    #[must_use]
    pub fn sections(&self) -> &[Section<'a>] {
        &self.sections
    }

    /// Who signed it.
    #[must_use]
    pub const fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// Whether it is for ARM; otherwise it is for x86.
    #[must_use]
    pub const fn is_arm(&self) -> bool {
        self.is_arm
    }

    /// The PCRs.
    #[must_use]
    pub fn pcrs(&self) -> EnclavePcrs {
        let [mut image, mut boot, mut application] = [(); 3].map(|()| Hasher::new(HashAlg::Sha384));
        let mut inputs = Vec::new();
        let mut ram_disks = 0_usize;
        for section in &self.sections {
            let mut name = section.kind.name().to_owned();
            let mut measured = true;
            match section.kind {
                SectionKind::Kernel | SectionKind::CommandLine => {
                    image.update(section.contents);
                    boot.update(section.contents);
                }
                SectionKind::RamDisk => {
                    image.update(section.contents);
                    let other = if ram_disks == 0 { &mut boot } else { &mut application };
                    other.update(section.contents);
                    name = format!("RAM disk {ram_disks}");
                    ram_disks += 1;
                }
                SectionKind::Signature | SectionKind::Metadata => measured = false,
            }
            let detail = match section.kind {
                SectionKind::CommandLine => format!("{:?}", String::from_utf8_lossy(section.contents)),
                SectionKind::Metadata => format!("{} bytes, not measured", section.contents.len()),
                SectionKind::Kernel | SectionKind::RamDisk | SectionKind::Signature => {
                    format!("{} bytes", section.contents.len())
                }
            };
            inputs.push(Input::new(name, detail, measured.then(|| HashAlg::Sha384.digest(&[section.contents]))));
        }
        if let Some(signer) = &self.signer {
            let digest = HashAlg::Sha384.digest(&[&signer.certificate]);
            inputs.push(Input::new("certificate", signer.subject.clone(), Some(digest)));
        }
        let signer = self.signer.as_ref();
        EnclavePcrs {
            image: once("kernel, command line, all RAM disks", image.finish()),
            boot: once("kernel, command line, first RAM disk", boot.finish()),
            application: once("RAM disks after the first", application.finish()),
            signer: signer.map(|one| once("signing certificate", HashAlg::Sha384.digest(&[&one.certificate]))),
            inputs,
        }
    }
}

fn once(name: &str, digest: Digest) -> Register {
    let mut register = Register::new(HashAlg::Sha384);
    register.extend(name, digest);
    register
}
