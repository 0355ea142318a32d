//! Facts of a virtual TPM's quote, in the words of `tpm`: whoever vouches for the key vouches for them. Verifies nothing.

use std::sync::Arc;

use holdfast_evidence::Provenance;
use holdfast_evidence::tpm::QuotedBoot;

use super::{Explained, Fact, FactId, Facts, LogFacts, boot};
use crate::value::{Value, Version};

/// What the quote proves: firmware version, PCRs, and what the firmware's log says of those that it leads to.
pub(super) fn quoted(quote: &QuotedBoot, provenance: Provenance) -> Facts {
    let known = quote.replayed.union(quote.untouched);
    let log: LogFacts = quote.boot().map(|facts| boot(facts, known, provenance)).unwrap_or_default();
    let mut facts = Facts::with_log(Arc::new(log));
    let version = Value::Version(Version::from_u64(quote.firmware_version));
    facts.insert(FactId::FirmwareVersion, Fact::of(provenance, vec![version]));
    for (pcr, value) in quote.pcrs.iter() {
        facts.insert(FactId::Pcr(pcr.get()), Fact::of(provenance, vec![Value::Digest(*value)]));
    }
    for pcr in quote.selection.pcrs.iter() {
        let explained = match (quote.replayed.contains(pcr), quote.untouched.contains(pcr)) {
            (true, _) => Explained::ByEvents,
            (false, true) => Explained::NeverExtended,
            (false, false) => Explained::Not,
        };
        facts.quoted_pcr(pcr.get(), explained);
    }
    facts
}
