//! The attestation server and its operator's command line.

#![forbid(unsafe_code)]

pub mod store;
