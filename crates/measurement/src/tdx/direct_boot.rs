//! `RTMR` 1 and 2 of a guest whose kernel QEMU hands to the firmware: what edk2 and the kernel's EFI stub measure.
//! The registers stand for PCR 2 to 6 and 8 to 15 (UEFI 2.10, "Intel Trust Domain Extension").

use holdfast_evidence::crypto::{Digest, HashAlg};

use crate::linux::{self, Loader};
use crate::pe::Image;
use crate::uki::CALLING;
use crate::{Register, Unmeasurable};

/// What a guest is started with.
#[derive(Clone, Copy, Debug)]
pub struct DirectBoot<'a> {
    /// The kernel file.
    pub kernel: &'a [u8],
    /// The initrd; empty if there is none.
    pub initrd: &'a [u8],
    /// The command line that is given to QEMU.
    pub command_line: &'a str,
    /// What the firmware is shown of the kernel.
    pub header: KernelHeader,
}

/// What the firmware is shown of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelHeader {
    /// The file as it is: edk2 from 2025.05 on a QEMU that offers it.
    AsIs,
    /// The file with the fields of its header that QEMU fills in, which depend on the guest's memory below 4 GiB.
    Patched {
        /// Bytes of the guest's memory.
        memory: u64,
    },
}

/// The two registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rtmrs {
    /// `RTMR` 1.
    pub rtmr1: Register,
    /// `RTMR` 2, as the kernel leaves it to the guest, which may extend it.
    pub rtmr2: Register,
}

impl DirectBoot<'_> {
    /// Computes the registers.
    ///
    /// # Errors
    /// The kernel is none that firmware starts.
    pub fn measure(&self) -> Result<Rtmrs, Unmeasurable> {
        let mut rtmr1 = Register::new(HashAlg::Sha384);
        rtmr1.extend("kernel", self.kernel_digest(HashAlg::Sha384)?);
        rtmr1.measure("firmware calls an application", CALLING);
        rtmr1.measure("separator", &[0; 4]);
        rtmr1.measure("boot services are left", b"Exit Boot Services Invocation");
        rtmr1.measure("boot services were left", b"Exit Boot Services Returned with Success");
        let mut rtmr2 = Register::new(HashAlg::Sha384);
        rtmr2.measure("command line", &self.load_options());
        if !self.initrd.is_empty() {
            rtmr2.measure("initrd", self.initrd);
        }
        Ok(Rtmrs { rtmr1, rtmr2 })
    }

    /// The digest of the kernel that firmware measures.
    ///
    /// # Errors
    /// The kernel is none that firmware starts.
    pub fn kernel_digest(&self, hash: HashAlg) -> Result<Digest, Unmeasurable> {
        match self.header {
            KernelHeader::AsIs => Image::parse(self.kernel)?.authenticode(hash),
            KernelHeader::Patched { memory } => {
                let initrd = u32::try_from(self.initrd.len()).unwrap_or(u32::MAX);
                let patched = linux::patched(self.kernel, Loader { initrd, memory })?;
                Image::parse(&patched)?.authenticode(hash)
            }
        }
    }

    /// What firmware gives the kernel: the command line, where there is an initrd its name, a NUL, all in UTF-16.
    #[must_use]
    pub fn load_options(&self) -> Vec<u8> {
        let initrd = if self.initrd.is_empty() { "" } else { " initrd=initrd" };
        format!("{}{initrd}\0", self.command_line).encode_utf16().flat_map(u16::to_le_bytes).collect()
    }
}
