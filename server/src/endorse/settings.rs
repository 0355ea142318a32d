//! How endorsements are looked for, as the configuration says.

use std::path::PathBuf;
use std::time::Duration;

use crate::budget::Rate;

/// Where the system keeps the roots of public TLS, on Debian and those after it.
pub const DEFAULT_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Which TCB levels Intel is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateChannel {
    /// Once the field had time to update.
    #[default]
    Standard,
    /// As soon as Intel has published them.
    Early,
}

impl UpdateChannel {
    /// As Intel's service is asked.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Early => "early",
        }
    }
}

/// Where endorsements come from, and how much of a service is used.
#[derive(Clone, Debug)]
pub struct EndorseSettings {
    /// Files that the operator puts there: VEKs, intermediates, collateral. Read again as they change.
    pub directory: Option<PathBuf>,
    /// AMD's key distribution service, or a mirror of it; `None`: never asked.
    pub amd_url: Option<String>,
    /// Time between two VEKs from it. AMD's gives one in about 10 s to an address.
    pub amd_interval: Duration,
    /// Intel's PCS, or a PCCS; `None`: never asked.
    pub intel_url: Option<String>,
    /// Where the CRL of Intel's root is; `None`: where the service of `intel_url` has it.
    pub intel_root_crl_url: Option<String>,
    /// Which TCB levels Intel is asked for.
    pub update: UpdateChannel,
    /// PEM file of those who may speak for the services' hosts.
    pub ca_file: PathBuf,
    /// How long one request may take in all.
    pub timeout: Duration,
    /// How long a caller waits for what is being fetched; it is fetched on without him.
    pub patience: Duration,
    /// Fetches that one source of strangers may cause.
    pub per_source: Rate,
    /// Fetches that all strangers together may cause.
    pub strangers: Rate,
    /// How long an id that the service does not know is not asked for again.
    pub unknown_for: Duration,
}

impl Default for EndorseSettings {
    /// No directory and no service: what is imported is all there is.
    fn default() -> Self {
        Self {
            directory: None,
            amd_url: None,
            amd_interval: Duration::from_secs(10),
            intel_url: None,
            intel_root_crl_url: None,
            update: UpdateChannel::default(),
            ca_file: PathBuf::from(DEFAULT_CA_FILE),
            timeout: Duration::from_secs(15),
            patience: Duration::from_secs(8),
            per_source: Rate { per_second: 1.0 / 120.0, burst: 2.0 },
            strangers: Rate { per_second: 1.0 / 60.0, burst: 2.0 },
            unknown_for: Duration::from_secs(15 * 60),
        }
    }
}
