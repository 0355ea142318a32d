//! EFI GUIDs, in their mixed-endian byte order.

use std::fmt;

/// A GUID as it stands in EFI structures; compared as bytes, printed the usual way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// `8be4df61-93ca-11d2-aa0d-00e098032b8c`: owner of `SecureBoot`, `PK`, `KEK` and the boot options.
    pub const EFI_GLOBAL: Self =
        Self([0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c]);
    /// `d719b2cb-3d3a-4596-a3bc-dad00e67656f`: owner of `db`, `dbx`, `dbt` and `dbr`.
    pub const IMAGE_SECURITY_DATABASE: Self =
        Self([0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f]);
    /// `605dab50-e046-4300-abb6-3dd810dd8b23`: owner of shim's variables.
    pub const SHIM: Self =
        Self([0x50, 0xab, 0x5d, 0x60, 0x46, 0xe0, 0x00, 0x43, 0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23]);
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, e0, e1, e2, e3, e4, e5] = self.0;
        write!(f, "{a3:02x}{a2:02x}{a1:02x}{a0:02x}-{b1:02x}{b0:02x}-{c1:02x}{c0:02x}-{d0:02x}{d1:02x}-")?;
        write!(f, "{e0:02x}{e1:02x}{e2:02x}{e3:02x}{e4:02x}{e5:02x}")
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_mixed_endian() {
        assert_eq!(Guid::EFI_GLOBAL.to_string(), "8be4df61-93ca-11d2-aa0d-00e098032b8c");
        assert_eq!(Guid::IMAGE_SECURITY_DATABASE.to_string(), "d719b2cb-3d3a-4596-a3bc-dad00e67656f");
        assert_eq!(Guid::SHIM.to_string(), "605dab50-e046-4300-abb6-3dd810dd8b23");
    }
}
