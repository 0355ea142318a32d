//! Cuts what was received into what machines share and what is theirs alone, and puts it together again byte for byte.
//! Judges nothing: bytes that do not parse are one piece.

use holdfast_evidence::azure::{AzureHardware, AzureItem};
use holdfast_evidence::gcp::GcpItem;
use holdfast_evidence::nitro::NitroEvidence;
use holdfast_evidence::snp::SnpItem;
use holdfast_evidence::tdx::TdxEvidence;
use holdfast_evidence::tdx::TdxItem;
use holdfast_evidence::tpm::{FirmwareLog, KnownTpm, TpmExpectation, TpmItem};
use holdfast_evidence::{Challenge, Evidence as _, EvidenceKind, ItemState};
use serde::{Deserialize, Serialize};

use crate::body::{Bodies, Body, BodyKind, BodyMissing};
use crate::bytes::{Blob, Digest};

/// Bytes below which a part is kept in place: naming it would cost as much.
const SHARED_BYTES_MIN: usize = 256;
/// Bytes above which a part of its own is a body too, so that a manifest stays small.
const INLINE_BYTES_MAX: usize = 4 << 10;
/// Bytes of one part of a list of measured files.
const LIST_PART_BYTES: usize = 2 << 20;
/// Bytes of what pieces are put together to: the longest that any machine sends is its list of measured files.
pub const WHOLE_BYTES_MAX: usize = 32 << 20;
/// Pieces of one thing.
pub(crate) const PIECES_MAX: usize = 64;

/// One piece, in place or by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Piece {
    /// The bytes themselves.
    Inline(Blob),
    /// The body of this digest.
    Body(Digest),
}

/// A whole, cut.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    /// Its pieces in order.
    pub pieces: Vec<Piece>,
    /// The bodies among them.
    pub bodies: Vec<Body>,
}

/// Cuts an item of evidence.
#[must_use]
pub fn cut_item(kind: EvidenceKind, bytes: &[u8]) -> Cut {
    cut(bytes, shared_of(kind, bytes))
}

/// Cuts a challenge: a machine's keys are the same each time.
#[must_use]
pub fn cut_challenge(challenge: &Challenge) -> Cut {
    let bytes = challenge.to_record();
    let tpm = challenge.items().iter().find_map(ItemState::tpm);
    let known = |tpm: &TpmExpectation| KnownTpm {
        ak: tpm.ak().clone(),
        eks: tpm.eks().to_vec(),
        ownership: tpm.ownership().clone(),
    };
    let keys = tpm.map(|tpm| known(tpm).encode());
    // Behind the version byte they stand in the challenge as they stand here.
    let keys = keys.as_deref().and_then(|keys| keys.get(1..)).filter(|keys| !keys.is_empty());
    let at = keys.and_then(|keys| bytes.windows(keys.len()).position(|window| window == keys));
    let shared = at.zip(keys).and_then(|(at, keys)| bytes.get(at..at + keys.len()));
    cut(&bytes, shared.map(|keys| (BodyKind::Keys, keys)).into_iter().collect())
}

/// Cuts what is nobody else's.
#[must_use]
pub fn whole(kind: BodyKind, bytes: &[u8]) -> Cut {
    let mut cut = Cut::default();
    cut.push(kind, bytes, bytes.len() > INLINE_BYTES_MAX);
    cut
}

/// Cuts the kernel's list of measured files, which may be longer than any body.
#[must_use]
pub fn cut_measured_files(list: &[u8]) -> Cut {
    let mut cut = Cut::default();
    for part in list.chunks(LIST_PART_BYTES) {
        cut.push(BodyKind::MeasuredFiles, part, part.len() > INLINE_BYTES_MAX);
    }
    cut
}

/// Why pieces cannot be put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unjoined {
    /// One of them is not at hand.
    #[error(transparent)]
    Missing(#[from] BodyMissing),
    /// One body may be named by many pieces, so that little becomes much.
    #[error("pieces join to more than {WHOLE_BYTES_MAX} bytes")]
    TooLong,
}

/// Puts pieces together.
///
/// # Errors
/// [`Unjoined`].
pub fn join(pieces: &[Piece], bodies: &Bodies) -> Result<Vec<u8>, Unjoined> {
    let mut whole = Vec::new();
    for piece in pieces {
        let bytes = match piece {
            Piece::Inline(Blob(bytes)) => bytes.as_slice(),
            Piece::Body(digest) => bodies.need(digest)?,
        };
        if bytes.len() > WHOLE_BYTES_MAX - whole.len() {
            return Err(Unjoined::TooLong);
        }
        whole.extend_from_slice(bytes);
    }
    Ok(whole)
}

