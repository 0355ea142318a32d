//! Why there is no connection. Faults of the network, of configuration or of the server; no verdict about this node.

/// A connection that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionFault {
    /// The name has no address, or no address answers.
    #[error("cannot reach {server}")]
    Unreachable {
        /// As configured.
        server: String,
        /// What the system answered for the last address.
        source: std::io::Error,
    },
    /// The TLS handshake failed: the server is not the one we trust, or does not accept our certificate.
    #[error("TLS handshake with {server} failed")]
    Handshake {
        /// As configured.
        server: String,
        /// What failed.
        source: std::io::Error,
    },
    /// Nothing came back for too long.
    #[error("{server} did not answer within {seconds} s")]
    Timeout {
        /// As configured.
        server: String,
        /// How long we waited.
        seconds: u64,
    },
    /// TLS stands, HTTP/2 does not.
    #[error("HTTP/2 with {server} failed")]
    Http {
        /// As configured.
        server: String,
        /// What failed.
        source: hyper::Error,
    },
    /// Our own TLS configuration cannot be used.
    #[error("TLS cannot be configured: {0}")]
    Configuration(String),
    /// The server was not known and could not be pinned.
    #[error("cannot pin the server")]
    Pin(#[source] crate::trust::TrustFault),
}

impl ConnectionFault {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "agent.connection.unreachable",
            Self::Handshake { .. } => "agent.connection.handshake",
            Self::Timeout { .. } => "agent.connection.timeout",
            Self::Http { .. } => "agent.connection.http",
            Self::Configuration(_) => "agent.connection.configuration",
            Self::Pin(_) => "agent.connection.pin",
        }
    }
}
