//! `TPMA_OBJECT`, and the exact attributes that the keys of this house have. Reads nothing.

use std::fmt;

/// The attributes of a TPM object, `TPMA_OBJECT`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attributes(u32);

impl Attributes {
    /// The object never leaves its TPM.
    pub const FIXED_TPM: Self = Self(1 << 1);
    /// It does not survive a restart.
    pub const ST_CLEAR: Self = Self(1 << 2);
    /// It never gets another parent.
    pub const FIXED_PARENT: Self = Self(1 << 4);
    /// The TPM made the private part itself.
    pub const SENSITIVE_DATA_ORIGIN: Self = Self(1 << 5);
    /// Its password authorises use.
    pub const USER_WITH_AUTH: Self = Self(1 << 6);
    /// Administration needs its policy.
    pub const ADMIN_WITH_POLICY: Self = Self(1 << 7);
    /// Exempt from dictionary-attack protection.
    pub const NO_DA: Self = Self(1 << 10);
    /// Duplicated only with encryption.
    pub const ENCRYPTED_DUPLICATION: Self = Self(1 << 11);
    /// Signs or decrypts only structures that the TPM made.
    pub const RESTRICTED: Self = Self(1 << 16);
    /// Decrypts.
    pub const DECRYPT: Self = Self(1 << 17);
    /// Signs.
    pub const SIGN: Self = Self(1 << 18);

    /// What an attestation key must have: resident, restricted, signing.
    pub const AK_REQUIRED: Self =
        Self::FIXED_TPM.and(Self::FIXED_PARENT).and(Self::SENSITIVE_DATA_ORIGIN).and(Self::RESTRICTED).and(Self::SIGN);
    /// What it may have beside: how its use is authorised says nothing about what it signs.
    pub const AK_ALLOWED: Self =
        Self::AK_REQUIRED.and(Self::USER_WITH_AUTH).and(Self::ADMIN_WITH_POLICY).and(Self::NO_DA);
    /// The attestation key that our agent makes: `00050472`.
    pub const AK_TEMPLATE: Self = Self::AK_REQUIRED.and(Self::USER_WITH_AUTH).and(Self::NO_DA);
    /// The node key, exactly: `00040472`.
    pub const NODE_KEY: Self = Self::FIXED_TPM
        .and(Self::FIXED_PARENT)
        .and(Self::SENSITIVE_DATA_ORIGIN)
        .and(Self::USER_WITH_AUTH)
        .and(Self::SIGN)
        .and(Self::NO_DA);
    /// What an initial device identity (IDevID) must have: resident, signing.
    pub const IDEVID_REQUIRED: Self =
        Self::FIXED_TPM.and(Self::FIXED_PARENT).and(Self::SENSITIVE_DATA_ORIGIN).and(Self::SIGN);
    /// What it may have beside: how its use is authorised.
    pub const IDEVID_ALLOWED: Self =
        Self::IDEVID_REQUIRED.and(Self::USER_WITH_AUTH).and(Self::ADMIN_WITH_POLICY).and(Self::NO_DA);
    /// An endorsement key of the TCG's low range, exactly: `000300b2`.
    pub const EK_LOW_RANGE: Self = Self::FIXED_TPM
        .and(Self::FIXED_PARENT)
        .and(Self::SENSITIVE_DATA_ORIGIN)
        .and(Self::ADMIN_WITH_POLICY)
        .and(Self::RESTRICTED)
        .and(Self::DECRYPT);
    /// An endorsement key of the TCG's high range, exactly: `000300f2`.
    pub const EK_HIGH_RANGE: Self = Self::EK_LOW_RANGE.and(Self::USER_WITH_AUTH);

    /// Attributes from their bits; reserved bits are kept, so that no check that wants exact attributes passes.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// These and `other`.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all of `required` and none but `allowed` are set.
    #[must_use]
    pub const fn are_within(self, required: Self, allowed: Self) -> bool {
        self.0 & required.0 == required.0 && self.0 & !allowed.0 == 0
    }
}

/// Eight hex digits, as the field's tools print them.
impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attributes({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_have_the_published_bits() {
        assert_eq!(Attributes::AK_TEMPLATE.bits(), 0x0005_0472);
        assert_eq!(Attributes::NODE_KEY.bits(), 0x0004_0472);
        assert_eq!(Attributes::EK_LOW_RANGE.bits(), 0x0003_00b2);
        assert_eq!(Attributes::EK_HIGH_RANGE.bits(), 0x0003_00f2);
    }

    #[test]
    fn a_reserved_bit_is_never_within() {
        let odd = Attributes::from_bits(Attributes::AK_TEMPLATE.bits() | 1);
        assert!(!odd.are_within(Attributes::AK_REQUIRED, Attributes::AK_ALLOWED));
    }
}
