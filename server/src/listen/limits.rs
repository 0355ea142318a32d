//! How much the agent port takes from strangers and from friends.

use std::time::Duration;

/// Limits of the agent port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenLimits {
    /// Connections in all. Each costs a file and about 40 kB.
    pub connections_max: usize,
    /// Connections without a client certificate: enrolments under way, and strangers. They cannot crowd out nodes.
    pub anonymous_connections_max: usize,
    /// TLS handshakes at one time: each is a quarter of a millisecond of CPU.
    pub handshakes_max: usize,
    /// From the accepted socket to the end of the handshake, waiting for a place included.
    pub handshake_timeout: Duration,
    /// A connection without any request for so long is closed.
    pub idle_timeout: Duration,
    /// A silent HTTP/2 connection is asked for a sign of life this often.
    pub keepalive_interval: Duration,
    /// And closed if none comes within this.
    pub keepalive_timeout: Duration,
    /// Requests at one time on one connection: a sync stream, an attestation, some signings.
    pub streams_max: u32,
    /// Bytes of all headers of one request.
    pub header_bytes_max: u32,
    /// How long requests may go on after the order to stop.
    pub shutdown_grace: Duration,
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            anonymous_connections_max: 4_096,
            handshakes_max: 256,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(15),
            keepalive_timeout: Duration::from_secs(10),
            streams_max: 32,
            header_bytes_max: 16 << 10,
            shutdown_grace: Duration::from_secs(5),
        }
    }
}
