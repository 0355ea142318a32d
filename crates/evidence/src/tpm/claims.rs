//! What is known of a machine once its TPM's evidence is verified. Says nothing about admission.

use std::sync::Arc;

use super::clock::ClockInfo;
use super::ek::EkIdentity;
use super::event_log::BootFacts;
use super::expectation::KnownTpm;
use super::name::Name;
use super::ownership::Ownership;
use super::pcr::{PcrSelection, PcrSet, PcrValues};
use super::public::Public;
use super::replayed::ReplayedLog;
use crate::key::ProvenKey;
use crate::{Provenance, TrustClass};

/// Verified claims of a TPM; worth something inside [`Verified`](crate::Verified) only.
#[derive(Clone, Debug)]
pub struct TpmClaims {
    /// Every endorsement key of the machine, as verified at this enrolment or at the one on record.
    pub eks: Vec<EkIdentity>,
    /// The attestation key.
    pub ak: Public,
    /// Its Name.
    pub ak_name: Name,
    /// Clock and counters of the quote. Compare with those on record by
    /// [`clock::compare`](crate::tpm::clock::compare), in the recording transaction.
    pub clock: ClockInfo,
    /// The TPM's firmware version, vendor-specific.
    pub firmware_version: u64,
    /// Bank and PCRs that were asked and quoted.
    pub selection: PcrSelection,
    /// The value of every quoted PCR.
    pub pcrs: PcrValues,
    /// PCRs whose value the firmware log leads to. What the log says of the others proves nothing.
    pub replayed: PcrSet,
    /// PCRs that no event touches and that hold their value of start-up.
    pub untouched: PcrSet,
    /// The firmware log; `None` where the machine offers none. Keep it for the next attestation.
    pub log: Option<Arc<ReplayedLog>>,
    /// The node key: resident in this TPM, certified now or on record.
    pub node_key: ProvenKey,
    /// Whether the node key was certified in this attestation.
    pub certified_now: bool,
    /// Whether the endorsement keys were activated in this attestation.
    pub activated_now: bool,
    /// Platform and device keys, as verified at this enrolment or at the one on record.
    pub ownership: Ownership,
}

impl TpmClaims {
    /// What the firmware log proves; `None` without a log.
    #[must_use]
    pub fn boot(&self) -> Option<&BootFacts> {
        self.log.as_deref().map(ReplayedLog::facts)
    }

    /// SHA-256 of the firmware log.
    #[must_use]
    pub fn firmware_log_digest(&self) -> Option<&[u8; 32]> {
        self.log.as_deref().map(ReplayedLog::digest)
    }

    /// Quoted PCRs that no log explains and that do not hold their start-up value: each is a refusal, unless policy
    /// names its value.
    #[must_use]
    pub fn unexplained(&self) -> PcrSet {
        self.selection.pcrs.without(self.replayed).without(self.untouched)
    }

    /// The least trusted class among the endorsement keys' roots: a machine is what its weakest key is. Where a simulated
    /// root speaks for its platform or device keys, it is simulated.
    #[must_use]
    pub fn class(&self) -> Option<TrustClass> {
        let simulated =
            self.ownership.roots().map(|(_, root)| root.class).filter(|class| *class == TrustClass::Simulated);
        self.eks.iter().map(|ek| ek.class).chain(simulated).max()
    }

    /// Who vouches for what is said here: hardware, or a simulator.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        match self.class() {
            Some(TrustClass::Simulated) => Provenance::Simulated,
            Some(TrustClass::Discrete | TrustClass::Firmware) => Provenance::Hardware,
            Some(TrustClass::Vtpm | TrustClass::Cloud) => Provenance::Provider,
            None => Provenance::Unauthenticated,
        }
    }

    /// What the record keeps, to draw the next challenge from.
    #[must_use]
    pub fn known(&self) -> KnownTpm {
        KnownTpm { ak: self.ak.clone(), eks: self.eks.clone(), ownership: self.ownership.clone() }
    }
}
