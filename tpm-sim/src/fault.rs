//! What can go wrong between software and its TPM, on demand.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::tpm::CommandCode;

/// A fault: what happens to which commands, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What happens.
    pub effect: Effect,
    /// To this command only; to every command if `None`.
    pub command: Option<CommandCode>,
    /// To so many commands; until healed if `None`.
    pub times: Option<u32>,
}

/// What a fault does to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The TPM executes the command, and its response is lost; the connection stays open.
    Drop,
    /// The response comes late.
    Delay(Duration),
    /// The TPM does not see the command; the connection is closed.
    Disconnect,
    /// The TPM does not see the command; this response code comes back.
    Refuse(u32),
}

impl Fault {
    /// A fault on every command until healed.
    pub const fn every(effect: Effect) -> Self {
        Self { effect, command: None, times: None }
    }

    /// A fault on one kind of command until healed.
    pub const fn on(command: CommandCode, effect: Effect) -> Self {
        Self { effect, command: Some(command), times: None }
    }

    /// The same fault, but only so many times.
    #[must_use]
    pub const fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

/// `drop`, `delay:250ms`, `disconnect`, `refuse:0x922`; with `@Quote` for one command and `*3` for three times:
/// `drop@Quote*1`.
impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, times) = match text.split_once('*') {
            Some((rest, times)) => (rest, Some(times.parse().map_err(|_| format!("{times:?} is no number of times"))?)),
            None => (text, None),
        };
        let (effect, command) = match rest.split_once('@') {
            Some((effect, command)) => (effect, Some(command.parse()?)),
            None => (rest, None),
        };
        Ok(Self { effect: effect.parse()?, command, times })
    }
}

impl FromStr for Effect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "drop" => Ok(Self::Drop),
            None if text == "disconnect" => Ok(Self::Disconnect),
            None if text == "delay" => Ok(Self::Delay(Duration::from_secs(1))),
            Some(("delay", time)) => duration(time).map(Self::Delay),
            Some(("refuse", code)) => {
                let digits =
                    code.strip_prefix("0x").ok_or_else(|| format!("{code:?} is no response code such as 0x922"))?;
                u32::from_str_radix(digits, 16)
                    .map(Self::Refuse)
                    .map_err(|_| format!("{code:?} is no response code such as 0x922"))
            }
            _ => Err(format!("{text:?} is no fault; expected drop, delay:TIME, disconnect or refuse:0xCODE")),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.effect {
            Effect::Drop => f.write_str("drop")?,
            Effect::Delay(time) => write!(f, "delay:{}ms", time.as_millis())?,
            Effect::Disconnect => f.write_str("disconnect")?,
            Effect::Refuse(code) => write!(f, "refuse:0x{code:x}")?,
        }
        if let Some(command) = self.command {
            write!(f, "@{command}")?;
        }
        if let Some(times) = self.times {
            write!(f, "*{times}")?;
        }
        Ok(())
    }
}

/// `250ms`, `2s`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time such as 250ms or 2s");
    let (digits, unit): (&str, fn(u64) -> Duration) = if let Some(digits) = text.strip_suffix("ms") {
        (digits, Duration::from_millis)
    } else {
        (text.strip_suffix('s').ok_or_else(wrong)?, Duration::from_secs)
    };
    digits.parse().map(unit).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_back_as_they_are_written() {
        for text in ["drop", "delay:250ms", "disconnect", "refuse:0x922", "drop@Quote", "refuse:0x922@Sign*2", "drop*1"]
        {
            assert_eq!(text.parse::<Fault>().map(|fault| fault.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("delay:2s".parse::<Effect>(), Ok(Effect::Delay(Duration::from_secs(2))));
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for text in ["", "dropp", "delay:5", "refuse:922", "drop@Quotes", "drop*x"] {
            assert!(text.parse::<Fault>().is_err(), "{text:?} was taken for a fault");
        }
    }
}
