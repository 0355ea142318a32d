//! The kernel's list of measured files that a case names: what the policy under test makes of it. A list that no quote
//! vouches for is taken as proven to its last entry.

use std::borrow::Cow;

use holdfast_evidence::Provenance;
use holdfast_evidence::tpm::ima::{Counters, ImaRefused, Quoted, leads_to};
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrValues};

use crate::facts::{Explained, Fact, FactId, Facts, PCR_COUNT};
use crate::ima::{self, ImaSeen, ImaUnusable};
use crate::policy::Policy;
use crate::value::Value;

/// A list, and whether PCR 10 among the facts is what a quote said it leads to.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) bytes: Vec<u8>,
    pub(super) is_quoted: bool,
}

/// The facts with what the policy says to the list.
pub(super) fn facts<'f>(list: Option<&List>, facts: &'f Facts, policy: &Policy) -> Cow<'f, Facts> {
    let Some(list) = list else { return Cow::Borrowed(facts) };
    let (mut facts, bank) = (facts.clone(), policy.pcr_bank());
    let seen = quoted(list, &mut facts, bank)
        .map_err(ImaUnusable::Replay)
        .and_then(|quoted| ima::judge(policy, &list.bytes, None, &quoted, &values(&facts, bank)));
    ima::attach(&mut facts, policy, Some(&seen.map_or_else(ImaSeen::Unusable, ImaSeen::Judged)));
    Cow::Owned(facts)
}

fn quoted(list: &List, facts: &mut Facts, bank: Bank) -> Result<Quoted, ImaRefused> {
    if !list.is_quoted {
        let value = vec![Value::Digest(leads_to(&list.bytes, bank)?)];
        facts.insert(FactId::Pcr(PcrIndex::IMA.get()), Fact::of(Provenance::Unauthenticated, value));
        facts.quoted_pcr(PcrIndex::IMA.get(), Explained::Not);
    }
    let pcrs = values(facts, bank);
    let pcr = *pcrs.get(PcrIndex::IMA).ok_or(ImaRefused::NotQuoted)?;
    Ok(Quoted { bank, pcr, counters: Counters { resets: 0, restarts: 0 }, boot: Quoted::boot(&pcrs) })
}

/// The PCRs among the facts.
fn values(facts: &Facts, bank: Bank) -> PcrValues {
    let mut values = PcrValues::new(bank);
    for index in 0..PCR_COUNT {
        let fact = facts.get(FactId::Pcr(index)).map(|fact| fact.values.as_slice());
        if let (Some([Value::Digest(digest)]), Some(index)) = (fact, PcrIndex::new(index.into())) {
            values.set(index, *digest);
        }
    }
    values
}
