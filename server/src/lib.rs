//! The attestation server and its operator's command line.

#![forbid(unsafe_code)]

pub mod api;
pub mod authority;
pub mod budget;
pub mod clock;
pub mod listen;
pub mod live;
pub mod record;
pub mod store;
pub mod sync;
