//! Counts those who may not write to the record: per source and minute one line, counts by code, bounded.

use crate::store::StrangerLine;
use holdfast_identity::UnixTime;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;

/// Sources told apart in one minute; the rest are counted together as `others`.
const SOURCES_MAX: usize = 1024;
/// Codes told apart in one line; codes are ours, so this is never reached unless a caller errs.
const CODES_MAX: usize = 64;

/// The present minute's counts.
#[derive(Debug, Default)]
pub struct Strangers(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    start: i64,
    lines: BTreeMap<String, BTreeMap<String, u64>>,
    finished: Vec<StrangerLine>,
}

impl Strangers {
    /// Counts one refusal of a stranger from `source`.
    pub fn count(&self, source: Option<IpAddr>, code: &str, now: UnixTime) {
        let start = now.seconds() - now.seconds().rem_euclid(60);
        let mut minute = self.lock();
        if minute.start != start {
            minute.turn(start);
        }
        let mut name = source.map_or_else(|| "unknown".to_owned(), network);
        if !minute.lines.contains_key(&name) && minute.lines.len() >= SOURCES_MAX {
            name = "others".to_owned();
        }
        let line = minute.lines.entry(name).or_default();
        let code = if line.contains_key(code) || line.len() < CODES_MAX { code } else { "other" };
        let count = line.entry(code.to_owned()).or_default();
        *count = count.saturating_add(1);
    }

    /// The lines of minutes that are over, to be kept; each is handed out once.
    #[must_use]
    pub fn finished(&self, now: UnixTime) -> Vec<StrangerLine> {
        let start = now.seconds() - now.seconds().rem_euclid(60);
        let mut minute = self.lock();
        if minute.start != start {
            minute.turn(start);
        }
        std::mem::take(&mut minute.finished)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Minute> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Minute {
    fn turn(&mut self, start: i64) {
        let (minute, lines) = (UnixTime(self.start), std::mem::take(&mut self.lines));
        // If nobody fetched the last minute's lines, they give way: the sample rotates.
        if self.finished.len() > SOURCES_MAX {
            self.finished.clear();
        }
        self.finished.extend(lines.into_iter().map(|(source, counts)| StrangerLine {
            minute,
            source,
            counts: counts.into_iter().collect(),
        }));
        self.start = start;
    }
}

/// An IPv4 address, or the first 64 bits of an IPv6 address: what one stranger can hold many of counts as one.
#[must_use]
pub fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u32) -> Option<IpAddr> {
        Some(IpAddr::V4((0x0a00_0000 + last).into()))
    }

    #[test]
    fn one_source_and_minute_is_one_line_with_counts_by_code() {
        let strangers = Strangers::default();
        for code in ["tpm.quote.nonce", "tpm.ek.chain", "tpm.quote.nonce"] {
            strangers.count(v4(1), code, UnixTime(61));
        }
        assert!(strangers.finished(UnixTime(119)).is_empty());
        let lines = strangers.finished(UnixTime(120));
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].minute, lines[0].source.as_str()), (UnixTime(60), "10.0.0.1"));
        assert_eq!(lines[0].counts, [("tpm.ek.chain".to_owned(), 1), ("tpm.quote.nonce".to_owned(), 2)]);
        assert!(strangers.finished(UnixTime(121)).is_empty());
    }

    #[test]
    fn a_million_sources_cost_a_thousand_lines() {
        let strangers = Strangers::default();
        for source in 0..100_000 {
            strangers.count(v4(source), "begin.budget", UnixTime(5));
        }
        let lines = strangers.finished(UnixTime(60));
        assert_eq!(lines.len(), SOURCES_MAX + 1);
        let total: u64 = lines.iter().flat_map(|line| &line.counts).map(|(_, count)| count).sum();
        assert_eq!(total, 100_000);
    }

    #[test]
    fn one_ipv6_network_is_one_source() {
        let strangers = Strangers::default();
        for last in 0..10_u16 {
            let address = std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, 2, last, 0, 0, last);
            strangers.count(Some(address.into()), "begin.budget", UnixTime(5));
        }
        let lines = strangers.finished(UnixTime(60));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].source, "2001:db8:1:2::/64");
    }
}
