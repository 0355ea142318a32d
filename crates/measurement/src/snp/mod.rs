//! The launch digest of a SEV-SNP guest: `MEASUREMENT` of its attestation report, from what it is launched with.
//!
//! Every page that the hypervisor gives to the guest before it runs goes into one chain of SHA-384 (AMD 56860,
//! "PAGE_INFO"): the firmware, the pages of its SEV metadata in their order, and one VMSA page for each processor.
//! Firmware that is packed in another way (IGVM, SVSM) is not computed here.

mod chain;
mod cpu;
mod hashes;
mod id_block;
mod vmsa;

pub use cpu::{CpuSignature, UnknownCpu};
pub use hashes::Kernel;
pub use id_block::{ID_AUTH_BYTES, IdAuth, IdBlock};
pub use vmsa::{UnknownVmm, Vmm};

use chain::{Chain, PageType};
use holdfast_evidence::crypto::{Digest, HashAlg};

use crate::ovmf::{Ovmf, SevSection, SevSectionKind};
use crate::{Input, PAGE, Unmeasurable};

/// Processors of one guest; KVM's limit is 4096.
pub const VCPUS_MAX: u32 = 4096;

/// What a guest is launched with.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The firmware image, as it lies below 4 GiB.
    pub firmware: &'a [u8],
    /// The kernel that is started directly, with initrd and command line; none where the guest boots from a disk.
    pub kernel: Option<Kernel<'a>>,
    /// Number of processors.
    pub vcpus: u32,
    /// What QEMU puts into RDX: the signature of the processor that the guest is shown. Other VMMs do not look at it.
    pub cpu: CpuSignature,
    /// `SEV_FEATURES` of the VMSA: 1 is SNP alone; kernels of the host from 6.6 to 6.7 add 0x20.
    pub guest_features: u64,
    /// Who launches it: each sets the processors up in its own way.
    pub vmm: Vmm,
}

/// A launch digest, and what went into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchDigest {
    /// `MEASUREMENT`, 48 bytes.
    pub digest: [u8; 48],
    /// What was measured, in order; the digest of each is that of its own contents.
    pub inputs: Vec<Input>,
}

impl Launch<'_> {
    /// Computes the launch digest.
    ///
    /// # Errors
    /// The firmware's table or metadata is broken; a kernel is given that the firmware would start unmeasured; there
    /// are no processors, or more than [`VCPUS_MAX`].
    pub fn measure(&self) -> Result<LaunchDigest, Unmeasurable> {
        let ovmf = Ovmf::parse(self.firmware)?;
        match self.vcpus {
            0 => return Err(Unmeasurable::Value { file: "launch", field: "number of processors", found: 0 }),
            1..=VCPUS_MAX => {}
            more => {
                let (found, limit) = (more.into(), VCPUS_MAX.into());
                return Err(Unmeasurable::TooLarge { file: "launch", field: "number of processors", found, limit });
            }
        }
        let mut measuring = self.memory(&ovmf)?;
        measuring.processors(self, &ovmf)?;
        Ok(LaunchDigest { digest: measuring.chain.digest(), inputs: measuring.inputs })
    }

    /// The launch digests of the same guest with 1, 2, … `most` processors, for finding out with how many a guest was
    /// launched whose digest is not the expected one.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    pub fn digests_by_vcpus(&self, most: u32) -> Result<Vec<[u8; 48]>, Unmeasurable> {
        let ovmf = Ovmf::parse(self.firmware)?;
        let mut measuring = self.memory(&ovmf)?;
        measuring.chain.vmsa(&vmsa::page(vmsa::FIRST_ADDRESS, self));
        let mut digests = vec![measuring.chain.digest()];
        if let Some(start) = ovmf.reset_address()?.filter(|start| *start != 0) {
            let other = vmsa::page(start, self);
            for _ in 1..most.min(VCPUS_MAX) {
                measuring.chain.vmsa(&other);
                digests.push(measuring.chain.digest());
            }
        }
        Ok(digests)
    }

    /// Everything before the processors.
    fn memory(&self, ovmf: &Ovmf<'_>) -> Result<Measuring, Unmeasurable> {
        let sections = ovmf.sev_sections()?;
        if self.kernel.is_some() && !sections.iter().any(|section| section.kind == SevSectionKind::KernelHashes) {
            return Err(Unmeasurable::NoKernelHashes);
        }
        let mut measuring = Measuring { chain: Chain::new(), inputs: self.settings() };
        measuring.firmware(ovmf)?;
        for section in &sections {
            measuring.section(self, ovmf, section)?;
        }
        // EC2 gives the CPUID page after all others.
        let late = sections.iter().filter(|section| section.kind == SevSectionKind::Cpuid && self.vmm.is_ec2());
        for section in late {
            measuring.page(PageType::Cpuid, section)?;
        }
        Ok(measuring)
    }

    fn settings(&self) -> Vec<Input> {
        let cpu = match self.vmm {
            Vmm::Qemu => format!("{:#x}", self.cpu.value()),
            Vmm::Ec2 | Vmm::Ec2Since2026 | Vmm::Gce | Vmm::Krun => "not measured by this VMM".to_owned(),
        };
        vec![
            Input::new("vmm", self.vmm.as_str(), None),
            Input::new("vcpus", self.vcpus.to_string(), None),
            Input::new("vcpu signature", cpu, None),
            Input::new("guest features", format!("{:#x}", self.guest_features), None),
        ]
    }
}

