//! The agent port end to end: real TLS, the real store, and TPMs that are a few keys in memory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail loudly"
)]

#[path = "../../../node-agent/src/generated/agent.rs"]
#[allow(clippy::all, missing_docs, unreachable_pub, unused_qualifications)]
#[rustfmt::skip]
mod agent_stubs;
mod client;
mod enrolment;
mod house;
mod limits;
mod proofs;
mod proofs_by_policy;
mod refusals;
mod standing;
mod tokens;
mod two_machines;
mod unlisted;
mod vendor;
mod virtual_tpm;
