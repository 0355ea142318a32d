//! The bit fields of a report: the guest's policy, the platform's state, and which key signed.

/// `POLICY`: what the guest's owner allows the host, fixed at launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuestPolicy(pub u64);

impl GuestPolicy {
    /// Bits 0 to 25 have a meaning that we know.
    const KNOWN: u64 = (1 << 26) - 1;

    /// Least minor version of the firmware's interface.
    #[must_use]
    pub const fn abi_minor(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// Least major version of the firmware's interface.
    #[must_use]
    pub const fn abi_major(self) -> u8 {
        self.0.to_le_bytes()[1]
    }

    /// Bit 16: simultaneous multithreading is allowed.
    #[must_use]
    pub const fn smt(self) -> bool {
        self.bit(16)
    }

    /// Bit 17: reserved, always one.
    #[must_use]
    pub const fn reserved_one(self) -> bool {
        self.bit(17)
    }

    /// Bit 18: a migration agent may be associated.
    #[must_use]
    pub const fn migration_agent(self) -> bool {
        self.bit(18)
    }

    /// Bit 19: the host may read and write the guest's memory.
    #[must_use]
    pub const fn debug(self) -> bool {
        self.bit(19)
    }

    /// Bit 20: the guest runs on one socket only.
    #[must_use]
    pub const fn single_socket(self) -> bool {
        self.bit(20)
    }

    /// Bit 21: memory behind CXL is allowed.
    #[must_use]
    pub const fn cxl(self) -> bool {
        self.bit(21)
    }

    /// Bit 22: memory must be encrypted with AES-256-XTS.
    #[must_use]
    pub const fn aes_256_xts(self) -> bool {
        self.bit(22)
    }

    /// Bit 23: power reporting (RAPL) must be off.
    #[must_use]
    pub const fn rapl_disabled(self) -> bool {
        self.bit(23)
    }

    /// Bit 24: ciphertext must be hidden from the host.
    #[must_use]
    pub const fn ciphertext_hiding(self) -> bool {
        self.bit(24)
    }

    /// Bit 25: the host must not move or swap pages by firmware commands.
    #[must_use]
    pub const fn page_swap_disabled(self) -> bool {
        self.bit(25)
    }

    /// Bits that no specification we know gives a meaning: they may well allow something.
    #[must_use]
    pub const fn unknown_bits(self) -> u64 {
        self.0 & !Self::KNOWN
    }

    const fn bit(self, number: u32) -> bool {
        self.0 & (1 << number) != 0
    }
}

/// `PLATFORM_INFO`: how the platform is set up when the report is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlatformInfo(pub u64);

impl PlatformInfo {
    /// Bit 0: simultaneous multithreading is on.
    #[must_use]
    pub const fn smt(self) -> bool {
        self.bit(0)
    }

    /// Bit 1: transparent memory encryption (TSME) is on.
    #[must_use]
    pub const fn tsme(self) -> bool {
        self.bit(1)
    }

    /// Bit 2: memory has error correction.
    #[must_use]
    pub const fn ecc(self) -> bool {
        self.bit(2)
    }

    /// Bit 3: power reporting (RAPL) is off.
    #[must_use]
    pub const fn rapl_disabled(self) -> bool {
        self.bit(3)
    }

    /// Bit 4: ciphertext is hidden from the host.
    #[must_use]
    pub const fn ciphertext_hiding(self) -> bool {
        self.bit(4)
    }

    /// Bit 5: since the last reset no two addresses were found to be one memory cell (BadRAM). Firmware older than
    /// AMD-SB-3015 cannot set it.
    #[must_use]
    pub const fn alias_check_complete(self) -> bool {
        self.bit(5)
    }

    /// Bit 7: SEV-TIO, trusted devices, is on.
    #[must_use]
    pub const fn sev_tio(self) -> bool {
        self.bit(7)
    }

    const fn bit(self, number: u32) -> bool {
        self.0 & (1 << number) != 0
    }
}

/// Bits of a report beside `SIGNING_KEY` that say how it was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyInfo(pub u32);

/// The key that signs reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VekKind {
    /// Versioned chip endorsement key: derived from the chip's own secret and its TCB.
    Vcek,
    /// Versioned loaded endorsement key: given by AMD to a provider for a TCB, the same on many chips.
    Vlek,
}

