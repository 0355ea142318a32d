//! Budgets: what one source, one machine, and everybody together may ask of this server in a time.
//!
//! Over budget is no verdict: the peer is told when to come back, with jitter, so that a rack that was turned away
//! does not come back as one.

mod bucket;
mod crowd;
mod gate;
mod shares;

pub use bucket::{Buckets, Rate};
pub use crowd::{Crowd, Guest};
pub use gate::{Gate, Place};
pub use shares::{Shares, Short};

use std::net::IpAddr;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// Longest wait that a peer is ever told.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Turned away for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("over budget, retry after {} s", retry_after.as_secs())]
pub struct OverBudget {
    /// When to come back, jitter included; whole seconds, at least one.
    pub retry_after: Duration,
}

impl OverBudget {
    /// Wait `least`, and up to as long again (at least up to two seconds more).
    #[must_use]
    pub fn after(least: Duration) -> Self {
        let least = least.clamp(Duration::from_secs(1), RETRY_AFTER_MAX);
        let spread = least.as_secs().max(2);
        let mut byte = [0; 4];
        // Without randomness there is no jitter; nothing worse.
        let _ = SystemRandom::new().fill(&mut byte);
        let jitter = u64::from(u32::from_be_bytes(byte)) % (spread + 1);
        Self { retry_after: Duration::from_secs(least.as_secs() + jitter) }
    }
}

/// Who asks, for budgets and for lines about strangers: an IPv4 address, or the first 64 bits of an IPv6 address,
/// which one customer usually has for himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source([u8; 8]);

impl Source {
    /// The source of a connection from `address`. An IPv4 address inside IPv6 counts as itself.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                // 0xffff marks IPv4: no IPv6 prefix in use starts so.
                Self([0xff, 0xff, 0, 0, a, b, c, d])
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                let prefix = (u64::from(a) << 48) | (u64::from(b) << 32) | (u64::from(c) << 16) | u64::from(d);
                Self(prefix.to_be_bytes())
            }
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [0xff, 0xff, 0, 0, a, b, c, d] => write!(f, "{}", std::net::Ipv4Addr::new(a, b, c, d)),
            bytes => {
                let prefix = u128::from(u64::from_be_bytes(bytes)) << 64;
                write!(f, "{}/64", std::net::Ipv6Addr::from(prefix))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_or_a_prefix() {
        let source = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(source("10.0.0.1").to_string(), "10.0.0.1");
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_eq!(source("2001:db8::1").to_string(), "2001:db8::/64");
    }

    #[test]
    fn a_wait_has_jitter_and_an_end() {
        let waits: Vec<u64> =
            (0..200).map(|_| OverBudget::after(Duration::from_secs(10)).retry_after.as_secs()).collect();
        assert!(waits.iter().all(|wait| (10..=20).contains(wait)));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
        assert!(OverBudget::after(Duration::MAX).retry_after <= 2 * RETRY_AFTER_MAX);
    }
}
