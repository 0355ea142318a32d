//! The agent's configuration: text as written, and the values that the program runs on.

use std::path::PathBuf;

/// How workloads reach the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadApi {
    /// The Unix socket of the Workload API; its directory is made if it is not there.
    pub socket: PathBuf,
}
