//! What is about to be signed. A draft comes from the issuer alone, goes to the store to be recorded, and only what
//! the store gives back for it can be signed.

use holdfast_identity::{SpiffeId, UnixTime};

use super::profile::{BACKDATE_SECONDS, SERIAL_BYTES};
use crate::store::{Issuance, IssuerKeyId, Origin, Sha256};

/// An SVID in all its parts but the signature. Only [`super::Issuer`] makes one.
#[derive(Debug)]
pub struct Draft {
    pub(super) issuer: IssuerKeyId,
    pub(super) origin: Origin,
    pub(super) spiffe_id: SpiffeId,
    pub(super) spki: Vec<u8>,
    pub(super) dns_names: Vec<String>,
    pub(super) serial: [u8; SERIAL_BYTES],
    pub(super) lifetime: Lifetime,
}

impl Draft {
    /// What goes into the record. The store's answer to it, and no other, lets this draft be signed.
    #[must_use]
    pub fn issuance(&self) -> Issuance {
        Issuance {
            issuer: self.issuer,
            serial: self.serial,
            spiffe_id: self.spiffe_id.clone(),
            spki_sha256: Sha256::of(&self.spki),
            not_before: self.lifetime.not_before,
            not_after: self.lifetime.not_after,
            origin: self.origin,
        }
    }

    /// End of validity.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.lifetime.not_after
    }
}

/// From when to when an SVID is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// 60 s before it was made.
    pub not_before: UnixTime,
    /// The earliest of all the ends that apply.
    pub not_after: UnixTime,
}

impl Lifetime {
    /// `wanted` seconds from `now`, cut to the earliest of `ends`; starts 60 s back. `None` if nothing is left.
    #[must_use]
    pub fn cut(now: UnixTime, wanted: i64, ends: &[UnixTime]) -> Option<Self> {
        let not_after = ends.iter().fold(now.plus(wanted), |earliest, end| earliest.min(*end));
        (not_after > now).then_some(Self { not_before: now.plus(-BACKDATE_SECONDS), not_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_000_000);

    #[test]
    fn a_lifetime_ends_with_the_earliest_of_its_ends() {
        let whole = Lifetime::cut(NOW, 3600, &[NOW.plus(7200)]).unwrap();
        assert_eq!(whole, Lifetime { not_before: NOW.plus(-60), not_after: NOW.plus(3600) });
        let cut = Lifetime::cut(NOW, 3600, &[NOW.plus(7200), NOW.plus(30)]).unwrap();
        assert_eq!(cut.not_after, NOW.plus(30));
    }

    #[test]
    fn no_lifetime_is_left_after_the_evidence_has_expired() {
        assert_eq!(Lifetime::cut(NOW, 3600, &[NOW]), None);
        assert_eq!(Lifetime::cut(NOW, 0, &[]), None);
    }
}
