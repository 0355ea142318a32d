//! Processor families that make SNP reports, and how each lays out its TCB. The family is read from CPUID or from the
//! issuer's name, never from the report's version: a version 5 report of a Genoa has the older layout.

use std::fmt;
use std::str::FromStr;

use crate::class::UnknownName;

/// A processor family with its own AMD root key (ARK).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// Third generation EPYC: family 19h, models 00h to 0Fh.
    Milan,
    /// Fourth generation EPYC, Bergamo and Siena among them: family 19h, models 10h to 1Fh and A0h to AFh.
    Genoa,
    /// Fifth generation EPYC: family 1Ah, models 00h to 11h.
    Turin,
}

/// What the eight bytes of a TCB version stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcbLayout {
    /// `[bootloader, tee, 0, 0, 0, 0, snp, microcode]`.
    Milan,
    /// `[fmc, bootloader, tee, snp, 0, 0, 0, microcode]`.
    Turin,
}

impl Product {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::Milan, Self::Genoa, Self::Turin];

    /// The product of a combined CPUID family and model, as reports of version 3 and later carry them.
    #[must_use]
    pub const fn from_cpuid(family: u8, model: u8) -> Option<Self> {
        match (family, model) {
            (0x19, 0x00..=0x0f) => Some(Self::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Self::Genoa),
            (0x1a, 0x00..=0x11) => Some(Self::Turin),
            _ => None,
        }
    }

    /// AMD's name, as certificates and the key distribution service (KDS) write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// How its TCB versions are laid out.
    #[must_use]
    pub const fn layout(self) -> TcbLayout {
        match self {
            Self::Milan | Self::Genoa => TcbLayout::Milan,
            Self::Turin => TcbLayout::Turin,
        }
    }

    /// Bytes of the chip id that are in use; the rest of the report's 64 are zero.
    #[must_use]
    pub const fn chip_id_bytes(self) -> usize {
        match self {
            Self::Milan | Self::Genoa => 64,
            Self::Turin => 8,
        }
    }

    /// `structVersion` of its certificates.
    pub(super) const fn struct_version(self) -> u8 {
        match self {
            Self::Milan | Self::Genoa => 0,
            Self::Turin => 1,
        }
    }
}

impl FromStr for Product {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|product| product.as_str() == name)
            .ok_or(UnknownName { what: "SNP product", expected: "Milan, Genoa, Turin" })
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_chosen_by_family_and_model() {
        for (family, model, product) in [
            (0x19, 0x00, Some(Product::Milan)),
            (0x19, 0x0f, Some(Product::Milan)),
            (0x19, 0x10, Some(Product::Genoa)),
            (0x19, 0x1f, Some(Product::Genoa)),
            (0x19, 0x20, None),
            (0x19, 0x9f, None),
            (0x19, 0xa0, Some(Product::Genoa)),
            (0x19, 0xaf, Some(Product::Genoa)),
            (0x19, 0xb0, None),
            (0x1a, 0x00, Some(Product::Turin)),
            (0x1a, 0x11, Some(Product::Turin)),
            (0x1a, 0x12, None),
            (0x1a, 0x50, None),
            (0x17, 0x31, None),
            (0x00, 0x00, None),
        ] {
            assert_eq!(Product::from_cpuid(family, model), product, "{family:#x} {model:#x}");
        }
    }
}
