//! The trustworthiness vector of AR4SI: eight claims, each a number of one of four tiers.

use std::collections::BTreeMap;

use serde_json::Value;

/// Private value of a claim that would be affirmed, were the root above the evidence not a simulator's: AR4SI leaves
/// -33 to -96 to verifiers for warnings.
pub const SIMULATED: i8 = -33;

/// What a claim is about. The numbers are the keys in CBOR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Claim {
    /// Whether this instance is one that is known.
    InstanceIdentity,
    /// Whether the configuration is approved.
    Configuration,
    /// Whether only approved executables were loaded.
    Executables,
    /// Whether only approved files are there. No fact proves that: never made.
    FileSystem,
    /// Whether hardware and firmware are genuine.
    Hardware,
    /// Whether memory is hidden from outside.
    RuntimeOpaque,
    /// Whether storage is. No fact proves that: never made.
    StorageOpaque,
    /// Whether what came from elsewhere can be trusted. No fact proves that: never made.
    SourcedData,
}

impl Claim {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::InstanceIdentity,
        Self::Configuration,
        Self::Executables,
        Self::FileSystem,
        Self::Hardware,
        Self::RuntimeOpaque,
        Self::StorageOpaque,
        Self::SourcedData,
    ];

    /// The key in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InstanceIdentity => "instance-identity",
            Self::Configuration => "configuration",
            Self::Executables => "executables",
            Self::FileSystem => "file-system",
            Self::Hardware => "hardware",
            Self::RuntimeOpaque => "runtime-opaque",
            Self::StorageOpaque => "storage-opaque",
            Self::SourcedData => "sourced-data",
        }
    }

    /// The key in CBOR.
    #[must_use]
    pub const fn key(self) -> i8 {
        match self {
            Self::InstanceIdentity => 0,
            Self::Configuration => 1,
            Self::Executables => 2,
            Self::FileSystem => 3,
            Self::Hardware => 4,
            Self::RuntimeOpaque => 5,
            Self::StorageOpaque => 6,
            Self::SourcedData => 7,
        }
    }
}

/// Into which of four classes a claim falls; a later one is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Nothing is said.
    None,
    /// Trustworthy in this regard.
    Affirming,
    /// With reservations.
    Warning,
    /// Untrustworthy.
    Contraindicated,
}

impl Tier {
    const ALL: [Self; 4] = [Self::None, Self::Affirming, Self::Warning, Self::Contraindicated];

    /// The tier of a claim's value.
    #[must_use]
    pub const fn of(value: i8) -> Self {
        match value {
            -1..=1 => Self::None,
            2..=31 | -32..=-2 => Self::Affirming,
            32..=95 | -96..=-33 => Self::Warning,
            96..=127 | -128..=-97 => Self::Contraindicated,
        }
    }

    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Affirming => "affirming",
            Self::Warning => "warning",
            Self::Contraindicated => "contraindicated",
        }
    }

    /// The number in CBOR.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Affirming => 2,
            Self::Warning => 32,
            Self::Contraindicated => 96,
        }
    }

    /// The tier of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.as_str() == name)
    }

    /// The tier of that number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| i64::from(tier.number()) == number)
    }
}

/// Claims with their values; what is not there is not claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustVector(BTreeMap<Claim, i8>);

impl FromIterator<(Claim, i8)> for TrustVector {
    /// Without those that claim nothing.
    fn from_iter<T: IntoIterator<Item = (Claim, i8)>>(claims: T) -> Self {
        Self(claims.into_iter().filter(|(_, value)| *value != 0).collect())
    }
}

impl TrustVector {
    /// The value of a claim; 0 where it is not made.
    #[must_use]
    pub fn get(&self, claim: Claim) -> i8 {
        self.0.get(&claim).copied().unwrap_or_default()
    }

    /// Makes a claim.
    pub fn set(&mut self, claim: Claim, value: i8) {
        self.0.insert(claim, value);
    }

    /// The worst tier of all claims.
    #[must_use]
    pub fn worst(&self) -> Tier {
        self.0.values().map(|value| Tier::of(*value)).max().unwrap_or(Tier::None)
    }

    /// The claims in the order of their keys. AR4SI wants at least one: where nothing is claimed, that is said of the first.
    pub fn iter(&self) -> impl Iterator<Item = (Claim, i8)> {
        let nothing = self.0.is_empty().then_some((Claim::InstanceIdentity, 0));
        self.0.iter().map(|(claim, value)| (*claim, *value)).chain(nothing)
    }

    /// As JSON has it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(self.iter().map(|(claim, value)| (claim.as_str().to_owned(), value.into())).collect())
    }

    /// Reads it; `None` if a claim or a value is none.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let claims = value.as_object()?.iter().map(|(name, value)| {
            let claim = Claim::ALL.into_iter().find(|claim| claim.as_str() == name)?;
            Some((claim, i8::try_from(value.as_i64()?).ok()?))
        });
        claims.collect::<Option<Vec<_>>>().map(|claims| claims.into_iter().collect())
    }
}
