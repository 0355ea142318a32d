//! The agent port: TCP, TLS 1.3 without resumption, HTTP/2, and a limit on each of them.
//!
//! Knows connections and their certificates; what is asked on them is the business of `api`. A certificate that passed
//! here names a node and proves nothing about it: `desk` compares its key with the record.

mod accept;
mod below;
mod connection;
mod limits;
mod peer;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;

pub use accept::{ListenFault, Listener};
pub use below::Counting;
pub use connection::{Connection, ConnectionId};
pub use limits::ListenLimits;
pub use peer::{InvalidSvid, PeerSvid, uri_san};
pub use tls::TlsSettings;
