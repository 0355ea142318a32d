//! The node agent: proves the machine by its hardware, holds the node's identity, and hands workloads their SVIDs.
//!
//! Has no opinion about the machine it runs on: what evidence is good enough is the server's to say.

// Not forbidden, for one module: see `ioctl`.
#![deny(unsafe_code)]

pub mod attest;
pub mod backoff;
pub mod cli;
pub mod clock;
pub mod collect;
pub mod config;
pub mod connection;
pub mod enrol;
pub mod exposition;
#[expect(unsafe_code, reason = "two device calls that no crate wraps safely")]
mod ioctl;
pub mod logging;
pub mod node_key;
mod pem;
pub mod program;
pub mod state;
pub mod status;
pub mod svids;
pub mod sync;
pub mod tpm;
pub mod transport;
pub mod trust;
pub mod vtpm;
pub mod why;
pub mod workload_api;

/// The agent's side of `holdfast.agent.v1`, generated from `agent.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, unused_qualifications)]
#[rustfmt::skip]
#[path = "generated/agent.rs"]
pub mod agent_stubs;

/// The serving side of the SPIFFE Workload API, generated from `workload.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, unused_qualifications)]
#[rustfmt::skip]
#[path = "generated/workload_server.rs"]
pub mod workload_server_stubs;

/// The serving side of Envoy's secret discovery service, generated from `sds.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, unused_qualifications)]
#[rustfmt::skip]
#[path = "generated/sds_server.rs"]
pub mod sds_server_stubs;

/// The asking side of the SPIFFE Workload API, for `holdfast-agent api`.
#[allow(missing_docs, unreachable_pub, clippy::all, unused_qualifications)]
#[rustfmt::skip]
#[path = "generated/workload_client.rs"]
pub mod workload_client_stubs;

/// The asking side of the part of containerd's API that its attestor needs, generated from `containers.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, unused_qualifications)]
#[rustfmt::skip]
#[path = "generated/containerd_client.rs"]
mod containerd_client_stubs;

/// The serving side of the same, for a stand-in.
#[cfg(test)]
#[allow(missing_docs, unreachable_pub, clippy::all, unused_qualifications)]
#[rustfmt::skip]
#[path = "generated/containerd_server.rs"]
mod containerd_server_stubs;
