//! Names and time: SPIFFE IDs, trust domains, selectors, and seconds since the epoch.
//!
//! Pure values with strict parsers. Reads no clock, no file, no network.

#![forbid(unsafe_code)]

mod id;
mod nearness;
mod selector;
mod time;

pub use id::{InvalidId, SPIFFE_ID_BYTES_MAX, SpiffeId, TRUST_DOMAIN_BYTES_MAX, TrustDomain};
pub use nearness::{Lacking, Nearness};
pub use selector::{InvalidSelector, SELECTOR_BYTES_MAX, Selector};
pub use time::UnixTime;
