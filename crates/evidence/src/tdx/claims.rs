//! What is known of a TD once its quote is verified over our binding. Says nothing about admission.

use std::sync::Arc;

use holdfast_identity::UnixTime;

use super::boot::TdBoot;
use super::verify::VerifiedQuote;
use crate::key::ProvenKey;
use crate::launch::TdxLaunch;
use crate::x509::RootIdentity;
use crate::{Provenance, TrustClass};

/// Verified claims of a TD; worth something inside [`Verified`](crate::Verified) only.
#[derive(Clone, Debug)]
pub struct TdxClaims {
    /// The quote, with what Intel says about the platform.
    pub quote: VerifiedQuote,
    /// What the event log proves; `None` where the machine sent none.
    pub boot: Option<Arc<TdBoot>>,
    /// The root that everything lies under.
    pub root: RootIdentity,
    /// The node key: in the quote's binding, proven beside it.
    pub node_key: ProvenKey,
    /// The earliest end of any certificate or document that was used.
    pub not_after: UnixTime,
}

impl TdxClaims {
    /// The trust class of the root.
    #[must_use]
    pub const fn class(&self) -> TrustClass {
        self.root.class
    }

    /// Who vouches for what is said here: hardware, or a simulator.
    #[must_use]
    pub const fn provenance(&self) -> Provenance {
        self.quote.provenance()
    }

    /// Which launch this TD is of.
    #[must_use]
    pub fn launch(&self) -> TdxLaunch {
        self.quote.launch()
    }
}
