//! The harness: starts the real programs as their users would, each in a directory of its own, and stops them again.
//! The demo, the end-to-end tests and the benchmarks share it. It knows command lines and files, nothing of the insides.

mod agent;
mod guests;
mod machines;
mod process;
pub mod proof;
mod server;
mod work;

pub use agent::Agent;
pub use guests::{Guest, Guests};
pub use machines::{Machine, Machines};
pub use process::{Output, Process, Programs, interrupt, until};
pub use server::Server;
pub use work::{WorkDir, free_port};
