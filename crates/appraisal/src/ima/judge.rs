//! Judges the proven entries of a list by every rule of a policy that speaks of files. What the sets list was found on the
//! way (`walk`); signatures are verified only for files that no set lists and no path leaves out.

use holdfast_evidence::tpm::PcrValues;
use holdfast_evidence::tpm::ima::{
    AggregateOf, Entry, FileDigest, ImaRefused, Measured, Quoted, SignatureBudget, SignatureRefused, replay_to,
};

use super::code::ImaReason;
use super::rule::ImaRule;
use super::tally::{ImaState, NAME_CHARACTERS_MAX, RefusedEntry, Tally};
use super::walk::{Pass, Walk};
use crate::policy::Policy;

/// A list that cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImaUnusable {
    /// It does not replay to the quote.
    #[error(transparent)]
    Replay(#[from] ImaRefused),
    /// What went before was judged by another version of the policy.
    #[error("the entries before were judged by another version of the policy")]
    OtherPolicy,
}

impl ImaUnusable {
    /// Stable code for operators and programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Replay(refused) => refused.code(),
            Self::OtherPolicy => "policy.ima.other_policy",
        }
    }

    /// Whether the list from its first entry could be judged.
    #[must_use]
    pub const fn wants_the_whole_list(&self) -> bool {
        match self {
            Self::Replay(refused) => refused.wants_the_whole_list(),
            Self::OtherPolicy => true,
        }
    }
}

/// Replays `log` to the quoted PCR 10 and judges what is new in it. `held` is the state after the entries before the first
/// of `log`; without it, `log` is the list from its first entry.
///
/// # Errors
/// [`ImaUnusable`]: nothing of the list counts, and the state does not change.
pub fn judge(
    policy: &Policy,
    log: &[u8],
    held: Option<&ImaState>,
    quoted: &Quoted,
    pcrs: &PcrValues,
) -> Result<ImaState, ImaUnusable> {
    if held.is_some_and(|held| held.policy != policy.version.digest) {
        return Err(ImaUnusable::OtherPolicy);
    }
    let mut walk = Walk::new(policy.ima_rules());
    let replayed = replay_to(&mut walk, log, held.map(|held| &held.resume), quoted)?;
    let mut state = held.cloned().unwrap_or_else(|| ImaState {
        policy: policy.version.digest.clone(),
        resume: *replayed.resume(),
        violations: 0,
        aggregates: 0,
        rules: policy.ima_rules().map(|(name, _)| (name.to_owned(), Tally::default())).collect(),
    });
    state.resume = *replayed.resume();
    walk.finish();
    state.violations = state.violations.saturating_add(walk.violations);
    state.aggregates = state.aggregates.saturating_add(walk.aggregates);
    for pass in &walk.passes {
        if let Some(tally) = state.rules.get_mut(pass.name) {
            tally.vouched_for = tally.vouched_for.saturating_add(pass.listed);
            Judge { rule: pass.rule, pcrs, tally, budget: SignatureBudget::default() }.rest(log, pass);
        }
    }
    Ok(state)
}

/// What the sets did not settle, by one rule.
struct Judge<'r> {
    rule: &'r ImaRule,
    pcrs: &'r PcrValues,
    tally: &'r mut Tally,
    budget: SignatureBudget,
}

impl Judge<'_> {
    fn rest(&mut self, log: &[u8], pass: &Pass<'_>) {
        for place in &pass.unsettled {
            match Entry::again(log, place.offset, place.index) {
                Some(entry) => self.entry(&entry),
                // It was read a moment ago, so that this does not happen; but nothing may be passed over.
                None => self.tally.refuse(|| RefusedEntry::unreadable(place.index), ImaReason::Template),
            }
        }
    }

    fn entry(&mut self, entry: &Entry<'_>) {
        let measured = Measured::of(entry);
        if entry.index == 0 && (entry.is_violation() || !measured.is_boot_aggregate()) {
            self.refuse(entry, &measured, ImaReason::BootAggregate, "the first entry is another".to_owned());
        }
        if entry.is_violation() {
            if !self.rule.violations_tolerated {
                self.refuse(entry, &measured, ImaReason::Violation, String::new());
            }
            return;
        }
        match measured {
            Measured::File { .. } if measured.is_boot_aggregate() => {
                if let Err(refused) = AggregateOf::check(entry, self.pcrs) {
                    self.refuse(entry, &measured, ImaReason::BootAggregate, refused.to_string());
                }
            }
            Measured::File { digest, path, .. } => {
                let listed = match digest {
                    FileDigest::Strong(hash, bytes) => self.rule.digests.iter().any(|set| set.contains(hash, bytes)),
                    FileDigest::Weak(_) => false,
                };
                if listed {
                    self.tally.vouched_for = self.tally.vouched_for.saturating_add(1);
                } else if !self.rule.excludes(path) {
                    self.unlisted(entry, &measured);
                }
            }
            Measured::Buffer { digest, name, content } => {
                let is_its_digest = match digest {
                    FileDigest::Strong(hash, bytes) => hash.digest(&[content]).as_bytes() == bytes,
                    FileDigest::Weak(_) => false,
                };
                if !is_its_digest || !self.rule.allows_buffer(digest, name) {
                    self.refuse(entry, &measured, ImaReason::Buffer, String::new());
                }
            }
            Measured::Nothing => self.refuse(entry, &measured, ImaReason::Template, String::new()),
        }
    }

    /// A file that no set lists, and no path leaves to itself: a signature may stand for it.
    fn unlisted(&mut self, entry: &Entry<'_>, measured: &Measured<'_>) {
        let Measured::File { digest, signature, of, .. } = *measured else { return };
        let (reason, detail) = match (digest, &self.rule.keys) {
            (FileDigest::Weak(_), _) => (ImaReason::WeakDigest, String::new()),
            (FileDigest::Strong(..), None) => (ImaReason::NotAllowed, String::new()),
            (FileDigest::Strong(..), Some(keys)) => match keys.check(&digest, of, signature, &mut self.budget) {
                Ok(()) => {
                    self.tally.vouched_for = self.tally.vouched_for.saturating_add(1);
                    return;
                }
                Err(SignatureRefused::Absent) => (ImaReason::Unsigned, String::new()),
                Err(refused) => (ImaReason::Signature, refused.to_string()),
            },
        };
        self.refuse(entry, measured, reason, detail);
    }

    fn refuse(&mut self, entry: &Entry<'_>, measured: &Measured<'_>, reason: ImaReason, detail: String) {
        let named = || RefusedEntry {
            reason,
            index: entry.index,
            template: String::from_utf8_lossy(entry.template_name).into_owned(),
            name: String::from_utf8_lossy(measured.name()).chars().take(NAME_CHARACTERS_MAX).collect(),
            digest: match measured {
                Measured::File { digest, .. } | Measured::Buffer { digest, .. } => hex::encode(digest.bytes()),
                Measured::Nothing => String::new(),
            },
            detail,
        };
        self.tally.refuse(named, reason);
    }
}
