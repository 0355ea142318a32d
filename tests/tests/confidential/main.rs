//! Confidential guests from launch to SVID, with the real programs: simulated chips and hypervisors, the agent that finds
//! them, the server that judges them. Each kind: admitted, its workload served, tampered with, refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod attacks;
mod claims;
mod composite;
mod identity;
mod inspect;
mod vendors;
mod world;