impl KeyInfo {
    /// Bit 0: `AUTHOR_KEY_DIGEST` holds a digest.
    #[must_use]
    pub const fn author_key(self) -> bool {
        self.0 & 1 != 0
    }

    /// Bit 1: the host has masked the chip's key; the signature is zero.
    #[must_use]
    pub const fn chip_key_masked(self) -> bool {
        self.0 & 2 != 0
    }

    /// Bits 2 to 4, `SIGNING_KEY`: 0 is the VCEK, 1 the VLEK, 7 none.
    #[must_use]
    pub const fn signing_key(self) -> u32 {
        (self.0 >> 2) & 7
    }

    /// The key that signed; `None` if none did.
    #[must_use]
    pub const fn signed_by(self) -> Option<VekKind> {
        match self.signing_key() {
            0 => Some(VekKind::Vcek),
            1 => Some(VekKind::Vlek),
            _ => None,
        }
    }

    /// Bits 5 to 31, reserved.
    #[must_use]
    pub const fn unknown_bits(self) -> u32 {
        self.0 & !0x1f
    }
}

impl VekKind {
    /// The word in facts and in AMD's service: `vcek`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vcek => "vcek",
            Self::Vlek => "vlek",
        }
    }

    /// Common name of its certificate.
    #[must_use]
    pub const fn common_name(self) -> &'static str {
        match self {
            Self::Vcek => "SEV-VCEK",
            Self::Vlek => "SEV-VLEK",
        }
    }
}

impl std::fmt::Display for VekKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Vcek => "VCEK",
            Self::Vlek => "VLEK",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bit's number, and what reads it.
    type Reader<T> = (u32, fn(T) -> bool);

    #[test]
    fn each_policy_bit_is_read_from_its_place() {
        let readers: [Reader<GuestPolicy>; 10] = [
            (16, GuestPolicy::smt),
            (17, GuestPolicy::reserved_one),
            (18, GuestPolicy::migration_agent),
            (19, GuestPolicy::debug),
            (20, GuestPolicy::single_socket),
            (21, GuestPolicy::cxl),
            (22, GuestPolicy::aes_256_xts),
            (23, GuestPolicy::rapl_disabled),
            (24, GuestPolicy::ciphertext_hiding),
            (25, GuestPolicy::page_swap_disabled),
        ];
        for bit in 0..64 {
            let policy = GuestPolicy(1 << bit);
            for (own, read) in readers {
                assert_eq!(read(policy), own == bit, "bit {bit}, reader of {own}");
            }
            assert_eq!(policy.unknown_bits() != 0, bit > 25, "bit {bit}");
        }
        assert_eq!((GuestPolicy(0x3_011f).abi_major(), GuestPolicy(0x3_011f).abi_minor()), (1, 31));
    }

    #[test]
    fn each_platform_bit_is_read_from_its_place() {
        let readers: [Reader<PlatformInfo>; 7] = [
            (0, PlatformInfo::smt),
            (1, PlatformInfo::tsme),
            (2, PlatformInfo::ecc),
            (3, PlatformInfo::rapl_disabled),
            (4, PlatformInfo::ciphertext_hiding),
            (5, PlatformInfo::alias_check_complete),
            (7, PlatformInfo::sev_tio),
        ];
        for bit in 0..64 {
            for (own, read) in readers {
                assert_eq!(read(PlatformInfo(1 << bit)), own == bit, "bit {bit}, reader of {own}");
            }
        }
    }

    #[test]
    fn a_report_is_signed_by_a_vcek_or_a_vlek_or_nothing() {
        for (signing_key, kind) in [(0, Some(VekKind::Vcek)), (1, Some(VekKind::Vlek)), (2, None), (7, None)] {
            assert_eq!(KeyInfo(signing_key << 2).signed_by(), kind);
        }
        assert!(KeyInfo(1).author_key() && !KeyInfo(1).chip_key_masked());
        assert!(KeyInfo(2).chip_key_masked() && !KeyInfo(2).author_key());
        assert_eq!((KeyInfo(0x1f).unknown_bits(), KeyInfo(0x20).unknown_bits()), (0, 0x20));
    }
}
