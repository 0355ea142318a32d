//! How much one machine may have kept of itself in a day: whoever owns a genuine chip can make evidence without end, and
//! entries say by what it was judged all the same. Keeps nothing; counts what machines send, not what vendors say.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use holdfast_identity::UnixTime;

use crate::store::Sha256;

/// Bytes of one machine in a day. A renewal has one or two kilobytes, or a hundred with a log; there are a few dozen a day.
const MACHINE_BYTES_MAX: u64 = 32 << 20;
/// Bytes of all machines together that are no nodes of ours, in a day.
const UNKNOWN_BYTES_MAX: u64 = 256 << 20;
/// Machines that are counted; of others nothing is kept until tomorrow.
const MACHINES_MAX: usize = 262_144;

/// The counts of one day.
#[derive(Debug, Default)]
pub(super) struct Allowance(Mutex<Day>);

#[derive(Debug, Default)]
struct Day {
    day: i64,
    machines: HashMap<Sha256, u64>,
    unknown: u64,
}

/// Whose evidence it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// A node's of ours.
    Node,
    /// A machine's that has no node.
    Unknown,
}

impl Allowance {
    /// Takes `bytes` off the machine's allowance; whether there was so much left.
    pub(super) fn take(&self, machine: Sha256, whose: Whose, bytes: u64, at: UnixTime) -> bool {
        let today = at.seconds().div_euclid(86_400);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.day != today {
            *held = Day { day: today, ..Day::default() };
        }
        let used = held.machines.get(&machine).copied();
        if used.is_none() && held.machines.len() >= MACHINES_MAX {
            return false;
        }
        let used = used.unwrap_or(0).saturating_add(bytes);
        let unknown = if whose == Whose::Unknown { held.unknown.saturating_add(bytes) } else { held.unknown };
        if used > MACHINE_BYTES_MAX || unknown > UNKNOWN_BYTES_MAX {
            return false;
        }
        held.unknown = unknown;
        held.machines.insert(machine, used);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    #[test]
    fn a_machine_that_sends_without_end_is_not_kept_without_end() {
        let allowance = Allowance::default();
        let (noisy, quiet) = (Sha256([1; 32]), Sha256([2; 32]));
        let kept = (0..100).filter(|_| allowance.take(noisy, Whose::Node, 1 << 20, NOW)).count();
        assert_eq!(kept, 32);
        assert!(allowance.take(quiet, Whose::Node, 1 << 20, NOW), "another machine has its own");
        assert!(allowance.take(noisy, Whose::Node, 1 << 20, NOW.plus(86_400)), "and tomorrow is another day");
    }

    #[test]
    fn machines_that_are_not_ours_share_one_allowance() {
        let allowance = Allowance::default();
        let machine = |n: u16| Sha256([n.to_be_bytes(); 16].concat().try_into().unwrap());
        let kept = (0..500).filter(|n| allowance.take(machine(*n), Whose::Unknown, 1 << 20, NOW)).count();
        assert_eq!(kept, 256);
        assert!(allowance.take(machine(501), Whose::Node, 1 << 20, NOW));
    }
}
