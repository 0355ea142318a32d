//! Attacks on proofs, from samples that a server made of a virtual TPM: by whoever passes one on, and by a log's own keeper,
//! who can sign anew what he has changed. The samples are old proofs too: they must hold with every later version, or be made
//! again on purpose (`server/tests/agent_port/proofs_by_policy.rs`).

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test reads files and fails by panicking"
)]

mod bytes;
mod exchanged;
mod form;
mod keeper;
mod kept_once;
mod large;
mod manifest;
mod plain;
mod roots;
mod sample;
