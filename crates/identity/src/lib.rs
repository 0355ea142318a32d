//! Names and time: SPIFFE IDs, trust domains, selectors, and seconds since the epoch.
//!
//! Pure values with strict parsers. Reads no clock, no file, no network.

mod id;
mod selector;
mod time;

pub use id::{InvalidId, SpiffeId, TrustDomain};
pub use selector::{InvalidSelector, Selector};
pub use time::UnixTime;
