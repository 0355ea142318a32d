//! Small HTTP listeners for strangers: HTTPS with a certificate from files, or plain HTTP for a proxy in front, on a Unix
//! socket or a loopback address. Bounded in connections, time and bytes; what is answered is somebody else's.

mod certificate;
mod listener;
mod place;
#[cfg(test)]
mod tests;

pub use certificate::{BadCertificate, Certificate, CertificateFiles};
pub use listener::{Answers, Site, WebFault};
pub use place::{BadPlace, Place};

use std::net::IpAddr;

/// Who asks, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The address at the other end, or the one that a trusted proxy names.
    Address(IpAddr),
    /// Somebody behind a proxy that names nobody: all such share one budget.
    Proxied,
}
