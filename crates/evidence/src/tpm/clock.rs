//! `TPMS_CLOCK_INFO`, and what two of them, one after the other, say about a machine. Decides nothing.

use crate::error::Malformed;
use crate::reader::{Reader, Writer};

/// A TPM's clock and counters as signed. For a key outside the endorsement hierarchy the counters are obfuscated:
/// only differences mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds that the TPM has been powered, roughly.
    pub clock: u64,
    /// Power cycles since the last `TPM2_Clear`.
    pub reset_count: u32,
    /// Restarts and resumes since the last power cycle; back to zero at each.
    pub restart_count: u32,
    /// Whether the clock cannot have been higher before. False after any unclean shutdown, and tolerated.
    pub safe: bool,
}

impl ClockInfo {
    /// Bytes of a `TPMS_CLOCK_INFO`.
    pub const BYTES: usize = 17;

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let clock = reader.u64("clockInfo.clock")?;
        let reset_count = reader.u32("clockInfo.resetCount")?;
        let restart_count = reader.u32("clockInfo.restartCount")?;
        let safe = match reader.u8("clockInfo.safe")? {
            0 => false,
            1 => true,
            other => return Err(reader.value("clockInfo.safe", other.into())),
        };
        Ok(Self { clock, reset_count, restart_count, safe })
    }

    pub(crate) fn write(self, writer: Writer) -> Writer {
        writer.u64(self.clock).u32(self.reset_count).u32(self.restart_count).u8(self.safe.into())
    }
}

/// What has happened between an earlier quote and a later one of the same attestation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The same counters and a clock that did not fall; an equal clock is normal, its step is a millisecond.
    Same,
    /// resetCount is the same and restartCount rose: suspended and resumed, or restarted without power loss.
    /// PCRs may have been reset: full evaluation.
    Resumed,
    /// resetCount rose: rebooted. Full evaluation; the restart count may have fallen, the clock too by what an unclean
    /// shutdown loses.
    Rebooted,
    /// resetCount fell: `TPM2_Clear`, a resale, or a rolled-back copy. Never a renewal.
    Fell,
    /// Under the same counters the clock is lower, or under the same resetCount the restart count: a rolled-back copy
    /// or two machines with one state.
    ClockWentBack,
}

impl Progress {
    /// The name in the record and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Resumed => "resumed",
            Self::Rebooted => "rebooted",
            Self::Fell => "fell",
            Self::ClockWentBack => "clock_went_back",
        }
    }
}

/// Compares the clock of the quote that was recorded last with that of the one at hand. Called in the transaction
/// that records the verdict, so that two attempts cannot pass each other.
#[must_use]
pub const fn compare(previous: &ClockInfo, now: &ClockInfo) -> Progress {
    if now.reset_count < previous.reset_count {
        Progress::Fell
    } else if now.reset_count > previous.reset_count {
        Progress::Rebooted
    } else if now.restart_count < previous.restart_count {
        Progress::ClockWentBack
    } else if now.restart_count > previous.restart_count {
        Progress::Resumed
    } else if now.clock < previous.clock {
        Progress::ClockWentBack
    } else {
        Progress::Same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: ClockInfo = ClockInfo { clock: 1000, reset_count: 5, restart_count: 2, safe: true };

    #[test]
    fn an_equal_clock_is_normal_and_a_lower_one_is_not() {
        assert_eq!(compare(&BEFORE, &BEFORE), Progress::Same);
        assert_eq!(compare(&BEFORE, &ClockInfo { clock: 1001, ..BEFORE }), Progress::Same);
        assert_eq!(compare(&BEFORE, &ClockInfo { clock: 999, ..BEFORE }), Progress::ClockWentBack);
    }

    #[test]
    fn a_falling_restart_count_beside_a_risen_reset_count_is_a_reboot() {
        let now = ClockInfo { clock: 10, reset_count: 6, restart_count: 0, safe: false };
        assert_eq!(compare(&BEFORE, &now), Progress::Rebooted);
    }

    #[test]
    fn a_fallen_reset_count_is_never_a_renewal() {
        let now = ClockInfo { clock: 9999, reset_count: 4, restart_count: 9, safe: true };
        assert_eq!(compare(&BEFORE, &now), Progress::Fell);
    }

    #[test]
    fn a_risen_restart_count_is_a_resume_and_a_fallen_one_is_a_rollback() {
        assert_eq!(compare(&BEFORE, &ClockInfo { restart_count: 3, ..BEFORE }), Progress::Resumed);
        assert_eq!(compare(&BEFORE, &ClockInfo { restart_count: 1, ..BEFORE }), Progress::ClockWentBack);
    }

    #[test]
    fn an_unsafe_clock_is_tolerated() {
        assert_eq!(compare(&BEFORE, &ClockInfo { safe: false, ..BEFORE }), Progress::Same);
    }
}
