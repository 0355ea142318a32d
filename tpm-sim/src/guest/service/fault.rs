//! What goes wrong with a service, to which requests, and how often.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// What goes wrong: to which paths, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFault {
    /// What happens.
    pub effect: ServiceEffect,
    /// To targets that begin so; to every one if empty.
    pub path: String,
    /// To so many requests; to all if `None`.
    pub times: Option<u32>,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceEffect {
    /// The answer comes late.
    Delay(Duration),
    /// An answer with this status and nothing in it.
    Error(u16),
    /// 429, to come back later, but for one request in so long a time.
    Limit(Duration),
    /// A right answer to another question: the same, with a bit of it flipped.
    Lie,
    /// Something that is no answer to this.
    Garbage,
    /// The connection is closed.
    Disconnect,
    /// Half of the answer, and then nothing more.
    Stall,
    /// A body without an end.
    Endless,
    /// A redirection to somewhere else.
    Redirect,
}

/// Faults, and when each path was last served.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: Vec<ServiceFault>,
    served: HashMap<String, Instant>,
}

impl Faults {
    pub(super) fn new(list: Vec<ServiceFault>) -> Self {
        Self { list, served: HashMap::new() }
    }

    /// What happens to this request, counted off.
    pub(super) fn effect(&mut self, target: &str) -> Option<ServiceEffect> {
        let at = self.list.iter().position(|fault| target.starts_with(&fault.path))?;
        let fault = self.list.get_mut(at)?;
        if let ServiceEffect::Limit(time) = fault.effect {
            let now = Instant::now();
            let last = self.served.get(&fault.path);
            if last.is_none_or(|last| now.duration_since(*last) >= time) {
                self.served.insert(fault.path.clone(), now);
                return None;
            }
        }
        let effect = fault.effect.clone();
        if let Some(times) = &mut fault.times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.list.remove(at);
            }
        }
        Some(effect)
    }
}

/// `delay:2s`, `error:503`, `limit:10s`, `lie`, `garbage`, `disconnect`, `stall`, `endless`, `redirect`; with `@/PATH` for
/// targets that begin so and `*3` for three times: `error:503@/vcek*1`.
impl FromStr for ServiceFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, times) = match text.rsplit_once('*') {
            Some((rest, times)) => (rest, Some(times.parse().map_err(|_| format!("{times:?} is no number of times"))?)),
            None => (text, None),
        };
        let (effect, path) = rest.split_once('@').unwrap_or((rest, ""));
        let seconds = |time: &str| {
            let number =
                time.strip_suffix("ms").map(|digits| (digits, 1)).or(time.strip_suffix('s').map(|d| (d, 1000)));
            let (digits, unit) = number.ok_or(format!("{time:?} is no time such as 250ms or 2s"))?;
            let number: u64 = digits.parse().map_err(|_| format!("{time:?} is no time such as 250ms or 2s"))?;
            Ok::<_, String>(Duration::from_millis(number * unit))
        };
        let effect = match effect.split_once(':') {
            Some(("delay", time)) => ServiceEffect::Delay(seconds(time)?),
            Some(("limit", time)) => ServiceEffect::Limit(seconds(time)?),
            Some(("error", code)) => {
                ServiceEffect::Error(code.parse().map_err(|_| format!("{code:?} is no status such as 503"))?)
            }
            None if effect == "lie" => ServiceEffect::Lie,
            None if effect == "garbage" => ServiceEffect::Garbage,
            None if effect == "disconnect" => ServiceEffect::Disconnect,
            None if effect == "stall" => ServiceEffect::Stall,
            None if effect == "endless" => ServiceEffect::Endless,
            None if effect == "redirect" => ServiceEffect::Redirect,
            _ => {
                return Err(format!(
                    "{text:?} is no fault; expected delay:TIME, error:STATUS, limit:TIME, lie, garbage, disconnect, \
                     stall, endless or redirect"
                ));
            }
        };
        Ok(Self { effect, path: path.to_owned(), times })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_fault_is_refused() {
        for text in ["", "delay", "delay:5", "error:x", "lies", "lie*x"] {
            assert!(text.parse::<ServiceFault>().is_err(), "{text:?}");
        }
    }
}
