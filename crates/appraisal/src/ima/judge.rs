//! Judges the proven entries of a list by every rule of a policy that speaks of files. Digests are looked up in batches;
//! signatures are verified only for files that no set lists.

use holdfast_evidence::crypto::HashAlg;
use holdfast_evidence::tpm::PcrValues;
use holdfast_evidence::tpm::ima::{
    AggregateOf, BOOT_AGGREGATE, Entry, FileDigest, ImaRefused, Measured, Quoted, SignatureRefused, replay,
};

use super::code::ImaReason;
use super::rule::ImaRule;
use super::tally::{ImaState, NAME_CHARACTERS_MAX, RefusedEntry, Tally};
use crate::policy::Policy;

/// Digests that are looked up together: their places stay in the nearest cache.
const BATCH: usize = 128;

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
    let replayed = replay(log, held.map(|held| &held.resume), quoted)?;
    let mut state = held.cloned().unwrap_or_else(|| ImaState {
        policy: policy.version.digest.clone(),
        resume: *replayed.resume(),
        violations: 0,
        aggregates: 0,
        rules: policy.ima_rules().map(|(name, _)| (name.to_owned(), Tally::default())).collect(),
    });
    state.resume = *replayed.resume();
    if replayed.count() == 0 {
        return Ok(state);
    }
    let ImaState { rules, violations, aggregates, .. } = &mut state;
    let ours = rules.iter_mut().filter_map(|(name, tally)| Some((policy.ima_rule(name)?, tally)));
    let mut passes: Vec<Pass<'_, '_>> = ours.map(|(rule, tally)| Pass::new(rule, pcrs, tally)).collect();
    for entry in replayed.entries().flatten() {
        let measured = Measured::of(&entry);
        if entry.is_violation() {
            *violations = violations.saturating_add(1);
        } else if measured.name() == BOOT_AGGREGATE {
            *aggregates = aggregates.saturating_add(1);
        }
        for pass in &mut passes {
            pass.entry(entry, measured);
        }
    }
    passes.iter_mut().for_each(Pass::look_up);
    drop(passes);
    Ok(state)
}

/// One walk over the new entries by one rule.
struct Pass<'a, 'r> {
    rule: &'r ImaRule,
    pcrs: &'r PcrValues,
    tally: &'r mut Tally,
    waiting: Vec<(Entry<'a>, &'a [u8], &'a [u8])>,
    digests: Vec<[u8; 32]>,
    places: Vec<(u32, u32)>,
}

impl<'a, 'r> Pass<'a, 'r> {
    fn new(rule: &'r ImaRule, pcrs: &'r PcrValues, tally: &'r mut Tally) -> Self {
        Self {
            rule,
            pcrs,
            tally,
            waiting: Vec::with_capacity(BATCH),
            digests: Vec::with_capacity(BATCH),
            places: Vec::with_capacity(BATCH),
        }
    }

    fn entry(&mut self, entry: Entry<'a>, measured: Measured<'a>) {
        if entry.index == 0 && (entry.is_violation() || measured.name() != BOOT_AGGREGATE) {
            self.refuse(&entry, &measured, ImaReason::BootAggregate, "the first entry is another".to_owned());
        }
        if entry.is_violation() {
            if !self.rule.violations_tolerated {
                self.refuse(&entry, &measured, ImaReason::Violation, String::new());
            }
            return;
        }
        match measured {
            Measured::File { path: BOOT_AGGREGATE, .. } => {
                if let Err(refused) = AggregateOf::check(&entry, self.pcrs) {
                    self.refuse(&entry, &measured, ImaReason::BootAggregate, refused.to_string());
                }
            }
            Measured::File { digest: FileDigest::Strong(HashAlg::Sha256, digest), path, signature } => {
                if let Ok(digest) = digest.try_into() {
                    self.digests.push(digest);
                    self.waiting.push((entry, path, signature));
                }
                if self.waiting.len() >= BATCH {
                    self.look_up();
                }
            }
            Measured::File { digest, path, signature } => {
                let listed = match digest {
                    FileDigest::Strong(hash, bytes) => self.rule.digests.iter().any(|set| set.contains(hash, bytes)),
                    FileDigest::Weak(_) => false,
                };
                if !listed {
                    self.unlisted(&entry, digest, path, signature);
                }
            }
            Measured::Buffer { digest, name, content } => {
                let is_its_digest = match digest {
                    FileDigest::Strong(hash, bytes) => hash.digest(&[content]).as_bytes() == bytes,
                    FileDigest::Weak(_) => false,
                };
                if !is_its_digest || !self.rule.allows_buffer(digest, name) {
                    self.refuse(&entry, &measured, ImaReason::Buffer, String::new());
                }
            }
            Measured::Nothing => self.refuse(&entry, &measured, ImaReason::Template, String::new()),
        }
    }

    fn look_up(&mut self) {
        let mut found = [false; BATCH];
        for set in &self.rule.digests {
            set.mark(&self.digests, &mut self.places, &mut found);
        }
        let (waiting, digests) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.digests));
        for (((entry, path, signature), digest), found) in waiting.iter().zip(&digests).zip(found) {
            if !found {
                self.unlisted(entry, FileDigest::Strong(HashAlg::Sha256, digest), path, signature);
            }
        }
        (self.waiting, self.digests) = (waiting, digests);
        self.waiting.clear();
        self.digests.clear();
    }

    /// A file that no set lists: a signature may stand for it, or its path be left to itself.
    fn unlisted(&mut self, entry: &Entry<'_>, digest: FileDigest<'_>, path: &[u8], signature: &[u8]) {
        let signed = self.rule.keys.as_ref().map(|keys| keys.check(&digest, signature));
        if matches!(signed, Some(Ok(()))) || self.rule.excludes(path) {
            return;
        }
        let reason = match (digest, signed) {
            (FileDigest::Weak(_), _) => ImaReason::WeakDigest,
            (_, Some(Err(SignatureRefused::Absent))) => ImaReason::Unsigned,
            (_, Some(_)) => ImaReason::Signature,
            (_, None) => ImaReason::NotAllowed,
        };
        let detail = match (reason, signed) {
            (ImaReason::Signature, Some(Err(refused))) => refused.to_string(),
            _ => String::new(),
        };
        let measured = Measured::File { digest, path, signature };
        self.refuse(entry, &measured, reason, detail);
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
