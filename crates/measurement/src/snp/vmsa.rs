//! The save area of a processor before it runs: one page, most of it zero. AMD 24593 (APM volume 2), table B-4.
//! What stands in it is what KVM and the VMM set, and each VMM does so in its own way.

use std::str::FromStr;

use super::Launch;

/// Where the first processor starts.
pub(super) const FIRST_ADDRESS: u32 = 0xffff_fff0;

/// Who launches the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vmm {
    /// QEMU on a kernel from 6.10.
    Qemu,
    /// EC2 as it was until 2026, and as `sev` 8.0.0 computes it: RDX is zero.
    Ec2,
    /// EC2 since 2026: RDX is 0x600.
    Ec2Since2026,
    /// Google Compute Engine.
    Gce,
    /// libkrun, as `sev` 8.0.0 computes it.
    Krun,
}

impl Vmm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Qemu, Self::Ec2, Self::Ec2Since2026, Self::Gce, Self::Krun];

    /// The name on command lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::Ec2 => "ec2",
            Self::Ec2Since2026 => "ec2-2026",
            Self::Gce => "gce",
            Self::Krun => "krun",
        }
    }

    pub(super) const fn is_ec2(self) -> bool {
        matches!(self, Self::Ec2 | Self::Ec2Since2026)
    }
}

/// A name that is none of a VMM known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown VMM, expected one of qemu, ec2, ec2-2026, gce, krun")]
pub struct UnknownVmm;

impl FromStr for Vmm {
    type Err = UnknownVmm;

    fn from_str(name: &str) -> Result<Self, UnknownVmm> {
        Self::ALL.into_iter().find(|vmm| vmm.as_str() == name).ok_or(UnknownVmm)
    }
}

/// What differs between VMMs.
struct Start {
    cs: u16,
    ss: u16,
    tr: u16,
    pat: u64,
    rdx: u64,
    mxcsr: u32,
    fcw: u16,
}

impl Start {
    fn of(address: u32, launch: &Launch<'_>) -> Self {
        /// The reset value of the PAT MSR.
        const PAT: u64 = 0x0007_0406_0007_0406;
        let ec2 = |rdx| {
            let cs = if address == FIRST_ADDRESS { 0x9a } else { 0x9b };
            Self { cs, ss: 0x92, tr: 0x83, pat: PAT, rdx, mxcsr: 0, fcw: 0 }
        };
        match launch.vmm {
            Vmm::Qemu => {
                let rdx = launch.cpu.value().into();
                Self { cs: 0x9b, ss: 0x93, tr: 0x8b, pat: PAT, rdx, mxcsr: 0x1f80, fcw: 0x37f }
            }
            Vmm::Ec2 => ec2(0),
            Vmm::Ec2Since2026 => ec2(0x600),
            Vmm::Gce => Self { cs: 0x9b, ss: 0x93, tr: 0x8b, pat: 0x0007_0106, rdx: 0x600, mxcsr: 0, fcw: 0 },
            Vmm::Krun => Self { cs: 0x9a, ss: 0x92, tr: 0x83, pat: PAT, rdx: 0, mxcsr: 0, fcw: 0 },
        }
    }
}

/// The page of a processor that starts at `address`.
pub(super) fn page(address: u32, launch: &Launch<'_>) -> Vec<u8> {
    let start = Start::of(address, launch);
    let mut area = Area(vec![0; 4096]);
    let segments = [
        ("es", 0x00, 0, 0x93, 0),
        ("cs", 0x10, 0xf000, start.cs, address & 0xffff_0000),
        ("ss", 0x20, 0, start.ss, 0),
        ("ds", 0x30, 0, 0x93, 0),
        ("fs", 0x40, 0, 0x93, 0),
        ("gs", 0x50, 0, 0x93, 0),
        ("gdtr", 0x60, 0, 0, 0),
        ("ldtr", 0x70, 0, 0x82, 0),
        ("idtr", 0x80, 0, 0, 0),
        ("tr", 0x90, 0, start.tr, 0),
    ];
    for (_, at, selector, attributes, base) in segments {
        area.segment(at, selector, attributes, base);
    }
    let registers = [
        ("efer", 0x0d0, 0x1000), // SVME, by KVM
        ("cr4", 0x148, 0x40),    // MCE, by KVM
        ("cr0", 0x158, 0x10),
        ("dr7", 0x160, 0x400),
        ("dr6", 0x168, 0xffff_0ff0),
        ("rflags", 0x170, 2),
        ("rip", 0x178, u64::from(address & 0xffff)),
        ("g_pat", 0x268, start.pat),
        ("rdx", 0x310, start.rdx),
        ("sev_features", 0x3b0, launch.guest_features),
        ("xcr0", 0x3e8, 1),
    ];
    for (_, at, value) in registers {
        area.put(at, &value.to_le_bytes());
    }
    area.put(0x408, &start.mxcsr.to_le_bytes());
    area.put(0x410, &start.fcw.to_le_bytes());
    area.0
}

struct Area(Vec<u8>);

impl Area {
    fn put(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }

    /// Every segment has the limit 0xffff.
    fn segment(&mut self, at: usize, selector: u16, attributes: u16, base: u32) {
        self.put(at, &selector.to_le_bytes());
        self.put(at + 2, &attributes.to_le_bytes());
        self.put(at + 4, &0xffff_u32.to_le_bytes());
        self.put(at + 8, &u64::from(base).to_le_bytes());
    }
}
