//! How the node comes to its identity and keeps it: begin, complete, and again before it ends.

mod exchange;
mod keeper;
mod node_svid;
mod session;
mod verdict;

pub use exchange::{Admission, Exchanger};
pub use keeper::{Keeper, Parts};
pub use node_svid::NodeSvid;
pub use verdict::{Refusal, Setback};
