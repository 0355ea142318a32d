//! How much one machine may have kept of itself in a day: whoever owns a genuine chip can make evidence without end, and
//! be refused without end. Counts in memory what machines send and what is said of them, not what vendors say; keeps nothing,
//! and judges nobody.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use holdfast_identity::UnixTime;
use tracing::warn;

use crate::store::Sha256;

/// Bytes of one machine in a day. A renewal has one or two kilobytes, or a hundred with a log; there are a few dozen a day.
const MACHINE_BYTES_MAX: u64 = 32 << 20;
/// Bytes of all machines together that are no machines of ours, in a day.
const STRANGE_BYTES_MAX: u64 = 256 << 20;
/// Machines that are counted, ours and others apart; of more nothing is kept until tomorrow.
const MACHINES_MAX: usize = 262_144;
/// Attempts of one machine that nobody listed and that was not admitted, or that the store bars, in a day: enough to see what
/// is wrong with it.
const STRANGE_ATTEMPTS_MAX: u32 = 32;
/// Such attempts of all machines, in a day: with some six kilobytes each, 25 MB.
const ALL_STRANGE_ATTEMPTS_MAX: u32 = 4_096;
/// Attempts of one machine of ours in a day that change nothing: an agent that is refused twice a minute is seen all day. Of all
/// of them together there is no bound: there are no more of them than were let in or listed.
pub const OUR_ATTEMPTS_MAX: u32 = 3_072;
/// Seconds between two lines in the log that say how many were not written.
const SAID_EVERY: i64 = 60;

/// Bytes of evidence, by the day.
#[derive(Debug, Default)]
pub(super) struct Allowance(Mutex<Day>);

#[derive(Debug, Default)]
struct Day {
    day: i64,
    /// Those of strangers fill no table of ours.
    ours: HashMap<Sha256, Used>,
    strange: HashMap<Sha256, Used>,
    strange_bytes: u64,
}

/// What of its allowance a machine has used.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    bytes: u64,
    /// SHA-256 of the last decision's text.
    text: Option<Sha256>,
}

/// What of an attempt is to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Bytes of evidence that are the machine's own; `None` where no evidence is kept whoever it is.
    pub(super) evidence: Option<u64>,
    /// SHA-256 and bytes of the decision's text.
    pub(super) text: (Sha256, u64),
}

/// What of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Granted {
    /// All that is wanted.
    All,
    /// The decision's text.
    Text,
    /// The entry alone.
    Nothing,
}

/// Whose evidence it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// A machine's that was a node of ours, or that an operator listed.
    Ours,
    /// A genuine machine's that nobody listed, or that is barred.
    Strange,
}

impl Allowance {
    /// Takes what is wanted off the machine's allowance, as far as there is so much left. A text that is the one of before
    /// takes nothing: it is kept once.
    pub(super) fn take(&self, machine: Sha256, whose: Whose, wanted: Wanted, at: UnixTime) -> Granted {
        let today = at.seconds().div_euclid(86_400);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.day != today {
            *held = Day { day: today, ..Day::default() };
        }
        let day = &mut *held;
        let machines = match whose {
            Whose::Ours => &mut day.ours,
            Whose::Strange => &mut day.strange,
        };
        let used = machines.get(&machine).copied();
        if used.is_none() && machines.len() >= MACHINES_MAX {
            return Granted::Nothing;
        }
        let (used, (digest, bytes)) = (used.unwrap_or_default(), wanted.text);
        let text = if used.text == Some(digest) { 0 } else { bytes };
        let all = wanted.evidence.map(|evidence| (Granted::All, evidence.saturating_add(text)));
        for (granted, bytes) in all.into_iter().chain([(Granted::Text, text)]) {
            let of_machine = used.bytes.saturating_add(bytes);
            let strange = if whose == Whose::Strange { day.strange_bytes.saturating_add(bytes) } else { 0 };
            if of_machine <= MACHINE_BYTES_MAX && strange <= STRANGE_BYTES_MAX {
                day.strange_bytes = day.strange_bytes.max(strange);
                machines.insert(machine, Used { bytes: of_machine, text: Some(digest) });
                return granted;
            }
        }
        Granted::Nothing
    }
}

