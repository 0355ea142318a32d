//! `TDATTRIBUTES`: how the TD was launched, bit by bit. Judges nothing: see [`super::checks`].

use std::fmt;

/// The 64 attribute bits of a TD. Intel TDX Module ABI Specification 348551, table "TDATTRIBUTES".
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TdAttributes(pub u64);

impl TdAttributes {
    /// DEBUG: the host reads and writes the TD's memory and registers.
    pub const DEBUG: Self = Self(1);
    /// Bits 7:0, TD Under Debug. Any of them set, the TD is not to be trusted.
    pub const UNDER_DEBUG: Self = Self(0xff);
    /// SERVTD_EXT: the report holds a hash of the extended binding to service TDs.
    pub const SERVTD_EXT: Self = Self(1 << 17);
    /// SEPT_VE_DISABLE: a page that the host took away stops the TD, instead of raising an exception inside it.
    pub const SEPT_VE_DISABLE: Self = Self(1 << 28);
    /// MIGRATABLE: the TD may be moved to another machine by a migration TD.
    pub const MIGRATABLE: Self = Self(1 << 29);
    /// PKS: supervisor protection keys may be used.
    pub const PKS: Self = Self(1 << 30);
    /// KL: Key Locker may be used.
    pub const KEY_LOCKER: Self = Self(1 << 31);
    /// PERFMON: performance counters may be used.
    pub const PERFMON: Self = Self(1 << 63);
    /// Bits beyond TUD that must be zero: 15:8, 26:23 and 61:32.
    pub const RESERVED: Self = Self(0xff00 | 0xf << 23 | 0x3fff_ffff << 32);

    /// Whether any bit of `bits` is set.
    #[must_use]
    pub const fn has(self, bits: Self) -> bool {
        self.0 & bits.0 != 0
    }
}

/// `0x0000000010000000`
impl fmt::Display for TdAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl fmt::Debug for TdAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_debug_reserved_or_has_a_meaning() {
        let defined: u64 = [16, 17, 18, 19, 20, 21, 22, 27, 28, 29, 30, 31, 62, 63].iter().map(|bit| 1u64 << bit).sum();
        let TdAttributes(debug) = TdAttributes::UNDER_DEBUG;
        let TdAttributes(reserved) = TdAttributes::RESERVED;
        assert_eq!(debug & reserved | debug & defined | reserved & defined, 0);
        assert_eq!(debug | reserved | defined, u64::MAX);
    }
}
