//! What is about to be signed. A draft comes from the issuer alone, goes to the store to be recorded, and only what
//! the store gives back for it can be signed.

use holdfast_identity::{SpiffeId, UnixTime};

use super::profile::{BACKDATE_SECONDS, SERIAL_BYTES};

/// Whom an SVID names, and by what right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// This server itself.
    Server,
    /// A node that was appraised.
    Node,
    /// A workload below a standing node.
    Workload {
        /// The registration entry that allows it.
        entry_id: String,
        /// The node that asked.
        node: SpiffeId,
    },
}

impl Subject {
    /// One word for records, logs and metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Node => "node",
            Self::Workload { .. } => "workload",
        }
    }
}

/// An SVID in all its parts but the signature. Only [`super::Issuer`] makes one.
#[derive(Debug)]
pub struct Draft {
    pub(super) subject: Subject,
    pub(super) spiffe_id: SpiffeId,
    pub(super) spki: Vec<u8>,
    pub(super) dns_names: Vec<String>,
    pub(super) serial: [u8; SERIAL_BYTES],
    pub(super) lifetime: Lifetime,
}

impl Draft {
    /// Whom it names, and by what right.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The ID that will stand in it.
    #[must_use]
    pub const fn spiffe_id(&self) -> &SpiffeId {
        &self.spiffe_id
    }

    /// DER `SubjectPublicKeyInfo` of the key that will be certified.
    #[must_use]
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The serial number, 16 bytes, positive.
    #[must_use]
    pub const fn serial(&self) -> &[u8; SERIAL_BYTES] {
        &self.serial
    }

    /// Start of validity, 60 s before it was drafted.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.lifetime.not_before
    }

    /// End of validity.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.lifetime.not_after
    }
}

/// A draft that stands in the record. Consumed by [`super::Issuer::sign`].
#[derive(Debug)]
pub struct Recorded(Draft);

impl Recorded {
    /// For the store alone, after the transaction that wrote `draft` into the record has been committed.
    #[allow(dead_code, reason = "the store calls it")]
    pub(crate) const fn committed(draft: Draft) -> Self {
        Self(draft)
    }

    /// What was recorded.
    #[must_use]
    pub const fn draft(&self) -> &Draft {
        &self.0
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
