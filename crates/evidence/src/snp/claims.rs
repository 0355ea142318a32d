//! What is known of a guest once its report is verified over our binding. Says nothing about admission.

use holdfast_identity::UnixTime;

use super::verify::VerifiedReport;
use crate::key::ProvenKey;
use crate::x509::RootIdentity;
use crate::{Provenance, TrustClass};

/// Verified claims of an SNP guest; worth something inside [`Verified`](crate::Verified) only.
#[derive(Clone, Debug)]
pub struct SnpClaims {
    /// The report, and the key that signed it.
    pub report: VerifiedReport,
    /// The root that the key's chain ends at.
    pub root: RootIdentity,
    /// The node key: in the report's binding, proven beside it.
    pub node_key: ProvenKey,
    /// The earliest end of any certificate of the chain.
    pub not_after: UnixTime,
}

impl SnpClaims {
    /// The trust class of the root.
    #[must_use]
    pub const fn class(&self) -> TrustClass {
        self.root.class
    }

    /// Who vouches for what is said here: hardware, or a simulator.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        self.report.provenance()
    }
}
