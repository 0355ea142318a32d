//! The messages that agents, operators, workloads and the server exchange, and how large each may be.
//!
//! Messages only: no stubs, no transport, no opinion about evidence, which travels as opaque bytes.

#![forbid(unsafe_code)]

pub mod limits;

/// Agent and server, `holdfast.agent.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
#[path = "generated/agent.rs"]
pub mod agent;

/// Operator and server, `holdfast.admin.v1`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
#[path = "generated/admin.rs"]
pub mod admin;

/// Workload and agent: the SPIFFE Workload API.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
#[path = "generated/workload.rs"]
pub mod workload;

/// Envoy and agent: the part of Envoy's API that its secret discovery service needs.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
#[path = "generated/sds.rs"]
pub mod sds;

/// Agent and containerd: the part of containerd's API that tells whose container a process is in.
#[allow(missing_docs, unreachable_pub, clippy::all)]
#[rustfmt::skip]
#[path = "generated/containerd.rs"]
pub mod containerd;