/// Only the firmware: the seed from which everything else follows. Some tools call it the OVMF hash.
///
/// # Errors
/// The firmware is no OVMF image, or no whole number of pages.
pub fn firmware_digest(firmware: &[u8]) -> Result<[u8; 48], Unmeasurable> {
    let mut measuring = Measuring { chain: Chain::new(), inputs: Vec::new() };
    measuring.firmware(&Ovmf::parse(firmware)?)?;
    Ok(measuring.chain.digest())
}

struct Measuring {
    chain: Chain,
    inputs: Vec<Input>,
}

impl Measuring {
    fn note(&mut self, name: &str, detail: String, contents: Option<&[u8]>) {
        let digest = contents.map(sha384);
        self.inputs.push(Input::new(name, detail, digest));
    }

    fn firmware(&mut self, ovmf: &Ovmf<'_>) -> Result<(), Unmeasurable> {
        let (contents, address) = (ovmf.contents(), ovmf.address());
        if !(contents.len() as u64).is_multiple_of(PAGE) {
            return Err(Unmeasurable::Value { file: "firmware", field: "size", found: contents.len() as u64 });
        }
        self.chain.normal(address, contents);
        self.note("firmware", format!("{} bytes at {address:#x}", contents.len()), Some(contents));
        Ok(())
    }

    fn section(&mut self, launch: &Launch<'_>, ovmf: &Ovmf<'_>, section: &SevSection) -> Result<(), Unmeasurable> {
        match section.kind {
            SevSectionKind::SecMemory => match launch.vmm {
                Vmm::Gce => self.pages(PageType::Unmeasured, section),
                Vmm::Qemu | Vmm::Ec2 | Vmm::Ec2Since2026 | Vmm::Krun => self.pages(PageType::Zero, section),
            },
            SevSectionKind::SvsmCallingArea => self.pages(PageType::Zero, section),
            SevSectionKind::Secrets => self.page(PageType::Secrets, section)?,
            SevSectionKind::Cpuid if launch.vmm.is_ec2() => {}
            SevSectionKind::Cpuid => self.page(PageType::Cpuid, section)?,
            SevSectionKind::KernelHashes => match launch.kernel {
                Some(kernel) => self.kernel(&kernel, ovmf, section)?,
                None => self.pages(PageType::Zero, section),
            },
        }
        Ok(())
    }

    /// Every page of a section that has no contents of its own.
    fn pages(&mut self, page: PageType, section: &SevSection) {
        (0..section.size / PAGE).for_each(|index| self.chain.extend(page, section.address + index * PAGE, &[0; 48]));
        let place = format!("{} bytes at {:#x}, {}", section.size, section.address, page.name());
        self.note(section.kind.name(), place, None);
    }

    /// A section that is one page.
    fn page(&mut self, page: PageType, section: &SevSection) -> Result<(), Unmeasurable> {
        if section.size != PAGE {
            let field = section.kind.name();
            return Err(Unmeasurable::Value { file: "firmware", field, found: section.size });
        }
        self.pages(page, section);
        Ok(())
    }

    fn kernel(&mut self, kernel: &Kernel<'_>, ovmf: &Ovmf<'_>, section: &SevSection) -> Result<(), Unmeasurable> {
        let table = ovmf.hash_table_address()?.ok_or(Unmeasurable::NoKernelHashes)?;
        if section.size != PAGE || u64::from(table) & !(PAGE - 1) != section.address {
            return Err(Unmeasurable::Value { file: "firmware", field: "SEV hash table address", found: table.into() });
        }
        let page = kernel.page(u64::from(table) % PAGE)?;
        self.inputs.extend(kernel.inputs());
        self.chain.normal(section.address, &page);
        self.note(section.kind.name(), format!("hash table at {table:#x}"), Some(&page));
        Ok(())
    }

    fn processors(&mut self, launch: &Launch<'_>, ovmf: &Ovmf<'_>) -> Result<(), Unmeasurable> {
        let first = vmsa::page(vmsa::FIRST_ADDRESS, launch);
        self.chain.vmsa(&first);
        self.note("vcpu 0", format!("VMSA, starts at {:#x}", vmsa::FIRST_ADDRESS), Some(&first));
        if launch.vcpus > 1 {
            let start = ovmf.reset_address()?.filter(|start| *start != 0).ok_or(Unmeasurable::NoResetBlock)?;
            let other = vmsa::page(start, launch);
            (1..launch.vcpus).for_each(|_| self.chain.vmsa(&other));
            let name = match launch.vcpus {
                2 => "vcpu 1".to_owned(),
                count => format!("vcpu 1 to {}", count - 1),
            };
            self.note(&name, format!("VMSA, starts at {start:#x}"), Some(&other));
        }
        Ok(())
    }
}

fn sha384(contents: &[u8]) -> Digest {
    HashAlg::Sha384.digest(&[contents])
}
