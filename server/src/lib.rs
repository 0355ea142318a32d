//! The attestation server and its operator's command line.

#![forbid(unsafe_code)]

pub mod admin;
pub mod api;
pub mod authority;
pub mod budget;
pub mod cli;
pub mod clock;
pub mod config;
pub mod desk;
pub mod dispatch;
pub mod ear;
pub mod endorse;
pub mod exchange;
pub mod federation;
pub mod fleet;
mod http;
pub mod listen;
pub mod live;
pub mod logging;
pub mod metrics;
pub mod oidc;
pub mod outbox;
pub mod program;
pub mod proving;
pub mod record;
pub mod revocation;
pub mod rollout;
pub mod serve;
pub mod space;
pub mod store;
pub mod sync;
pub mod upkeep;
pub mod web;

#[allow(missing_docs, unreachable_pub, clippy::all, unused_qualifications)]
#[rustfmt::skip]
#[path = "generated/agent.rs"]
mod agent_stubs;

#[allow(missing_docs, unreachable_pub, clippy::all, unused_qualifications)]
#[rustfmt::skip]
#[path = "generated/admin_server.rs"]
mod admin_stubs;

#[allow(missing_docs, unreachable_pub, clippy::all, unused_qualifications)]
#[rustfmt::skip]
#[path = "generated/admin_client.rs"]
mod admin_clients;
