//! The TPM's side: raw commands, their names, the swtpm process. No libtss2: the simulator does not
//! share a line with the agent that it tests.

pub(crate) mod client;
pub(crate) mod commands;
mod names;
pub(crate) mod process;
pub(crate) mod wire;

pub use commands::ClockCounters;
pub use names::CommandCode;