/// Attempts of machines that nobody listed and that were not admitted, or that the store bars, or that change nothing, by the
/// day.
#[derive(Debug)]
pub(super) struct Unlisted {
    /// Which of them, for the log.
    machines: &'static str,
    most: Most,
    attempts: Mutex<Attempts>,
}

/// How many are written in a day.
#[derive(Clone, Copy, Debug)]
struct Most {
    of_machine: u32,
    of_all: u32,
}

#[derive(Debug, Default)]
struct Attempts {
    day: i64,
    /// Written of each machine; at most as many machines as attempts.
    machines: HashMap<Sha256, u32>,
    written: u32,
    unwritten: u64,
    said_at: i64,
}

impl Unlisted {
    /// Of these machines.
    pub(super) fn of(machines: &'static str) -> Self {
        let most = Most { of_machine: STRANGE_ATTEMPTS_MAX, of_all: ALL_STRANGE_ATTEMPTS_MAX };
        Self { machines, most, attempts: Mutex::default() }
    }

    /// Of these machines of ours.
    pub(super) fn of_ours(machines: &'static str, of_machine: u32) -> Self {
        let most = Most { of_machine, of_all: u32::MAX };
        Self { machines, most, attempts: Mutex::default() }
    }

    /// Whether one more attempt of the machine would be written. Takes nothing: of those under way at once each may hear yes.
    pub(super) fn has_room(&self, machine: Sha256, at: UnixTime) -> bool {
        let held = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        held.day != at.seconds().div_euclid(86_400) || held.has_room(machine, self.most)
    }

    /// Whether one more attempt of the machine may be written. What may not is counted, and said once a minute.
    pub(super) fn take(&self, machine: Sha256, at: UnixTime) -> bool {
        let today = at.seconds().div_euclid(86_400);
        let mut held = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if held.day != today {
            *held = Attempts { day: today, said_at: held.said_at, ..Attempts::default() };
        }
        let of_machine = held.machines.get(&machine).copied().unwrap_or(0);
        if held.has_room(machine, self.most) {
            held.written = held.written.saturating_add(1);
            held.machines.insert(machine, of_machine + 1);
            return true;
        }
        let reason = if of_machine < self.most.of_machine { "all" } else { "machine" };
        metrics::counter!("holdfast_attempts_unwritten_total", "bound" => reason).increment(1);
        held.unwritten += 1;
        if at.seconds() >= held.said_at.saturating_add(SAID_EVERY) {
            held.said_at = at.seconds();
            let (unwritten, written) = (held.unwritten, held.written);
            warn!(machines = self.machines, unwritten, written, "attempts are over today's bound, not written");
        }
        false
    }
}

