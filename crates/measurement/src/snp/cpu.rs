//! Processor signatures by the names that QEMU gives its models. Knows no other property of a processor.

use std::fmt;
use std::str::FromStr;

/// `CPUID Fn0000_0001_EAX`: family, model and stepping (AMD 25481).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuSignature(u32);

/// Models of QEMU that can run a SEV-SNP guest or are used for one, by family, model and stepping.
const MODELS: [(&str, u32, u32, u32); 19] = [
    ("EPYC", 23, 1, 2),
    ("EPYC-v1", 23, 1, 2),
    ("EPYC-v2", 23, 1, 2),
    ("EPYC-IBPB", 23, 1, 2),
    ("EPYC-v3", 23, 1, 2),
    ("EPYC-v4", 23, 1, 2),
    ("EPYC-Rome", 23, 49, 0),
    ("EPYC-Rome-v1", 23, 49, 0),
    ("EPYC-Rome-v2", 23, 49, 0),
    ("EPYC-Rome-v3", 23, 49, 0),
    ("EPYC-Milan", 25, 1, 1),
    ("EPYC-Milan-v1", 25, 1, 1),
    ("EPYC-Milan-v2", 25, 1, 1),
    ("EPYC-Genoa", 25, 17, 0),
    ("EPYC-Genoa-v1", 25, 17, 0),
    ("EPYC-Genoa-v2", 25, 17, 0),
    ("EPYC-Turin", 26, 0, 0),
    ("EPYC-Turin-v1", 26, 0, 0),
    ("EPYC-Turin-v2", 26, 0, 0),
];

impl CpuSignature {
    /// The signature as a register holds it.
    #[must_use]
    pub const fn new(signature: u32) -> Self {
        Self(signature)
    }

    /// The signature of a family, model and stepping.
    #[must_use]
    pub const fn of(family: u32, model: u32, stepping: u32) -> Self {
        let (low, high) = if family > 0xf { (0xf, (family - 0xf) & 0xff) } else { (family, 0) };
        Self(high << 20 | (model >> 4 & 0xf) << 16 | low << 8 | (model & 0xf) << 4 | stepping & 0xf)
    }

    /// The signature as a register holds it.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }

    /// The names of all models that are known here, with their signatures.
    pub fn models() -> impl Iterator<Item = (&'static str, Self)> {
        MODELS.into_iter().map(|(name, family, model, stepping)| (name, Self::of(family, model, stepping)))
    }
}

/// A name that is none of QEMU's models known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCpu;

impl std::error::Error for UnknownCpu {}

impl fmt::Display for UnknownCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown processor model, expected a signature such as 0xa00f11 or one of ")?;
        let names: Vec<&str> = MODELS.iter().map(|(name, ..)| *name).collect();
        f.write_str(&names.join(", "))
    }
}

/// A model's name, whatever its case, or a signature in hex.
impl FromStr for CpuSignature {
    type Err = UnknownCpu;

    fn from_str(text: &str) -> Result<Self, UnknownCpu> {
        if let Some(digits) = text.strip_prefix("0x") {
            return u32::from_str_radix(digits, 16).map(Self).map_err(|_| UnknownCpu);
        }
        Self::models().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, cpu)| cpu).ok_or(UnknownCpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_or_written_as_its_signature() {
        assert_eq!("EPYC-Milan".parse(), Ok(CpuSignature(0x00a0_0f11)));
        assert_eq!("epyc-v4".parse(), Ok(CpuSignature(0x0080_0f12)));
        assert_eq!("EPYC-Turin-v2".parse(), Ok(CpuSignature(0x00b0_0f00)));
        assert_eq!("0xa10f10".parse(), Ok(CpuSignature(0x00a1_0f10)));
        for unknown in ["", "0x", "0x1ffffffff", "EPYC-Naples", "host"] {
            assert_eq!(unknown.parse::<CpuSignature>(), Err(UnknownCpu), "{unknown}");
        }
    }
}
