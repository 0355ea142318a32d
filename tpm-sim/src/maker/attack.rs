//! What a maker's certificates and keys must not get away with. Each is one thing that is not as it must be.

use std::fmt;
use std::str::FromStr;

use crate::endorsement::Endorsement;

/// One lie about a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MakerAttack {
    /// The platform certificate of another machine: its holder is this endorsement certificate.
    PlatformOfAnother(Box<Endorsement>),
    /// The platform certificate's holder has another serial number than the endorsement certificate.
    PlatformHolder,
    /// The platform certificate is signed by a key of one's own, in the maker's name.
    PlatformSelfSigned,
    /// The platform certificate has expired.
    PlatformExpired,
    /// The IAK certificate is a copy of another machine's: its key is elsewhere.
    IakCopied,
    /// The key behind the IAK certificate signs whatever it is given.
    IakUnrestricted,
    /// The IDevID certificate does not say which TPM the key is in.
    IdevidWithoutResidency,
    /// All certificates are by another maker.
    AnotherMaker,
}

const NAMED: [(&str, MakerAttack); 7] = [
    ("platform-holder", MakerAttack::PlatformHolder),
    ("platform-self-signed", MakerAttack::PlatformSelfSigned),
    ("platform-expired", MakerAttack::PlatformExpired),
    ("iak-copied", MakerAttack::IakCopied),
    ("iak-unrestricted", MakerAttack::IakUnrestricted),
    ("idevid-without-residency", MakerAttack::IdevidWithoutResidency),
    ("another-maker", MakerAttack::AnotherMaker),
];

impl MakerAttack {
    /// The names of those that need no other machine.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, _)| *name)
    }
}

impl fmt::Display for MakerAttack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMED.iter().find(|(_, attack)| attack == self).map(|(name, _)| *name);
        f.write_str(name.unwrap_or("platform-of-another"))
    }
}

impl FromStr for MakerAttack {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = NAMED.iter().find(|(name, _)| *name == text).map(|(_, attack)| attack.clone());
        found.ok_or_else(|| format!("{text:?} is none of {}", Self::names().collect::<Vec<_>>().join(", ")))
    }
}