/// The parts that other machines, or this one next time, have too.
fn shared_of(kind: EvidenceKind, bytes: &[u8]) -> Vec<(BodyKind, &[u8])> {
    let parts = match kind {
        EvidenceKind::Tpm => TpmItem::parse(bytes).ok().map(|item| match item.firmware_log {
            FirmwareLog::Bytes(log) => vec![(BodyKind::EventLog, log)],
            FirmwareLog::Known(_) | FirmwareLog::Absent => Vec::new(),
        }),
        EvidenceKind::Snp => SnpItem::parse(bytes).ok().map(|item| vec![(BodyKind::Certificates, item.certificates)]),
        EvidenceKind::Tdx => TdxItem::parse(bytes).ok().map(|item| {
            let quote = TdxEvidence::parse(bytes).ok().map(|evidence| evidence.quote().pck_chain);
            let log = item.ccel.map(|log| (BodyKind::EventLog, log));
            quote.map(|chain| (BodyKind::Certificates, chain)).into_iter().chain(log).collect()
        }),
        EvidenceKind::Nitro => NitroEvidence::parse(bytes).ok().map(|evidence| {
            let document = evidence.document();
            let above = document.cabundle.iter().map(|der| (BodyKind::Certificates, *der));
            std::iter::once((BodyKind::Certificates, document.certificate)).chain(above).collect()
        }),
        EvidenceKind::NitroTpm => holdfast_evidence::nitrotpm::NitroTpmEvidence::parse(bytes).ok().map(|evidence| {
            let document = evidence.document();
            let above = document.cabundle.iter().map(|der| (BodyKind::Certificates, *der));
            std::iter::once((BodyKind::Certificates, document.certificate)).chain(above).collect()
        }),
        EvidenceKind::Gcp => GcpItem::parse(bytes).ok().map(|item| {
            let certificates = item.ak_certificates.iter().map(|der| (BodyKind::Certificates, *der));
            certificates.chain(item.firmware_log.map(|log| (BodyKind::EventLog, log))).collect()
        }),
        EvidenceKind::Azure => AzureItem::parse(bytes).ok().map(|item| {
            // The paravisor makes its report once a boot.
            let mut parts = vec![(BodyKind::Evidence, item.report)];
            parts.extend(match item.hardware {
                AzureHardware::None => None,
                AzureHardware::Snp(certificates) => Some((BodyKind::Certificates, certificates)),
                AzureHardware::Tdx(quote) => Some((BodyKind::Evidence, quote)),
            });
            parts.extend(item.ak_certificates.iter().map(|der| (BodyKind::Certificates, *der)));
            parts.extend(item.firmware_log.map(|log| (BodyKind::EventLog, log)));
            parts
        }),
    };
    parts.unwrap_or_default()
}

/// Cuts `whole` at the parts that are shared; each is a slice of it.
fn cut<'a>(whole: &'a [u8], shared: Vec<(BodyKind, &'a [u8])>) -> Cut {
    let mut places: Vec<(usize, BodyKind, &[u8])> = shared
        .into_iter()
        .filter(|(_, part)| part.len() >= SHARED_BYTES_MIN)
        .filter_map(|(kind, part)| Some((place(whole, part)?, kind, part)))
        .take(PIECES_MAX / 2 - 1)
        .collect();
    places.sort_by_key(|(at, ..)| *at);
    let mut cut = Cut::default();
    let mut done = 0;
    for (at, kind, part) in places {
        // One that overlaps with the part before it stays where it is.
        let Some(between) = whole.get(done..at) else { continue };
        cut.push(BodyKind::Evidence, between, between.len() > INLINE_BYTES_MAX);
        cut.push(kind, part, true);
        done = at + part.len();
    }
    let rest = whole.get(done..).unwrap_or_default();
    cut.push(BodyKind::Evidence, rest, rest.len() > INLINE_BYTES_MAX);
    cut
}

impl Cut {
    fn push(&mut self, kind: BodyKind, bytes: &[u8], named: bool) {
        if bytes.is_empty() {
            return;
        }
        if !named {
            self.pieces.push(Piece::Inline(Blob(bytes.to_vec())));
            return;
        }
        let body = Body::new(kind, bytes.to_vec());
        self.pieces.push(Piece::Body(body.digest));
        self.bodies.push(body);
    }
}

/// Where in `whole` the slice `part` of it begins.
fn place(whole: &[u8], part: &[u8]) -> Option<usize> {
    let at = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = at.checked_add(part.len())?;
    (end <= whole.len()).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(cut: &Cut) -> Vec<u8> {
        let mut bodies = Bodies::default();
        cut.bodies.iter().for_each(|body| {
            bodies.add(body.bytes.clone());
        });
        join(&cut.pieces, &bodies).unwrap()
    }

    #[test]
    fn what_is_cut_joins_to_the_very_bytes() {
        let whole: Vec<u8> = (0..9_000_u32).map(|n| (n % 251) as u8).collect();
        for shared in [vec![], vec![10..400, 400..900], vec![8_000..9_000, 100..600], vec![0..500, 300..900]] {
            let parts = shared.into_iter().map(|range| (BodyKind::EventLog, &whole[range])).collect();
            assert_eq!(joined(&cut(&whole, parts)), whole);
        }
    }

    #[test]
    fn a_part_of_something_else_is_not_taken_for_a_part() {
        let (whole, other) = (vec![7; 1000], vec![7; 1000]);
        let made = cut(&whole, vec![(BodyKind::EventLog, &other)]);
        assert_eq!(joined(&made), whole);
    }

    #[test]
    fn bytes_that_do_not_parse_are_one_piece() {
        for kind in EvidenceKind::ALL {
            let made = cut_item(kind, b"nothing of ours");
            assert_eq!(made.pieces.len(), 1);
            assert_eq!(joined(&made), b"nothing of ours");
        }
    }

    #[test]
    fn a_missing_body_is_named() {
        let made = whole(BodyKind::Evidence, &[1; 5_000]);
        let missing = join(&made.pieces, &Bodies::default()).unwrap_err();
        assert_eq!(missing, Unjoined::Missing(BodyMissing { digest: Digest::of(&[1; 5_000]) }));
    }

    #[test]
    fn pieces_that_name_one_body_over_and_over_become_no_flood() {
        let mut bodies = Bodies::default();
        let body = Piece::Body(bodies.add(vec![7; WHOLE_BYTES_MAX / 4]));
        assert_eq!(join(&vec![body.clone(); 4], &bodies).unwrap().len(), WHOLE_BYTES_MAX);
        let mut more = vec![body; 4];
        more.push(Piece::Inline(Blob(vec![1])));
        assert_eq!(join(&more, &bodies), Err(Unjoined::TooLong));
    }
}
