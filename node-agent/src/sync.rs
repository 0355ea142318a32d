//! What this node's workloads are entitled to, as the server pushes it: registration entries and the trust bundle.

mod book;
mod foreign;
mod stream;
mod withdrawn;

pub use book::{Book, Change, Entry};
pub use foreign::{ForeignBundle, ForeignBundles};
pub use stream::{SyncEnd, follow};
