//! What TPMs offered to be invited, until they answer: their certificates were verified then, and the record keeps what
//! they were verified with. In memory alone and bounded; what is lost here is stated in a proof, and harms nobody.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_evidence::x509::Roots;
use holdfast_identity::UnixTime;

/// Bytes of one offer; a machine with two endorsement keys, the maker's two and all their chains has thirty kilobytes.
const OFFER_BYTES_MAX: usize = 64 << 10;
/// Bytes of all.
const ALL_BYTES_MAX: usize = 32 << 20;

/// One offer.
#[derive(Debug)]
pub(super) struct Offer {
    /// Identity material as received.
    pub(super) material: Vec<u8>,
    /// Whom the server believed.
    pub(super) roots: Arc<Roots>,
    /// And about platforms and device keys; `None` if the machine offered none.
    pub(super) makers: Option<Makers>,
    /// When the certificates were verified.
    pub(super) at: UnixTime,
}

/// Whom the server believed about platforms and device keys.
#[derive(Clone, Debug)]
pub(super) struct Makers {
    pub(super) platforms: Arc<Roots>,
    pub(super) devices: Arc<Roots>,
}

/// The offers, by the challenge that was drawn for them.
#[derive(Debug, Default)]
pub(super) struct Offers(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    offers: HashMap<[u8; 16], Offer>,
    /// In the order in which they came; some may be taken by now.
    order: VecDeque<([u8; 16], usize)>,
    bytes: usize,
}

impl Offers {
    /// Keeps an offer, in place of the oldest where there is no room.
    pub(super) fn keep(&self, challenge: [u8; 16], offer: Offer) {
        let size = offer.material.len();
        if size > OFFER_BYTES_MAX {
            return;
        }
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while table.bytes + size > ALL_BYTES_MAX {
            let Some((oldest, freed)) = table.order.pop_front() else { break };
            table.offers.remove(&oldest);
            table.bytes -= freed;
        }
        table.bytes += size;
        table.order.push_back((challenge, size));
        table.offers.insert(challenge, offer);
    }

    /// The offer that this challenge was drawn for.
    pub(super) fn take(&self, challenge: &[u8; 16]) -> Option<Offer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).offers.remove(challenge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(size: usize) -> Offer {
        Offer { material: vec![7; size], roots: Arc::default(), makers: None, at: UnixTime(1) }
    }

    #[test]
    fn an_offer_is_taken_once() {
        let offers = Offers::default();
        offers.keep([1; 16], offer(10));
        assert_eq!(offers.take(&[1; 16]).unwrap().material.len(), 10);
        assert!(offers.take(&[1; 16]).is_none());
    }

    #[test]
    fn the_oldest_offers_go_when_there_is_no_room_and_large_ones_are_not_kept() {
        let offers = Offers::default();
        offers.keep([0; 16], offer(OFFER_BYTES_MAX + 1));
        assert!(offers.take(&[0; 16]).is_none());
        let fit = u16::try_from(ALL_BYTES_MAX / OFFER_BYTES_MAX).unwrap();
        let name = |n: u16| [n.to_be_bytes(); 8].concat().try_into().unwrap();
        (0..=fit).for_each(|n| offers.keep(name(n), offer(OFFER_BYTES_MAX)));
        assert!(offers.take(&name(0)).is_none());
        assert!(offers.take(&name(1)).is_some());
        assert!(offers.take(&name(fit)).is_some());
    }
}
