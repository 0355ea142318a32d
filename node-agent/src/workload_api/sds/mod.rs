//! Envoy's secret discovery service (SDS, v3) on the Workload API's socket: the same callers, attested and limited the
//! same way, get the same SVIDs and bundles as secrets by name.
//!
//! No header is asked for: Envoy sends none. Which state a caller is entitled to is in `subscription`.

mod delta;
mod fault;
mod names;
mod node;
mod resource;
mod service;
mod state_of_the_world;

pub use names::Names;
pub(super) use service::Service;

/// The service's full name, for health.
pub(super) const SERVICE_NAME: &str = crate::sds_server_stubs::secret_discovery_service_server::SERVICE_NAME;
/// The service, for reflection.
pub(super) const DESCRIPTORS: &[u8] = include_bytes!("../../generated/sds.fds");
/// Bytes of one request. Envoy names itself with all of its extensions, some 60 kB, which are passed over.
pub(super) const REQUEST_BYTES_MAX: usize = 1 << 20;