impl Attempts {
    fn has_room(&self, machine: Sha256, most: Most) -> bool {
        let of_machine = self.machines.get(&machine).copied().unwrap_or(0);
        self.written < most.of_all && of_machine < most.of_machine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn machine(n: u16) -> Sha256 {
        Sha256([n.to_be_bytes(); 16].concat().try_into().unwrap())
    }

    /// Evidence of this size, beside the text of before.
    fn takes(allowance: &Allowance, machine: Sha256, whose: Whose, evidence: u64, at: UnixTime) -> bool {
        let wanted = Wanted { evidence: Some(evidence), text: (Sha256([0; 32]), 0) };
        allowance.take(machine, whose, wanted, at) == Granted::All
    }

    #[test]
    fn a_machine_that_sends_without_end_is_not_kept_without_end() {
        let allowance = Allowance::default();
        let (noisy, quiet) = (Sha256([1; 32]), Sha256([2; 32]));
        let kept = (0..100).filter(|_| takes(&allowance, noisy, Whose::Ours, 1 << 20, NOW)).count();
        assert_eq!(kept, 32);
        assert!(takes(&allowance, quiet, Whose::Ours, 1 << 20, NOW), "another machine has its own");
        assert!(takes(&allowance, noisy, Whose::Ours, 1 << 20, NOW.plus(86_400)), "and tomorrow is another day");
    }

    #[test]
    fn machines_that_are_not_ours_share_one_allowance_and_take_nothing_of_ours() {
        let allowance = Allowance::default();
        let kept = (0..500).filter(|n| takes(&allowance, machine(*n), Whose::Strange, 1 << 20, NOW)).count();
        assert_eq!(kept, 256);
        assert!(takes(&allowance, machine(501), Whose::Ours, 1 << 20, NOW));
        assert!(takes(&allowance, machine(1), Whose::Ours, 31 << 20, NOW), "listed by now, it has one of its own");
    }

    #[test]
    fn a_text_that_is_another_each_time_counts_and_one_that_is_the_same_does_not() {
        let allowance = Allowance::default();
        let text = |n: u16| Wanted { evidence: Some(1 << 10), text: (machine(n), 1 << 20) };
        let take = |n: u16| allowance.take(machine(0), Whose::Ours, text(n), NOW);
        assert!((0..1_000).all(|_| take(1) == Granted::All), "renewals of one state have one text");
        let kept: Vec<Granted> = (2..1_000).map(take).collect();
        let count = |granted| kept.iter().filter(|one| **one == granted).count();
        assert_eq!((count(Granted::All), count(Granted::Text)), (29, 0));
        // Where there is no room for evidence there may be for the text; where none is kept, the text counts all the same.
        let large = Wanted { evidence: Some(MACHINE_BYTES_MAX), text: (machine(1), 1 << 10) };
        assert_eq!(allowance.take(machine(1), Whose::Strange, large, NOW), Granted::Text);
        let none = |n: u16| Wanted { evidence: None, text: (machine(n), 1 << 20) };
        let kept =
            (0..1_000).filter(|n| allowance.take(machine(2), Whose::Ours, none(*n), NOW) == Granted::Text).count();
        assert_eq!(kept, 32);
    }

    #[test]
    fn a_machine_that_nobody_listed_is_written_down_so_often_a_day() {
        let unlisted = Unlisted::of("nobody listed");
        let written = (0..1_000).filter(|_| unlisted.take(machine(1), NOW)).count();
        assert_eq!(written, STRANGE_ATTEMPTS_MAX as usize);
        assert!(unlisted.take(machine(2), NOW), "another one has its own");
        assert!(unlisted.take(machine(1), NOW.plus(86_400)));
    }

    #[test]
    fn a_flood_of_genuine_machines_is_written_down_so_often_a_day() {
        let unlisted = Unlisted::of("nobody listed");
        let written = (0..20_000).filter(|n| unlisted.take(machine(*n), NOW)).count();
        assert_eq!(written, ALL_STRANGE_ATTEMPTS_MAX as usize);
        assert!(unlisted.take(machine(1), NOW.plus(86_400)));
    }

    #[test]
    fn a_machine_of_ours_that_is_refused_without_end_is_written_down_so_often_and_takes_nothing_of_others() {
        let refused = Unlisted::of_ours("of ours, that are refused", OUR_ATTEMPTS_MAX);
        let written = (0..20_000).filter(|_| refused.take(machine(1), NOW)).count();
        assert_eq!(written, OUR_ATTEMPTS_MAX as usize);
        let others = (2..20_000).filter(|n| refused.take(machine(*n), NOW)).count();
        assert_eq!(others, 19_998, "many of ours may be refused at once");
    }

    #[test]
    fn whoever_asks_whether_there_is_room_takes_none_of_it() {
        let unlisted = Unlisted::of("barred");
        for _ in 0..STRANGE_ATTEMPTS_MAX {
            assert!((0..5).all(|_| unlisted.has_room(machine(1), NOW)));
            assert!(unlisted.take(machine(1), NOW));
        }
        assert!(!unlisted.has_room(machine(1), NOW) && unlisted.has_room(machine(2), NOW));
        assert!(unlisted.has_room(machine(1), NOW.plus(86_400)));
    }
}
