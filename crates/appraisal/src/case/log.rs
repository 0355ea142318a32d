//! Facts of a firmware log that no quote vouches for: a case takes it as proven, as a policy's author wants to know what
//! the policy makes of it.

use std::sync::Arc;

use holdfast_evidence::Provenance;
use holdfast_evidence::tpm::event_log::{BootFacts, EventLog};
use holdfast_evidence::tpm::{Bank, PcrIndex, Unverified};

use crate::decision::Rejection;
use crate::facts::{Explained, Fact, FactId, Facts, boot};
use crate::policy::Policy;
use crate::value::Value;

/// Why a case's log yields no facts: what the verifier would have refused.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) code: &'static str,
    pub(super) detail: String,
}

impl Refused {
    /// As the decision that a server would have recorded.
    pub(super) fn rejection(&self, policy: &Policy) -> Rejection {
        Rejection::of_evidence(self.code, policy.version().clone(), self.detail.clone())
    }
}

impl From<Unverified> for Refused {
    fn from(unverified: Unverified) -> Self {
        Self { code: unverified.code(), detail: unverified.to_string() }
    }
}

/// The facts of `log`, every register taken as quoted, and as untouched where the log has no event for it.
pub(super) fn facts(log: &[u8], bank: Bank) -> Result<Facts, Refused> {
    let derive = || -> Result<Facts, Unverified> {
        let log = EventLog::parse(log)?;
        let replay = log.replay(bank)?;
        let derived = BootFacts::derive(&log, bank, replay.extended())?;
        let provenance = Provenance::Unauthenticated;
        let mut facts = Facts::with_log(Arc::new(boot(&derived, PcrIndex::all().collect(), provenance)));
        for pcr in PcrIndex::all() {
            let value = vec![Value::Digest(replay.value(pcr))];
            facts.insert(FactId::Pcr(pcr.get()), Fact::of(provenance, value));
            let touched = replay.events(pcr) > 0;
            facts.quoted_pcr(pcr.get(), if touched { Explained::ByEvents } else { Explained::NeverExtended });
        }
        Ok(facts)
    };
    derive().map_err(Refused::from)
}
